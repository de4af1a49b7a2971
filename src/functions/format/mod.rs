//! `to_char`, `to_timestamp`, `to_date` and `to_number`, by PostgreSQL's patterns.

mod number;
mod number_pattern;
mod pattern;
mod print;
mod read;
mod to_number;
mod to_time;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use chrono_tz::Tz;
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use self::number::NumberText;
use self::number_pattern::NumberPattern;
use self::pattern::{Piece, parse};
use self::print::Printed;
pub use self::to_number::ToNumber;
pub use self::to_time::ToTime;
use super::sql_types::timestamptz;
use super::type_name;
use crate::error::{Error, SqlState};
use crate::types::parse::parse_time_zone;

/// `to_char(value, pattern [, zone])`; the zone is the session's, put there by the analyzer beside a timestamptz.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ToChar {
    signature: Signature,
}

impl ToChar {
    pub fn function() -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(ToChar { signature: Signature::user_defined(Volatility::Immutable) }))
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (Some(value), 2..=3) = (arg_types.first(), arg_types.len()) else {
            return Err(external(Error::new(SqlState::UNDEFINED_FUNCTION, "to_char takes a value and a pattern")));
        };
        let value = match value {
            DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            DataType::Timestamp(_, Some(_)) | DataType::Null => timestamptz(),
            DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => value.clone(),
            number if number.is_numeric() => DataType::Int64,
            other => {
                let message = format!("function to_char({}, text) does not exist", type_name(other));
                return Err(external(Error::new(SqlState::UNDEFINED_FUNCTION, message)));
            }
        };
        let mut coerced = vec![value, DataType::Utf8];
        coerced.extend(arg_types.get(2).map(|_| DataType::Utf8));
        Ok(coerced)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, pattern, ..] = args.args.as_slice() else { return internal_err!("an argument is missing") };
        let is_scalar = matches!((value, pattern), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let zone = match args.args.get(2) {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))) => parse_time_zone(name).unwrap_or(Tz::UTC),
            _ => Tz::UTC,
        };
        let values = value.to_array(rows)?;
        let patterns = cast(&pattern.to_array(rows)?, &DataType::Utf8)?;
        let patterns = patterns.as_string::<i32>();
        let texts: ArrayRef = match values.data_type().is_numeric() {
            true => Arc::new(numbers(&values, patterns).map_err(external)?),
            false => Arc::new(times(&values, patterns, zone).map_err(external)?),
        };
        match is_scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)),
            false => Ok(ColumnarValue::Array(texts)),
        }
    }
}

fn times(values: &ArrayRef, patterns: &StringArray, zone: Tz) -> Result<StringArray, Error> {
    let mut last: Option<(&str, Vec<Piece>)> = None;
    let mut texts = StringBuilder::new();
    for (row, pattern) in patterns.iter().enumerate() {
        let (Some(pattern), Some(printed)) = (pattern, printed(values, row, zone)) else {
            texts.append_null();
            continue;
        };
        // A pattern that is the same for all rows is taken apart once.
        let (_, pieces) = match last.take() {
            Some(same) if same.0 == pattern => last.insert(same),
            _ => last.insert((pattern, parse(pattern))),
        };
        texts.append_value(printed.print(pieces)?);
    }
    Ok(texts.finish())
}

fn numbers(values: &ArrayRef, patterns: &StringArray) -> Result<StringArray, Error> {
    let mut last: Option<(&str, NumberPattern)> = None;
    let mut texts = StringBuilder::new();
    for (row, pattern) in patterns.iter().enumerate() {
        let (Some(pattern), true) = (pattern, values.is_valid(row)) else {
            texts.append_null();
            continue;
        };
        let (_, parsed) = match last.take() {
            Some(same) if same.0 == pattern => last.insert(same),
            _ => last.insert((pattern, NumberPattern::parse(pattern)?)),
        };
        texts.append_value(NumberText::of(values, row, parsed).print(parsed));
    }
    Ok(texts.finish())
}

/// `None` for NULL and for infinite times.
fn printed(values: &ArrayRef, row: usize, zone: Tz) -> Option<Printed> {
    if values.is_null(row) {
        return None;
    }
    if let Some(intervals) = values.as_primitive_opt::<IntervalMonthDayNanoType>() {
        let value = intervals.value(row);
        return Some(Printed::interval(value.months, value.days, value.nanoseconds / 1000));
    }
    let times = values.as_primitive_opt::<TimestampMicrosecondType>()?;
    match times.value(row) {
        i64::MAX | i64::MIN => None,
        time if matches!(times.data_type(), DataType::Timestamp(_, Some(_))) => Printed::instant(time, zone),
        time => Some(Printed::clock(time)),
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
