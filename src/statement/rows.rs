//! Rows on their way into a table: into its types, and against its constraints.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::TryStreamExt;

use super::response::RowStream;
use crate::catalog::Table;
use crate::commit::HeldBytes;
use crate::delta::batch_bytes;
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;
use crate::types::text::{EncodeSettings, write_text};

/// All batches of a stream as one.
pub async fn collect(schema: SchemaRef, rows: RowStream) -> Result<RecordBatch> {
    let batches: Vec<RecordBatch> = rows.try_collect().await?;
    Ok(concat_batches(&schema, &batches)?)
}

/// The same of rows that are to be written: they count as held from the first batch on. Errors: 53200 where that is too
/// much.
pub async fn collect_held(schema: SchemaRef, mut rows: RowStream, held: &mut HeldBytes) -> Result<RecordBatch> {
    let mut batches = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        held.add(batch_bytes(&batch) as u64)?;
        batches.push(batch);
    }
    Ok(concat_batches(&schema, &batches)?)
}

/// The first columns of `rows` as rows of `table`, checked: NOT NULL, varchar(n).
pub fn into_table(table: &Table, rows: &RecordBatch) -> Result<RecordBatch> {
    let columns = rows.columns().iter().zip(&table.columns);
    let columns =
        columns.map(|(array, column)| to_type(array, &column.sql_type.arrow())).collect::<Result<Vec<_>>>()?;
    for (index, column) in table.columns.iter().enumerate() {
        if column.not_null && columns[index].null_count() > 0 {
            let row = (0..columns[index].len()).find(|row| columns[index].is_null(*row)).unwrap_or(0);
            return Err(Error::new(
                SqlState::NOT_NULL_VIOLATION,
                format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name, table.name
                ),
            )
            .with_detail(format!("Failing row contains ({}).", row_text(&columns, row))));
        }
        if let SqlType::Varchar(Some(length)) = column.sql_type {
            check_length(&columns[index], length)?;
        }
    }
    Ok(RecordBatch::try_new(table.schema(), columns)?)
}

/// 23505 as PostgreSQL words it, for the key of one row.
pub fn duplicate_key(table: &Table, rows: &RecordBatch, row: usize) -> Error {
    let key = table.key().unwrap_or_default();
    let names: Vec<&str> = key.iter().map(|column| table.columns[*column].name.as_str()).collect();
    let values: Vec<ArrayRef> = key.iter().map(|column| rows.column(*column).clone()).collect();
    Error::new(
        SqlState::UNIQUE_VIOLATION,
        format!("duplicate key value violates unique constraint \"{}_pkey\"", table.name),
    )
    .with_detail(format!("Key ({})=({}) already exists.", names.join(", "), row_text(&values, row)))
    .with_hint("ON CONFLICT says what to do with a row whose key exists.")
}

/// The values of one row as text, for messages.
pub fn row_text(columns: &[ArrayRef], row: usize) -> String {
    let settings = EncodeSettings::default();
    let values = columns.iter().map(|column| {
        if column.is_null(row) {
            return "null".to_owned();
        }
        let mut text = Vec::new();
        match write_text(column.as_ref(), row, &settings, &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(_) => "?".to_owned(),
        }
    });
    values.collect::<Vec<_>>().join(", ")
}

/// Batches with the given names and nullable columns, for a small in-memory table.
pub fn named(rows: &RecordBatch, names: impl IntoIterator<Item = String>) -> Result<RecordBatch> {
    let fields = names.into_iter().zip(rows.columns());
    let fields: Vec<Field> = fields.map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), rows.columns().to_vec())?)
}

fn to_type(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if array.data_type() == data_type {
        return Ok(array.clone());
    }
    Ok(cast_with_options(array, data_type, &CastOptions { safe: false, ..CastOptions::default() })?)
}

fn check_length(array: &ArrayRef, length: u32) -> Result<()> {
    let too_long = array
        .as_string::<i32>()
        .iter()
        .flatten()
        .any(|text| text.len() > length as usize && text.chars().count() > length as usize);
    if too_long {
        return Err(Error::new(
            SqlState::STRING_TOO_LONG,
            format!("value too long for type character varying({length})"),
        ));
    }
    Ok(())
}
