//! The statements that a session has parsed of late, by their text.
//!
//! Many drivers send a query's text each time that they run it. Found here, it is neither parsed nor described again, and
//! its plan is kept from one execution to the next like a prepared statement's.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::surface::Description;
use crate::catalog::Catalog;
use crate::sql::{ParsedStatement, Statement};
use crate::statement::PlanSlot;
use crate::types::SqlType;

/// Statements that are remembered.
const STATEMENTS_MAX: usize = 16;
/// A longer text is most likely data, and does not come again.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// A statement, and what was found out about it.
pub struct Known {
    pub statement: ParsedStatement,
    pub slot: PlanSlot,
    described: Mutex<Option<Described>>,
}

struct Described {
    catalog: Arc<Catalog>,
    names_and_zone: (Vec<String>, String),
    declared: Vec<Option<SqlType>>,
    description: Description,
}

impl Known {
    pub fn new(statement: ParsedStatement) -> Known {
        Known { statement, slot: PlanSlot::default(), described: Mutex::default() }
    }

    /// What the statement was described as, where names stand for the same.
    pub fn described(
        &self,
        catalog: &Arc<Catalog>,
        names_and_zone: &(Vec<String>, String),
        declared: &[Option<SqlType>],
    ) -> Option<Description> {
        let described = self.described.lock();
        let known = described.as_ref()?;
        let same = Arc::ptr_eq(&known.catalog, catalog)
            && known.names_and_zone == *names_and_zone
            && known.declared == declared;
        same.then(|| known.description.clone())
    }

    pub fn set_described(
        &self,
        catalog: Arc<Catalog>,
        names_and_zone: (Vec<String>, String),
        declared: &[Option<SqlType>],
        description: Description,
    ) {
        let declared = declared.to_vec();
        *self.described.lock() = Some(Described { catalog, names_and_zone, declared, description });
    }
}

/// The last one used stands at the end.
#[derive(Default)]
pub struct RecentStatements(Mutex<VecDeque<Arc<Known>>>);

impl RecentStatements {
    pub fn find(&self, sql: &str) -> Option<Arc<Known>> {
        let mut recent = self.0.lock();
        let at = recent.iter().position(|known| *known.statement.text == *sql)?;
        let known = recent.remove(at)?;
        recent.push_back(known.clone());
        Some(known)
    }

    /// Only what reads or changes rows is worth it, and only where it is the whole text.
    pub fn remember(&self, known: &Arc<Known>) {
        let changes_rows = matches!(
            known.statement.statement,
            Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_)
        );
        if changes_rows && known.statement.text.len() <= TEXT_BYTES_MAX {
            let mut recent = self.0.lock();
            if recent.len() == STATEMENTS_MAX {
                recent.pop_front();
            }
            recent.push_back(known.clone());
        }
    }
}
