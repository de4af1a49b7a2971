//! `to_timestamp(text, pattern)`, `to_date(text, pattern)` and `to_timestamp(seconds)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use chrono_tz::Tz;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::external;
use super::pattern::{Piece, parse};
use super::read::{ReadTime, read};
use crate::error::{Error, SqlState};
use crate::functions::sql_types::timestamptz;
use crate::functions::type_name;
use crate::types::calendar::{SECOND_US, offset_of_local};
use crate::types::parse::parse_time_zone;

/// 4714-11-24 BC.
const TIMESTAMP_FIRST_US: i64 = -210_866_803_200_000_000;
/// Which is infinity, and the first one too late.
const TIMESTAMP_END_US: i64 = i64::MAX;
const DATE_FIRST_DAYS: i64 = -2_440_588;
/// 5874898-01-01.
const DATE_END_DAYS: i64 = 2_145_042_906;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Timestamp,
    Date,
}

/// One of the two functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ToTime {
    kind: Kind,
    signature: Signature,
}

impl ToTime {
    pub fn functions() -> Vec<Arc<ScalarUDF>> {
        let function = |kind| {
            let signature = Signature::user_defined(Volatility::Immutable);
            Arc::new(ScalarUDF::from(ToTime { kind, signature }))
        };
        vec![function(Kind::Timestamp), function(Kind::Date)]
    }
}

impl ScalarUDFImpl for ToTime {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Timestamp => "to_timestamp",
            Kind::Date => "to_date",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |data_type: &DataType| data_type.is_string() || data_type.is_null();
        match (self.kind, arg_types) {
            (Kind::Timestamp, [seconds]) if seconds.is_numeric() || seconds.is_null() => Ok(vec![DataType::Float64]),
            // The third is the session's zone, put there by the analyzer.
            (_, [text, pattern] | [text, pattern, _]) if is_text(text) && is_text(pattern) => {
                Ok(vec![DataType::Utf8; arg_types.len()])
            }
            _ => {
                let types: Vec<String> = arg_types.iter().map(type_name).collect();
                let message = format!("function {}({}) does not exist", self.name(), types.join(", "));
                Err(external(
                    Error::new(SqlState::UNDEFINED_FUNCTION, message)
                        .with_hint("Give a text and a pattern, or cast the text to the type."),
                ))
            }
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Timestamp => timestamptz(),
            Kind::Date => DataType::Date32,
        })
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let values: ArrayRef = match args.args.as_slice() {
            [seconds] => from_seconds(&seconds.to_array(rows)?)?,
            [text, pattern, rest @ ..] => {
                let times = Times { texts: text.to_array(rows)?, patterns: Patterns::of(pattern, rows)? };
                let zone = match rest.first() {
                    Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))) => parse_time_zone(name),
                    _ => None,
                };
                match self.kind {
                    Kind::Timestamp => {
                        let instants = times.map(|time, text| instant(time, zone.unwrap_or(Tz::UTC), text))?;
                        Arc::new(TimestampMicrosecondArray::from(instants).with_data_type(timestamptz()))
                    }
                    Kind::Date => Arc::new(Date32Array::from(times.map(date)?)),
                }
            }
            [] => return internal_err!("an argument is missing"),
        };
        match is_scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            false => Ok(ColumnarValue::Array(values)),
        }
    }
}

/// A pattern for each row; one that is the same for all is taken apart once.
enum Patterns {
    Constant(Vec<Piece>),
    Column(ArrayRef),
}

impl Patterns {
    fn of(pattern: &ColumnarValue, rows: usize) -> Result<Patterns> {
        Ok(match pattern {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern))) => Patterns::Constant(parse(pattern)),
            other => Patterns::Column(cast(&other.to_array(rows)?, &DataType::Utf8)?),
        })
    }
}

struct Times {
    texts: ArrayRef,
    patterns: Patterns,
}

impl Times {
    /// What `make` gives for each row that has a text and a pattern.
    fn map<T>(&self, make: impl Fn(ReadTime, &str) -> Result<T, Error>) -> Result<Vec<Option<T>>> {
        let texts = cast(&self.texts, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let one = |row: usize| -> Result<Option<T>, Error> {
            if texts.is_null(row) {
                return Ok(None);
            }
            let text = texts.value(row);
            let time = match &self.patterns {
                Patterns::Constant(pieces) => read(text, pieces)?,
                Patterns::Column(patterns) if patterns.is_null(row) => return Ok(None),
                Patterns::Column(patterns) => read(text, &parse(patterns.as_string::<i32>().value(row)))?,
            };
            make(time, text).map(Some)
        };
        (0..texts.len()).map(|row| one(row).map_err(external)).collect()
    }
}

/// An instant; the clock is the zone's, unless the text named an offset.
fn instant(time: ReadTime, zone: Tz, text: &str) -> Result<i64, Error> {
    let clock_us = time.clock_us();
    let offset = |clock_us| time.offset.unwrap_or_else(|| i64::from(offset_of_local(zone, clock_us)));
    clock_us
        .and_then(|clock_us| clock_us.checked_sub(offset(clock_us) * SECOND_US))
        .filter(|instant| (TIMESTAMP_FIRST_US..TIMESTAMP_END_US).contains(instant))
        .ok_or_else(|| Error::new(SqlState::DATETIME_OVERFLOW, format!("timestamp out of range: \"{text}\"")))
}

fn date(time: ReadTime, text: &str) -> Result<i32, Error> {
    i32::try_from(time.days)
        .ok()
        .filter(|_| (DATE_FIRST_DAYS..DATE_END_DAYS).contains(&time.days))
        .ok_or_else(|| Error::new(SqlState::DATETIME_OVERFLOW, format!("date out of range: \"{text}\"")))
}

/// Seconds since 1970, rounded to microseconds.
fn from_seconds(seconds: &ArrayRef) -> Result<ArrayRef> {
    let seconds = cast(seconds, &DataType::Float64)?;
    let instants = seconds.as_primitive::<Float64Type>().iter().map(|seconds| {
        let Some(seconds) = seconds else { return Ok(None) };
        let overflow = |message: String| external(Error::new(SqlState::DATETIME_OVERFLOW, message));
        if seconds.is_nan() {
            return Err(overflow("timestamp cannot be NaN".to_owned()));
        }
        if seconds.is_infinite() {
            return Ok(Some(if seconds > 0.0 { i64::MAX } else { i64::MIN }));
        }
        let micros = (seconds * SECOND_US as f64).round_ties_even();
        if !(TIMESTAMP_FIRST_US as f64..TIMESTAMP_END_US as f64).contains(&micros) {
            return Err(overflow(format!("timestamp out of range: \"{seconds}\"")));
        }
        Ok(Some(micros as i64))
    });
    let instants: TimestampMicrosecondArray = instants.collect::<Result<_>>()?;
    Ok(Arc::new(instants.with_data_type(timestamptz())))
}
