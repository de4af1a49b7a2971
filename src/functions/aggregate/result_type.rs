//! PostgreSQL's types of sums and averages, in 38 digits.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};

/// Digits after the point that an average of integers or numerics has at least.
pub const AVERAGE_SCALE_MIN: i8 = 16;

/// smallint and integer -> bigint, bigint -> numeric(38,0), numeric(p,s) -> numeric(38,s), floats as they are.
/// `None`: there is no such sum.
pub fn sum_type(input: &DataType) -> Option<DataType> {
    Some(match input {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => DataType::Int64,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 | DataType::Null => {
            DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0)
        }
        DataType::Decimal128(_, scale) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale),
        DataType::Float32 => DataType::Float32,
        DataType::Float64 => DataType::Float64,
        _ => return None,
    })
}

/// Integers and numerics -> numeric(38, 16 or the input's scale if larger), floats -> double precision.
pub fn average_type(input: &DataType) -> Option<DataType> {
    Some(match input {
        input if input.is_integer() || input.is_null() => {
            DataType::Decimal128(DECIMAL128_MAX_PRECISION, AVERAGE_SCALE_MIN)
        }
        DataType::Decimal128(_, scale) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, AVERAGE_SCALE_MIN.max(*scale)),
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        _ => return None,
    })
}
