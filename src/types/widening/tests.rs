//! What widens, and that values stay what they are.

use std::sync::Arc;

use arrow::array::{AsArray, Decimal128Array, Float32Array, Int16Array};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type};

use super::*;

#[test]
fn types_widen_to_those_that_have_their_values() {
    use SqlType::*;
    let numeric = |precision, scale| Numeric { precision, scale };
    for (narrow, wide) in [
        (Int2, Int8),
        (Float4, Float8),
        (numeric(5, 2), numeric(7, 2)),
        (Varchar(Some(3)), Varchar(Some(4))),
        (Varchar(Some(3)), Text),
    ] {
        assert!(narrow.widens_to(&wide) && !wide.widens_to(&narrow), "{narrow} {wide}");
    }
    for (narrow, wide) in [(Int4, Float8), (Int8, numeric(38, 0)), (numeric(5, 2), numeric(7, 3)), (Date, Timestamp)] {
        assert!(!narrow.widens_to(&wide), "{narrow} {wide}");
    }
}

#[test]
fn values_stay_what_they_are() {
    let small: ArrayRef = Arc::new(Int16Array::from(vec![Some(i16::MIN), None]));
    let wide = widened(&small, &DataType::Int64).unwrap().unwrap();
    assert_eq!(wide.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(-32768), None]);
    let single: ArrayRef = Arc::new(Float32Array::from(vec![0.1, -0.0, f32::NAN]));
    let wide = widened(&single, &DataType::Float64).unwrap().unwrap();
    let wide = wide.as_primitive::<Float64Type>();
    assert_eq!((wide.value(0), wide.value(1).to_bits(), wide.value(2).is_nan()), (f64::from(0.1_f32), 1 << 63, true));
    let decimal: ArrayRef = Arc::new(Decimal128Array::from(vec![-125]).with_precision_and_scale(5, 2).unwrap());
    let wide = widened(&decimal, &DataType::Decimal128(9, 2)).unwrap().unwrap();
    assert_eq!(wide.as_primitive::<Decimal128Type>().value(0), -125);
    assert!(widened(&small, &DataType::Float64).is_none() && widened(&wide, &DataType::Decimal128(5, 2)).is_none());
}
