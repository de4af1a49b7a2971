//! Arrow's rows as the oracle's, and back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};

use super::oracle::{Row, Value};

/// Rows as the oracle's values.
pub fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| value_of(column, row)).collect()).collect()
}

fn value_of(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => Value::Boolean(column.as_boolean().value(row)),
        DataType::Int16 => Value::Integer(column.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Value::Integer(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Date32 => Value::Integer(column.as_primitive::<Date32Type>().value(row).into()),
        DataType::Float32 => Value::Float(column.as_primitive::<Float32Type>().value(row).into()),
        DataType::Int64 => Value::Integer(column.as_primitive::<Int64Type>().value(row)),
        DataType::Timestamp(..) => Value::Integer(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Float64 => Value::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(row).to_string()),
        DataType::Decimal128(_, scale) => {
            Value::Numeric { unscaled: column.as_primitive::<Decimal128Type>().value(row), scale: *scale as u8 }
        }
        DataType::List(_) => {
            let elements = column.as_list::<i32>().value(row);
            Value::List((0..elements.len()).map(|row| value_of(&elements, row)).collect())
        }
        other => panic!("no test values of {other}"),
    }
}

/// A column of the oracle's values; what is of another type is NULL.
pub fn column_of<'a>(data_type: &DataType, values: impl Iterator<Item = &'a Value>) -> ArrayRef {
    let integer = |value: &Value| if let Value::Integer(value) = value { Some(*value) } else { None };
    let float = |value: &Value| if let Value::Float(value) = value { Some(*value) } else { None };
    match data_type {
        DataType::Boolean => Arc::new(
            values
                .map(|value| if let Value::Boolean(value) = value { Some(*value) } else { None })
                .collect::<BooleanArray>(),
        ),
        DataType::Int16 => {
            Arc::new(values.map(|value| integer(value).map(|value| value as i16)).collect::<Int16Array>())
        }
        DataType::Date32 => {
            Arc::new(values.map(|value| integer(value).map(|value| value as i32)).collect::<Date32Array>())
        }
        DataType::Int32 => {
            Arc::new(values.map(|value| integer(value).map(|value| value as i32)).collect::<Int32Array>())
        }
        DataType::Int64 => Arc::new(values.map(integer).collect::<Int64Array>()),
        DataType::Timestamp(_, zone) => {
            let times: TimestampMicrosecondArray = values.map(integer).collect();
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        DataType::Float32 => {
            Arc::new(values.map(|value| float(value).map(|value| value as f32)).collect::<Float32Array>())
        }
        DataType::Float64 => Arc::new(values.map(float).collect::<Float64Array>()),
        DataType::Decimal128(precision, scale) => {
            let unscaled =
                values.map(|value| if let Value::Numeric { unscaled, .. } = value { Some(*unscaled) } else { None });
            Arc::new(unscaled.collect::<Decimal128Array>().with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Utf8 => Arc::new(
            values
                .map(|value| if let Value::Text(value) = value { Some(value.as_str()) } else { None })
                .collect::<StringArray>(),
        ),
        other => panic!("no test values of {other}"),
    }
}
