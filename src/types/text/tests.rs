//! Expected texts were printed by PostgreSQL 15.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, DurationNanosecondArray, Float32Array,
    Float64Array, Int8Array, Int32Array, NullArray, StringArray, StringViewArray, TimestampNanosecondArray,
    UInt64Array,
};
use arrow::datatypes::Int32Type;

use super::*;
use crate::types::calendar::CivilDate;

fn check(array: impl Array + 'static, expected: &[&str]) {
    check_with(&EncodeSettings::default(), array, expected);
}

fn check_with(settings: &EncodeSettings, array: impl Array + 'static, expected: &[&str]) {
    let array: ArrayRef = Arc::new(array);
    let column = ColumnText::new(array.as_ref()).unwrap();
    let texts: Vec<_> = (0..array.len())
        .map(|row| {
            let mut out = Vec::new();
            column.write(row, settings, &mut out);
            String::from_utf8(out).unwrap()
        })
        .collect();
    assert_eq!(texts, expected);
}

#[test]
fn booleans_and_integers() {
    check(BooleanArray::from(vec![true, false]), &["t", "f"]);
    check(Int32Array::from(vec![0, -7, i32::MIN, i32::MAX]), &["0", "-7", "-2147483648", "2147483647"]);
    check(Int8Array::from(vec![-128]), &["-128"]);
    check(UInt64Array::from(vec![u64::MAX]), &["18446744073709551615"]);
}

#[test]
fn floats_print_the_shortest_digits_that_read_back() {
    check(
        Float64Array::from(vec![
            0.0,
            -0.0,
            0.0001,
            0.00001,
            1e14,
            1e15,
            123456789012345.0,
            1234567890123456.0,
            5e-324,
            0.1 + 0.2,
        ]),
        &[
            "0",
            "-0",
            "0.0001",
            "1e-05",
            "100000000000000",
            "1e+15",
            "123456789012345",
            "1.234567890123456e+15",
            "5e-324",
            "0.30000000000000004",
        ],
    );
    check(Float64Array::from(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]), &["NaN", "Infinity", "-Infinity"]);
    check(
        Float32Array::from(vec![0.1, 1e6, 123456.0, 1234567.0, f32::MIN_POSITIVE, f32::MAX, 21.5]),
        &["0.1", "1e+06", "123456", "1.234567e+06", "1.1754944e-38", "3.4028235e+38", "21.5"],
    );
}

#[test]
fn fewer_float_digits_on_request() {
    let settings = EncodeSettings { extra_float_digits: 0, ..EncodeSettings::default() };
    check_with(
        &settings,
        Float64Array::from(vec![0.1 + 0.2, 1e15, 1e14, 41152263.0]),
        &["0.3", "1e+15", "100000000000000", "41152263"],
    );
    check_with(&settings, Float32Array::from(vec![1234567.0]), &["1.23457e+06"]);
    let settings = EncodeSettings { extra_float_digits: -13, ..EncodeSettings::default() };
    check_with(&settings, Float64Array::from(vec![123.456]), &["1.2e+02"]);
}

#[test]
fn numerics_keep_their_scale() {
    let decimals =
        |values: Vec<i128>, scale| Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap();
    check(decimals(vec![0, 1, -1, 12345, -12300], 2), &["0.00", "0.01", "-0.01", "123.45", "-123.00"]);
    check(decimals(vec![12345], 0), &["12345"]);
    check(decimals(vec![12, 0], -3), &["12000", "0"]);
    let greatest = 99_999_999_999_999_999_999_999_999_999_999_999_999i128;
    check(
        decimals(vec![greatest, -greatest], 38),
        &["0.99999999999999999999999999999999999999", "-0.99999999999999999999999999999999999999"],
    );
    check(decimals(vec![10_000_000_000_000_000_000_000_000_001], 0), &["10000000000000000000000000001"]);
    let mut out = Vec::new();
    write_decimal(i128::MIN, 0, &mut out);
    assert_eq!(out, i128::MIN.to_string().as_bytes());
}

#[test]
fn bytes_in_hex_and_escaped() {
    let value: &[u8] = b"\x00\xff\x5cA ~\x7f\n";
    check(BinaryArray::from(vec![value, b""]), &["\\x00ff5c41207e7f0a", "\\x"]);
    let settings = EncodeSettings { bytea_hex: false, ..EncodeSettings::default() };
    check_with(&settings, BinaryArray::from(vec![value]), &["\\000\\377\\\\A ~\\177\\012"]);
}

fn day(year: i64, month: u32, day: u32) -> i64 {
    CivilDate { year, month, day }.days()
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn dates_and_timestamps() {
    assert_eq!(text(|out| write_date(day(2024, 2, 29) as i32, out)), "2024-02-29");
    assert_eq!(text(|out| write_date(day(-43, 3, 15) as i32, out)), "0044-03-15 BC");
    assert_eq!(text(|out| write_date(day(12345, 1, 2) as i32, out)), "12345-01-02");
    assert_eq!(text(|out| write_date(i32::MIN, out)), "-infinity");
    assert_eq!(text(|out| write_timestamp(day(0, 1, 1) * DAY_US + 500_000, out)), "0001-01-01 00:00:00.5 BC");
    assert_eq!(text(|out| write_timestamp(-1, out)), "1969-12-31 23:59:59.999999");
    assert_eq!(text(|out| write_timestamp(i64::MAX, out)), "infinity");
    text(|out| write_timestamp(i64::MAX - 1, out));
    text(|out| write_timestamptz(i64::MIN + 1, Tz::Asia__Kolkata, out));
}

#[test]
fn timestamptz_in_the_sessions_zone() {
    let noon = day(2024, 7, 1) * DAY_US + DAY_US / 2;
    let print = |us, zone| text(|out| write_timestamptz(us, zone, out));
    assert_eq!(print(noon, Tz::UTC), "2024-07-01 12:00:00+00");
    assert_eq!(print(noon, Tz::Europe__Berlin), "2024-07-01 14:00:00+02");
    assert_eq!(print(noon, Tz::Asia__Kolkata), "2024-07-01 17:30:00+05:30");
    assert_eq!(print(noon, Tz::America__New_York), "2024-07-01 08:00:00-04");
    assert_eq!(print(day(1800, 1, 1) * DAY_US, Tz::Europe__Berlin), "1800-01-01 00:53:28+00:53:28");
    assert_eq!(print(day(-43, 3, 15) * DAY_US, Tz::UTC), "0044-03-15 00:00:00+00 BC");
}

#[test]
fn intervals_with_mixed_signs() {
    let hour = 3_600_000_000;
    let print = |months, days, us| text(|out| write_interval(months, days, us, out));
    assert_eq!(print(-14, 3, -(4 * hour + 306_700_000)), "-1 years -2 mons +3 days -04:05:06.7");
    assert_eq!(print(0, 0, 0), "00:00:00");
    assert_eq!(print(0, 1, -1_000_000), "1 day -00:00:01");
    assert_eq!(print(-1, 1, hour), "-1 mons +1 day 01:00:00");
    assert_eq!(print(0, 0, 100 * hour), "100:00:00");
    assert_eq!(print(0, -1, hour), "-1 days +01:00:00");
    assert_eq!(print(13, 0, 0), "1 year 1 mon");
    assert_eq!(print(1, -1, 0), "1 mon -1 days");
}

#[test]
fn what_only_functions_return() {
    check(
        StringViewArray::from(vec!["a view of a string, longer than twelve"]),
        &["a view of a string, longer than twelve"],
    );
    let words: DictionaryArray<Int32Type> = vec![Some("on"), None, Some("on")].into_iter().collect();
    let column = ColumnText::new(&words).unwrap();
    assert!(!column.is_null(0) && column.is_null(1));
    check(words.slice(2, 1), &["on"]);
    check(TimestampNanosecondArray::from(vec![-1]), &["1969-12-31 23:59:59.999999"]);
    check(DurationNanosecondArray::from(vec![1_500_000_000]), &["00:00:01.5"]);
    assert!(ColumnText::new(&NullArray::new(1)).unwrap().is_null(0));
}

#[test]
fn arrays() {
    use arrow::array::{ListArray, ListBuilder, StringBuilder};
    let numbers = vec![Some(vec![Some(1), None, Some(3)]), Some(vec![])];
    check(ListArray::from_iter_primitive::<Int32Type, _, _>(numbers), &["{1,NULL,3}", "{}"]);
    let mut texts = ListBuilder::new(StringBuilder::new());
    texts.append_value(["plain", "", "NULL", "a,b", "say \"hi\"", "a b", "{}", "\\"].map(Some));
    check(texts.finish(), &[r#"{plain,"","NULL","a,b","say \"hi\"","a b","{}","\\"}"#]);
}

#[test]
fn what_has_no_text_is_refused_by_name() {
    let field = arrow::datatypes::Field::new("x", DataType::Int32, true);
    let parts = arrow::array::StructArray::new_null(vec![field].into(), 1);
    let error = ColumnText::new(&parts).err().unwrap();
    assert_eq!(error.state(), crate::error::SqlState::FEATURE_NOT_SUPPORTED);
    assert!(ColumnText::new(&StringArray::from(vec!["x"])).unwrap().is_free_text());
}
