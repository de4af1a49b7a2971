//! `AS OF COMMIT n` and `AS OF time`: the moment that SUBSCRIBE goes on from, and that `FOR SYSTEM_TIME` reads a table at.
//!
//! A query reads one table at several moments. So each is read under a name of its own, which is what the query says:
//! `"readings FOR SYSTEM_TIME AS OF COMMIT 17"`.
//!
//! Does not know: which commits there are, or when they were.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    self, Expr, Ident, ObjectName, Query, Spanned, TableAlias, TableFactor, TableVersion, Value, Visit, VisitMut,
    Visitor, VisitorMut,
};

use sqlparser::tokenizer::Location;

use super::create::{identifier, relation_name};
use crate::error::{Error, Result, SqlState};
use crate::types::CommitNumber;

/// When.
#[derive(Debug, Clone, PartialEq)]
pub enum Moment {
    Commit(CommitNumber),
    /// An expression over nothing, of a point in time.
    Time(Box<Expr>),
}

/// A table of the past.
#[derive(Debug, Clone, PartialEq)]
pub struct TableAsOf {
    pub table: String,
    pub moment: Moment,
    /// Where its name stands in the text.
    pub location: Location,
}

/// The word COMMIT in front of a number, as the dialect reads it.
pub(super) const COMMIT: &str = "COMMIT";

impl Moment {
    /// What stands behind AS OF. Errors: 22003 for a number that no commit has; 0A000 for parameters and subqueries.
    pub fn of(expr: &Expr) -> Result<Moment> {
        if depends_on_values(expr) {
            return Err(Error::not_built("a parameter or a subquery behind AS OF")
                .with_hint("Write the commit or the time into the statement."));
        }
        match expr {
            Expr::Prefixed { prefix, value } if prefix.value == COMMIT => match value.as_ref() {
                Expr::Value(value) => commit(&value.value).map(Moment::Commit),
                _ => Err(Error::internal("COMMIT without a number")),
            },
            other => Ok(Moment::Time(Box::new(other.clone()))),
        }
    }
}

fn commit(value: &Value) -> Result<CommitNumber> {
    let Value::Number(number, _) = value else { return Err(Error::internal("COMMIT without a number")) };
    number
        .parse()
        .map(CommitNumber)
        .map_err(|_| Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("\"{number}\" is not the number of a commit")))
}

fn depends_on_values(expr: &Expr) -> bool {
    let depends = ast::visit_expressions(expr, |part| match part {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    depends.is_break()
}

/// The tables of the past that a query reads, by the name that [`name_tables_as_of`] gives each.
///
/// Errors: 0A000 for other ways of writing it, for a WITH query, and what [`Moment::of`] refuses.
pub fn tables_as_of(query: &Query) -> Result<BTreeMap<String, TableAsOf>> {
    let mut found = TablesAsOf::default();
    if let ControlFlow::Break(error) = Visit::visit(query, &mut found) {
        return Err(error);
    }
    match found.tables.values().find(|table| found.with.contains(&table.table)) {
        Some(table) => Err(Error::not_built(format!("FOR SYSTEM_TIME AS OF of the WITH query \"{}\"", table.table))
            .with_hint("Write it behind the tables that the WITH query reads.")),
        None => Ok(found.tables),
    }
}

#[derive(Default)]
struct TablesAsOf {
    tables: BTreeMap<String, TableAsOf>,
    /// Names of WITH queries.
    with: Vec<String>,
}

impl TablesAsOf {
    fn add(&mut self, factor: &TableFactor) -> Result<()> {
        let TableFactor::Table { name, version: Some(version), .. } = factor else { return Ok(()) };
        let TableVersion::ForSystemTimeAsOf(expr) = version else {
            return Err(Error::not_built(version.to_string()).with_hint("Write FOR SYSTEM_TIME AS OF."));
        };
        let location = name.span().start;
        let table = TableAsOf { table: relation_name(name)?, moment: Moment::of(expr)?, location };
        self.tables.insert(name_as_of(name, version), table);
        Ok(())
    }
}

impl Visitor for TablesAsOf {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.with.extend(with.map(|table| identifier(&table.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        match self.add(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn name_as_of(name: &ObjectName, version: &TableVersion) -> String {
    format!("{name} {version}")
}

/// Has the query read each table of the past under its name in [`tables_as_of`].
pub fn name_tables_as_of(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Rename { tells_moments: true });
}

/// Has the query read the tables of now: for what depends on their columns alone.
pub fn forget_moments(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Rename { tells_moments: false });
}

struct Rename {
    tells_moments: bool,
}

impl VisitorMut for Rename {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, version, .. } = factor
            && let Some(of) = version.take()
            && self.tells_moments
        {
            let called = name.0.last().and_then(|part| part.as_ident()).cloned();
            if alias.is_none()
                && let Some(called) = called
            {
                *alias = Some(TableAlias { explicit: true, name: called, columns: Vec::new(), at: None });
            }
            *name = ObjectName::from(vec![Ident::with_quote('"', name_as_of(name, &of))]);
        }
        ControlFlow::Continue(())
    }
}

/// Errors: 0A000 where `factor`, which is not of a query, says a moment; `what` is for the message.
pub fn refuse_moment(factor: &TableFactor, what: &str) -> Result<()> {
    match factor {
        TableFactor::Table { version: Some(_), .. } => {
            Err(Error::not_built(format!("FOR SYSTEM_TIME AS OF in {what}"))
                .with_hint("The past can be read, and not changed."))
        }
        _ => Ok(()),
    }
}
