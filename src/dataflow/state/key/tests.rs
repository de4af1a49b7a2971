//! Packed keys read back, and are equal exactly when the rows are.

use std::sync::Arc;

use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, LargeStringArray, ListArray, ListBuilder,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};

use super::*;

fn check(columns: Vec<ArrayRef>) {
    let rows = columns[0].len();
    let layout = KeyLayout::new(columns.iter().map(|column| column.data_type().clone()).collect()).unwrap();
    let keys = layout.pack(&columns, rows).unwrap();
    let back = layout.unpack((0..rows).map(|row| keys.get(row))).unwrap();
    assert_eq!(back, columns.iter().map(canonical_array).collect::<Vec<_>>());
    for row in 0..rows {
        assert_eq!(keys.hashes[row], hash_key(keys.get(row)));
    }
}

fn uuids(values: [Option<[u8; 16]>; 3]) -> FixedSizeBinaryArray {
    FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16).unwrap()
}

fn fixed_columns() -> Vec<ArrayRef> {
    let interval = IntervalMonthDayNano::new(-1, 2, -3);
    vec![
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        Arc::new(Int16Array::from(vec![Some(-1), Some(i16::MAX), None])),
        Arc::new(Int32Array::from(vec![None, Some(i32::MIN), Some(5)])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(-5)])),
        Arc::new(Date32Array::from(vec![Some(1), None, Some(-1)])),
        Arc::new(Float32Array::from(vec![Some(-0.0), Some(f32::NAN), None])),
        Arc::new(Float64Array::from(vec![Some(-0.0), Some(-f64::NAN), Some(1.5)])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(7), None, Some(-7)]).with_timezone("UTC")),
        Arc::new(
            Decimal128Array::from(vec![Some(-1), None, Some(10_i128.pow(37))]).with_precision_and_scale(38, 3).unwrap(),
        ),
        Arc::new(IntervalMonthDayNanoArray::from(vec![Some(interval), None, Some(IntervalMonthDayNano::ZERO)])),
        Arc::new(uuids([Some([7; 16]), None, Some([0; 16])])),
    ]
}

#[test]
fn every_type_reads_back() {
    check(fixed_columns());
    let mut columns = fixed_columns();
    columns.push(Arc::new(StringArray::from(vec![Some(""), None, Some("schön")])));
    columns.push(Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\0\x01"), Some(b""), None])));
    columns.push(Arc::new(LargeStringArray::from(vec![Some("{\"a\": 1.50}"), None, Some("[0.0]")])));
    let floats = vec![Some(vec![Some(-0.0), None]), None, Some(vec![])];
    columns.push(Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(floats)));
    let mut texts = ListBuilder::new(StringBuilder::new());
    texts.append_value([Some("a"), None, Some("")]);
    texts.append_null();
    texts.append_value([Some("b,")]);
    columns.push(Arc::new(texts.finish()));
    check(columns);
}

#[test]
fn zeros_are_one_and_nans_are_one() {
    let layout = KeyLayout::new(vec![DataType::Float64]).unwrap();
    let column: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
    let keys = layout.pack(&[column], 4).unwrap();
    assert_eq!(keys.get(0), keys.get(1));
    assert_eq!(keys.get(2), keys.get(3));
    assert_ne!(keys.get(0), keys.get(2));
    let layout = KeyLayout::new(vec![DataType::LargeUtf8]).unwrap();
    let column: ArrayRef = Arc::new(LargeStringArray::from(vec!["[1.0, -0.0]", "[1, 0]", "[1, \"0.0\"]"]));
    let keys = layout.pack(&[column], 3).unwrap();
    assert_eq!(keys.get(0), keys.get(1));
    assert_ne!(keys.get(0), keys.get(2));
}

#[test]
fn what_lies_under_a_null_does_not_count() {
    let layout = KeyLayout::new(vec![DataType::Int64]).unwrap();
    let nulls = arrow::buffer::NullBuffer::from(vec![false, false, true]);
    let column: ArrayRef = Arc::new(Int64Array::new(vec![1, 2, 0].into(), Some(nulls)));
    let keys = layout.pack(&[column], 3).unwrap();
    assert_eq!(keys.get(0), keys.get(1));
    assert_ne!(keys.get(0), keys.get(2));
}

#[test]
fn texts_that_run_together_stay_apart() {
    let layout = KeyLayout::new(vec![DataType::Utf8, DataType::Utf8]).unwrap();
    let first: ArrayRef = Arc::new(StringArray::from(vec![Some("ab"), Some("a"), None]));
    let second: ArrayRef = Arc::new(StringArray::from(vec![Some("c"), Some("bc"), Some("abc")]));
    let keys = layout.pack(&[first, second], 3).unwrap();
    for (left, right) in [(0, 1), (1, 2), (0, 2)] {
        assert!(!keys.get(left).starts_with(keys.get(right)) && !keys.get(right).starts_with(keys.get(left)));
    }
}

#[test]
fn the_hash_does_not_change() {
    assert_eq!(hash_key(&[]), hash_key(&[]));
    let hashes = [hash_key(&[]), hash_key(&1_u64.to_le_bytes()), hash_key(b"device")];
    assert_eq!(hashes, HASHES, "a stored chunk finds its rows by these");
}

const HASHES: [u64; 3] = [13730537811256138321, 6635759910231055444, 7077360913376071336];
