//! Input, output and containment as PostgreSQL 15 has them.

use super::*;
use crate::error::SqlState;

fn check(text: &str, expected: &str) {
    assert_eq!(parse_jsonb(text).unwrap(), expected, "{text}");
    // What is printed reads back as it is.
    assert_eq!(parse_jsonb(expected).unwrap(), expected);
}

fn refused(text: &str) -> (SqlState, String) {
    let error = parse_jsonb(text).unwrap_err();
    (error.state(), error.detail().unwrap_or_default().to_owned())
}

#[test]
fn values_have_one_text() {
    check(" {\"b\":1,\"a\":[ true , null,\"x\" ] } ", r#"{"a": [true, null, "x"], "b": 1}"#);
    check(r#"{"bb":1,"a":2,"c":3,"aa":4}"#, r#"{"a": 2, "c": 3, "aa": 4, "bb": 1}"#);
    check(r#"{"a":1,"a":2}"#, r#"{"a": 2}"#);
    check("[]", "[]");
    check("{ }", "{}");
    check("\t\"x\"\n", "\"x\"");
}

#[test]
fn numbers_are_numerics() {
    for (text, expected) in [
        ("1", "1"),
        ("-0", "0"),
        ("-0.00", "0.00"),
        ("1.50", "1.50"),
        ("1e3", "1000"),
        ("1.5E+2", "150"),
        ("1.25e1", "12.5"),
        ("-1.5e-3", "-0.0015"),
        ("0e5", "0"),
        ("10e-1", "1.0"),
        ("123456789012345678901234567890.123", "123456789012345678901234567890.123"),
    ] {
        check(text, expected);
    }
    assert_eq!(refused("1e131073").0, SqlState::NUMERIC_OUT_OF_RANGE);
    assert_eq!(refused("1e-99999999999999999999").0, SqlState::NUMERIC_OUT_OF_RANGE);
    for broken in ["01", "1.", ".5", "+1", "1e", "1x", "--1", "0x1", "NaN"] {
        assert_eq!(refused(broken).0, SqlState::INVALID_TEXT_REPRESENTATION, "{broken}");
    }
}

#[test]
fn strings_hold_no_more_escapes_than_they_need() {
    check(r#""\u0041\/\u00e9""#, "\"A/é\"");
    check(r#""\ud83d\ude00""#, "\"😀\"");
    check(r#""\"\\\b\f\n\r\t\u0001""#, r#""\"\\\b\f\n\r\t\u0001""#);
    assert_eq!(refused(r#""\u0000""#).0, SqlState::UNTRANSLATABLE_CHARACTER);
    for (broken, detail) in [
        (r#""\x""#, "Escape sequence \"\\x\" is invalid."),
        (r#""\u12g4""#, "\"\\u\" must be followed by four hexadecimal digits."),
        (r#""\ud800""#, "Unicode low surrogate must follow a high surrogate."),
        (r#""\ud800\ud800""#, "Unicode high surrogate must not follow a high surrogate."),
        ("\"a\nb\"", "Character with value 0x0a must be escaped."),
        ("\"abc", "Token \"\"abc\" is invalid."),
    ] {
        assert_eq!(refused(broken), (SqlState::INVALID_TEXT_REPRESENTATION, detail.to_owned()), "{broken}");
    }
}

#[test]
fn what_is_no_json_is_refused_with_what_was_expected() {
    for (broken, detail) in [
        ("", "The input string ended unexpectedly."),
        ("{", "The input string ended unexpectedly."),
        ("[1", "The input string ended unexpectedly."),
        ("cold", "Token \"cold\" is invalid."),
        ("{a: 1}", "Token \"a\" is invalid."),
        ("{1: 1}", "Expected string or \"}\", but found \"1\"."),
        ("{\"a\" 1}", "Expected \":\", but found \"1\"."),
        ("{\"a\": }", "Expected JSON value, but found \"}\"."),
        ("{\"a\": 1 \"b\"}", "Expected \",\" or \"}\", but found \"\"b\"\"."),
        ("{\"a\": 1,}", "Expected string, but found \"}\"."),
        ("[1, ]", "Expected JSON value, but found \"]\"."),
        ("[1 2]", "Expected \",\" or \"]\", but found \"2\"."),
        ("1 2", "Expected end of input, but found \"2\"."),
        ("'a'", "Token \"'\" is invalid."),
    ] {
        assert_eq!(refused(broken), (SqlState::INVALID_TEXT_REPRESENTATION, detail.to_owned()), "{broken}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(refused(&deep).0, SqlState::STATEMENT_TOO_COMPLEX);
}

#[test]
fn parts_are_found() {
    let text = parse_jsonb(r#"{"a":{"b":[1,"t\"wo",{"c":null}]},"q\"":"x","":5}"#).unwrap();
    let json = Json::new(&text);
    assert_eq!(json.kind(), Kind::Object);
    let list = json.get("a").unwrap().get("b").unwrap();
    assert_eq!(list.at(0).unwrap().text(), "1");
    assert_eq!(list.at(1).unwrap().unquoted().unwrap(), "t\"wo");
    assert_eq!(list.at(-1).unwrap().get("c").unwrap().unquoted(), None);
    assert_eq!((list.at(3), list.at(-4), list.get("a")), (None, None, None));
    assert_eq!(json.get("q\"").unwrap().text(), "\"x\"");
    assert_eq!(json.get("").unwrap().text(), "5");
    assert_eq!(json.step("a").and_then(|a| a.step("b")).and_then(|b| b.step("-2")), list.at(1));
    assert_eq!(json.members().map(|(key, _)| key.into_owned()).collect::<Vec<_>>(), ["", "a", "q\""]);
}

#[test]
fn containment() {
    let contains = |left: &str, right: &str| {
        let (left, right) = (parse_jsonb(left).unwrap(), parse_jsonb(right).unwrap());
        Json::new(&left).contains(Json::new(&right))
    };
    assert!(contains(r#"{"a":1,"b":{"c":[1,2,3]}}"#, r#"{"b":{"c":[3]}}"#));
    assert!(contains("[1,2,[3,4]]", "[[3],2.0,2]"));
    assert!(contains("[1,2]", "1"));
    assert!(contains("1.0", "1"));
    assert!(contains("{}", "{}"));
    assert!(!contains("[1,[2]]", "2"));
    assert!(!contains("[[1]]", "[1]"));
    assert!(!contains(r#"{"a":1}"#, r#"{"a":2}"#));
    assert!(!contains(r#"{"a":{"b":1}}"#, r#"{"b":1}"#));
    assert!(!contains("1", "[1]"));
}

#[test]
fn equal_values_have_equal_comparable_texts() {
    for (text, expected) in [
        (r#"{"a.00": "1.50", "b": [1.50, -0.0, 10.0, 100]}"#, r#"{"a.00": "1.50", "b": [1.5, 0, 10, 100]}"#),
        ("1.0", "1"),
        ("0.0", "0"),
        (r#""x.0""#, r#""x.0""#),
        ("100", "100"),
    ] {
        assert_eq!(comparable(text), expected);
    }
}
