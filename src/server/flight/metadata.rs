//! What clients ask about the database: catalogs, schemas, tables, keys; answered from the system tables.
//!
//! [`schema`] knows each answer's columns without asking anything; [`rows`] asks.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::{Command, CommandGetPrimaryKeys, CommandGetTables};
use futures::TryStreamExt;

use super::info::{sql_info, type_info};
use super::prepared::{schema_of, single};
use crate::error::{Error, Result, SqlState};
use crate::session::{Connection, NAME};

/// Kinds of relations, as clients filter by them.
const TABLE_TYPES: [&str; 4] = ["TABLE", "VIEW", "MATERIALIZED VIEW", "SYSTEM TABLE"];

/// The columns of the answer to a question about the database. `None`: the command is none.
pub(super) fn schema(command: &Command) -> Option<SchemaRef> {
    Some(match command.clone() {
        Command::CommandGetCatalogs(command) => command.into_builder().schema(),
        Command::CommandGetDbSchemas(command) => command.into_builder().schema(),
        Command::CommandGetTables(command) => command.into_builder().schema(),
        Command::CommandGetTableTypes(command) => command.into_builder().schema(),
        Command::CommandGetSqlInfo(command) => command.into_builder(sql_info().ok()?).schema(),
        Command::CommandGetXdbcTypeInfo(command) => command.into_builder(type_info().ok()?).schema(),
        Command::CommandGetPrimaryKeys(_) => primary_key_schema(),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => foreign_key_schema(),
        _ => return None,
    })
}

/// The answer.
pub(super) async fn rows(session: &mut dyn Connection, command: Command) -> Result<RecordBatch> {
    match command {
        Command::CommandGetCatalogs(command) => {
            let mut builder = command.into_builder();
            builder.append(NAME);
            builder.build().map_err(flight_error)
        }
        Command::CommandGetDbSchemas(command) => {
            let mut builder = command.into_builder();
            let found = query(session, "SELECT nspname FROM pg_catalog.pg_namespace").await?;
            for schema in texts(&found, 0)? {
                builder.append(NAME, schema);
            }
            builder.build().map_err(flight_error)
        }
        Command::CommandGetTables(command) => tables(session, command).await,
        Command::CommandGetTableTypes(command) => {
            let mut builder = command.into_builder();
            TABLE_TYPES.iter().for_each(|table_type| builder.append(table_type));
            builder.build().map_err(flight_error)
        }
        Command::CommandGetSqlInfo(command) => command.into_builder(sql_info()?).build().map_err(flight_error),
        Command::CommandGetXdbcTypeInfo(command) => command.into_builder(type_info()?).build().map_err(flight_error),
        Command::CommandGetPrimaryKeys(command) => primary_keys(session, &command).await,
        // There are no foreign keys.
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => Ok(RecordBatch::new_empty(foreign_key_schema())),
        other => Err(Error::not_built(format!("the Flight command {}", other.type_url()))),
    }
}

async fn tables(session: &mut dyn Connection, command: CommandGetTables) -> Result<RecordBatch> {
    let mut sql = "SELECT n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c \
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'm')"
        .to_owned();
    for (column, pattern) in
        [("n.nspname", &command.db_schema_filter_pattern), ("c.relname", &command.table_name_filter_pattern)]
    {
        if let Some(pattern) = pattern {
            sql.push_str(&format!(" AND {column} LIKE {}", literal(pattern)));
        }
    }
    let found = query(session, &sql).await?;
    let (with_schema, wanted) = (command.include_schema, command.table_types.clone());
    let mut builder = command.into_builder();
    for ((schema, name), kind) in texts(&found, 0)?.zip(texts(&found, 1)?).zip(texts(&found, 2)?) {
        let table_type = match (schema, kind) {
            ("public", "r") => "TABLE",
            ("public", "v") => "VIEW",
            ("public", _) => "MATERIALIZED VIEW",
            _ => "SYSTEM TABLE",
        };
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == table_type) {
            continue;
        }
        let columns = match with_schema {
            true => columns(session, schema, name).await?,
            false => Some(Schema::empty()),
        };
        if let Some(columns) = columns {
            builder.append(NAME, schema, name, table_type, &columns).map_err(flight_error)?;
        }
    }
    builder.build().map_err(flight_error)
}

/// The schema that reading a whole relation has. `None`: it was dropped in the meantime.
async fn columns(session: &mut dyn Connection, schema: &str, name: &str) -> Result<Option<Schema>> {
    let statement = single(session.parse(&format!("SELECT * FROM {}.{}", quoted(schema), quoted(name)))?)?;
    match session.describe(&statement, &[]).await {
        Ok(description) => Ok(Some(schema_of(&description.columns.unwrap_or_default()))),
        Err(error) if error.state() == SqlState::UNDEFINED_TABLE => Ok(None),
        Err(error) => Err(error),
    }
}

/// An index has its table's key columns, in the order of the key.
async fn primary_keys(session: &mut dyn Connection, command: &CommandGetPrimaryKeys) -> Result<RecordBatch> {
    let mut sql = format!(
        "SELECT n.nspname, c.relname, a.attname, x.relname, CAST(a.attnum AS integer) FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indexrelid \
         WHERE i.indisprimary AND c.relname = {}",
        literal(&command.table)
    );
    if let Some(schema) = &command.db_schema {
        sql.push_str(&format!(" AND n.nspname = {}", literal(schema)));
    }
    if command.catalog.as_deref().is_some_and(|catalog| catalog != NAME) {
        sql.push_str(" AND false");
    }
    sql.push_str(" ORDER BY 1, 5");
    let found = query(session, &sql).await?;
    let catalogs: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(NAME, found.num_rows())));
    let sequence: Int32Array = found.column(4).as_primitive().clone();
    let column = |at: usize| found.column(at).clone();
    let columns = vec![catalogs, column(0), column(1), column(2), column(3), Arc::new(sequence)];
    Ok(RecordBatch::try_new(primary_key_schema(), columns)?)
}

fn primary_key_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

fn foreign_key_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

fn text(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}

/// All rows of a query of ours.
async fn query(session: &mut dyn Connection, sql: &str) -> Result<RecordBatch> {
    let statement = single(session.parse(sql)?)?;
    let held = session.hold(&statement, Vec::new()).await?;
    let mut batches = Vec::new();
    for part in 0..held.parts() {
        batches.extend(held.read(part).await?.try_collect::<Vec<_>>().await?);
    }
    Ok(concat_batches(&held.schema(), &batches)?)
}

/// A column of names, none of them NULL.
fn texts(rows: &RecordBatch, column: usize) -> Result<impl Iterator<Item = &str>> {
    let column = rows.columns().get(column).and_then(|column| column.as_string_opt::<i32>());
    let column = column.filter(|column| column.null_count() == 0);
    Ok(column.ok_or_else(|| Error::internal("a column of the system tables that is no text"))?.iter().flatten())
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn flight_error(error: FlightError) -> Error {
    match error {
        FlightError::Arrow(error) => Error::from(error),
        other => Error::internal(other),
    }
}
