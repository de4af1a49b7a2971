//! Text and binary of every type that a result may have, against PostgreSQL's own forms.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Int32Type, IntervalMonthDayNano};
use num_bigint::BigInt;
use proptest::prelude::*;

use super::binary::write_numeric;
use super::*;

/// A column's values in one format; `None` for NULL.
fn values(array: ArrayRef, sql_type: SqlType, format: Format) -> Result<Vec<Option<Vec<u8>>>> {
    let settings = EncodeSettings { time_zone: chrono_tz::Tz::Europe__Berlin, ..EncodeSettings::default() };
    let array = writable(&array, &sql_type, format)?;
    let column = ColumnWriter::new(&array, &sql_type, format)?;
    let rows = (0..array.len()).map(|row| {
        let mut out = Vec::new();
        Ok(column.write(row, &settings, &mut out)?.then_some(out))
    });
    rows.collect()
}

/// The first value in both formats; every array here ends with a NULL.
fn check(array: ArrayRef, text: &str, binary: &[u8]) {
    let sql_type = SqlType::from_arrow(array.data_type()).unwrap_or(SqlType::Text);
    check_as(array, sql_type, text, binary);
}

fn check_as(array: ArrayRef, sql_type: SqlType, text: &str, binary: &[u8]) {
    let kind = array.data_type().clone();
    let texts = values(array.clone(), sql_type.clone(), Format::Text).unwrap();
    assert_eq!(texts[0].as_deref().map(String::from_utf8_lossy), Some(text.into()), "{kind}");
    assert_eq!(texts.last().unwrap(), &None, "{kind}");
    let binaries = values(array, sql_type, Format::Binary).unwrap();
    assert_eq!(binaries[0].as_deref(), Some(binary), "{kind}");
    assert_eq!(binaries.last().unwrap(), &None, "{kind}");
}

#[test]
fn plain_types() {
    check(Arc::new(BooleanArray::from(vec![Some(true), None])), "t", &[1]);
    check(Arc::new(Int16Array::from(vec![Some(-2), None])), "-2", &[255, 254]);
    check(Arc::new(Int32Array::from(vec![Some(7), None])), "7", &[0, 0, 0, 7]);
    check(Arc::new(Int64Array::from(vec![Some(7), None])), "7", &[0, 0, 0, 0, 0, 0, 0, 7]);
    check(Arc::new(Float32Array::from(vec![Some(0.1), None])), "0.1", &0.1_f32.to_be_bytes());
    check(Arc::new(Float64Array::from(vec![Some(1e300), None])), "1e+300", &1e300_f64.to_be_bytes());
    check(Arc::new(StringArray::from(vec![Some("häfen"), None])), "häfen", "häfen".as_bytes());
    check(Arc::new(BinaryArray::from(vec![Some(&[1_u8, 171][..]), None])), "\\x01ab", &[1, 171]);
}

#[test]
fn types_wider_than_ours_come_out_as_the_nearest_of_ours() {
    check(Arc::new(Int8Array::from(vec![Some(-1), None])), "-1", &[255, 255]);
    check(Arc::new(UInt8Array::from(vec![Some(255), None])), "255", &[0, 255]);
    check(Arc::new(UInt16Array::from(vec![Some(65_535), None])), "65535", &[0, 0, 255, 255]);
    check(Arc::new(UInt32Array::from(vec![Some(u32::MAX), None])), "4294967295", &[0, 0, 0, 0, 255, 255, 255, 255]);
    let digits = [5_u16, 4, 0, 0, 1844, 6744, 737, 955, 1615].iter().flat_map(|n| n.to_be_bytes());
    let array = Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]));
    check(array, "18446744073709551615", &digits.collect::<Vec<u8>>());
    check(Arc::new(LargeStringArray::from(vec![Some("{}"), None])), "{}", b"\x01{}");
    check(Arc::new(StringViewArray::from(vec![Some("a"), None])), "a", b"a");
    check(Arc::new(LargeBinaryArray::from(vec![Some(&[1_u8][..]), None])), "\\x01", &[1]);
    check(Arc::new(BinaryViewArray::from(vec![Some(&[1_u8][..]), None])), "\\x01", &[1]);
    let dictionary: DictionaryArray<Int32Type> = vec![Some("b"), Some("a"), None].into_iter().collect();
    check(Arc::new(dictionary), "b", b"b");
    let nulls = values(Arc::new(NullArray::new(1)), SqlType::Int4, Format::Binary).unwrap();
    assert_eq!(nulls, [None]);
}

#[test]
fn a_declared_type_other_than_the_array_s_is_cast_to() {
    let array: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None]));
    check_as(array.clone(), SqlType::Int8, "7", &7_i64.to_be_bytes());
    check_as(array.clone(), SqlType::Text, "7", b"7");
    let flag: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None]));
    check_as(flag, SqlType::Text, "t", b"t");
    let big: ArrayRef = Arc::new(Int64Array::from(vec![1 << 40]));
    assert!(values(big, SqlType::Int4, Format::Binary).is_err());
    let instant: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone("Asia/Tokyo"));
    check_as(instant, SqlType::Timestamptz, "1970-01-01 01:00:00+01", &(-946_684_800_000_000_i64).to_be_bytes());
}

#[test]
fn dates_and_times() {
    check(Arc::new(Date32Array::from(vec![Some(10_957), None])), "2000-01-01", &[0; 4]);
    check(Arc::new(Date32Array::from(vec![Some(i32::MAX), None])), "infinity", &i32::MAX.to_be_bytes());
    check(Arc::new(Date64Array::from(vec![Some(10_958 * 86_400_000), None])), "2000-01-02", &[0, 0, 0, 1]);
    let us = 946_684_800_000_000 + 1_500_000;
    let binary = 1_500_000_i64.to_be_bytes();
    check(Arc::new(TimestampMicrosecondArray::from(vec![Some(us), None])), "2000-01-01 00:00:01.5", &binary);
    check(Arc::new(TimestampMillisecondArray::from(vec![Some(us / 1000), None])), "2000-01-01 00:00:01.5", &binary);
    check(Arc::new(TimestampNanosecondArray::from(vec![Some(us * 1000), None])), "2000-01-01 00:00:01.5", &binary);
    let seconds = TimestampSecondArray::from(vec![Some(us / 1_000_000), None]);
    check(Arc::new(seconds), "2000-01-01 00:00:01", &1_000_000_i64.to_be_bytes());
    let zoned = TimestampMicrosecondArray::from(vec![Some(us), None]).with_timezone("UTC");
    check(Arc::new(zoned), "2000-01-01 01:00:01.5+01", &binary);
    let ends = TimestampMicrosecondArray::from(vec![Some(i64::MIN), None]).with_timezone("UTC");
    check(Arc::new(ends), "-infinity", &i64::MIN.to_be_bytes());
}

#[test]
fn a_timestamp_before_what_postgresql_counts_is_an_error() {
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN + 1]));
    let error = values(array, SqlType::Timestamp, Format::Binary).unwrap_err();
    assert_eq!(error.state().0, "22008");
    let array: ArrayRef = Arc::new(Date32Array::from(vec![i32::MIN + 1]));
    assert!(values(array, SqlType::Date, Format::Binary).is_err());
}

#[test]
fn intervals() {
    let interval = IntervalMonthDayNano::new(14, -3, 5_000_000);
    let binary = [&5_000_i64.to_be_bytes()[..], &(-3_i32).to_be_bytes(), &14_i32.to_be_bytes()].concat();
    let text = "1 year 2 mons -3 days +00:00:00.005";
    check(Arc::new(IntervalMonthDayNanoArray::from(vec![Some(interval), None])), text, &binary);
    let zero = [0; 16];
    let array = IntervalMonthDayNanoArray::from(vec![Some(IntervalMonthDayNano::new(0, 0, 0)), None]);
    check(Arc::new(array), "00:00:00", &zero);
    let binary = [&90_000_000_i64.to_be_bytes()[..], &[0; 8]].concat();
    check(Arc::new(DurationSecondArray::from(vec![Some(90), None])), "00:01:30", &binary);
    check(Arc::new(DurationMillisecondArray::from(vec![Some(90_000), None])), "00:01:30", &binary);
    let binary = [&(-3_600_000_000_i64).to_be_bytes()[..], &(-1_i32).to_be_bytes(), &[0; 4]].concat();
    check(Arc::new(DurationSecondArray::from(vec![Some(-90_000), None])), "-1 days -01:00:00", &binary);
    check(Arc::new(IntervalYearMonthArray::from(vec![Some(1), None])), "1 mon", &[&[0; 15][..], &[1]].concat());
}

#[test]
fn lists_are_array_literals() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None, Some(3)]), None]);
    check_as(Arc::new(list), SqlType::Text, "{1,NULL,3}", b"{1,NULL,3}");
    let instants = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut builder = ListBuilder::new(instants);
    builder.values().append_value(0);
    builder.append(true);
    builder.append(false);
    let literal = "{\"1970-01-01 01:00:00+01\"}";
    check_as(Arc::new(builder.finish()), SqlType::Text, literal, literal.as_bytes());
    let mut builder = ListBuilder::new(StringBuilder::new());
    for word in ["plain", "two words", "", "null", "a\"b\\c", "x,y"] {
        builder.values().append_value(word);
    }
    builder.append(true);
    builder.append(false);
    let literal = r#"{plain,"two words","","null","a\"b\\c","x,y"}"#;
    check_as(Arc::new(builder.finish()), SqlType::Text, literal, literal.as_bytes());
}

#[test]
fn arrays_in_binary() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None]);
    let words = |words: &[i32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    // One dimension, with NULLs, of integers; two of them from 1 on; 4 bytes that are 1, and a NULL.
    let binary = words(&[1, 1, 23, 2, 1, 4, 1, -1]);
    check(Arc::new(list), "{1,NULL}", &binary);
    let empty = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![]), None]);
    check(Arc::new(empty), "{}", &words(&[0, 0, 23]));
}

#[test]
fn a_struct_is_refused_by_name() {
    let array: ArrayRef = Arc::new(StructArray::from(vec![(
        Arc::new(arrow::datatypes::Field::new("a", DataType::Int32, true)),
        Arc::new(Int32Array::from(vec![1])) as ArrayRef,
    )]));
    let error = values(array, SqlType::Text, Format::Text).unwrap_err();
    assert_eq!(error.state().0, "0A000");
}

#[test]
fn decimals_keep_the_scale_of_their_array() {
    let array = Decimal128Array::from(vec![Some(-12_345), None]).with_precision_and_scale(10, 2).unwrap();
    let binary: Vec<u8> = [2_u16, 0, 0x4000, 2, 123, 4500].iter().flat_map(|n| n.to_be_bytes()).collect();
    check_as(Arc::new(array), SqlType::Numeric { precision: 38, scale: 6 }, "-123.45", &binary);
    let array = Decimal64Array::from(vec![Some(5), None]).with_precision_and_scale(10, 3).unwrap();
    let binary: Vec<u8> = [1_u16, 0xFFFF, 0, 3, 50].iter().flat_map(|n| n.to_be_bytes()).collect();
    check(Arc::new(array), "0.005", &binary);
}

fn numeric(value: i128, scale: i8) -> Vec<u16> {
    let mut out = Vec::new();
    write_numeric(value, scale, &mut out);
    out.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

#[test]
fn numerics_at_their_edges() {
    assert_eq!(numeric(0, 0), [0, 0, 0, 0]);
    assert_eq!(numeric(0, 4), [0, 0, 0, 4]);
    assert_eq!(numeric(10_000, 0), [1, 1, 0, 0, 1]);
    assert_eq!(numeric(1, 38), [1, (-10_i16) as u16, 0, 38, 100]);
    assert_eq!(numeric(12, -3), [2, 1, 0, 0, 1, 2000]);
    let most = 10_i128.pow(38) - 1;
    assert_eq!(numeric(most, 0), [&[10, 9, 0, 0, 99][..], &[9999; 9]].concat());
    assert_eq!(numeric(-most, 38), [&[10, 0xFFFF, 0x4000, 38][..], &[9999; 9], &[9900]].concat());
}

proptest! {
    /// The digits of base 10000, weighted, are the value again.
    #[test]
    fn numerics_add_up(value in -(10_i128.pow(38) - 1)..10_i128.pow(38), divisor in 0_u32..38, scale in 0_i8..=38) {
        let value = value / 10_i128.pow(divisor);
        let words = numeric(value, scale);
        let (weight, sign) = (words[1] as i16, words[2]);
        prop_assert_eq!(words[0] as usize, words.len() - 4);
        prop_assert_eq!(words[3], scale as u16);
        prop_assert!(words[4..].first() != Some(&0) && words[4..].last() != Some(&0));
        // In units of 10000^-10, which no digit lies below.
        let sum: BigInt = words[4..].iter().enumerate().map(|(index, digit)| {
            BigInt::from(*digit) * BigInt::from(10_000).pow((i32::from(weight) - index as i32 + 10) as u32)
        }).sum();
        let sum = if sign == 0 { sum } else { -sum };
        prop_assert_eq!(sum, BigInt::from(value) * BigInt::from(10).pow(40 - scale as u32));
    }
}

#[test]
fn formats_spread_as_bind_says() {
    use Format::*;
    assert_eq!(Format::spread(&[], 2, "column").unwrap(), [Text, Text]);
    assert_eq!(Format::spread(&[1], 2, "column").unwrap(), [Binary, Binary]);
    assert_eq!(Format::spread(&[1, 0], 2, "column").unwrap(), [Binary, Text]);
    assert!(Format::spread(&[1, 0], 3, "column").is_err());
    assert!(Format::spread(&[2], 1, "column").is_err());
}
