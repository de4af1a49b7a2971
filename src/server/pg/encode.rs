//! Rows as DataRow messages, straight from arrays, in text and in binary.
//!
//! Each column is looked at once per batch: brought to the Arrow form that its declared type has, where it comes in a
//! wider one, and paired with the format the client asked for. Text is what [`crate::types::text`] prints, and is the
//! binary form of strings too.

mod array;
mod binary;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DurationMicrosecondArray, IntervalMonthDayNanoArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use arrow::util::display::FormatOptions;

use super::backend::{Outbox, patch_length};
use super::gate::violation;
use crate::error::{Error, Result};
use crate::session::{EncodeSettings, OutputColumn};
use crate::types::SqlType;
use crate::types::text::ColumnText;

use array::ArrayBinary;
use binary::ColumnBinary;
pub(super) use binary::{EPOCH_DAYS, EPOCH_US, JSONB_VERSION};

/// A column's format code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

impl Format {
    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }

    fn from_code(code: i16) -> Result<Format> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            _ => Err(violation(format_args!("unsupported format code: {code}"))),
        }
    }

    /// Bind's rule: no code means text for all, one code is for all, else there is one for each.
    pub fn spread(codes: &[i16], count: usize, what: &str) -> Result<Vec<Format>> {
        match codes {
            [] => Ok(vec![Format::Text; count]),
            [code] => Ok(vec![Format::from_code(*code)?; count]),
            codes if codes.len() == count => codes.iter().map(|code| Format::from_code(*code)).collect(),
            codes => {
                Err(violation(format_args!("bind message has {} {what} formats but {count} {what}s", codes.len())))
            }
        }
    }
}

/// A batch whose columns have a form that can be written.
pub(super) struct WireBatch {
    columns: Vec<(ArrayRef, SqlType, Format)>,
    rows: usize,
}

impl WireBatch {
    /// `formats` may be shorter than `columns`: the rest is text.
    pub fn new(batch: &RecordBatch, columns: &[OutputColumn], formats: &[Format]) -> Result<WireBatch> {
        if batch.num_columns() != columns.len() {
            return Err(Error::internal(format_args!(
                "a result of {} columns was announced with {}",
                batch.num_columns(),
                columns.len()
            )));
        }
        let columns = batch.columns().iter().zip(columns).enumerate().map(|(index, (array, column))| {
            let format = formats.get(index).copied().unwrap_or(Format::Text);
            Ok((writable(array, &column.sql_type, format)?, column.sql_type.clone(), format))
        });
        Ok(WireBatch { columns: columns.collect::<Result<_>>()?, rows: batch.num_rows() })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends rows until `out` is full or the range ends; returns the row it came to.
    pub fn write(&self, rows: Range<usize>, settings: &EncodeSettings, out: &mut Outbox) -> Result<usize> {
        let columns = self.columns.iter().map(|(array, sql_type, format)| ColumnWriter::new(array, sql_type, *format));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let mut row = rows.start;
        while row < rows.end {
            out.message(b'D', |body| write_row(&columns, row, settings, body))?;
            row += 1;
            if out.is_full() {
                break;
            }
        }
        Ok(row)
    }
}

fn write_row(columns: &[ColumnWriter], row: usize, settings: &EncodeSettings, body: &mut Vec<u8>) -> Result<()> {
    body.extend_from_slice(&(columns.len() as u16).to_be_bytes());
    for column in columns {
        let at = body.len();
        body.extend_from_slice(&(-1_i32).to_be_bytes());
        if column.write(row, settings, body)? {
            patch_length(body, at, false)?;
        }
    }
    Ok(())
}

enum ColumnWriter<'a> {
    Text(ColumnText<'a>),
    Binary(ColumnBinary<'a>),
    Array(Box<ArrayBinary<'a>>),
}

impl<'a> ColumnWriter<'a> {
    fn new(array: &'a ArrayRef, sql_type: &SqlType, format: Format) -> Result<Self> {
        match (format, sql_type) {
            (Format::Text, _) | (Format::Binary, SqlType::Text | SqlType::Varchar(_)) => {
                ColumnText::new(array.as_ref()).map(ColumnWriter::Text)
            }
            (Format::Binary, SqlType::Array(element)) => {
                ArrayBinary::new(array, element).map(|arrays| ColumnWriter::Array(Box::new(arrays)))
            }
            (Format::Binary, _) => ColumnBinary::new(array.as_ref()).map(ColumnWriter::Binary),
        }
    }

    /// False, and nothing written, for NULL.
    fn write(&self, row: usize, settings: &EncodeSettings, out: &mut Vec<u8>) -> Result<bool> {
        match self {
            ColumnWriter::Text(column) if column.is_null(row) => Ok(false),
            ColumnWriter::Text(column) => {
                column.write(row, settings, out);
                Ok(true)
            }
            ColumnWriter::Binary(column) => column.write(row, out),
            ColumnWriter::Array(arrays) => arrays.write(row, out),
        }
    }
}

/// Brings a column to a form that is written as values of `sql_type`.
fn writable(array: &ArrayRef, sql_type: &SqlType, format: Format) -> Result<ArrayRef> {
    let is_text = matches!(sql_type, SqlType::Text | SqlType::Varchar(_));
    match array.data_type() {
        data_type if *data_type == sql_type.arrow() => Ok(array.clone()),
        DataType::Decimal128(_, _) if matches!(sql_type, SqlType::Numeric { .. }) => Ok(array.clone()),
        DataType::List(_) if matches!(sql_type, SqlType::Array(_)) => Ok(array.clone()),
        DataType::Null => Ok(arrow::array::new_null_array(&sql_type.arrow(), array.len())),
        DataType::Dictionary(_, value) => writable(&cast(array, value)?, sql_type, format),
        // Whatever has a text form of PostgreSQL's is text in it, not in Arrow's.
        data_type if is_text && SqlType::from_arrow(data_type).is_some() => Ok(array.clone()),
        DataType::Struct(_) | DataType::Map(_, _) => ColumnText::new(array.as_ref()).map(|_| array.clone()),
        // Printed alike whatever the width or the unit.
        data_type
            if format == Format::Text
                && SqlType::from_arrow(data_type).is_some_and(|natural| natural.oid() == sql_type.oid()) =>
        {
            Ok(array.clone())
        }
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale)
            if matches!(sql_type, SqlType::Numeric { .. }) =>
        {
            cast(array, &DataType::Decimal128(*precision, *scale))
        }
        DataType::Duration(_) if *sql_type == SqlType::Interval => {
            let durations = cast(array, &DataType::Duration(TimeUnit::Microsecond))?;
            Ok(Arc::new(in_days(durations.as_primitive())))
        }
        _ => cast(array, &sql_type.arrow()),
    }
}

/// A difference of timestamps counts days, in binary as in text.
fn in_days(durations: &DurationMicrosecondArray) -> IntervalMonthDayNanoArray {
    const DAY_US: i64 = 86_400_000_000;
    let interval = |us: i64| IntervalMonthDayNano::new(0, (us / DAY_US) as i32, us % DAY_US * 1000);
    durations.iter().map(|us| us.map(interval)).collect()
}

/// Values that do not fit are an error, never NULL.
fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(array.as_ref(), to, &options).map_err(Error::from)
}

#[cfg(test)]
mod tests;
