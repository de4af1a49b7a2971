//! Values as PostgreSQL prints them, straight from Arrow arrays.
//!
//! [`ColumnText`] is an array with its type found once; writing a value is then one match. The wire's text format, COPY
//! TO and casts to text all print through here. Output is UTF-8 except for what a text array holds, which is UTF-8 too.
//!
//! Does not know: protocols, escaping, NULL's spelling.

mod array;
mod number;
mod time;

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{
    Array, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, LargeBinaryArray, LargeStringArray,
    PrimitiveArray, StringArray, StringViewArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use chrono_tz::Tz;

use self::array::ArrayText;
use super::UUID_BYTES;
use super::calendar::DAY_US;
use crate::error::{Error, Result};

pub use number::{write_decimal, write_f32, write_f64, write_i64, write_u64};
pub use time::{write_date, write_interval, write_timestamp, write_timestamptz};

/// How a session wants values printed. Dates and intervals have one style, ISO and `postgres`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeSettings {
    /// Of timestamptz.
    pub time_zone: Tz,
    /// `bytea_output`: hex, else escape.
    pub bytea_hex: bool,
    /// 1 and above: the shortest digits that read back to the same float; 0 and below: 15 (real: 6) digits and so many
    /// less.
    pub extra_float_digits: i32,
}

impl Default for EncodeSettings {
    fn default() -> Self {
        EncodeSettings { time_zone: Tz::UTC, bytea_hex: true, extra_float_digits: 1 }
    }
}

/// Writes one value, which must not be NULL. For more than a few values of an array use [`ColumnText`].
pub fn write_text(array: &dyn Array, row: usize, settings: &EncodeSettings, out: &mut Vec<u8>) -> Result<()> {
    ColumnText::new(array)?.write(row, settings, out);
    Ok(())
}

/// An array whose values can be printed.
pub struct ColumnText<'a> {
    values: Values<'a>,
    array: &'a dyn Array,
}

/// The array by its type; several Arrow types that print alike share a closure where speed does not matter.
enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    UInt64(&'a PrimitiveArray<UInt64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>, i8),
    Utf8(&'a StringArray),
    LargeUtf8(&'a LargeStringArray),
    Utf8View(&'a StringViewArray),
    Binary(&'a BinaryArray),
    LargeBinary(&'a LargeBinaryArray),
    BinaryView(&'a BinaryViewArray),
    FixedSizeBinary(&'a FixedSizeBinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Timestamptz(&'a PrimitiveArray<TimestampMicrosecondType>),
    Interval(&'a PrimitiveArray<IntervalMonthDayNanoType>),
    Uuid(&'a FixedSizeBinaryArray),
    Array(ArrayText<'a>),
    Dictionary { keys: Vec<usize>, values: Box<ColumnText<'a>> },
    Rare(Rare<'a>),
}

/// Types that only DataFusion's own functions give.
type Rare<'a> = Box<dyn Fn(usize, &EncodeSettings, &mut Vec<u8>) + Send + Sync + 'a>;

impl<'a> ColumnText<'a> {
    /// Errors: 0A000 for types without a PostgreSQL form.
    pub fn new(array: &'a dyn Array) -> Result<Self> {
        let values = match array.data_type() {
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary();
                let values = Box::new(ColumnText::new(dictionary.values().as_ref())?);
                Values::Dictionary { keys: dictionary.normalized_keys(), values }
            }
            DataType::List(_) => Values::Array(ArrayText::new(array.as_list())?),
            data_type => match common(array, data_type) {
                Some(values) => values,
                None => Values::Rare(rare(array, data_type)?),
            },
        };
        Ok(ColumnText { values, array })
    }

    /// Also true for a dictionary's key of a NULL.
    pub fn is_null(&self, row: usize) -> bool {
        match &self.values {
            Values::Null => true,
            Values::Dictionary { keys, values } => {
                self.array.is_null(row) || keys.get(row).is_none_or(|key| values.is_null(*key))
            }
            _ => self.array.is_null(row),
        }
    }

    /// Appends the value's text. Nothing for NULL of a type that has no values.
    pub fn write(&self, row: usize, settings: &EncodeSettings, out: &mut Vec<u8>) {
        match &self.values {
            Values::Null => {}
            Values::Boolean(array) => out.push(if array.value(row) { b't' } else { b'f' }),
            Values::Int16(array) => write_i64(array.value(row).into(), out),
            Values::Int32(array) => write_i64(array.value(row).into(), out),
            Values::Int64(array) => write_i64(array.value(row), out),
            Values::UInt64(array) => write_u64(array.value(row), out),
            Values::Float32(array) => write_f32(array.value(row), settings.extra_float_digits, out),
            Values::Float64(array) => write_f64(array.value(row), settings.extra_float_digits, out),
            Values::Decimal(array, scale) => write_decimal(array.value(row), *scale, out),
            Values::Utf8(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Values::LargeUtf8(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Values::Utf8View(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Values::Binary(array) => write_bytea(array.value(row), settings.bytea_hex, out),
            Values::LargeBinary(array) => write_bytea(array.value(row), settings.bytea_hex, out),
            Values::BinaryView(array) => write_bytea(array.value(row), settings.bytea_hex, out),
            Values::FixedSizeBinary(array) => write_bytea(array.value(row), settings.bytea_hex, out),
            Values::Date(array) => write_date(array.value(row), out),
            Values::Timestamp(array) => write_timestamp(array.value(row), out),
            Values::Timestamptz(array) => write_timestamptz(array.value(row), settings.time_zone, out),
            Values::Interval(array) => {
                let value = array.value(row);
                write_interval(value.months, value.days, value.nanoseconds / 1000, out);
            }
            Values::Uuid(array) => write_uuid(array.value(row), out),
            Values::Array(arrays) => arrays.write(row, settings, out),
            Values::Dictionary { keys, values } => {
                if let Some(key) = keys.get(row) {
                    values.write(*key, settings, out);
                }
            }
            Values::Rare(write) => write(row, settings, out),
        }
    }

    /// Whether the text may need quoting or escaping; numbers and times never hold a quote, backslash or line break.
    pub fn is_free_text(&self) -> bool {
        match &self.values {
            Values::Utf8(_) | Values::LargeUtf8(_) | Values::Utf8View(_) | Values::Array(_) => true,
            Values::Binary(_) | Values::LargeBinary(_) | Values::BinaryView(_) | Values::FixedSizeBinary(_) => true,
            Values::Dictionary { values, .. } => values.is_free_text(),
            _ => false,
        }
    }
}

/// The types of table columns, and of the usual functions.
fn common<'a>(array: &'a dyn Array, data_type: &DataType) -> Option<Values<'a>> {
    Some(match data_type {
        DataType::Null => Values::Null,
        DataType::Boolean => Values::Boolean(array.as_boolean()),
        DataType::Int16 => Values::Int16(array.as_primitive()),
        DataType::Int32 => Values::Int32(array.as_primitive()),
        DataType::Int64 => Values::Int64(array.as_primitive()),
        DataType::UInt64 => Values::UInt64(array.as_primitive()),
        DataType::Float32 => Values::Float32(array.as_primitive()),
        DataType::Float64 => Values::Float64(array.as_primitive()),
        DataType::Decimal128(_, scale) => Values::Decimal(array.as_primitive(), *scale),
        DataType::Utf8 => Values::Utf8(array.as_string()),
        DataType::LargeUtf8 => Values::LargeUtf8(array.as_string()),
        DataType::Utf8View => Values::Utf8View(array.as_string_view()),
        DataType::Binary => Values::Binary(array.as_binary()),
        DataType::LargeBinary => Values::LargeBinary(array.as_binary()),
        DataType::BinaryView => Values::BinaryView(array.as_binary_view()),
        DataType::FixedSizeBinary(UUID_BYTES) => Values::Uuid(array.as_fixed_size_binary()),
        DataType::FixedSizeBinary(_) => Values::FixedSizeBinary(array.as_fixed_size_binary()),
        DataType::Date32 => Values::Date(array.as_primitive()),
        DataType::Timestamp(TimeUnit::Microsecond, None) => Values::Timestamp(array.as_primitive()),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Values::Timestamptz(array.as_primitive()),
        DataType::Interval(IntervalUnit::MonthDayNano) => Values::Interval(array.as_primitive()),
        _ => return None,
    })
}

fn rare<'a>(array: &'a dyn Array, data_type: &DataType) -> Result<Rare<'a>> {
    Ok(match data_type {
        DataType::Int8 => with::<Int8Type>(array, |value, _, out| write_i64(value.into(), out)),
        DataType::UInt8 => with::<UInt8Type>(array, |value, _, out| write_i64(value.into(), out)),
        DataType::UInt16 => with::<UInt16Type>(array, |value, _, out| write_i64(value.into(), out)),
        DataType::UInt32 => with::<UInt32Type>(array, |value, _, out| write_i64(value.into(), out)),
        DataType::Float16 => with::<Float16Type>(array, |value, settings, out| {
            write_f32(value.to_f32(), settings.extra_float_digits, out);
        }),
        DataType::Decimal32(_, scale) => {
            let scale = *scale;
            with::<Decimal32Type>(array, move |value, _, out| write_decimal(value.into(), scale, out))
        }
        DataType::Decimal64(_, scale) => {
            let scale = *scale;
            with::<Decimal64Type>(array, move |value, _, out| write_decimal(value.into(), scale, out))
        }
        DataType::Date64 => with::<Date64Type>(array, |value, _, out| {
            write_date(value.div_euclid(DAY_US / 1000).clamp(i32::MIN.into(), i32::MAX.into()) as i32, out);
        }),
        DataType::Timestamp(unit, zone) => timestamp(array, *unit, zone),
        DataType::Interval(IntervalUnit::YearMonth) => {
            with::<IntervalYearMonthType>(array, |value, _, out| write_interval(value, 0, 0, out))
        }
        DataType::Interval(IntervalUnit::DayTime) => with::<IntervalDayTimeType>(array, |value, _, out| {
            write_interval(0, value.days, i64::from(value.milliseconds) * 1000, out);
        }),
        DataType::Duration(unit) => duration(array, *unit),
        other => {
            return Err(Error::not_built(format_args!("a result column of type {other}"))
                .with_hint("Select its parts, or cast it to text."));
        }
    })
}

fn with<'a, T: ArrowPrimitiveType>(
    array: &'a dyn Array,
    write: impl Fn(T::Native, &EncodeSettings, &mut Vec<u8>) + Send + Sync + 'a,
) -> Rare<'a> {
    let array: &PrimitiveArray<T> = array.as_primitive();
    Box::new(move |row, settings, out| write(array.value(row), settings, out))
}

fn timestamp<'a>(array: &'a dyn Array, unit: TimeUnit, zone: &Option<Arc<str>>) -> Rare<'a> {
    let with_zone = zone.is_some();
    let write = move |value_us: i64, settings: &EncodeSettings, out: &mut Vec<u8>| match with_zone {
        true => write_timestamptz(value_us, settings.time_zone, out),
        false => write_timestamp(value_us, out),
    };
    match unit {
        TimeUnit::Second => with::<TimestampSecondType>(array, move |value, settings, out| {
            write(value.saturating_mul(1_000_000), settings, out);
        }),
        TimeUnit::Millisecond => with::<TimestampMillisecondType>(array, move |value, settings, out| {
            write(value.saturating_mul(1000), settings, out);
        }),
        TimeUnit::Microsecond => with::<TimestampMicrosecondType>(array, write),
        TimeUnit::Nanosecond => with::<TimestampNanosecondType>(array, move |value, settings, out| {
            write(value.div_euclid(1000), settings, out);
        }),
    }
}

fn duration(array: &dyn Array, unit: TimeUnit) -> Rare<'_> {
    fn write(value_us: i64, _: &EncodeSettings, out: &mut Vec<u8>) {
        // A difference of timestamps counts days, as PostgreSQL's does.
        const DAY_US: i64 = 86_400_000_000;
        write_interval(0, (value_us / DAY_US) as i32, value_us % DAY_US, out);
    }
    match unit {
        TimeUnit::Second => with::<DurationSecondType>(array, |value, settings, out| {
            write(value.saturating_mul(1_000_000), settings, out);
        }),
        TimeUnit::Millisecond => with::<DurationMillisecondType>(array, |value, settings, out| {
            write(value.saturating_mul(1000), settings, out);
        }),
        TimeUnit::Microsecond => with::<DurationMicrosecondType>(array, write),
        TimeUnit::Nanosecond => {
            with::<DurationNanosecondType>(array, |value, settings, out| write(value / 1000, settings, out))
        }
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn write_hex(value: &[u8], out: &mut Vec<u8>) {
    out.extend(value.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

/// In lower case, with hyphens behind 8, 12, 16 and 20 digits.
pub fn write_uuid(value: &[u8], out: &mut Vec<u8>) {
    for (index, group) in value.chunks(2).enumerate() {
        if (2..=5).contains(&index) {
            out.push(b'-');
        }
        write_hex(group, out);
    }
}

/// `\x0aff`, or with backslash escapes for what is not printable ASCII.
pub fn write_bytea(value: &[u8], hex: bool, out: &mut Vec<u8>) {
    if hex {
        out.extend_from_slice(b"\\x");
        write_hex(value, out);
        return;
    }
    for &byte in value {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(&[b'\\', b'0' + (byte >> 6), b'0' + ((byte >> 3) & 7), b'0' + (byte & 7)]),
        }
    }
}

#[cfg(test)]
mod tests;
