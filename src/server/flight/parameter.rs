//! Parameters from Arrow: the one row that a client binds, as values of the types that the statement takes.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;

use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;
use crate::types::parse::{null_value, parse_numeric, parse_text};
use crate::types::text::{EncodeSettings, write_text};

/// Values of the row. Errors: 08P01 for another number of columns, 0A000 for more rows than one.
pub(super) fn values(types: &[SqlType], rows: &RecordBatch, zone: Tz) -> Result<Vec<ScalarValue>> {
    if rows.num_rows() != 1 {
        return Err(Error::not_built(format!("binding {} rows of parameters", rows.num_rows()))
            .with_hint("Bind one row, and run the query once for each."));
    }
    if rows.num_columns() != types.len() {
        return Err(Error::new(
            SqlState::PROTOCOL_VIOLATION,
            format!("{} parameters were bound, but the statement takes {}", rows.num_columns(), types.len()),
        ));
    }
    types.iter().zip(rows.columns()).map(|(sql_type, column)| value(sql_type, column, zone)).collect()
}

/// A value in its own Arrow form stays what it is, a number or time of another width is converted, and the rest goes by
/// PostgreSQL's rules for text.
fn value(sql_type: &SqlType, column: &ArrayRef, zone: Tz) -> Result<ScalarValue> {
    let column = match column.data_type() {
        DataType::Dictionary(_, values) => &cast(column, values)?,
        _ => column,
    };
    if column.is_null(0) {
        return Ok(null_value(sql_type));
    }
    let (given, wanted) = (column.data_type(), sql_type.arrow());
    if *given == wanted || matches!((sql_type, given), (SqlType::Numeric { .. }, DataType::Decimal128(_, _))) {
        return Ok(ScalarValue::try_from_array(column, 0)?);
    }
    if is_conversion(given, &wanted) {
        return Ok(ScalarValue::try_from_array(&cast(column, &wanted)?, 0)?);
    }
    let text = text(column)?;
    match sql_type {
        SqlType::Numeric { .. } => parse_numeric(&text),
        _ => parse_text(sql_type, &text, zone),
    }
}

/// Where Arrow's conversion gives the same value or an error.
fn is_conversion(given: &DataType, wanted: &DataType) -> bool {
    match (given, wanted) {
        (DataType::Timestamp(_, None), DataType::Timestamp(_, None)) => true,
        (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, Some(_))) => true,
        (DataType::Date64, DataType::Date32) => true,
        (DataType::Float16 | DataType::Float32, DataType::Float64) => true,
        (given, DataType::Float64) if given.is_integer() => true,
        (given, wanted) if given.is_integer() && wanted.is_integer() => true,
        (DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_), DataType::Binary) => true,
        (DataType::Duration(_) | DataType::Interval(_), DataType::Interval(_)) => true,
        _ => false,
    }
}

fn cast(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(column, wanted, &CastOptions { safe: false, ..CastOptions::default() })?)
}

fn text(column: &ArrayRef) -> Result<String> {
    if SqlType::from_arrow(column.data_type()).is_none() {
        return Err(Error::not_built(format!("a parameter of Arrow type {}", column.data_type()))
            .with_hint("Send it as text, and cast it in the statement."));
    }
    let mut text = Vec::new();
    write_text(column.as_ref(), 0, &EncodeSettings::default(), &mut text)?;
    String::from_utf8(text).map_err(Error::internal)
}

#[cfg(test)]
mod tests;
