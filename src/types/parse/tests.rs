//! Accepted and refused texts, as PostgreSQL 15 accepts and refuses them.

use super::*;
use crate::types::text::{EncodeSettings, write_text};

const NUMERIC: SqlType = SqlType::Numeric { precision: 10, scale: 2 };

/// The value that a text is read as, printed again.
fn printed(sql_type: &SqlType, text: &str) -> Result<String> {
    printed_in(sql_type, text, Tz::UTC)
}

fn printed_in(sql_type: &SqlType, text: &str, zone: Tz) -> Result<String> {
    let value = parse_text(sql_type, text, zone)?;
    assert_eq!(value.data_type(), sql_type.arrow());
    let array = value.to_array().unwrap();
    let mut out = Vec::new();
    write_text(array.as_ref(), 0, &EncodeSettings { time_zone: zone, ..EncodeSettings::default() }, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn check(sql_type: &SqlType, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(printed(sql_type, text).unwrap(), *expected, "{sql_type} {text:?}");
    }
}

fn check_refused(sql_type: &SqlType, cases: &[(&str, SqlState, &str)]) {
    for (text, state, message) in cases {
        let error = printed(sql_type, text).expect_err(text);
        assert_eq!((error.state(), error.message()), (*state, *message), "{text:?}");
    }
}

#[test]
fn booleans() {
    let trues = ["t", "true", " TRUE ", "tr", "y", "yes", "on", "1"];
    let falses = ["f", "false", "fal", "N", "no", "off", "of", "0"];
    check(&SqlType::Boolean, &trues.map(|text| (text, "t")));
    check(&SqlType::Boolean, &falses.map(|text| (text, "f")));
    for text in ["", "o", "2", "truee", "tü"] {
        let message = format!("invalid input syntax for type boolean: \"{text}\"");
        check_refused(&SqlType::Boolean, &[(text, SqlState::INVALID_TEXT_REPRESENTATION, &message)]);
    }
}

#[test]
fn integers() {
    check(&SqlType::Int4, &[("0", "0"), (" +12 ", "12"), ("-2147483648", "-2147483648"), ("0x1F", "31")]);
    check(
        &SqlType::Int8,
        &[
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("1_000_000", "1000000"),
            ("000000000000000000000000007", "7"),
        ],
    );
    let syntax = SqlState::INVALID_TEXT_REPRESENTATION;
    let range = SqlState::NUMERIC_OUT_OF_RANGE;
    check_refused(
        &SqlType::Int4,
        &[
            ("abc", syntax, "invalid input syntax for type integer: \"abc\""),
            ("", syntax, "invalid input syntax for type integer: \"\""),
            ("-", syntax, "invalid input syntax for type integer: \"-\""),
            ("1.5", syntax, "invalid input syntax for type integer: \"1.5\""),
            ("1__0", syntax, "invalid input syntax for type integer: \"1__0\""),
            ("0x", syntax, "invalid input syntax for type integer: \"0x\""),
            ("é", syntax, "invalid input syntax for type integer: \"é\""),
            ("2147483648", range, "value \"2147483648\" is out of range for type integer"),
        ],
    );
    check_refused(&SqlType::Int2, &[("32768", range, "value \"32768\" is out of range for type smallint")]);
    let huge = "9".repeat(60);
    let message = format!("value \"{huge}\" is out of range for type bigint");
    check_refused(&SqlType::Int8, &[(huge.as_str(), range, message.as_str())]);
}

#[test]
fn floats() {
    check(
        &SqlType::Float8,
        &[
            ("1.5", "1.5"),
            (" 1e3 ", "1000"),
            ("-0", "-0"),
            (".5", "0.5"),
            ("NaN", "NaN"),
            ("inf", "Infinity"),
            ("-Infinity", "-Infinity"),
            ("0e-999", "0"),
            ("5e-324", "5e-324"),
        ],
    );
    check(&SqlType::Float4, &[("0.1", "0.1"), ("16777217", "1.6777216e+07")]);
    let range = SqlState::NUMERIC_OUT_OF_RANGE;
    check_refused(
        &SqlType::Float8,
        &[
            ("1e400", range, "\"1e400\" is out of range for type double precision"),
            ("1e-400", range, "\"1e-400\" is out of range for type double precision"),
            ("", SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type double precision: \"\""),
        ],
    );
    check_refused(&SqlType::Float4, &[("1e39", range, "\"1e39\" is out of range for type real")]);
}

#[test]
fn numerics_round_half_away_from_zero() {
    check(
        &NUMERIC,
        &[
            ("1", "1.00"),
            ("1.005", "1.01"),
            ("-1.005", "-1.01"),
            ("1.0049999", "1.00"),
            ("12345678.994", "12345678.99"),
            (".5", "0.50"),
            ("5.", "5.00"),
            ("1e3", "1000.00"),
            ("12345e-4", "1.23"),
            ("0.005", "0.01"),
            ("0.0049", "0.00"),
            ("0.0000009", "0.00"),
            ("0e99999999999", "0.00"),
            ("1e-99999999999", "0.00"),
            ("000000000000000000000000000000000000000000000001", "1.00"),
        ],
    );
    let widest = SqlType::Numeric { precision: 38, scale: 0 };
    let nines = "9".repeat(38);
    check(&widest, &[(nines.as_str(), nines.as_str()), ("-1e37", "-10000000000000000000000000000000000000")]);
    for text in ["99999999.995", "1e8", "1e400", "1e99999999999"] {
        let error = printed(&NUMERIC, text).unwrap_err();
        assert_eq!(error.state(), SqlState::NUMERIC_OUT_OF_RANGE);
        assert_eq!(
            error.detail(),
            Some("A field with precision 10, scale 2 must round to an absolute value less than 10^8."),
        );
    }
    assert!(printed(&widest, &format!("{nines}.5")).is_err());
    for text in ["", ".", "1.2.3", "1e", "1e+", "e5", "--1", "1 2"] {
        assert_eq!(printed(&NUMERIC, text).unwrap_err().state(), SqlState::INVALID_TEXT_REPRESENTATION, "{text}");
    }
    assert_eq!(printed(&NUMERIC, "NaN").unwrap_err().state(), SqlState::FEATURE_NOT_SUPPORTED);
}

#[test]
fn texts_of_limited_length() {
    let three = SqlType::Varchar(Some(3));
    check(&three, &[("äöü", "äöü"), ("ab", "ab"), ("abc   ", "abc")]);
    let message = "value too long for type character varying(3)";
    check_refused(&three, &[("abcd", SqlState::STRING_TOO_LONG, message)]);
    check(&SqlType::Varchar(None), &[("abcd", "abcd")]);
}

#[test]
fn bytes() {
    check(
        &SqlType::Bytea,
        &[("\\x", "\\x"), ("\\xDEad be ef", "\\xdeadbeef"), ("a\\\\b\\001", "\\x615c6201"), ("ü", "\\xc3bc")],
    );
    let parameter = SqlState::INVALID_PARAMETER;
    check_refused(
        &SqlType::Bytea,
        &[
            ("\\x1", parameter, "invalid hexadecimal data: odd number of digits"),
            ("\\x1ü", parameter, "invalid hexadecimal digit: \"ü\""),
            ("\\", SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea: \"\\\""),
            ("\\400", SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea: \"\\400\""),
        ],
    );
}

#[test]
fn dates() {
    check(
        &SqlType::Date,
        &[
            ("2024-02-29", "2024-02-29"),
            ("20240229", "2024-02-29"),
            ("2024-02-29 13:14:15+02", "2024-02-29"),
            ("January 8, 1999", "1999-01-08"),
            ("1999-Jan-08", "1999-01-08"),
            ("8-Jan-1999", "1999-01-08"),
            ("Jan 8 1999", "1999-01-08"),
            ("1/8/1999", "1999-01-08"),
            ("01/02/03", "2003-01-02"),
            ("1/2/70", "1970-01-02"),
            ("0044-03-15 BC", "0044-03-15 BC"),
            ("12345-01-02", "12345-01-02"),
            ("infinity", "infinity"),
            ("-infinity", "-infinity"),
            ("epoch", "1970-01-01"),
        ],
    );
    let range = SqlState::DATETIME_OVERFLOW;
    check_refused(
        &SqlType::Date,
        &[
            ("2023-02-29", range, "date/time field value out of range: \"2023-02-29\""),
            ("2024-13-01", range, "date/time field value out of range: \"2024-13-01\""),
            ("0000-01-01", range, "date/time field value out of range: \"0000-01-01\""),
            ("9999999-01-01", range, "date out of range: \"9999999-01-01\""),
            ("yesterday-ish", SqlState::INVALID_DATETIME, "invalid input syntax for type date: \"yesterday-ish\""),
            ("", SqlState::INVALID_DATETIME, "invalid input syntax for type date: \"\""),
            ("12:00", SqlState::INVALID_DATETIME, "invalid input syntax for type date: \"12:00\""),
            ("today", SqlState::FEATURE_NOT_SUPPORTED, "date value \"today\" is not supported yet"),
        ],
    );
}

#[test]
fn timestamps() {
    check(
        &SqlType::Timestamp,
        &[
            ("2024-07-01 12:34:56.789", "2024-07-01 12:34:56.789"),
            ("2024-07-01T12:34:56Z", "2024-07-01 12:34:56"),
            ("2024-07-01 12:34", "2024-07-01 12:34:00"),
            ("2024-07-01", "2024-07-01 00:00:00"),
            ("2024-07-01 24:00:00", "2024-07-02 00:00:00"),
            ("2024-07-01 00:00:00.1234567", "2024-07-01 00:00:00.123457"),
            ("2024-07-01 23:59:59.9999999", "2024-07-02 00:00:00"),
            ("Mon Jul 1 4:05:06 PM 2024", "2024-07-01 16:05:06"),
            ("2024-07-01 12:05 AM", "2024-07-01 00:05:00"),
            ("0001-01-01 00:00 BC", "0001-01-01 00:00:00 BC"),
            ("294246-12-31 23:59:59", "294246-12-31 23:59:59"),
            ("infinity", "infinity"),
        ],
    );
    let range = SqlState::DATETIME_OVERFLOW;
    check_refused(
        &SqlType::Timestamp,
        &[
            ("2024-07-01 25:00:00", range, "date/time field value out of range: \"2024-07-01 25:00:00\""),
            ("2024-07-01 12:61", range, "date/time field value out of range: \"2024-07-01 12:61\""),
            ("294277-01-01", range, "timestamp out of range: \"294277-01-01\""),
            ("2024-07-01 1", SqlState::INVALID_DATETIME, "invalid input syntax for type timestamp: \"2024-07-01 1\""),
        ],
    );
}

#[test]
fn timestamptz_with_and_without_a_zone() {
    let check = |zone, cases: &[(&str, &str)]| {
        for (text, expected) in cases {
            assert_eq!(printed_in(&SqlType::Timestamptz, text, zone).unwrap(), *expected, "{text}");
        }
    };
    check(
        Tz::UTC,
        &[
            ("2024-07-01 12:00:00+02", "2024-07-01 10:00:00+00"),
            ("2024-07-01 12:00:00-0530", "2024-07-01 17:30:00+00"),
            ("2024-07-01 12:00:00 +05:30", "2024-07-01 06:30:00+00"),
            ("2024-07-01T12:00:00.5Z", "2024-07-01 12:00:00.5+00"),
            ("2024-07-01 12:00 PST", "2024-07-01 20:00:00+00"),
            ("2024-07-01 12:00 Europe/Berlin", "2024-07-01 10:00:00+00"),
            ("2024-07-01 12:00 europe/berlin", "2024-07-01 10:00:00+00"),
            ("Jul 1 2024 12:00pm UTC", "2024-07-01 12:00:00+00"),
        ],
    );
    check(
        Tz::Europe__Berlin,
        &[
            ("2024-07-01 12:00", "2024-07-01 12:00:00+02"),
            ("2024-03-31 02:30", "2024-03-31 03:30:00+02"),
            ("2024-10-27 02:30", "2024-10-27 02:30:00+01"),
            ("epoch", "1970-01-01 01:00:00+01"),
        ],
    );
    let error = printed(&SqlType::Timestamptz, "2024-07-01 12:00 Mars/Olympus").unwrap_err();
    assert_eq!(error.message(), "time zone \"Mars/Olympus\" not recognized");
    assert!(printed(&SqlType::Timestamptz, "2024-07-01 12:00 +99").is_err());
}

#[test]
fn intervals() {
    check(
        &SqlType::Interval,
        &[
            ("1 year 2 mons -3 days 04:05:06.7", "1 year 2 mons -3 days +04:05:06.7"),
            ("90 min", "01:30:00"),
            ("5 seconds", "00:00:05"),
            ("5", "00:00:05"),
            ("1.5 hours", "01:30:00"),
            ("1.5 days", "1 day 12:00:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 years", "1 year 6 mons"),
            ("2 weeks", "14 days"),
            ("5 days ago", "-5 days"),
            ("@ 1 minute", "00:01:00"),
            ("1 12:00", "1 day 12:00:00"),
            ("-12:00", "-12:00:00"),
            ("1-2", "1 year 2 mons"),
            ("P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("PT-15M", "-00:15:00"),
            ("10ms", "00:00:00.01"),
            ("1 day, 2 hours", "1 day 02:00:00"),
        ],
    );
    for text in ["", "1 parsec", "day", "1 day ago 2 days", "P", "1:2:3:4", "ü"] {
        assert_eq!(printed(&SqlType::Interval, text).unwrap_err().state(), SqlState::INVALID_DATETIME, "{text}");
    }
    for text in ["99999999999 years", "10000000 hours", "1:99", "99999999999999999999 days"] {
        assert_eq!(printed(&SqlType::Interval, text).unwrap_err().state(), SqlState::DATETIME_OVERFLOW, "{text}");
    }
}

#[test]
fn uuids() {
    let value = [0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11];
    for text in [
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
        "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
    ] {
        assert_eq!(parse_uuid(text).unwrap(), value, "{text}");
    }
    for broken in [
        "",
        "{}",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-",
        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
        "a-0eebc999c0b4ef8bb6d6bb9bd380a11",
        "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ] {
        assert_eq!(parse_uuid(broken).unwrap_err().state(), SqlState::INVALID_TEXT_REPRESENTATION, "{broken}");
    }
}

#[test]
fn array_texts() {
    let some = |texts: &[&str]| Some(texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>());
    assert_eq!(parse_array("{}"), some(&[]));
    assert_eq!(parse_array("{a, b}"), some(&["a", "b"]));
    assert_eq!(parse_array("{a,\"b,c\"}"), some(&["a", "b,c"]));
    assert_eq!(parse_array("{\"a\\\"b\",c}"), some(&["a\"b", "c"]));
    assert_eq!(parse_array("{NULL,\"NULL\"}"), Some(vec![None, Some("NULL".into())]));
    for broken in ["", "a", "{a", "{\"a}", "{{a},{b}}", "{\"a\"b}", "{a\\"] {
        assert_eq!(parse_array(broken), None, "{broken}");
    }
}

/// Whatever comes, an answer or an error, never a panic.
mod fuzz {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9.:/ ,eTPxZünadgo\\\\]{0,24}") {
            for sql_type in [
                SqlType::Boolean, SqlType::Int8, SqlType::Float4, SqlType::Float8, NUMERIC, SqlType::Varchar(Some(4)),
                SqlType::Bytea, SqlType::Date, SqlType::Timestamp, SqlType::Timestamptz, SqlType::Interval,
            ] {
                let _ = printed_in(&sql_type, &text, Tz::Europe__Berlin);
            }
        }

        #[test]
        fn what_is_printed_reads_back(us in any::<i64>(), unscaled in -9_999_999_999i128..9_999_999_999, bits in any::<u64>()) {
            let mut out = Vec::new();
            let us = us.clamp(-210_000_000_000_000_000, i64::MAX);
            crate::types::text::write_timestamptz(us, Tz::Asia__Kolkata, &mut out);
            let text = std::str::from_utf8(&out).unwrap();
            if us < i64::MAX - 86_400_000_000 {
                prop_assert_eq!(parse_timestamptz(text, Tz::UTC).unwrap(), us);
            }
            out.clear();
            crate::types::text::write_decimal(unscaled, 2, &mut out);
            prop_assert_eq!(parse_decimal(std::str::from_utf8(&out).unwrap(), 10, 2).unwrap(), unscaled);
            out.clear();
            let float = f64::from_bits(bits);
            crate::types::text::write_f64(float, 1, &mut out);
            let back = parse_f64(std::str::from_utf8(&out).unwrap()).unwrap();
            prop_assert!(back.to_bits() == bits || float.is_nan());
        }
    }
}
