//! A digest of a multiset of rows that does not depend on their order:
//! the sum of weight x hash128(canonical row), mod 2^128.
//!
//! ```text
//! canonical row = format version (1 byte), then per column: 0 for NULL, or 1 and the value
//! value         = boolean, numbers and UUIDs: fixed width, big endian (floats: bits, -0 as 0, one NaN)
//!                 text, jsonb (numbers without zeros at their end) and bytes: length as u64 big endian, then the bytes
//!                 arrays: number of elements as u64 big endian, then each as a column
//! ```

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::DeltaBatch;
use crate::error::{Error, Result};
use crate::types::json::comparable;

/// Version of the canonical form; its first byte.
pub const DIGEST_FORMAT: u8 = 1;

/// The digest of a multiset; the empty one has digest 0, and the digest of a union is the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(pub u128);

impl Digest {
    pub fn add(&mut self, other: Digest) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Digest of one batch's rows with their weights.
pub fn digest_batch(delta: &DeltaBatch) -> Result<Digest> {
    let mut digest = Digest::default();
    let mut bytes = Vec::new();
    for row in 0..delta.num_rows() {
        bytes.clear();
        canonical_row(delta.rows(), row, &mut bytes)?;
        digest.0 = digest.0.wrapping_add((delta.weight(row) as i128 as u128).wrapping_mul(xxh3_128(&bytes)));
    }
    Ok(digest)
}

/// The hash of one value's canonical form, which sketches keep: it is the same for values that GROUP BY takes for one. `bytes` is room to
/// work in. The value is not NULL.
///
/// Errors: XX000 for a type that is no column's.
pub fn hash_value(column: &dyn Array, row: usize, bytes: &mut Vec<u8>) -> Result<u64> {
    bytes.clear();
    canonical_value(column, row, bytes)?;
    Ok(xxh3_64(bytes))
}

fn canonical_row(rows: &RecordBatch, row: usize, out: &mut Vec<u8>) -> Result<()> {
    out.push(DIGEST_FORMAT);
    for column in rows.columns() {
        if column.is_null(row) {
            out.push(0);
            continue;
        }
        out.push(1);
        canonical_value(column, row, out)?;
    }
    Ok(())
}

fn canonical_value(column: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
    match column.data_type() {
        DataType::Boolean => out.push(u8::from(column.as_boolean().value(row))),
        DataType::Int16 => out.extend(column.as_primitive::<Int16Type>().value(row).to_be_bytes()),
        DataType::Int32 => out.extend(column.as_primitive::<Int32Type>().value(row).to_be_bytes()),
        DataType::Int64 => out.extend(column.as_primitive::<Int64Type>().value(row).to_be_bytes()),
        DataType::Date32 => out.extend(column.as_primitive::<Date32Type>().value(row).to_be_bytes()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            out.extend(column.as_primitive::<TimestampMicrosecondType>().value(row).to_be_bytes());
        }
        DataType::Float32 => {
            let value = column.as_primitive::<Float32Type>().value(row);
            let value = if value.is_nan() { f32::NAN } else { value + 0.0 };
            out.extend(value.to_bits().to_be_bytes());
        }
        DataType::Float64 => {
            let value = column.as_primitive::<Float64Type>().value(row);
            let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
            out.extend(value.to_bits().to_be_bytes());
        }
        DataType::Decimal128(_, _) => out.extend(column.as_primitive::<Decimal128Type>().value(row).to_be_bytes()),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = column.as_primitive::<IntervalMonthDayNanoType>().value(row);
            out.extend(value.months.to_be_bytes());
            out.extend(value.days.to_be_bytes());
            out.extend(value.nanoseconds.to_be_bytes());
        }
        DataType::Utf8 => length_prefixed(column.as_string::<i32>().value(row).as_bytes(), out),
        DataType::Binary => length_prefixed(column.as_binary::<i32>().value(row), out),
        DataType::LargeUtf8 => length_prefixed(comparable(column.as_string::<i64>().value(row)).as_bytes(), out),
        DataType::FixedSizeBinary(_) => out.extend_from_slice(column.as_fixed_size_binary().value(row)),
        DataType::List(_) => {
            let elements = column.as_list::<i32>().value(row);
            out.extend((elements.len() as u64).to_be_bytes());
            for row in 0..elements.len() {
                out.push(u8::from(elements.is_valid(row)));
                if elements.is_valid(row) {
                    canonical_value(&elements, row, out)?;
                }
            }
        }
        other => return Err(Error::internal(format!("no canonical form for {other}"))),
    }
    Ok(())
}

fn length_prefixed(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}
