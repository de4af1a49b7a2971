//! ALTER TABLE: a table's next definition, and those of the views that read it.
//!
//! Rows are not rewritten: columns have field ids, and what a file lacks is what the column's definition says. A writer
//! that was under way with the former columns is refused where it is sequenced.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::StreamWriter;
use sqlparser::ast;

use super::define::{check_defaults, is_taken, skipping};
use super::dependents::carry_over;
use super::response::Response;
use super::scope::{self, Environment, default_expression, no_relation, skeleton};
use super::transaction::Transaction;
use crate::catalog::{Catalog, CatalogChange, Column, Relation, StoredColumn, Table, TableKind};
use crate::error::{Error, Result, SqlState};
use crate::sql::{AlterAction, AlterTable};
use crate::types::SqlType;

pub async fn alter_table(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    alter: &AlterTable,
) -> Result<Response> {
    transaction.lock_definitions(environment.handles).await?;
    let catalog = transaction.catalog(environment.handles);
    let done = Response::Done { tag: "ALTER TABLE".to_owned() };
    let Some(table) = altered_table(environment, &catalog, alter)? else { return Ok(done) };
    // Statements that read the table in order to change it come to their end first.
    transaction.lock_for_change(environment.handles, &table).await?;
    let mut next = Table {
        stored: table.stored_columns(),
        last_field_id: table.last_field_id.max(table.columns.len() as u32),
        schema_version: table.schema_version + 1,
        ..table.as_ref().clone()
    };
    for action in &alter.actions {
        match action {
            AlterAction::AddColumn { column, if_not_exists } => {
                add_column(environment, transaction, &mut next, column, *if_not_exists).await?;
            }
            AlterAction::DropColumn { name, if_exists } => {
                refuse_time_column(&catalog, &next, name)?;
                drop_column(environment, &mut next, name, *if_exists)?;
            }
            AlterAction::RenameColumn { from, to } => rename_column(&mut next, from, to)?,
            AlterAction::SetDefault { column, default } => {
                set_default(environment, &mut next, column, default.as_ref())?
            }
            AlterAction::SetType { column, sql_type } => set_type(environment, &mut next, column, sql_type)?,
            AlterAction::RenameTo(name) => {
                is_taken(environment, &catalog, name, false)?;
                next.name.clone_from(name);
            }
        }
    }
    // A column that was dropped and added again is another one, also where it looks the same.
    if (&next.columns, &next.name) != (&table.columns, &table.name) || next.stored != table.stored_columns() {
        let moved = moved_columns(&table, &next);
        let change = CatalogChange::AlterTable(Arc::new(next));
        let others = carry_over(environment, &catalog, table.id, &change, &moved, transaction.started_us)?;
        for change in &others {
            if let CatalogChange::ReplaceMaterializedView { view, .. } = change {
                let message = format!("materialized view \"{}\" is filled again", view.name);
                environment.session.notice(skipping(message));
            }
        }
        [change].into_iter().chain(others).try_for_each(|change| transaction.define(change))?;
    }
    Ok(done)
}

/// `None`: there is none, and that is fine.
fn altered_table(environment: &Environment<'_>, catalog: &Catalog, alter: &AlterTable) -> Result<Option<Arc<Table>>> {
    match catalog.find(&alter.name) {
        Some(Relation::Table(table)) if table.source.is_some() => {
            Err(Error::not_built("ALTER TABLE of a source").with_hint("DROP the source and CREATE it again."))
        }
        Some(Relation::Table(table)) => Ok(Some(table.clone())),
        Some(other) => Err(Error::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is not a table but a {}", alter.name, other.kind_name()),
        )),
        None if alter.if_exists => {
            environment.session.notice(skipping(format!("relation \"{}\" does not exist, skipping", alter.name)));
            Ok(None)
        }
        None => Err(no_relation(catalog, &alter.name)),
    }
}

/// For each column of the table as it was, where it is now.
fn moved_columns(table: &Table, next: &Table) -> Vec<Option<usize>> {
    let place = |former: &StoredColumn| next.stored.iter().position(|column| column.field_id == former.field_id);
    table.stored_columns().iter().map(place).collect()
}

async fn add_column(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    table: &mut Table,
    column: &Column,
    if_not_exists: bool,
) -> Result<()> {
    if table.columns.iter().any(|other| other.name == column.name) {
        let message = format!("column \"{}\" of relation \"{}\" already exists", column.name, table.name);
        if if_not_exists {
            environment.session.notice(skipping(format!("{message}, skipping")));
            return Ok(());
        }
        return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
    }
    let field_id = table.last_field_id + 1;
    let taken = table.stored.iter().map(|stored| &stored.name).chain(&table.dropped).any(|name| *name == column.name);
    let name = if taken { format!("{}#{field_id}", column.name) } else { column.name.clone() };
    // The column that rows are marked in is hidden behind the user's.
    let place = table.user_columns().len();
    table.columns.insert(place, column.clone());
    check_defaults(environment, table)?;
    let missing = value_of_default(environment, transaction, column).await?;
    if column.not_null && missing.is_none() {
        let message = format!("column \"{}\" of relation \"{}\" contains null values", column.name, table.name);
        return Err(Error::new(SqlState::NOT_NULL_VIOLATION, message).with_hint("Give the column a DEFAULT."));
    }
    table.stored.insert(place, StoredColumn { field_id, name, missing, widened: false });
    table.last_field_id = field_id;
    Ok(())
}

/// What rows from before the column have: its DEFAULT, computed now. `None`: NULL.
async fn value_of_default(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    column: &Column,
) -> Result<Option<Vec<u8>>> {
    if column.default.is_none() {
        return Ok(None);
    }
    let value = scope::cast(default_expression(column)?, &column.sql_type)?;
    let query = skeleton(vec![ast::SelectItem::UnnamedExpr(value)], Vec::new(), None)?;
    let rows = environment.rows_of_query(transaction, &query, None, &[]).await?;
    let data_type = column.sql_type.arrow();
    let value = cast(rows.column(0), &data_type)?;
    if value.is_null(0) {
        return Ok(None);
    }
    let schema = Arc::new(Schema::new(vec![Field::new("", data_type, true)]));
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &schema)?;
    writer.write(&RecordBatch::try_new(schema.clone(), vec![value])?)?;
    writer.finish()?;
    drop(writer);
    Ok(Some(bytes))
}

fn drop_column(environment: &Environment<'_>, table: &mut Table, name: &str, if_exists: bool) -> Result<()> {
    let position = match place_of(table, name) {
        Ok(position) => position,
        Err(error) if if_exists => {
            environment.session.notice(skipping(format!("{}, skipping", error.message())));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if let TableKind::PrimaryKey { columns } = &mut table.kind {
        if columns.contains(&position) {
            return Err(Error::not_built("DROP COLUMN of a column of the primary key")
                .with_hint("Make a new table and INSERT the rows into it."));
        }
        columns.iter_mut().filter(|column| **column > position).for_each(|column| *column -= 1);
    }
    if table.user_columns().len() == 1 {
        return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, "a table needs at least one column"));
    }
    table.columns.remove(position);
    let stored = table.stored.remove(position);
    table.dropped.push(stored.name);
    Ok(())
}

/// The column that says how old the table's rows are stays as long as that matters, and the one that its watermark follows stays.
fn refuse_time_column(catalog: &Catalog, table: &Table, name: &str) -> Result<()> {
    let position = table.columns.iter().position(|column| column.name == name);
    let field_id = position.and_then(|position| table.stored.get(position)).map(|stored| stored.field_id);
    if table.watermark.as_ref().is_some_and(|watermark| watermark.column == name) {
        let message = format!("cannot drop column {name} of table {} because its watermark depends on it", table.name);
        return Err(Error::new(SqlState::DEPENDENT_OBJECTS, message)
            .with_hint("Make a table without a WATERMARK and INSERT the rows into it."));
    }
    match catalog.retention(table.id) {
        Some(retention) if Some(retention.field_id) == field_id => {
            let message =
                format!("cannot drop column {name} of table {} because its retention depends on it", table.name);
            Err(Error::new(SqlState::DEPENDENT_OBJECTS, message)
                .with_hint("ALTER TABLE ... RESET (retention), or set another retention_column, first."))
        }
        _ => Ok(()),
    }
}

fn rename_column(table: &mut Table, from: &str, to: &str) -> Result<()> {
    let position = place_of(table, from)?;
    if table.columns.iter().any(|column| column.name == to) {
        let message = format!("column \"{to}\" of relation \"{}\" already exists", table.name);
        return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
    }
    table.columns[position].name = to.to_owned();
    if let Some(watermark) = table.watermark.as_mut().filter(|watermark| watermark.column == from) {
        to.clone_into(&mut watermark.column);
    }
    Ok(())
}

/// Rows from before keep what they have, also those that have it from the column's first DEFAULT.
fn set_default(environment: &Environment<'_>, table: &mut Table, name: &str, default: Option<&String>) -> Result<()> {
    let position = place_of(table, name)?;
    table.columns[position].default = default.cloned();
    check_defaults(environment, table)
}

/// Rows are not rewritten: files have the former type, and are read as the wider one.
///
/// Errors: 0A000 for a type that does not have all values of the former.
fn set_type(environment: &Environment<'_>, table: &mut Table, name: &str, sql_type: &SqlType) -> Result<()> {
    let position = place_of(table, name)?;
    let former = std::mem::replace(&mut table.columns[position].sql_type, sql_type.clone());
    if former == *sql_type {
        return Ok(());
    }
    if !former.widens_to(sql_type) {
        return Err(Error::not_built(format!("ALTER COLUMN {name} TYPE {sql_type}, which is {former}")).with_hint(
            "A type can be widened: smallint to integer and bigint, real to double precision, numeric to one with more digits \
             before the point, varchar to a longer one and to text. For other types ADD a column, UPDATE it and DROP this one.",
        ));
    }
    table.stored[position].widened |= former.arrow() != sql_type.arrow();
    check_defaults(environment, table)
}

/// Among the user's columns. Errors: 42703.
fn place_of(table: &Table, name: &str) -> Result<usize> {
    table.user_columns().iter().position(|column| column.name == name).ok_or_else(|| {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
        Error::new(SqlState::UNDEFINED_COLUMN, message)
    })
}
