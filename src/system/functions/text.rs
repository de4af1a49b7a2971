//! Quoting, and arrays' bounds.

use arrow::array::Array;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::call::{Arguments, Entry, Returns, int, maybe_text, text};
use crate::error::{Error, Result, SqlState};
use crate::query::rewrite::escaped_by_backslash;
use crate::system::facts::Facts;

pub const FUNCTIONS: &[Entry] = &[
    ("quote_ident", 1, 1, Returns::Text, quote_ident_function),
    ("quote_literal", 1, 1, Returns::Text, quote_literal),
    ("quote_nullable", 1, 1, Returns::Text, quote_nullable),
    ("array_upper", 2, 2, Returns::Int, array_upper),
    ("array_lower", 2, 2, Returns::Int, array_lower),
    ("array_subscripts", 2, 2, Returns::Ints, array_subscripts),
    ("json_build_object", 0, 100, Returns::Text, json_build_object),
    ("like_pattern", 2, 2, Returns::Text, like_pattern),
    ("array_or_empty", 1, 1, Returns::First, array_or_empty),
];

/// Words that must be quoted as names, of those that read like names of columns and tables.
const RESERVED: [&str; 40] = [
    "all",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "default",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "for",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "limit",
    "not",
    "null",
    "or",
    "order",
    "select",
    "table",
    "then",
    "to",
    "user",
    "where",
];

/// A name as SQL reads it back.
pub fn quote_ident(name: &str) -> String {
    let plain_start = name.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match plain_start && plain && !RESERVED.contains(&name) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn quote_ident_function(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.text(0).map(quote_ident))
}

fn quoted(value: &ScalarValue) -> String {
    let plain = value.to_string();
    let escape = if plain.contains('\\') { " E" } else { "" };
    format!("{escape}'{}'", plain.replace('\'', "''").replace('\\', "\\\\"))
}

fn quote_literal(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.value(0).map(quoted))
}

fn quote_nullable(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    text(arguments.value(0).map_or_else(|| "NULL".into(), quoted))
}

/// Elements of a one-dimensional array; `None` for NULL and for other dimensions than the first.
fn length(arguments: &Arguments<'_>) -> Option<usize> {
    if arguments.int(1) != Some(1) {
        return None;
    }
    match arguments.value(0)? {
        ScalarValue::List(list) => Some(list.value(0).len()),
        ScalarValue::LargeList(list) => Some(list.value(0).len()),
        ScalarValue::FixedSizeList(list) => Some(list.value(0).len()),
        _ => None,
    }
    .filter(|length| *length > 0)
}

fn array_upper(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    int(length(arguments).and_then(|length| i64::try_from(length).ok()))
}

fn array_lower(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    int(length(arguments).map(|_| 1))
}

/// The numbers of an array's elements, from the given one on; none for NULL.
fn array_subscripts(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let length = match arguments.value(0) {
        Some(ScalarValue::List(list)) => list.value(0).len(),
        Some(ScalarValue::LargeList(list)) => list.value(0).len(),
        Some(ScalarValue::FixedSizeList(list)) => list.value(0).len(),
        _ => 0,
    };
    let first = arguments.int(1).unwrap_or(1) as i32;
    let numbers: Vec<ScalarValue> = (first..first + length as i32).map(ScalarValue::from).collect();
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&numbers, &DataType::Int32)))
}

/// Names and values in turn. Numbers and booleans are JSON's, anything else is its text.
fn json_build_object(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let (pairs, rest) = arguments.all().as_chunks::<2>();
    if !rest.is_empty() {
        let message = "argument list must have even number of elements";
        return Err(Error::new(SqlState::INVALID_PARAMETER, message)
            .with_hint("The arguments of json_build_object() must consist of alternating keys and values."));
    }
    let string = |value: &ScalarValue| serde_json::Value::from(value.to_string()).to_string();
    let member = |[name, value]: &[ScalarValue; 2]| {
        if name.is_null() {
            return Err(Error::new(SqlState::INVALID_PARAMETER, "argument 1: key must not be null"));
        }
        let value = match value {
            value if value.is_null() => "null".to_owned(),
            ScalarValue::Boolean(_) => value.to_string(),
            value if value.data_type().is_numeric() => value.to_string(),
            value => string(value),
        };
        Ok(format!("{} : {value}", string(name)))
    };
    let members = pairs.iter().map(member).collect::<Result<Vec<_>>>()?;
    text(format!("{{{}}}", members.join(", ")))
}

fn like_pattern(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.text(0).zip(arguments.text(1)).map(|(pattern, escape)| escaped_by_backslash(pattern, escape)))
}

/// What ARRAY(SELECT ...) gives over no rows: an empty array of the same type.
fn array_or_empty(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    match arguments.first() {
        ScalarValue::List(list) if list.is_null(0) => {
            Ok(ScalarValue::List(ScalarValue::new_list_nullable(&[], &list.value_type())))
        }
        other => Ok(other),
    }
}
