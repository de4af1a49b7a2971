//! Parameters of Bind: types by OID, values from text and binary.

use std::sync::Arc;

use arrow::datatypes::IntervalMonthDayNano;
use bytes::Bytes;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;

use super::encode::{EPOCH_DAYS, EPOCH_US, Format, JSONB_VERSION};
use super::frontend::Fields;
use crate::error::{Error, Result, SqlState};
use crate::types::parse::{null_value, parse_numeric, parse_text};
use crate::types::text::{EncodeSettings, write_text};
use crate::types::{SqlType, UUID_BYTES};

const OID: u32 = 26;

/// The type that a client declares by its OID; `None` leaves it to be inferred (0, and `unknown`).
///
/// Errors: 0A000 for types that Tidemark does not have.
pub(super) fn declared_type(oid: u32) -> Result<Option<SqlType>> {
    Ok(Some(match oid {
        0 | 705 => return Ok(None),
        16 => SqlType::Boolean,
        17 => SqlType::Bytea,
        20 | OID => SqlType::Int8,
        21 => SqlType::Int2,
        23 => SqlType::Int4,
        // "char", name, text, json, bpchar, varchar
        18 | 19 | 25 | 114 | 1042 | 1043 => SqlType::Text,
        700 => SqlType::Float4,
        701 => SqlType::Float8,
        1082 => SqlType::Date,
        1114 => SqlType::Timestamp,
        1184 => SqlType::Timestamptz,
        1186 => SqlType::Interval,
        2950 => SqlType::Uuid,
        3802 => SqlType::Jsonb,
        _ if is_array(oid) => SqlType::Text,
        // Without a modifier; the value's own digits decide when it comes.
        1700 => SqlType::Numeric { precision: 38, scale: 16 },
        _ => {
            return Err(Error::not_built(format_args!("a parameter of the type with OID {oid}"))
                .with_hint("Send it as text without declaring its type, and cast it in the statement."));
        }
    }))
}

/// One parameter's value. `oid` is what the client was told of its type.
pub(super) fn decode(
    sql_type: &SqlType,
    oid: u32,
    format: Format,
    value: Option<Bytes>,
    zone: Tz,
) -> Result<ScalarValue> {
    match (value, format) {
        (None, _) => Ok(null_value(sql_type)),
        (Some(value), Format::Text) => decode_text(sql_type, utf8(&value)?, zone),
        (Some(value), Format::Binary) if is_array(oid) => parse_text(sql_type, &decode_array(value)?, zone),
        (Some(value), Format::Binary) => decode_binary(sql_type, oid, value),
    }
}

/// Arrays of the types that Tidemark has: parameters of `= ANY`, as PostgreSQL's text of them.
fn is_array(oid: u32) -> bool {
    const ARRAYS: [u32; 21] = [
        199, 1000, 1001, 1002, 1003, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1028, 1115, 1182, 1185, 1187,
        1231, 2951, 3807,
    ];
    ARRAYS.contains(&oid)
}

/// The binary form of a one-dimensional array (PostgreSQL's `array_recv`) as its text.
fn decode_array(mut value: Bytes) -> Result<String> {
    let wrong = || Error::new(SqlState::INVALID_BINARY_REPRESENTATION, "incorrect binary data format for an array");
    let word = |value: &mut Bytes| -> Result<i32> {
        if value.len() < 4 {
            return Err(wrong());
        }
        Ok(i32::from_be_bytes(fixed(&value.split_to(4), wrong)?))
    };
    let dimensions = word(&mut value)?;
    word(&mut value)?;
    let oid = word(&mut value)? as u32;
    if dimensions == 0 {
        return Ok("{}".to_owned());
    }
    if dimensions != 1 {
        return Err(Error::not_built("a parameter that is an array of more than one dimension"));
    }
    let length = word(&mut value)?;
    word(&mut value)?;
    let sql_type = declared_type(oid)?.unwrap_or(SqlType::Text);
    let mut elements = Vec::new();
    for _ in 0..length {
        let bytes = word(&mut value)?;
        if bytes < 0 {
            elements.push("NULL".to_owned());
            continue;
        }
        if value.len() < bytes as usize {
            return Err(wrong());
        }
        let element = decode_binary(&sql_type, oid, value.split_to(bytes as usize))?;
        let mut text = Vec::new();
        write_text(&*element.to_array()?, 0, &EncodeSettings::default(), &mut text)?;
        let text = String::from_utf8_lossy(&text).replace('\\', "\\\\").replace('"', "\\\"");
        elements.push(format!("\"{text}\""));
    }
    Ok(format!("{{{}}}", elements.join(",")))
}

fn decode_text(sql_type: &SqlType, text: &str, zone: Tz) -> Result<ScalarValue> {
    match sql_type {
        SqlType::Numeric { .. } => parse_numeric(text),
        _ => parse_text(sql_type, text, zone),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        Error::new(SqlState::INVALID_ENCODING, format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"))
    })?;
    if text.contains('\0') {
        return Err(Error::new(SqlState::INVALID_ENCODING, "invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    Ok(text)
}

fn decode_binary(sql_type: &SqlType, oid: u32, value: Bytes) -> Result<ScalarValue> {
    let wrong = || {
        Error::new(SqlState::INVALID_BINARY_REPRESENTATION, format!("incorrect binary data format for type {sql_type}"))
    };
    Ok(match sql_type {
        SqlType::Boolean => ScalarValue::Boolean(Some(u8::from_be_bytes(fixed(&value, wrong)?) != 0)),
        SqlType::Int2 => ScalarValue::Int16(Some(i16::from_be_bytes(fixed(&value, wrong)?))),
        SqlType::Int4 => ScalarValue::Int32(Some(i32::from_be_bytes(fixed(&value, wrong)?))),
        SqlType::Int8 if oid == OID => ScalarValue::Int64(Some(u32::from_be_bytes(fixed(&value, wrong)?).into())),
        SqlType::Int8 => ScalarValue::Int64(Some(i64::from_be_bytes(fixed(&value, wrong)?))),
        SqlType::Float4 => ScalarValue::Float32(Some(f32::from_be_bytes(fixed(&value, wrong)?))),
        SqlType::Float8 => ScalarValue::Float64(Some(f64::from_be_bytes(fixed(&value, wrong)?))),
        SqlType::Numeric { .. } => parse_numeric(&numeric_text(value).ok_or_else(wrong)??)?,
        SqlType::Text | SqlType::Varchar(_) => parse_text(sql_type, utf8(&value)?, Tz::UTC)?,
        SqlType::Bytea => ScalarValue::Binary(Some(value.to_vec())),
        SqlType::Date => ScalarValue::Date32(Some(date(i32::from_be_bytes(fixed(&value, wrong)?))?)),
        SqlType::Timestamp => {
            let value_us = timestamp(i64::from_be_bytes(fixed(&value, wrong)?))?;
            ScalarValue::TimestampMicrosecond(Some(value_us), None)
        }
        SqlType::Timestamptz => {
            let value_us = timestamp(i64::from_be_bytes(fixed(&value, wrong)?))?;
            ScalarValue::TimestampMicrosecond(Some(value_us), Some(Arc::from("UTC")))
        }
        SqlType::Interval => ScalarValue::IntervalMonthDayNano(Some(interval(&fixed(&value, wrong)?)?)),
        SqlType::Uuid => {
            let value: [u8; 16] = fixed(&value, wrong)?;
            ScalarValue::FixedSizeBinary(UUID_BYTES, Some(value.to_vec()))
        }
        SqlType::Jsonb => match value.split_first() {
            Some((&JSONB_VERSION, text)) => parse_text(sql_type, utf8(text)?, Tz::UTC)?,
            _ => return Err(wrong()),
        },
        SqlType::Array(_) => parse_text(sql_type, &decode_array(value)?, Tz::UTC)?,
    })
}

fn fixed<const BYTES: usize>(value: &[u8], wrong: impl Fn() -> Error) -> Result<[u8; BYTES]> {
    value.try_into().map_err(|_| wrong())
}

fn date(days: i32) -> Result<i32> {
    match days {
        i32::MIN | i32::MAX => Ok(days),
        _ => days.checked_add(EPOCH_DAYS).filter(|days| *days < i32::MAX).ok_or_else(|| out_of_range("date")),
    }
}

fn timestamp(value_us: i64) -> Result<i64> {
    match value_us {
        i64::MIN | i64::MAX => Ok(value_us),
        _ => value_us
            .checked_add(EPOCH_US)
            .filter(|value_us| *value_us < i64::MAX)
            .ok_or_else(|| out_of_range("timestamp")),
    }
}

fn interval(bytes: &[u8; 16]) -> Result<IntervalMonthDayNano> {
    let bits = u128::from_be_bytes(*bytes);
    let (time_us, days, months) = ((bits >> 64) as i64, (bits >> 32) as i32, bits as i32);
    let nanoseconds = time_us.checked_mul(1000).ok_or_else(|| out_of_range("interval"))?;
    Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
}

fn out_of_range(what: &str) -> Error {
    Error::new(SqlState::DATETIME_OVERFLOW, format!("{what} out of range"))
}

/// A binary numeric as text: count of digits, weight of the first, sign, decimals shown, digits of base 10000. `None`
/// where that does not read; an error for NaN and the infinities.
fn numeric_text(value: Bytes) -> Option<Result<String>> {
    let mut fields = Fields(value);
    let count = fields.i16().ok()?;
    let weight = i32::from(fields.i16().ok()?);
    let sign = fields.i16().ok()? as u16;
    let shown = usize::try_from(fields.i16().ok()?).ok()?;
    let digits = (0..count).map(|_| fields.i16().ok().filter(|digit| (0..10_000).contains(digit)));
    let digits = digits.collect::<Option<Vec<i16>>>()?;
    fields.finish().ok()?;
    match sign {
        0 | 0x4000 => {}
        0xC000 | 0xD000 | 0xF000 => return Some(Err(no_special_numeric())),
        _ => return None,
    }
    // Groups in front of and behind the point; what lies beyond 38 digits cannot be held anyway.
    let group = |place: i32| {
        let digit = usize::try_from(weight - place).ok().and_then(|index| digits.get(index)).copied();
        format!("{:04}", digit.unwrap_or(0))
    };
    if weight > 10 && !digits.is_empty() {
        return Some(Err(Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "value overflows numeric format")
            .with_detail("A numeric has at most 38 digits.")));
    }
    let whole: String = (0..=weight.max(0)).rev().map(group).collect();
    let mut fraction: String = (1..=(shown.div_ceil(4).min(20) as i32)).map(|place| group(-place)).collect();
    fraction.truncate(shown);
    let minus = if sign == 0 { "" } else { "-" };
    Some(Ok(match fraction.as_str() {
        "" => format!("{minus}{whole}"),
        fraction => format!("{minus}{whole}.{fraction}"),
    }))
}

fn no_special_numeric() -> Error {
    Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "numeric NaN and infinity are not supported")
        .with_hint("Use double precision for values that may be NaN or infinite.")
}

#[cfg(test)]
mod tests;
