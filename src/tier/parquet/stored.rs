//! What a table's columns look like in its files.
//!
//! The table's columns in order, then `_row_id`. Field ids follow Iceberg's rules: position + 1 for a column, a fixed
//! high id for the row id, which no column can reach. Parquet has no form for intervals of months, days and
//! nanoseconds: they are 16 bytes (months, days as 4 and nanoseconds as 8 bytes, little endian).

use std::collections::HashMap;
use std::sync::Arc;

use ::parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, IntervalMonthDayNanoArray, RecordBatch, RecordBatchOptions,
};
use arrow::datatypes::{
    DataType, Field, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef,
};

use crate::error::{Error, Result};

/// Field id of `_row_id`.
const ROW_ID_FIELD_ID: i32 = 2_000_000_000;
const INTERVAL_BYTES: usize = 16;

/// Two schemas, table and file, and the way from one to the other.
#[derive(Debug, Clone)]
pub struct StoredForm {
    table: SchemaRef,
    file: SchemaRef,
}

impl StoredForm {
    /// Of a table's schema with `_row_id` as the last column.
    pub fn new(table: SchemaRef) -> Self {
        let fields = table.fields();
        let last = fields.len().saturating_sub(1);
        let stored = fields.iter().enumerate().map(|(position, field)| {
            let id = if position == last { ROW_ID_FIELD_ID } else { position as i32 + 1 };
            let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_string(), id.to_string())]);
            Field::new(field.name(), stored_type(field.data_type()), field.is_nullable()).with_metadata(metadata)
        });
        let file = Arc::new(Schema::new(stored.collect::<Vec<_>>()));
        StoredForm { table, file }
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

    /// Whether a column stands in files as it is.
    pub fn is_same(&self, column: usize) -> bool {
        self.table.fields().get(column).is_some_and(|field| stored_type(field.data_type()) == *field.data_type())
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

fn from_stored_column(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if column.data_type() == wanted {
        return Ok(column.clone());
    }
    match (wanted, column.as_fixed_size_binary_opt()) {
        (DataType::Interval(IntervalUnit::MonthDayNano), Some(bytes)) => {
            let values = bytes.iter().map(|value| value.map(bytes_interval).transpose()).collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(IntervalMonthDayNanoArray::from(values)))
        }
        _ => Err(Error::corrupted(format!("a file holds {} where {wanted} is expected", column.data_type()))),
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
