//! The plan of a statement's query, kept from one execution to the next.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use sqlparser::ast;

use crate::catalog::Catalog;
use crate::query::PreparedQuery;
use crate::types::{RelationId, SqlType};

/// Where a statement keeps its plan. Most statements run once: only the second execution makes a plan to keep.
#[derive(Default)]
pub struct PlanSlot(Mutex<Kept>);

#[derive(Default)]
enum Kept {
    #[default]
    NotRun,
    RanOnce,
    Plan(Arc<KeptPlan>),
}

/// A plan, and all that it was made of.
pub(super) struct KeptPlan {
    pub query: ast::Query,
    /// The table whose row ids the query sees.
    pub changed: Option<RelationId>,
    /// Types of the parameters.
    pub declared: Vec<Option<SqlType>>,
    /// Held, so that its address is not another one's.
    pub catalog: Arc<Catalog>,
    pub names_and_zone: (Vec<String>, String),
    /// The relations that the query names, through views.
    pub named: HashSet<RelationId>,
    pub prepared: PreparedQuery,
}

impl PlanSlot {
    /// The plan that is kept, if it is this query's.
    pub(super) fn get(&self, query: &ast::Query, changed: Option<RelationId>) -> Option<Arc<KeptPlan>> {
        match &*self.0.lock() {
            Kept::Plan(kept) if kept.changed == changed && kept.query == *query => Some(kept.clone()),
            _ => None,
        }
    }

    /// Whether a plan is worth keeping: the statement has run before.
    pub(super) fn is_wanted(&self) -> bool {
        let mut kept = self.0.lock();
        let ran = !matches!(*kept, Kept::NotRun);
        if !ran {
            *kept = Kept::RanOnce;
        }
        ran
    }

    pub(super) fn keep(&self, plan: KeptPlan) {
        *self.0.lock() = Kept::Plan(Arc::new(plan));
    }
}
