//! Values from text, by PostgreSQL's input rules: the inverse of [`super::text`].
//!
//! COPY, the wire's text parameters, casts from literals and connectors all read through here, so that the same text
//! means the same value wherever it comes from. Each function takes the text of one value and allocates nothing unless
//! the value itself needs it (bytea).
//!
//! Does not know: NULL's spelling, quoting, columns. Has no clock: `now`, `today` and their like are refused by name.

mod array;
mod interval;
mod number;
mod time;
mod uuid;

use std::sync::Arc;

use arrow::datatypes::IntervalMonthDayNano;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;

use super::json::parse_jsonb;
use super::{SqlType, UUID_BYTES};
use crate::error::{Error, Result, SqlState};

pub use self::uuid::parse_uuid;
pub use array::{parse_array, parse_elements};
pub use interval::parse_interval;
pub use number::{parse_decimal, parse_f32, parse_f64, parse_i16, parse_i32, parse_i64, parse_numeric};
pub use time::{parse_date, parse_time_zone, parse_timestamp, parse_timestamptz};

/// One value of a type. `zone` is the session's: a timestamptz that names none is meant in it.
pub fn parse_text(sql_type: &SqlType, text: &str, zone: Tz) -> Result<ScalarValue> {
    Ok(match sql_type {
        SqlType::Boolean => ScalarValue::Boolean(Some(parse_bool(text)?)),
        SqlType::Int2 => ScalarValue::Int16(Some(parse_i16(text)?)),
        SqlType::Int4 => ScalarValue::Int32(Some(parse_i32(text)?)),
        SqlType::Int8 => ScalarValue::Int64(Some(parse_i64(text)?)),
        SqlType::Float4 => ScalarValue::Float32(Some(parse_f32(text)?)),
        SqlType::Float8 => ScalarValue::Float64(Some(parse_f64(text)?)),
        SqlType::Numeric { precision, scale } => {
            ScalarValue::Decimal128(Some(parse_decimal(text, *precision, *scale)?), *precision, *scale)
        }
        SqlType::Text => ScalarValue::Utf8(Some(text.to_owned())),
        SqlType::Varchar(length) => ScalarValue::Utf8(Some(fit_varchar(text, *length)?.to_owned())),
        SqlType::Bytea => ScalarValue::Binary(Some(parse_bytea(text)?)),
        SqlType::Date => ScalarValue::Date32(Some(parse_date(text)?)),
        SqlType::Timestamp => ScalarValue::TimestampMicrosecond(Some(parse_timestamp(text)?), None),
        SqlType::Timestamptz => {
            ScalarValue::TimestampMicrosecond(Some(parse_timestamptz(text, zone)?), Some(Arc::from("UTC")))
        }
        SqlType::Interval => ScalarValue::IntervalMonthDayNano(Some(parse_interval(text)?)),
        SqlType::Uuid => ScalarValue::FixedSizeBinary(UUID_BYTES, Some(parse_uuid(text)?.to_vec())),
        SqlType::Jsonb => ScalarValue::LargeUtf8(Some(parse_jsonb(text)?)),
        SqlType::Array(element) => {
            let value = |text: Option<String>| match text {
                Some(text) => parse_text(element, &text, zone),
                None => Ok(null_value(element)),
            };
            let values = parse_elements(text)?.into_iter().map(value).collect::<Result<Vec<_>>>()?;
            ScalarValue::List(ScalarValue::new_list_nullable(&values, &element.arrow()))
        }
    })
}

/// The NULL of a type's Arrow form.
pub fn null_value(sql_type: &SqlType) -> ScalarValue {
    match sql_type {
        SqlType::Boolean => ScalarValue::Boolean(None),
        SqlType::Int2 => ScalarValue::Int16(None),
        SqlType::Int4 => ScalarValue::Int32(None),
        SqlType::Int8 => ScalarValue::Int64(None),
        SqlType::Float4 => ScalarValue::Float32(None),
        SqlType::Float8 => ScalarValue::Float64(None),
        SqlType::Numeric { precision, scale } => ScalarValue::Decimal128(None, *precision, *scale),
        SqlType::Text | SqlType::Varchar(_) => ScalarValue::Utf8(None),
        SqlType::Bytea => ScalarValue::Binary(None),
        SqlType::Date => ScalarValue::Date32(None),
        SqlType::Timestamp => ScalarValue::TimestampMicrosecond(None, None),
        SqlType::Timestamptz => ScalarValue::TimestampMicrosecond(None, Some(Arc::from("UTC"))),
        SqlType::Interval => ScalarValue::IntervalMonthDayNano(None),
        SqlType::Uuid => ScalarValue::FixedSizeBinary(UUID_BYTES, None),
        SqlType::Jsonb => ScalarValue::LargeUtf8(None),
        SqlType::Array(element) => array::null_array(&null_value(element)),
    }
}

/// `true`, `yes`, `on`, `1` and their opposites, in any case, or as much of the word as is unambiguous.
pub fn parse_bool(text: &str) -> Result<bool> {
    match text.as_bytes() {
        b"t" | b"true" | b"1" => return Ok(true),
        b"f" | b"false" | b"0" => return Ok(false),
        _ => {}
    }
    let word = text.trim_ascii();
    let is = |full: &str, least: usize| {
        word.len() >= least && full.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    if is("true", 1) || is("yes", 1) || is("on", 2) || is("1", 1) {
        Ok(true)
    } else if is("false", 1) || is("no", 1) || is("off", 2) || is("0", 1) {
        Ok(false)
    } else {
        Err(invalid("boolean", text))
    }
}

/// The text as a varchar(n) holds it: what is too long may only be spaces at the end, which are cut.
pub fn fit_varchar(text: &str, length: Option<u32>) -> Result<&str> {
    let Some(length) = length else { return Ok(text) };
    // Fewer bytes than that cannot be more characters.
    if text.len() <= length as usize {
        return Ok(text);
    }
    match text.char_indices().nth(length as usize) {
        None => Ok(text),
        Some((end, _)) if text.as_bytes()[end..].iter().all(|byte| *byte == b' ') => Ok(&text[..end]),
        Some(_) => Err(Error::new(
            SqlState::STRING_TOO_LONG,
            format!("value too long for type {}", SqlType::Varchar(Some(length))),
        )),
    }
}

/// `\x` and hexadecimal digits, or the escape format: `\\` and `\ooo`.
pub fn parse_bytea(text: &str) -> Result<Vec<u8>> {
    match text.as_bytes() {
        [b'\\', b'x', digits @ ..] => parse_hex(digits, text),
        escaped => parse_escaped(escaped, text),
    }
}

fn parse_hex(digits: &[u8], text: &str) -> Result<Vec<u8>> {
    let mut value = Vec::with_capacity(digits.len() / 2);
    let mut high = None;
    for (index, &byte) in digits.iter().enumerate() {
        let Some(digit) = (byte as char).to_digit(16).map(|digit| digit as u8) else {
            if high.is_none() && byte.is_ascii_whitespace() {
                continue;
            }
            let wrong = text[2..].get(index..).and_then(|rest| rest.chars().next()).unwrap_or('?');
            return Err(Error::new(SqlState::INVALID_PARAMETER, format!("invalid hexadecimal digit: \"{wrong}\"")));
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => value.push(high << 4 | digit),
        }
    }
    match high {
        None => Ok(value),
        Some(_) => Err(Error::new(SqlState::INVALID_PARAMETER, "invalid hexadecimal data: odd number of digits")),
    }
}

fn parse_escaped(mut rest: &[u8], text: &str) -> Result<Vec<u8>> {
    let mut value = Vec::with_capacity(rest.len());
    loop {
        rest = match rest {
            [] => return Ok(value),
            [b'\\', b'\\', after @ ..] => {
                value.push(b'\\');
                after
            }
            [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', after @ ..] => {
                value.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                after
            }
            [b'\\', ..] => return Err(invalid("bytea", text)),
            [byte, after @ ..] => {
                value.push(*byte);
                after
            }
        };
    }
}

/// An interval as Arrow stores it. Errors: 22008 if the clock part does not fit nanoseconds (about 292 years).
fn interval(months: i32, days: i32, time_us: i64, text: &str) -> Result<IntervalMonthDayNano> {
    let nanoseconds = time_us.checked_mul(1000).ok_or_else(|| out_of_range("interval", text))?;
    Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
}

fn invalid(type_name: &str, text: &str) -> Error {
    let state = match type_name {
        "date" | "timestamp" | "timestamp with time zone" | "interval" => SqlState::INVALID_DATETIME,
        _ => SqlState::INVALID_TEXT_REPRESENTATION,
    };
    Error::new(state, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

fn out_of_range(type_name: &str, text: &str) -> Error {
    Error::new(SqlState::DATETIME_OVERFLOW, format!("{type_name} out of range: \"{text}\""))
}

#[cfg(test)]
mod tests;
