//! Retention: which column says how old a row is, and EXPIRE, which takes the rows that are too old. Of a table:
//!
//! ```text
//! 1  the rows that are too old, at the head
//! 2  two checkpoints at or past that, each read back        what views learned of the rows is durable twice
//! 3  a commit that takes the rows from the table            views and subscribers do not hear of it
//! ```
//!
//! Expiry is not deletion: a view goes on showing what it learned of a row that has expired. From step 3 on the row's bytes
//! may go: a compaction leaves them out.

use std::sync::Arc;

use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, Months, TimeDelta};

use super::expire_view::expire_view;
use super::handles::Handles;
use super::response::Response;
use super::scope::{Environment, change_target};
use super::session_facts::plural;
use super::transaction::Transaction;
use super::verify::with_sources;
use super::write_set::row_ids;
use crate::catalog::{Catalog, CatalogChange, Relation, Retention, RowRuns, Table, TableKind, ViewColumn};
use crate::commit::{SequencedWrite, Write};
use crate::dataflow::ViewStatus;
use crate::error::{Error, Result, SqlState};
use crate::sql::{RetentionOption, parse_query};
use crate::types::{ROW_ID, RelationId, RowId, SqlType};

/// Rows of one commit that takes some.
const ROWS_MAX: usize = 1 << 20;

/// The retention of a table that an option asks for. Errors: 22023 where no column, or more than one, could tell a row's age;
/// 42703; 0A000 for a table with a primary key.
pub fn retention_of(table: &Table, option: &RetentionOption) -> Result<Retention> {
    if matches!(table.kind, TableKind::PrimaryKey { .. }) {
        return Err(Error::not_built("retention of a table with a primary key")
            .with_hint("DELETE the rows that are too old, or keep them in an APPEND ONLY table."));
    }
    let columns: Vec<_> = table.user_columns().iter().map(|column| (&*column.name, &column.sql_type)).collect();
    let position = age_column("table", &table.name, &columns, option)?;
    let field_id = table.stored_columns().get(position).map(|stored| stored.field_id);
    Ok(retention(option, field_id.ok_or_else(|| Error::internal("a column without a field id"))?))
}

/// The same of a materialized view.
pub fn retention_of_view(name: &str, columns: &[ViewColumn], option: &RetentionOption) -> Result<Retention> {
    let columns: Vec<_> = columns.iter().map(|column| (&*column.name, &column.sql_type)).collect();
    let position = age_column("materialized view", name, &columns, option)?;
    Ok(retention(option, position as u32 + 1))
}

fn retention(option: &RetentionOption, field_id: u32) -> Retention {
    let IntervalMonthDayNano { months, days, nanoseconds } = option.interval;
    Retention { field_id, text: option.text.clone(), months, days, us: nanoseconds / 1000 }
}

/// Position of the column that says how old a row is: the one that is named, or the only one with a time.
fn age_column(kind: &str, name: &str, columns: &[(&str, &SqlType)], option: &RetentionOption) -> Result<usize> {
    let invalid = |message: String| Error::new(SqlState::INVALID_PARAMETER, message);
    if let Some(named) = &option.column {
        let position = columns.iter().position(|(column, _)| column == named).ok_or_else(|| {
            let message = format!("column \"{named}\" of relation \"{name}\" does not exist");
            Error::new(SqlState::UNDEFINED_COLUMN, message)
        })?;
        if columns[position].1.tells_time() {
            return Ok(position);
        }
        return Err(invalid(format!("column \"{named}\" does not say how old a row is"))
            .with_hint("retention_column names a column of type timestamptz, timestamp or date."));
    }
    let mut found = columns.iter().enumerate().filter(|(_, (_, sql_type))| sql_type.tells_time());
    match (found.next(), found.next()) {
        (Some((position, _)), None) => Ok(position),
        (first, _) => {
            let what = if first.is_some() { "more than one column" } else { "no column" };
            Err(invalid(format!("{kind} \"{name}\" has {what} with a time"))
                .with_hint("retention_column = 'name' says which timestamptz, timestamp or date tells a row's age."))
        }
    }
}

/// `EXPIRE [TABLE] name`.
pub async fn expire(environment: &Environment<'_>, transaction: &mut Transaction, name: &str) -> Result<Response> {
    if !transaction.is_autocommit && !transaction.is_untouched_pipeline() {
        return Err(Error::new(SqlState::ACTIVE_TRANSACTION, "EXPIRE cannot run inside a transaction block")
            .with_hint("COMMIT first."));
    }
    let handles = environment.handles;
    let catalog = handles.catalog();
    if let Some(Relation::MaterializedView(view)) = catalog.find(name) {
        return expire_view(handles, &catalog, view).await;
    }
    let table = change_target(&catalog, name)?;
    let Some(retention) = catalog.retention(table.id) else {
        return Err(Error::new(SqlState::OBJECT_NOT_IN_STATE, format!("table \"{name}\" has no retention"))
            .with_hint("ALTER TABLE ... SET (retention = '30 days')."));
    };
    let done = |rows: u64| Ok(Response::Done { tag: format!("EXPIRE {rows}") });
    // Whatever the commits' time is, it is not later than that: mostly there is nothing to do.
    let latest_us = cutoff_us(handles.clock.now_us(), retention)?;
    if rows_before(environment, transaction, &table, retention, latest_us, RowId::MAX, 1).await?.is_empty() {
        return done(0);
    }
    // From here to the commit that takes the rows no view is made or filled again: it would learn of them, and no checkpoint
    // would know.
    let definitions = handles.definitions.lock().await;
    let catalog = handles.catalog();
    // Everything that has a row id by now is durable once the next commit is.
    let end = handles.sequencer.next_row_id();
    let before_us = cutoff_of_commits(handles, retention).await?;
    learn(handles, &catalog, table.id, &format!("table \"{}\"", table.name)).await?;
    transaction.lock_for_change(handles, &table).await?;
    let mut expired = 0;
    loop {
        let rows = rows_before(environment, transaction, &table, retention, before_us, end, ROWS_MAX).await?;
        let count = rows.len();
        if count > 0 {
            take(environment, &table, before_us, rows).await?;
            expired += count as u64;
        }
        if count < ROWS_MAX {
            drop(definitions);
            return done(expired);
        }
    }
}

/// Rows from before this moment are too old, by the time of a commit that comes now.
pub(super) async fn cutoff_of_commits(handles: &Handles, retention: &Retention) -> Result<i64> {
    handles.sequencer.sequence(Write::default(), |_| Ok(()))?.1.await?;
    // Where a wrong clock was once believed, the time of commits stays ahead of the right one: the earlier of both counts.
    cutoff_us(handles.tables.durable().timestamp_us.min(handles.clock.now_us()), retention)
}

/// Rows from before this moment are too old.
pub(super) fn cutoff_us(now_us: i64, retention: &Retention) -> Result<i64> {
    let now = DateTime::from_timestamp_micros(now_us);
    let days = TimeDelta::try_days(retention.days.into());
    let cutoff = now
        .and_then(|now| now.checked_sub_months(Months::new(retention.months.unsigned_abs())))
        .and_then(|day| day.checked_sub_signed(days?))
        .and_then(|time| time.checked_sub_signed(TimeDelta::microseconds(retention.us)));
    // Who keeps rows for longer than there is time keeps them all.
    Ok(cutoff.map_or(i64::MIN, |cutoff| cutoff.timestamp_micros()))
}

/// Ids of some of the rows from before a moment, and with smaller ids than `end`.
async fn rows_before(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    table: &Arc<Table>,
    retention: &Retention,
    before_us: i64,
    end: RowId,
    rows_max: usize,
) -> Result<Vec<RowId>> {
    let position = table.stored_columns().iter().position(|stored| stored.field_id == retention.field_id);
    let Some(column) = position.and_then(|position| table.columns.get(position)) else {
        return Err(Error::internal("a retention without its column"));
    };
    let Some(moment) = DateTime::from_timestamp_micros(before_us) else { return Ok(Vec::new()) };
    let (sql_type, moment) = match column.sql_type {
        SqlType::Timestamptz => ("timestamptz", moment.format("%Y-%m-%d %H:%M:%S%.6f+00")),
        SqlType::Timestamp => ("timestamp", moment.format("%Y-%m-%d %H:%M:%S%.6f")),
        _ => ("date", moment.format("%Y-%m-%d")),
    };
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let query = parse_query(&format!(
        "SELECT {ROW_ID} FROM {} WHERE {} < CAST('{moment}' AS {sql_type}) AND {ROW_ID} < {end} LIMIT {rows_max}",
        quoted(&table.name),
        quoted(&column.name)
    ))?;
    let rows = environment.rows_of_query(transaction, &query, Some(table), &[]).await?;
    Ok(row_ids(&rows).values().to_vec())
}

/// What views learned of the relation's rows becomes durable twice, where there are views over it. Errors: 55000 where one of them
/// does not follow its tables. `subject`: the relation, for messages.
pub(super) async fn learn(handles: &Handles, catalog: &Catalog, relation: RelationId, subject: &str) -> Result<()> {
    let views: Vec<_> =
        catalog.materialized_views().filter(|view| with_sources(catalog, view.id).contains(&relation)).collect();
    if views.iter().all(|view| view.id == relation) {
        return Ok(());
    }
    for _ in 0..2 {
        handles.checkpointer.checkpoint().await?;
    }
    let stats = handles.dataflows.stats();
    let is_live = |view: RelationId| stats.iter().any(|stats| stats.view == view && stats.status == ViewStatus::Live);
    match views.iter().find(|view| !is_live(view.id)) {
        None => Ok(()),
        Some(view) => Err(Error::new(
            SqlState::OBJECT_NOT_IN_STATE,
            format!("rows of {subject} cannot expire while materialized view \"{}\" does not follow it", view.name),
        )
        .with_detail("The view would be filled again without them.")
        .with_hint("ALTER MATERIALIZED VIEW ... RESUME, or DROP it.")),
    }
}

async fn take(environment: &Environment<'_>, table: &Table, before_us: i64, rows: Vec<RowId>) -> Result<()> {
    let handles = environment.handles;
    tracing::info!(table = %table.name, rows = %plural(rows.len() as u64, "row"), "expired");
    let change = CatalogChange::Expire { table: table.id, before_us, rows: RowRuns::new(rows) };
    let write = Write { catalog: vec![change], ..Write::default() };
    let apply = |sequenced: &SequencedWrite<'_>| handles.tables.apply_with_definitions(sequenced);
    handles.sequencer.sequence(write, apply)?.1.await.map(drop)
}
