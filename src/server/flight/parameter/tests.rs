//! What a bound value becomes.

use std::sync::Arc;

use arrow::array::{
    Date32Array, Decimal128Array, Float64Array, Int8Array, Int64Array, LargeStringArray, StringArray,
    TimestampMillisecondArray, UInt64Array,
};

use super::*;

fn bound(sql_type: SqlType, column: impl Array + 'static) -> Result<ScalarValue> {
    let column: ArrayRef = Arc::new(column);
    let rows = RecordBatch::try_from_iter_with_nullable([("1", column, true)]).unwrap();
    let mut values = values(&[sql_type], &rows, chrono_tz::Europe::Berlin)?;
    Ok(values.remove(0))
}

#[test]
fn values_take_the_type_of_the_statement() {
    let numeric = SqlType::Numeric { precision: 38, scale: 16 };
    let is = |sql_type: &SqlType, column: ArrayRef, expected: ScalarValue| {
        assert_eq!(bound(sql_type.clone(), column).unwrap(), expected, "{sql_type}");
    };
    is(&SqlType::Int4, Arc::new(Int64Array::from(vec![7])), ScalarValue::Int32(Some(7)));
    is(&SqlType::Int8, Arc::new(Int8Array::from(vec![-7])), ScalarValue::Int64(Some(-7)));
    is(&SqlType::Float8, Arc::new(Int64Array::from(vec![7])), ScalarValue::Float64(Some(7.0)));
    is(&SqlType::Text, Arc::new(Int64Array::from(vec![7])), ScalarValue::from("7"));
    is(&SqlType::Text, Arc::new(LargeStringArray::from(vec!["a"])), ScalarValue::from("a"));
    is(&SqlType::Text, Arc::new(StringArray::from(vec![None::<&str>])), ScalarValue::Utf8(None));
    is(&SqlType::Int4, Arc::new(StringArray::from(vec![" 7 "])), ScalarValue::Int32(Some(7)));
    is(&SqlType::Date, Arc::new(StringArray::from(vec!["1970-01-03"])), ScalarValue::Date32(Some(2)));
    is(&SqlType::Date, Arc::new(Date32Array::from(vec![2])), ScalarValue::Date32(Some(2)));
    is(&numeric, Arc::new(UInt64Array::from(vec![u64::MAX])), {
        ScalarValue::Decimal128(Some(u64::MAX.into()), 20, 0)
    });
    is(&numeric, Arc::new(Float64Array::from(vec![0.25])), ScalarValue::Decimal128(Some(25), 2, 2));
    let decimal = Decimal128Array::from(vec![12_345]).with_precision_and_scale(6, 3).unwrap();
    is(&numeric, Arc::new(decimal), ScalarValue::Decimal128(Some(12_345), 6, 3));
    let utc = |us| ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into()));
    let instant = TimestampMillisecondArray::from(vec![1500]).with_timezone("Asia/Tokyo");
    is(&SqlType::Timestamptz, Arc::new(instant), utc(1_500_000));
    // One without a zone is meant in the session's.
    is(&SqlType::Timestamptz, Arc::new(TimestampMillisecondArray::from(vec![3_600_000])), utc(0));
    is(&SqlType::Timestamptz, Arc::new(StringArray::from(vec!["1970-01-01 01:00"])), utc(0));
}

#[test]
fn what_does_not_fit_is_refused() {
    let state = |bound: Result<ScalarValue>| bound.unwrap_err().state();
    assert_eq!(state(bound(SqlType::Int2, Int64Array::from(vec![70_000]))), SqlState::NUMERIC_OUT_OF_RANGE);
    let text = SqlState::INVALID_TEXT_REPRESENTATION;
    assert_eq!(state(bound(SqlType::Int4, Float64Array::from(vec![1.5]))), text);
    assert_eq!(state(bound(SqlType::Int4, StringArray::from(vec!["x"]))), text);
    assert_eq!(state(bound(SqlType::Int4, Int64Array::from(vec![1, 2]))), SqlState::FEATURE_NOT_SUPPORTED);
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let rows = RecordBatch::try_from_iter([("1", one)]).unwrap();
    assert_eq!(values(&[], &rows, Tz::UTC).unwrap_err().state(), SqlState::PROTOCOL_VIOLATION);
}
