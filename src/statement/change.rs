//! UPDATE and DELETE: a query finds the rows, whole and with their row ids; the transaction takes them out and puts the
//! new ones in.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::common::ScalarValue;
use sqlparser::ast;

use super::response::Response;
use super::returning::returning;
use super::rows::{duplicate_key, into_table};
use super::scope::{Environment, change_target, column, default_expression, skeleton, target_alias};
use super::transaction::Transaction;
use super::write_set::row_ids;
use crate::catalog::Table;
use crate::error::{Error, Result, SqlState};
use crate::sql::{refuse_moment, relation_name};
use crate::types::ROW_ID;

/// UPDATE ... SET ... [FROM ...] [WHERE ...] [RETURNING ...].
pub async fn update(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    statement: &ast::Update,
    parameters: &[ScalarValue],
) -> Result<Response> {
    refuse(
        &[
            (statement.limit.is_some() || !statement.order_by.is_empty(), "LIMIT in UPDATE"),
            (statement.or.is_some(), "UPDATE OR"),
            (statement.output.is_some(), "OUTPUT"),
        ],
        "Select the rows with WHERE.",
    )?;
    let table = target(environment, transaction, &statement.table)?;
    transaction.lock_for_change(environment.handles, &table).await?;
    let assignments = assignments(&table, &statement.assignments)?;
    let from = match &statement.from {
        Some(ast::UpdateTableFromKind::BeforeSet(from) | ast::UpdateTableFromKind::AfterSet(from)) => from.as_slice(),
        None => &[],
    };
    let expressions: Vec<ast::Expr> = assignments.iter().map(|(_, expression)| expression.clone()).collect();
    let found =
        find(environment, transaction, &table, &statement.table, from, &statement.selection, &expressions, parameters);
    let found = first_of_each(&found.await?, table.columns.len())?;
    let width = table.columns.len();
    let old = whole_rows(&table, &found)?;
    let mut columns: Vec<ArrayRef> = found.columns()[..width].to_vec();
    for (index, (column, _)) in assignments.iter().enumerate() {
        columns[*column] = found.column(width + 1 + index).clone();
    }
    let new = into_table(
        &table,
        &super::rows::named(
            &RecordBatch::try_from_iter_with_nullable(
                columns.into_iter().enumerate().map(|(index, array)| (table.columns[index].name.clone(), array, true)),
            )?,
            table.columns.iter().map(|column| column.name.clone()),
        )?,
    )?;
    transaction.writes.delete(&table, &old)?;
    transaction.check_unchanged(environment.handles, &table)?;
    check_new_keys(environment, transaction, &table, &new).await?;
    transaction.writes.insert(&table, &new)?;
    let items = statement.returning.as_deref();
    returning(environment, transaction, &table, target_alias(&statement.table), items, &new, "UPDATE", parameters).await
}

/// DELETE FROM ... [USING ...] [WHERE ...] [RETURNING ...].
pub async fn delete(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    statement: &ast::Delete,
    parameters: &[ScalarValue],
) -> Result<Response> {
    refuse(
        &[
            (statement.limit.is_some() || !statement.order_by.is_empty(), "LIMIT in DELETE"),
            (!statement.tables.is_empty(), "DELETE with several tables"),
            (statement.output.is_some(), "OUTPUT"),
        ],
        "Select the rows with WHERE.",
    )?;
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &statement.from;
    let [from] = from.as_slice() else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "DELETE names one table").with_hint("Name the others in USING."));
    };
    let table = target(environment, transaction, from)?;
    transaction.lock_for_change(environment.handles, &table).await?;
    let using = statement.using.as_deref().unwrap_or_default();
    let found = find(environment, transaction, &table, from, using, &statement.selection, &[], parameters).await?;
    let old = whole_rows(&table, &first_of_each(&found, table.columns.len())?)?;
    transaction.writes.delete(&table, &old)?;
    transaction.check_unchanged(environment.handles, &table)?;
    let rows = old.project(&(0..table.columns.len()).collect::<Vec<_>>())?;
    let items = statement.returning.as_deref();
    returning(environment, transaction, &table, target_alias(from), items, &rows, "DELETE", parameters).await
}

/// The table that an UPDATE or DELETE names, if its rows may be changed.
fn target(
    environment: &Environment<'_>,
    transaction: &Transaction,
    relation: &ast::TableWithJoins,
) -> Result<Arc<Table>> {
    let ast::TableFactor::Table { name, .. } = &relation.relation else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "not a table"));
    };
    refuse_moment(&relation.relation, "the table that is changed")?;
    if !relation.joins.is_empty() {
        return Err(
            Error::new(SqlState::SYNTAX_ERROR, "a join cannot be changed").with_hint("Name the others in FROM.")
        );
    }
    let catalog = transaction.catalog(environment.handles);
    let table = change_target(&catalog, &relation_name(name)?)?;
    if matches!(table.kind, crate::catalog::TableKind::AppendOnly) {
        let what = if table.source.is_some() { "source" } else { "APPEND ONLY table" };
        return Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("{what} \"{}\" does not support UPDATE and DELETE", table.name),
        )
        .with_hint("Only rows of plain and PRIMARY KEY tables can be changed."));
    }
    Ok(table)
}

/// The rows that the statement is about: the table's columns, `_row_id`, then `expressions`.
#[expect(clippy::too_many_arguments, reason = "the parts of one statement")]
async fn find(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    table: &Arc<Table>,
    relation: &ast::TableWithJoins,
    from: &[ast::TableWithJoins],
    selection: &Option<ast::Expr>,
    expressions: &[ast::Expr],
    parameters: &[ScalarValue],
) -> Result<RecordBatch> {
    let qualifier = target_alias(relation).unwrap_or(&table.name).to_owned();
    let own = table.columns.iter().map(|column| column.name.as_str()).chain([ROW_ID]);
    let own = own.enumerate().map(|(index, name)| aliased(column(&qualifier, name), format!("__old_{index}")));
    let new = expressions.iter().enumerate();
    let new = new.map(|(index, expression)| aliased(expression.clone(), format!("__new_{index}")));
    let projection = own.chain(new).collect();
    let relations = std::iter::once(relation.clone()).chain(from.iter().cloned()).collect();
    let query = skeleton(projection, relations, selection.clone())?;
    environment.rows_of_query(transaction, &query, Some(table), parameters).await
}

fn aliased(expr: ast::Expr, name: String) -> ast::SelectItem {
    ast::SelectItem::ExprWithAlias { expr, alias: ast::Ident::with_quote('"', name) }
}

/// With FROM or USING a row may be found several times; as in PostgreSQL it is changed once.
fn first_of_each(found: &RecordBatch, row_id_column: usize) -> Result<RecordBatch> {
    let ids = found.project(&[row_id_column])?;
    let mut seen = HashSet::new();
    let first: BooleanArray = row_ids(&ids).values().iter().map(|id| Some(seen.insert(*id))).collect();
    Ok(if first.false_count() == 0 { found.clone() } else { filter_record_batch(found, &first)? })
}

fn whole_rows(table: &Table, found: &RecordBatch) -> Result<RecordBatch> {
    let columns = found.columns()[..=table.columns.len()].to_vec();
    Ok(RecordBatch::try_new(table.schema_with_row_id(), columns)?)
}

/// (column, expression of its type) of each assignment.
pub(super) fn assignments(table: &Table, assignments: &[ast::Assignment]) -> Result<Vec<(usize, ast::Expr)>> {
    let mut result: Vec<(usize, ast::Expr)> = Vec::new();
    for assignment in assignments {
        let ast::AssignmentTarget::ColumnName(name) = &assignment.target else {
            return Err(Error::not_built("SET (a, b) = (...)").with_hint("Assign each column by itself."));
        };
        let name = name.0.last().and_then(|part| part.as_ident());
        let name = name.map(|name| match name.quote_style {
            Some(_) => name.value.clone(),
            None => name.value.to_lowercase(),
        });
        let name = name.unwrap_or_default();
        let index = table.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            Error::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
            )
        })?;
        if result.iter().any(|(column, _)| *column == index) {
            return Err(Error::new(SqlState::SYNTAX_ERROR, format!("multiple assignments to same column \"{name}\"")));
        }
        let value = match &assignment.value {
            ast::Expr::Identifier(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default") => {
                default_expression(&table.columns[index])?
            }
            value => value.clone(),
        };
        result.push((index, super::scope::cast(value, &table.columns[index].sql_type)?));
    }
    Ok(result)
}

/// New rows of a PRIMARY KEY table must not take the key of another row.
async fn check_new_keys(
    environment: &Environment<'_>,
    transaction: &Transaction,
    table: &Arc<Table>,
    new: &RecordBatch,
) -> Result<()> {
    if table.key().is_none() {
        return Ok(());
    }
    let conflicts = super::conflict::Conflicts::find(environment.handles, transaction, table, new).await?;
    match conflicts.first_row() {
        Some(row) => Err(duplicate_key(table, new, row)),
        None => Ok(()),
    }
}

fn refuse(clauses: &[(bool, &str)], hint: &str) -> Result<()> {
    match clauses.iter().find(|(present, _)| *present) {
        Some((_, what)) => Err(Error::not_built(what).with_hint(hint)),
        None => Ok(()),
    }
}
