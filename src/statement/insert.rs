//! INSERT: the source query in the table's types, then what ON CONFLICT says, then RETURNING.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use datafusion::common::ScalarValue;
use sqlparser::ast;

use super::change::assignments;
use super::conflict::{Conflicts, Existing};
use super::response::Response;
use super::returning::returning;
use super::rows::{duplicate_key, into_table};
use super::scope::{Environment, cast, change_target, column, default_expression, skeleton};
use super::transaction::Transaction;
use crate::catalog::{Column, Table, TableKind};
use crate::error::{Error, Result, SqlState};
use crate::sql::{parse_query, relation_name};
use crate::types::{ROW_ID, SqlType};

/// INSERT INTO ... [ON CONFLICT ...] [RETURNING ...].
pub async fn insert(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    statement: &ast::Insert,
    parameters: &[ScalarValue],
) -> Result<Response> {
    let ast::TableObject::TableName(name) = &statement.table else {
        return Err(Error::not_built("INSERT INTO a function"));
    };
    let catalog = transaction.catalog(environment.handles);
    let table = change_target(&catalog, &relation_name(name)?)?;
    if table.source.is_some() {
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot insert into source \"{}\"", table.name))
            .with_hint("Its connector fills it; insert into a table."));
    }
    let source = source_query(&table, statement)?;
    let rows = environment.rows_of_query(transaction, &source, None, parameters).await?;
    let rows = into_table(&table, &rows)?;
    let alias = statement.table_alias.as_ref().map(|alias| alias.alias.value.as_str());
    let rows = match Action::of(&table, statement)? {
        Action::Plain => {
            insert_new(environment, transaction, &table, &rows).await?;
            rows
        }
        Action::Nothing => {
            transaction.lock_for_change(environment.handles, &table).await?;
            let conflicts = Conflicts::find(environment.handles, transaction, &table, &rows).await?;
            let new: BooleanArray = conflicts.rows().iter().map(|existing| Some(existing.is_none())).collect();
            let rows = filter_record_batch(&rows, &new)?;
            transaction.writes.insert(&table, &rows)?;
            rows
        }
        Action::Replace => {
            transaction.lock_for_change(environment.handles, &table).await?;
            upsert(environment, transaction, &table, &rows).await?
        }
        Action::Update(update) => {
            transaction.lock_for_change(environment.handles, &table).await?;
            update_existing(environment, transaction, &table, &rows, alias, update, parameters).await?
        }
    };
    let items = statement.returning.as_deref();
    returning(environment, transaction, &table, alias, items, &rows, "INSERT 0", parameters).await
}

/// Inserts rows that must be new: 23505 otherwise. Also COPY's way in.
pub async fn insert_new(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    table: &Arc<Table>,
    rows: &RecordBatch,
) -> Result<()> {
    if table.key().is_some() {
        transaction.lock_for_change(environment.handles, table).await?;
        let conflicts = Conflicts::find(environment.handles, transaction, table, rows).await?;
        if let Some(row) = conflicts.first_row() {
            return Err(duplicate_key(table, rows, row));
        }
    }
    transaction.writes.insert(table, rows)?;
    Ok(())
}

/// Inserts rows, each replacing the one with its key; the last of several new ones wins.
pub async fn upsert(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    table: &Arc<Table>,
    rows: &RecordBatch,
) -> Result<RecordBatch> {
    let conflicts = Conflicts::find(environment.handles, transaction, table, rows).await?;
    let mut last_of_first: HashMap<usize, usize> = HashMap::new();
    let mut last_of_stored: HashMap<i64, usize> = HashMap::new();
    for (row, existing) in conflicts.rows().iter().enumerate() {
        match existing {
            None => {
                last_of_first.insert(row, row);
            }
            Some(Existing::New(first)) => {
                last_of_first.insert(*first, row);
            }
            Some(Existing::Stored(stored)) => {
                let id = super::write_set::row_ids(stored).value(0);
                if last_of_stored.insert(id, row).is_none() {
                    transaction.writes.delete(table, stored)?;
                }
            }
        }
    }
    let mut kept: Vec<u32> = last_of_first.values().chain(last_of_stored.values()).map(|row| *row as u32).collect();
    kept.sort_unstable();
    let rows = take_record_batch(rows, &UInt32Array::from(kept))?;
    transaction.writes.insert(table, &rows)?;
    Ok(rows)
}

/// What becomes of a row whose key exists.
enum Action<'a> {
    /// 23505 where there is a key.
    Plain,
    Nothing,
    /// The table's own `on_conflict = 'update'`.
    Replace,
    Update(&'a ast::DoUpdate),
}

impl<'a> Action<'a> {
    fn of(table: &Table, statement: &'a ast::Insert) -> Result<Action<'a>> {
        let conflict = match &statement.on {
            None if table.upsert => return Ok(Action::Replace),
            None => return Ok(Action::Plain),
            Some(ast::OnInsert::OnConflict(conflict)) => conflict,
            Some(_) => return Err(Error::not_built("ON DUPLICATE KEY").with_hint("Use ON CONFLICT.")),
        };
        check_conflict_target(table, conflict)?;
        match &conflict.action {
            ast::OnConflictAction::DoNothing if table.key().is_none() => Ok(Action::Plain),
            ast::OnConflictAction::DoNothing => Ok(Action::Nothing),
            ast::OnConflictAction::DoUpdate(update) => Ok(Action::Update(update)),
        }
    }
}

fn check_conflict_target(table: &Table, conflict: &ast::OnConflict) -> Result<()> {
    let no_constraint = || {
        Error::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        )
    };
    let key = match &table.kind {
        TableKind::PrimaryKey { columns } => columns.as_slice(),
        _ => &[],
    };
    match &conflict.conflict_target {
        None if matches!(conflict.action, ast::OnConflictAction::DoNothing) => Ok(()),
        None => Err(Error::new(
            SqlState::SYNTAX_ERROR,
            "ON CONFLICT DO UPDATE requires inference specification or constraint name",
        )
        .with_hint("For example, ON CONFLICT (column_name).")),
        Some(ast::ConflictTarget::OnConstraint(name)) => {
            let expected = format!("{}_pkey", table.name);
            if key.is_empty() || relation_name(name)? != expected { Err(no_constraint()) } else { Ok(()) }
        }
        Some(ast::ConflictTarget::Columns(columns)) => {
            let mut named: Vec<String> = columns.iter().map(|column| column.value.to_lowercase()).collect();
            let mut expected: Vec<String> = key.iter().map(|column| table.columns[*column].name.clone()).collect();
            named.sort();
            expected.sort();
            if key.is_empty() || named != expected { Err(no_constraint()) } else { Ok(()) }
        }
    }
}

/// DO UPDATE: new rows go in, existing ones are changed by the assignments over the row and `excluded`.
async fn update_existing(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    table: &Arc<Table>,
    rows: &RecordBatch,
    alias: Option<&str>,
    update: &ast::DoUpdate,
    parameters: &[ScalarValue],
) -> Result<RecordBatch> {
    let conflicts = Conflicts::find(environment.handles, transaction, table, rows).await?;
    let mut stored = Vec::new();
    let mut excluded: Vec<u32> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (row, existing) in conflicts.rows().iter().enumerate() {
        let twice = match existing {
            None => false,
            Some(Existing::New(_)) => true,
            Some(Existing::Stored(existing)) => {
                stored.push(existing.clone());
                excluded.push(row as u32);
                !seen.insert(super::write_set::row_ids(existing).value(0))
            }
        };
        if twice {
            return Err(Error::new(
                SqlState::CARDINALITY_VIOLATION,
                "ON CONFLICT DO UPDATE command cannot affect row a second time",
            )
            .with_hint(
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ));
        }
    }
    let new: BooleanArray = conflicts.rows().iter().map(|existing| Some(existing.is_none())).collect();
    let new = filter_record_batch(rows, &new)?;
    transaction.writes.insert(table, &new)?;
    if stored.is_empty() {
        return Ok(new);
    }
    let stored = concat_batches(&table.schema_with_row_id(), &stored)?;
    let excluded = take_record_batch(rows, &UInt32Array::from(excluded))?;
    let changed = evaluate(environment, transaction, table, &stored, &excluded, alias, update, parameters).await?;
    let width = table.columns.len();
    let old = RecordBatch::try_new(table.schema_with_row_id(), changed.columns()[..=width].to_vec())?;
    let after = into_table(table, &changed.project(&(width + 1..width * 2 + 1).collect::<Vec<_>>())?)?;
    transaction.writes.delete(table, &old)?;
    let conflicts = Conflicts::find(environment.handles, transaction, table, &after).await?;
    if let Some(row) = conflicts.first_row() {
        return Err(duplicate_key(table, &after, row));
    }
    transaction.writes.insert(table, &after)?;
    Ok(concat_batches(&table.schema(), [&new, &after])?)
}

/// The rows that change: whole as they were, then as they become.
#[expect(clippy::too_many_arguments, reason = "the parts of one clause")]
async fn evaluate(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    table: &Arc<Table>,
    stored: &RecordBatch,
    excluded: &RecordBatch,
    alias: Option<&str>,
    update: &ast::DoUpdate,
    parameters: &[ScalarValue],
) -> Result<RecordBatch> {
    const PAIR: &str = "__pair";
    let numbered = |rows: &RecordBatch, names: Vec<String>| -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(Int64Array::from_iter_values(0..rows.num_rows() as i64)));
        let fields = names.into_iter().chain([PAIR.to_owned()]).zip(columns);
        Ok(RecordBatch::try_from_iter_with_nullable(fields.map(|(name, column)| (name, column, true)))?)
    };
    let names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
    let with_id = names.iter().cloned().chain([ROW_ID.to_owned()]).collect();
    let target = alias.unwrap_or(&table.name);
    let relations = vec![
        (target.to_owned(), numbered(stored, with_id)?),
        ("excluded".to_owned(), numbered(excluded, names.clone())?),
    ];
    let set = assignments(table, &update.assignments)?;
    let mut projection: Vec<ast::SelectItem> = Vec::new();
    let own = names.iter().map(String::as_str).chain([ROW_ID]).map(|name| column(target, name));
    let after = (0..names.len()).map(|index| match set.iter().find(|(column, _)| *column == index) {
        Some((_, expression)) => expression.clone(),
        None => column(target, &names[index]),
    });
    for (index, expr) in own.chain(after).enumerate() {
        projection
            .push(ast::SelectItem::ExprWithAlias { expr, alias: ast::Ident::with_quote('"', format!("__{index}")) });
    }
    let quoted = format!("\"{}\"", target.replace('"', "\"\""));
    let join = parse_query(&format!("SELECT 1 FROM {quoted} JOIN excluded ON {quoted}.{PAIR} = excluded.{PAIR}"))?;
    let ast::SetExpr::Select(select) = *join.body else { return Err(Error::internal("a query without SELECT")) };
    let query = skeleton(projection, select.from, update.selection.clone())?;
    environment.rows_of_query_over(transaction, &query, relations, parameters).await
}

/// The rows to insert as a query: every column of the table, in order, in its type.
pub fn source_query(table: &Table, statement: &ast::Insert) -> Result<ast::Query> {
    if statement.or.is_some() || statement.overwrite || statement.replace_into || statement.partitioned.is_some() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "not PostgreSQL's INSERT"));
    }
    let columns = named_columns(table, &statement.columns)?;
    let Some(source) = &statement.source else {
        // DEFAULT VALUES
        return defaults_query(table);
    };
    if let ast::SetExpr::Values(values) = source.body.as_ref() {
        return values_query(table, columns, source, values);
    }
    let columns = columns.unwrap_or_else(|| (0..table.user_columns().len()).collect());
    let names: Vec<String> = (0..columns.len()).map(|index| format!("{SOURCE}_{index}")).collect();
    let wrapped = parse_query(&format!("SELECT 1 FROM (SELECT 1) AS {SOURCE} ({})", names.join(", ")))?;
    let ast::SetExpr::Select(mut select) = *wrapped.body else { return Err(Error::internal("a query without SELECT")) };
    if let Some(ast::TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
        *subquery = source.clone();
        name_apart(subquery);
    }
    let projection = table.columns.iter().enumerate().map(|(index, target)| {
        let value = match columns.iter().position(|column| *column == index) {
            Some(position) => column(SOURCE, &names[position]),
            None => default_expression(target)?,
        };
        Ok(ast::SelectItem::UnnamedExpr(cast(value, &target.sql_type)?))
    });
    skeleton(projection.collect::<Result<_>>()?, select.from, None)
}

const SOURCE: &str = "__source";

/// A subquery's columns need names of their own: an expression that comes again gets one.
fn name_apart(query: &mut ast::Query) {
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut seen: Vec<String> = Vec::new();
    for (index, item) in select.projection.iter_mut().enumerate() {
        let ast::SelectItem::UnnamedExpr(expr) = item else { continue };
        let text = expr.to_string();
        if seen.contains(&text) {
            let alias = ast::Ident::with_quote('"', format!("{SOURCE}_again_{index}"));
            *item = ast::SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        } else {
            seen.push(text);
        }
    }
}

/// Positions of the named columns; `None` where the statement names none.
fn named_columns(table: &Table, names: &[ast::ObjectName]) -> Result<Option<Vec<usize>>> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut columns = Vec::new();
    for name in names {
        let name = relation_name(name)?;
        let column = table.user_columns().iter().position(|column| column.name == name).ok_or_else(|| {
            Error::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
            )
        })?;
        if columns.contains(&column) {
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
        }
        columns.push(column);
    }
    Ok(Some(columns))
}

fn defaults_query(table: &Table) -> Result<ast::Query> {
    let values = table
        .columns
        .iter()
        .map(|column| Ok(ast::SelectItem::UnnamedExpr(cast(default_expression(column)?, &column.sql_type)?)));
    skeleton(values.collect::<Result<_>>()?, Vec::new(), None)
}

/// VALUES with each value cast to its column's type, DEFAULT and left-out columns filled in.
fn values_query(
    table: &Table,
    columns: Option<Vec<usize>>,
    source: &ast::Query,
    values: &ast::Values,
) -> Result<ast::Query> {
    let width = values.rows.first().map_or(0, |row| row.content.len());
    let columns = columns.unwrap_or_else(|| (0..table.user_columns().len().min(width.max(1))).collect());
    if values.rows.iter().any(|row| row.content.len() != width) {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length"));
    }
    let mut query = source.clone();
    let mut rows = values.clone();
    for row in &mut rows.rows {
        let (given, expected) = (row.content.len(), columns.len());
        if given != expected {
            let which = match given > expected {
                true => "more expressions than target columns",
                false => "more target columns than expressions",
            };
            return Err(Error::new(SqlState::SYNTAX_ERROR, format!("INSERT has {which}")));
        }
        let mut given: Vec<Option<ast::Expr>> = vec![None; table.columns.len()];
        for (column, value) in columns.iter().zip(row.content.drain(..)) {
            let is_default = matches!(&value, ast::Expr::Identifier(word)
                if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"));
            refuse_literal(&table.columns[*column], &value)?;
            given[*column] = (!is_default).then_some(value);
        }
        for (value, column) in given.into_iter().zip(&table.columns) {
            let value = value.map_or_else(|| default_expression(column), Ok)?;
            row.content.push(cast(value, &column.sql_type)?);
        }
    }
    *query.body = ast::SetExpr::Values(rows);
    Ok(query)
}

/// PostgreSQL assigns a literal only where a cast by assignment exists: never a boolean to a number, nor a number to a
/// time.
fn refuse_literal(column: &Column, value: &ast::Expr) -> Result<()> {
    let ast::Expr::Value(value) = value else { return Ok(()) };
    let is_text = matches!(column.sql_type, SqlType::Text | SqlType::Varchar(_));
    let is_number = matches!(
        column.sql_type,
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Float4 | SqlType::Float8 | SqlType::Numeric { .. }
    );
    let (fits, name) = match &value.value {
        ast::Value::Boolean(_) => (is_text || column.sql_type == SqlType::Boolean, "boolean"),
        ast::Value::Number(digits, _) if digits.contains(['.', 'e', 'E']) => (is_text || is_number, "numeric"),
        ast::Value::Number(digits, _) if digits.parse::<i32>().is_ok() => (is_text || is_number, "integer"),
        ast::Value::Number(..) => (is_text || is_number, "bigint"),
        _ => return Ok(()),
    };
    if fits {
        return Ok(());
    }
    let message = format!("column \"{}\" is of type {} but expression is of type {name}", column.name, column.sql_type);
    Err(Error::new(SqlState::DATATYPE_MISMATCH, message).with_hint("You will need to rewrite or cast the expression."))
}
