//! PostgreSQL's binary forms: big-endian, time counted from 2000-01-01, numerics in digits of base 10000.

use arrow::array::cast::AsArray;
use arrow::array::{Array, BinaryArray, BooleanArray, FixedSizeBinaryArray, LargeStringArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};

use crate::error::{Error, Result, SqlState};
use crate::types::UUID_BYTES;

/// The first byte of a jsonb, before its text.
pub(in crate::server::pg) const JSONB_VERSION: u8 = 1;

/// 2000-01-01, PostgreSQL's epoch, in Arrow's.
pub(in crate::server::pg) const EPOCH_DAYS: i32 = 10_957;
pub(in crate::server::pg) const EPOCH_US: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

pub(super) enum ColumnBinary<'a> {
    Boolean(&'a BooleanArray),
    Int2(&'a PrimitiveArray<Int16Type>),
    Int4(&'a PrimitiveArray<Int32Type>),
    Int8(&'a PrimitiveArray<Int64Type>),
    Float4(&'a PrimitiveArray<Float32Type>),
    Float8(&'a PrimitiveArray<Float64Type>),
    Numeric(&'a PrimitiveArray<Decimal128Type>, i8),
    Bytea(&'a BinaryArray),
    Uuid(&'a FixedSizeBinaryArray),
    Jsonb(&'a LargeStringArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Interval(&'a PrimitiveArray<IntervalMonthDayNanoType>),
}

impl<'a> ColumnBinary<'a> {
    /// Takes the Arrow forms of [`crate::types::SqlType::arrow`], strings excepted.
    pub fn new(array: &'a dyn Array) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Boolean => ColumnBinary::Boolean(array.as_boolean()),
            DataType::Int16 => ColumnBinary::Int2(array.as_primitive()),
            DataType::Int32 => ColumnBinary::Int4(array.as_primitive()),
            DataType::Int64 => ColumnBinary::Int8(array.as_primitive()),
            DataType::Float32 => ColumnBinary::Float4(array.as_primitive()),
            DataType::Float64 => ColumnBinary::Float8(array.as_primitive()),
            DataType::Decimal128(_, scale) => ColumnBinary::Numeric(array.as_primitive(), *scale),
            DataType::Binary => ColumnBinary::Bytea(array.as_binary()),
            DataType::FixedSizeBinary(UUID_BYTES) => ColumnBinary::Uuid(array.as_fixed_size_binary()),
            DataType::LargeUtf8 => ColumnBinary::Jsonb(array.as_string()),
            DataType::Date32 => ColumnBinary::Date(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => ColumnBinary::Timestamp(array.as_primitive()),
            DataType::Interval(IntervalUnit::MonthDayNano) => ColumnBinary::Interval(array.as_primitive()),
            other => {
                return Err(Error::not_built(format_args!("a result column of type {other} in binary"))
                    .with_hint("Ask for it in text, or cast it."));
            }
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            ColumnBinary::Boolean(array) => *array,
            ColumnBinary::Int2(array) => *array,
            ColumnBinary::Int4(array) => *array,
            ColumnBinary::Int8(array) => *array,
            ColumnBinary::Float4(array) => *array,
            ColumnBinary::Float8(array) => *array,
            ColumnBinary::Numeric(array, _) => *array,
            ColumnBinary::Bytea(array) => *array,
            ColumnBinary::Uuid(array) => *array,
            ColumnBinary::Jsonb(array) => *array,
            ColumnBinary::Date(array) => *array,
            ColumnBinary::Timestamp(array) => *array,
            ColumnBinary::Interval(array) => *array,
        }
    }

    /// False, and nothing written, for NULL.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<bool> {
        if self.array().is_null(row) {
            return Ok(false);
        }
        match self {
            ColumnBinary::Boolean(array) => out.push(u8::from(array.value(row))),
            ColumnBinary::Int2(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
            ColumnBinary::Int4(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
            ColumnBinary::Int8(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
            ColumnBinary::Float4(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
            ColumnBinary::Float8(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
            ColumnBinary::Numeric(array, scale) => write_numeric(array.value(row), *scale, out),
            ColumnBinary::Bytea(array) => out.extend_from_slice(array.value(row)),
            ColumnBinary::Uuid(array) => out.extend_from_slice(array.value(row)),
            ColumnBinary::Jsonb(array) => {
                out.push(JSONB_VERSION);
                out.extend_from_slice(array.value(row).as_bytes());
            }
            ColumnBinary::Date(array) => out.extend_from_slice(&date(array.value(row))?.to_be_bytes()),
            ColumnBinary::Timestamp(array) => out.extend_from_slice(&timestamp(array.value(row))?.to_be_bytes()),
            ColumnBinary::Interval(array) => {
                let value = array.value(row);
                out.extend_from_slice(&(value.nanoseconds / 1000).to_be_bytes());
                out.extend_from_slice(&value.days.to_be_bytes());
                out.extend_from_slice(&value.months.to_be_bytes());
            }
        }
        Ok(true)
    }
}

/// The ends of the range are the infinities, in both epochs.
fn date(days: i32) -> Result<i32> {
    match days {
        i32::MIN | i32::MAX => Ok(days),
        _ => days
            .checked_sub(EPOCH_DAYS)
            .filter(|days| *days > i32::MIN)
            .ok_or_else(|| Error::new(SqlState::DATETIME_OVERFLOW, "date out of range")),
    }
}

fn timestamp(value_us: i64) -> Result<i64> {
    match value_us {
        i64::MIN | i64::MAX => Ok(value_us),
        _ => value_us
            .checked_sub(EPOCH_US)
            .filter(|value_us| *value_us > i64::MIN)
            .ok_or_else(|| Error::new(SqlState::DATETIME_OVERFLOW, "timestamp out of range")),
    }
}

const NUMERIC_NEGATIVE: u16 = 0x4000;

/// Count of digits, weight of the first, sign, decimals shown, then the digits of base 10000; zeros at both ends left
/// out (PostgreSQL's numeric_send).
pub(super) fn write_numeric(value: i128, scale: i8, out: &mut Vec<u8>) {
    // 39 digits of the value, up to 127 zeros of a negative scale, and what fills the first and last group.
    let mut decimals = value.unsigned_abs().to_string().into_bytes();
    decimals.resize(decimals.len() + usize::from(scale.min(0).unsigned_abs()), b'0');
    let shown = usize::from(scale.max(0).unsigned_abs());
    if decimals.len() < shown {
        decimals.splice(0..0, std::iter::repeat_n(b'0', shown - decimals.len()));
    }
    let whole = decimals.len() - shown;
    decimals.splice(0..0, std::iter::repeat_n(b'0', whole.next_multiple_of(4) - whole));
    let groups_whole = whole.div_ceil(4);
    decimals.resize(decimals.len().next_multiple_of(4), b'0');

    let groups: Vec<u16> = decimals
        .chunks(4)
        .map(|group| group.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
        .collect();
    let zeros_ahead = groups.iter().take_while(|group| **group == 0).count();
    let zeros_behind = groups.iter().rev().take_while(|group| **group == 0).count();
    let digits = groups.get(zeros_ahead..groups.len() - zeros_behind.min(groups.len())).unwrap_or_default();
    let weight = if digits.is_empty() { 0 } else { groups_whole as i16 - zeros_ahead as i16 - 1 };
    let sign = if value < 0 { NUMERIC_NEGATIVE } else { 0 };

    out.extend_from_slice(&(digits.len() as u16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(shown as u16).to_be_bytes());
    digits.iter().for_each(|digit| out.extend_from_slice(&digit.to_be_bytes()));
}
