//! What a table's columns look like in its files.
//!
//! The table's columns in order, then `_row_id`. Field ids follow Iceberg's rules: position + 1 for a column unless the
//! table was altered, a fixed high id for the row id, which no column can reach. A column that a file does not have has
//! one value for all of the file's rows. Parquet has no form for intervals of months, days and
//! nanoseconds: they are 16 bytes (months, days as 4 and nanoseconds as 8 bytes, little endian). A UUID is its 16 bytes. A column that was widened stands in older files in the type that it had.

use std::collections::HashMap;
use std::sync::Arc;

use ::parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, IntervalMonthDayNanoArray, RecordBatch, RecordBatchOptions,
    UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef,
};
use arrow::ipc::reader::StreamReader;

use crate::catalog::{StoredColumn, Table};
use crate::error::{Error, Result};
use crate::tier::statistics::holds_nan;
use crate::tier::{ColumnBounds, DataFile};
use crate::types::{ROW_ID, widened};

/// Field id of `_row_id`.
const ROW_ID_FIELD_ID: i32 = 2_000_000_000;
const INTERVAL_BYTES: usize = 16;

/// Two schemas, table and file, and the way from one to the other.
#[derive(Debug, Clone)]
pub struct StoredForm {
    table: SchemaRef,
    file: SchemaRef,
    /// For each of the table's columns its field id, and what rows have that were written before it.
    columns: Vec<(u32, ArrayRef)>,
    /// For each of them whether files have it in a narrower type.
    widened: Vec<bool>,
    altered: bool,
}

impl StoredForm {
    /// Errors: XX001 where the value for rows from before a column does not read back.
    pub fn new(table: &Table) -> Result<Self> {
        let stored = table.stored_columns();
        let schema = table.schema_with_row_id();
        let row_id =
            StoredColumn { field_id: ROW_ID_FIELD_ID as u32, name: ROW_ID.to_string(), missing: None, widened: false };
        let fields = schema.fields().iter().zip(stored.iter().chain([&row_id])).map(|(field, stored)| {
            let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_string(), stored.field_id.to_string())]);
            Field::new(&stored.name, stored_type(field.data_type()), field.is_nullable()).with_metadata(metadata)
        });
        let file = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = stored.iter().zip(schema.fields());
        let columns = columns.map(|(stored, field)| Ok((stored.field_id, missing_value(stored, field.data_type())?)));
        let columns = columns.collect::<Result<_>>()?;
        let widened = stored.iter().map(|stored| stored.widened).collect();
        Ok(StoredForm { table: schema, file, columns, widened, altered: !table.stored.is_empty() })
    }

    /// Where a column (or, behind the last, `_row_id`) stands in a file; `None`: the file does not have it.
    pub fn position_in(&self, file: &DataFile, column: usize) -> Option<usize> {
        match self.columns.get(column) {
            Some((field_id, _)) => file.position_of(*field_id),
            None => Some(file.row_id_position()),
        }
    }

    /// A column of `rows` rows that a file does not have.
    pub fn missing(&self, column: usize, rows: usize) -> Result<ArrayRef> {
        let value = self.columns.get(column).map(|(_, value)| value);
        let value = value.ok_or_else(|| Error::internal("a column that no table has"))?;
        Ok(take(value, &UInt32Array::from_value(0, rows), None)?)
    }

    /// For each of the table's columns, whether rows of these files may have a NaN in it.
    pub fn may_hold_nan(&self, files: &[DataFile]) -> Result<Vec<bool>> {
        let in_file = |column: usize, file: &DataFile| match self.position_in(file, column) {
            // Beside a NaN, NULLs alone have no bounds.
            Some(position) => {
                let has_none = |bounds: &ColumnBounds| bounds.min.is_none() && bounds.null_count < file.rows;
                Ok(file.columns.get(position).is_none_or(has_none))
            }
            None => Ok(holds_nan(&self.missing(column, 1)?)),
        };
        let may_hold_nan = |(column, field): (usize, &FieldRef)| -> Result<bool> {
            let files = files.iter().map(|file| in_file(column, file));
            Ok(field.data_type().is_floating() && files.collect::<Result<Vec<_>>>()?.contains(&true))
        };
        let fields = self.table.fields().iter().take(self.columns.len());
        fields.enumerate().map(may_hold_nan).collect()
    }

    /// Whether some files have a column in a narrower type, whose values were written down otherwise.
    pub fn is_widened(&self, column: usize) -> bool {
        self.widened.get(column).is_some_and(|widened| *widened)
    }

    /// Of the table's columns, in order.
    pub fn field_ids(&self) -> Vec<u32> {
        self.columns.iter().map(|(field_id, _)| *field_id).collect()
    }

    /// For the manifest: nothing where positions tell.
    pub fn field_ids_to_note(&self) -> Vec<u32> {
        if self.altered { self.field_ids() } else { Vec::new() }
    }

    pub fn table_schema(&self) -> &SchemaRef {
        &self.table
    }

    /// With field ids.
    pub fn file_schema(&self) -> &SchemaRef {
        &self.file
    }

    /// The file's schema without field ids, as readers ask for it.
    pub fn scan_schema(&self) -> SchemaRef {
        let fields = self.file.fields().iter().map(|field| field.as_ref().clone().with_metadata(HashMap::new()));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Whether a column stands in files as it is, under its name.
    pub fn is_same(&self, column: usize) -> bool {
        let (table, file) = (self.table.fields().get(column), self.file.fields().get(column));
        table
            .zip(file)
            .is_some_and(|(table, file)| table.data_type() == file.data_type() && table.name() == file.name())
    }

    pub fn to_stored(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = rows.columns().iter().map(to_stored).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(self.file.clone(), columns)?)
    }
}

/// Columns of a file as columns of `schema` (of the same length and order).
pub(crate) fn from_stored(schema: &SchemaRef, columns: &[ArrayRef], rows: usize) -> Result<RecordBatch> {
    let wanted = schema.fields().iter().map(|field| field.data_type());
    let columns = columns.iter().zip(wanted).map(|(column, data_type)| from_stored_column(column, data_type));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<Vec<_>>>()?, &options)?)
}

/// One row: what a column's rows from before it have.
fn missing_value(stored: &StoredColumn, data_type: &DataType) -> Result<ArrayRef> {
    let Some(bytes) = &stored.missing else { return Ok(new_null_array(data_type, 1)) };
    let damaged = || Error::corrupted(format!("the value of rows from before column \"{}\" is damaged", stored.name));
    let mut reader = StreamReader::try_new(bytes.as_slice(), None).map_err(|_| damaged())?;
    let rows = reader.next().and_then(|rows| rows.ok()).ok_or_else(damaged)?;
    match rows.columns() {
        [value] if value.len() == 1 => Ok(widened(value, data_type).ok_or_else(damaged)??),
        _ => Err(damaged()),
    }
}

fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Interval(IntervalUnit::MonthDayNano) => DataType::FixedSizeBinary(INTERVAL_BYTES as i32),
        other => other.clone(),
    }
}

fn to_stored(column: &ArrayRef) -> Result<ArrayRef> {
    let Some(intervals) = column.as_primitive_opt::<IntervalMonthDayNanoType>() else { return Ok(column.clone()) };
    let mut builder = FixedSizeBinaryBuilder::with_capacity(intervals.len(), INTERVAL_BYTES as i32);
    for value in intervals {
        match value {
            Some(value) => builder.append_value(interval_bytes(value))?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// Files from before a column was widened have it in the former type.
fn from_stored_column(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if column.data_type() == wanted {
        return Ok(column.clone());
    }
    match (wanted, column.as_fixed_size_binary_opt()) {
        (DataType::Interval(IntervalUnit::MonthDayNano), Some(bytes)) => {
            let values = bytes.iter().map(|value| value.map(bytes_interval).transpose()).collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(IntervalMonthDayNanoArray::from(values)))
        }
        _ => match widened(column, wanted) {
            Some(wide) => Ok(wide?),
            None => Err(Error::corrupted(format!("a file holds {} where {wanted} is expected", column.data_type()))),
        },
    }
}

fn interval_bytes(value: IntervalMonthDayNano) -> [u8; INTERVAL_BYTES] {
    let mut bytes = [0; INTERVAL_BYTES];
    let (days_at, nanoseconds_at) = (4, 8);
    bytes[..days_at].copy_from_slice(&value.months.to_le_bytes());
    bytes[days_at..nanoseconds_at].copy_from_slice(&value.days.to_le_bytes());
    bytes[nanoseconds_at..].copy_from_slice(&value.nanoseconds.to_le_bytes());
    bytes
}

fn bytes_interval(bytes: &[u8]) -> Result<IntervalMonthDayNano> {
    let parts = bytes.split_first_chunk::<4>().and_then(|(months, rest)| {
        let (days, rest) = rest.split_first_chunk::<4>()?;
        Some((months, days, rest.first_chunk::<8>()?))
    });
    let (months, days, nanoseconds) =
        parts.ok_or_else(|| Error::corrupted(format!("an interval of {} bytes in a file", bytes.len())))?;
    Ok(IntervalMonthDayNano {
        months: i32::from_le_bytes(*months),
        days: i32::from_le_bytes(*days),
        nanoseconds: i64::from_le_bytes(*nanoseconds),
    })
}
