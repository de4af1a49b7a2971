//! `FOR SYSTEM_TIME AS OF`: tables as they were, at a commit or at a time.
//!
//! ```text
//! AS OF COMMIT n    the table after commit n
//! AS OF time        after the last commit by then
//! ```
//!
//! A time is answered only where no later commit can come before it: a time between the last commit and now is committed
//! first, so that the same question has the same answer for ever.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::catalog::TableProvider;
use sqlparser::ast;

use super::handles::Handles;
use super::rows::collect;
use super::scope::{Environment, Planned, cast, no_relation, skeleton};
use super::transaction::{Transaction, sequence};
use super::write_set::WriteSet;
use crate::catalog::{Catalog, Relation, Table};
use crate::error::{Error, Result, SqlState};
use crate::query::Relations;
use crate::sql::{Moment, TableAsOf, char_position, tables_as_of};
use crate::table::SnapshotTable;
use crate::types::{CommitNumber, SqlType};

/// The tables of the past that a query names, by their names in it.
pub(super) struct RelationsAsOf(BTreeMap<String, (TableAsOf, When)>);

enum When {
    Commit(CommitNumber),
    /// Microseconds since 1970, and as it was written.
    Time(i64, String),
}

impl RelationsAsOf {
    /// Before the transaction's snapshot is fixed, if it is not. Errors: 22023 for a time in the future, or NULL.
    pub async fn of(
        environment: &Environment<'_>,
        transaction: &Transaction,
        query: &ast::Query,
    ) -> Result<RelationsAsOf> {
        let mut relations = BTreeMap::new();
        for (name, table) in tables_as_of(query)? {
            let when = match &table.moment {
                Moment::Commit(commit) => When::Commit(*commit),
                Moment::Time(expression) => {
                    let time_us = Box::pin(time_of(environment, transaction, expression)).await?;
                    reach(environment.handles, transaction, time_us, expression).await?;
                    When::Time(time_us, expression.to_string())
                }
            };
            relations.insert(name, (table, when));
        }
        Ok(RelationsAsOf(relations))
    }

    /// Their definitions, which are those of now.
    pub fn tables(&self, catalog: &Catalog) -> HashMap<String, Arc<Table>> {
        let table = |(name, (table, _)): (&String, &(TableAsOf, When))| match catalog.find(&table.table) {
            Some(Relation::Table(table)) => Some((name.clone(), table.clone())),
            _ => None,
        };
        self.0.iter().filter_map(table).collect()
    }

    /// Their rows. Errors: 22023 for a moment that cannot be read, 0A000 for views, 42P01.
    pub fn providers(
        &self,
        environment: &Environment<'_>,
        transaction: &Transaction,
        catalog: &Catalog,
    ) -> Result<Relations> {
        let (handles, mut relations) = (environment.handles, Relations::new());
        let Some((at, at_us)) = transaction.at_time() else { return Ok(relations) };
        for (name, (TableAsOf { table, location, .. }, when)) in &self.0 {
            let id = match catalog.find(table) {
                Some(Relation::Table(table)) => table.id,
                Some(other) => {
                    let what = format!("FOR SYSTEM_TIME AS OF of {} \"{table}\"", other.kind_name());
                    return Err(Error::not_built(what).with_hint("Ask its query of the tables that it reads."));
                }
                None => {
                    let error = no_relation(catalog, table);
                    return Err(match char_position(environment.text, *location) {
                        Some(position) => error.with_position(position),
                        None => error,
                    });
                }
            };
            let commit = match when {
                When::Commit(commit) => *commit,
                When::Time(time_us, _) if *time_us == at_us => at,
                When::Time(time_us, text) => handles.tables.commit_by(*time_us, text, table)?,
            };
            if commit > at {
                let message = format!("commit {commit} has not happened yet");
                return Err(
                    Error::new(SqlState::INVALID_PARAMETER, message).with_detail(format!("The last commit is {at}."))
                );
            }
            let past = handles.tables.as_of(&transaction.table_snapshot(handles, id)?, commit)?;
            let provider: Arc<dyn TableProvider> = Arc::new(SnapshotTable::new(past, false));
            relations.insert(name.clone(), provider);
        }
        Ok(relations)
    }
}

/// The expression's value, microseconds since 1970.
async fn time_of(environment: &Environment<'_>, transaction: &Transaction, expression: &ast::Expr) -> Result<i64> {
    let value = cast(expression.clone(), &SqlType::Timestamptz)?;
    let query = skeleton(vec![ast::SelectItem::UnnamedExpr(value)], Vec::new(), None)?;
    let scope = environment.scope_of_nothing(transaction);
    let plan = scope.plan(&query, environment.text, &[])?;
    let result = environment.execute(Planned { context: scope.context, plan }, &[]).await?;
    let rows = collect(result.schema, result.rows).await?;
    let times = rows.columns().first().and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    times
        .and_then(|times| times.iter().next().flatten())
        .ok_or_else(|| Error::new(SqlState::INVALID_PARAMETER, "the time behind AS OF is NULL"))
}

/// Sees to it that no commit can come any more by that time.
async fn reach(handles: &Handles, transaction: &Transaction, time_us: i64, text: &ast::Expr) -> Result<()> {
    let later_than = |what: &str| {
        Error::new(SqlState::INVALID_PARAMETER, format!("{text} is later than {what}"))
            .with_hint("AS OF reads the past.")
    };
    if let Some((_, at_us)) = transaction.at_time() {
        return if time_us > at_us { Err(later_than("the transaction's snapshot")) } else { Ok(()) };
    }
    if time_us > handles.clock.now_us() {
        return Err(later_than("now"));
    }
    if time_us > handles.tables.durable().timestamp_us {
        sequence(handles, WriteSet::default())?.await?;
    }
    // Commits do not follow a clock that has jumped.
    if time_us > handles.tables.durable().timestamp_us { Err(later_than("the last commit")) } else { Ok(()) }
}
