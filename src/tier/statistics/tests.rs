//! Bounds: what they are, when there are none, and that they come back in their type.

use std::sync::Arc;

use arrow::array::{Decimal128Array, Float32Array, Float64Array, Int16Array, StringArray, TimestampMicrosecondArray};

use super::*;

fn check(column: ArrayRef, min: Option<Bound>, max: Option<Bound>) {
    let bounds = ColumnBounds::of(&column).unwrap();
    assert_eq!((&bounds.min, &bounds.max), (&min, &max));
    assert_eq!(bounds.null_count, column.null_count() as u64);
    let json = serde_json::to_string(&bounds).unwrap();
    assert_eq!(serde_json::from_str::<ColumnBounds>(&json).unwrap(), bounds);
    for bound in [min, max].into_iter().flatten() {
        assert_eq!(bound.to_scalar(column.data_type()).unwrap().data_type(), *column.data_type());
    }
}

#[test]
fn bounds_of_each_type() {
    check(Arc::new(Int16Array::from(vec![Some(3), None, Some(-4)])), Some(Bound::Int(-4)), Some(Bound::Int(3)));
    let text = |text: &str| Some(Bound::Text(text.to_string()));
    check(Arc::new(StringArray::from(vec!["b", "a", "c"])), text("a"), text("c"));
    let time = TimestampMicrosecondArray::from(vec![5, 9]).with_timezone("UTC");
    check(Arc::new(time), Some(Bound::Int(5)), Some(Bound::Int(9)));
    let widest = 10_i128.pow(38) - 1;
    let decimals = Decimal128Array::from(vec![widest, -widest]).with_precision_and_scale(38, 2).unwrap();
    let decimal = |value: i128| Some(Bound::Decimal(value.to_string()));
    check(Arc::new(decimals), decimal(-widest), decimal(widest));
    let float = |text: &str| Some(Bound::Float(text.to_string()));
    check(Arc::new(Float32Array::from(vec![0.1, f32::INFINITY])), float("0.1"), float("inf"));
}

#[test]
fn both_zeros_lie_within_bounds_that_either_is() {
    let float = |text: &str| Some(Bound::Float(text.to_string()));
    check(Arc::new(Float64Array::from(vec![0.0])), float("-0"), float("0"));
    check(Arc::new(Float64Array::from(vec![-0.0])), float("-0"), float("0"));
}

#[test]
fn no_bounds_where_they_would_mislead_or_be_long() {
    check(Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), None])), None, None);
    check(Arc::new(StringArray::from(vec!["a".repeat(65).as_str(), "b"])), None, None);
    check(Arc::new(Int16Array::from(vec![None, None])), None, None);
}

#[test]
fn a_bound_of_another_type_is_no_value() {
    assert!(Bound::Int(70_000).to_scalar(&DataType::Int16).is_none());
    assert!(Bound::Text("x".into()).to_scalar(&DataType::Int64).is_none());
}
