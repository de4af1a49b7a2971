//! Parameters in both formats.

use super::*;

fn text(sql_type: SqlType, value: &str) -> Result<ScalarValue> {
    decode(&sql_type, sql_type.oid(), Format::Text, Some(Bytes::copy_from_slice(value.as_bytes())), Tz::Europe__Berlin)
}

fn binary(sql_type: SqlType, value: &[u8]) -> Result<ScalarValue> {
    decode(&sql_type, sql_type.oid(), Format::Binary, Some(Bytes::copy_from_slice(value)), Tz::UTC)
}

const NUMERIC: SqlType = SqlType::Numeric { precision: 10, scale: 2 };

fn numeric_words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[test]
fn text_is_read_in_the_session_s_zone() {
    assert_eq!(text(SqlType::Int4, " 12 ").unwrap(), ScalarValue::Int32(Some(12)));
    let value = text(SqlType::Timestamptz, "2000-01-01 01:00").unwrap();
    assert_eq!(value, ScalarValue::TimestampMicrosecond(Some(EPOCH_US), Some("UTC".into())));
    assert_eq!(text(SqlType::Int4, "abc").unwrap_err().state().0, "22P02");
    assert_eq!(text(SqlType::Text, "a\0b").unwrap_err().state().0, "22021");
}

#[test]
fn numerics_keep_all_their_digits() {
    let decimal = |value, precision, scale| ScalarValue::Decimal128(Some(value), precision, scale);
    assert_eq!(text(NUMERIC, "1.2345").unwrap(), decimal(12_345, 5, 4));
    assert_eq!(text(NUMERIC, "-0.05").unwrap(), decimal(-5, 2, 2));
    assert_eq!(text(NUMERIC, "0").unwrap(), decimal(0, 1, 0));
    assert_eq!(text(NUMERIC, "12e3").unwrap(), decimal(12_000, 5, 0));
    assert_eq!(text(NUMERIC, "12e-3").unwrap(), decimal(12, 3, 3));
    let most = "9".repeat(38);
    assert_eq!(text(NUMERIC, &most).unwrap(), decimal(10_i128.pow(38) - 1, 38, 0));
    assert_eq!(text(NUMERIC, &"9".repeat(39)).unwrap_err().state().0, "22003");
    assert_eq!(text(NUMERIC, "1e999999999999999999").unwrap_err().state().0, "22003");
    assert_eq!(text(NUMERIC, "abc").unwrap_err().state().0, "22P02");
}

#[test]
fn binary_numerics() {
    let read = |words: &[u16]| binary(NUMERIC, &numeric_words(words));
    let decimal = |value, precision, scale| ScalarValue::Decimal128(Some(value), precision, scale);
    assert_eq!(read(&[2, 0, 0x4000, 2, 123, 4500]).unwrap(), decimal(-12_345, 5, 2));
    assert_eq!(read(&[1, 0xFFFF, 0, 3, 50]).unwrap(), decimal(5, 3, 3));
    assert_eq!(read(&[1, 1, 0, 0, 1]).unwrap(), decimal(10_000, 5, 0));
    assert_eq!(read(&[0, 0, 0, 0]).unwrap(), decimal(0, 1, 0));
    // More decimals in the digits than are shown: PostgreSQL cuts them.
    assert_eq!(read(&[2, 0, 0, 1, 1, 2999]).unwrap(), decimal(12, 2, 1));
    assert_eq!(read(&[0, 0, 0xC000, 0]).unwrap_err().state().0, "22003");
    assert_eq!(read(&[1, 0x7FFF, 0, 0, 1]).unwrap_err().state().0, "22003");
    for broken in [&[1, 0, 0, 0][..], &[1, 0, 7, 0, 1], &[1, 0, 0, 0, 10_000], &[0xFFFF, 0, 0, 0, 1], &[0, 0, 0]] {
        assert_eq!(read(broken).unwrap_err().state().0, "22P03", "{broken:?}");
    }
}

#[test]
fn binary_of_a_wrong_length_is_refused() {
    for sql_type in [
        SqlType::Boolean,
        SqlType::Int2,
        SqlType::Int4,
        SqlType::Int8,
        SqlType::Float4,
        SqlType::Float8,
        SqlType::Date,
        SqlType::Timestamp,
        SqlType::Timestamptz,
        SqlType::Interval,
        NUMERIC,
    ] {
        assert_eq!(binary(sql_type, b"abc").unwrap_err().state().0, "22P03");
    }
    assert_eq!(binary(SqlType::Text, b"\xFF").unwrap_err().state().0, "22021");
}

#[test]
fn binary_times() {
    assert_eq!(binary(SqlType::Date, &[0; 4]).unwrap(), ScalarValue::Date32(Some(EPOCH_DAYS)));
    let infinity = ScalarValue::TimestampMicrosecond(Some(i64::MAX), None);
    assert_eq!(binary(SqlType::Timestamp, &i64::MAX.to_be_bytes()).unwrap(), infinity);
    assert_eq!(binary(SqlType::Timestamp, &(i64::MAX - 1).to_be_bytes()).unwrap_err().state().0, "22008");
    let bytes = [&5_i64.to_be_bytes()[..], &(-3_i32).to_be_bytes(), &14_i32.to_be_bytes()].concat();
    let interval = IntervalMonthDayNano::new(14, -3, 5000);
    assert_eq!(binary(SqlType::Interval, &bytes).unwrap(), ScalarValue::IntervalMonthDayNano(Some(interval)));
    let bytes = [&i64::MAX.to_be_bytes()[..], &[0; 8]].concat();
    assert_eq!(binary(SqlType::Interval, &bytes).unwrap_err().state().0, "22008");
}

#[test]
fn arrays_become_their_text() {
    let word = |word: i32| word.to_be_bytes().to_vec();
    let array = |oid: i32, elements: &[Option<&[u8]>]| {
        let mut bytes = [word(1), word(1), word(oid), word(elements.len() as i32), word(1)].concat();
        for element in elements {
            bytes.extend(word(element.map_or(-1, |element| element.len() as i32)));
            bytes.extend(element.unwrap_or_default());
        }
        Bytes::from(bytes)
    };
    let decoded = |oid: u32, bytes: Bytes| decode(&SqlType::Text, oid, Format::Binary, Some(bytes), Tz::UTC);
    let text = |text: &str| ScalarValue::Utf8(Some(text.to_string()));
    let integers = array(23, &[Some(&7_i32.to_be_bytes()), None]);
    assert_eq!(decoded(1007, integers.clone()).unwrap(), text("{\"7\",NULL}"));
    assert_eq!(decoded(1009, array(25, &[Some(b"a\"b\\c")])).unwrap(), text("{\"a\\\"b\\\\c\"}"));
    let empty = Bytes::from([word(0), word(0), word(23)].concat());
    assert_eq!(decoded(1007, empty).unwrap(), text("{}"));
    for length in 0..integers.len() {
        assert_eq!(decoded(1007, integers.slice(..length)).unwrap_err().state().0, "22P03", "{length} bytes");
    }
    let huge = Bytes::from([word(1), word(0), word(23), word(i32::MAX), word(1)].concat());
    assert_eq!(decoded(1007, huge).unwrap_err().state().0, "22P03");
}

#[test]
fn declared_types() {
    assert_eq!(declared_type(0).unwrap(), None);
    assert_eq!(declared_type(705).unwrap(), None);
    assert_eq!(declared_type(1043).unwrap(), Some(SqlType::Text));
    assert_eq!(declared_type(1007).unwrap(), Some(SqlType::Text));
    assert_eq!(declared_type(600).unwrap_err().state().0, "0A000");
    assert_eq!(declared_type(2950).unwrap(), Some(SqlType::Uuid));
    let uuid =
        |bytes: &'static [u8]| decode(&SqlType::Uuid, 2950, Format::Binary, Some(Bytes::from_static(bytes)), Tz::UTC);
    assert_eq!(uuid(&[7; 16]).unwrap(), ScalarValue::FixedSizeBinary(16, Some(vec![7; 16])));
    assert_eq!(uuid(&[7; 15]).unwrap_err().state().0, "22P03");
    let jsonb =
        |bytes: &'static [u8]| decode(&SqlType::Jsonb, 3802, Format::Binary, Some(Bytes::from_static(bytes)), Tz::UTC);
    assert_eq!(jsonb(b"\x01{\"b\":1,\"a\":2}").unwrap(), ScalarValue::LargeUtf8(Some("{\"a\": 2, \"b\": 1}".into())));
    assert_eq!(jsonb(b"{}").unwrap_err().state().0, "22P03");
    assert_eq!(jsonb(b"\x01{").unwrap_err().state().0, "22P02");
    assert_eq!(decode(&SqlType::Int4, 23, Format::Binary, None, Tz::UTC).unwrap(), ScalarValue::Int32(None));
}
