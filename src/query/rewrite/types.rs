//! Types by PostgreSQL's names, and the types that are oids and print as names.
//!
//! `regclass` and its kin are no types here: a text cast to one becomes the oid, anything else (an oid) its name. That
//! is what the casts are written for; what is lost is that an oid from a text prints as a number, except in a select
//! list, where `select_list` asks for the name.

use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, Expr, Interval, ObjectName, Value, ValueWithSpan};

use super::names::{call, parts};
use crate::error::{Error, Result};
use crate::types::parse::parse_interval;

/// The types that are oids of other objects.
const REGISTERED: [&str; 8] =
    ["regclass", "regtype", "regproc", "regprocedure", "regrole", "regnamespace", "regoper", "regcollation"];

/// The `reg...` type of this name, in any schema spelling.
pub fn registered(data_type: &DataType) -> Option<&'static str> {
    let name = match data_type {
        DataType::Regclass => "regclass".to_owned(),
        DataType::Custom(name, _) => plain_name(name)?,
        _ => return None,
    };
    REGISTERED.iter().find(|known| **known == name).copied()
}

fn plain_name(name: &ObjectName) -> Option<String> {
    match parts(name).as_slice() {
        [name] => Some(name.clone()),
        [schema, name] if schema == "pg_catalog" || schema == "information_schema" => Some(name.clone()),
        _ => None,
    }
}

/// `interval '1 day 02:03:04'` and `interval '5' minute` in units that DataFusion reads.
pub fn rewrite_interval(expr: &mut Expr) {
    let Expr::Interval(Interval { value, leading_field, last_field, .. }) = &mut *expr else { return };
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(written), .. }) = &mut **value else { return };
    let text = match leading_field {
        Some(unit) if last_field.is_none() && written.trim().parse::<f64>().is_ok() => format!("{written} {unit}"),
        None if written.contains(':') => written.clone(),
        // `interval '1-2' year to month`: the text says which fields it has.
        Some(_) if last_field.is_some() && written.contains([':', '-']) => written.clone(),
        _ => return,
    };
    let Ok(interval) = parse_interval(&text) else { return };
    let (sign, us) = match interval.nanoseconds / 1000 {
        us if us < 0 => ("-", us.unsigned_abs()),
        us => ("", us.unsigned_abs()),
    };
    let seconds = format!("{sign}{}.{:06}", us / 1_000_000, us % 1_000_000);
    *written = format!("{} months {} days {seconds} seconds", interval.months, interval.days);
    (*leading_field, *last_field) = (None, None);
}

/// `'x'::regclass::oid` and `x.oid::regclass::text`: the outer cast decides, so it is looked at first.
pub fn rewrite_cast_chain(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type, .. } = &mut *expr else { return };
    let Expr::Cast { expr: operand, data_type: inner_type, .. } = &mut **inner else { return };
    let Some(kind) = registered(inner_type) else { return };
    let operand = std::mem::replace(&mut **operand, Expr::value(Value::Null));
    let to_text = is_text(data_type);
    *expr = match (is_text_literal(&operand) || gives_name(&operand), to_text) {
        (true, true) => call(&format!("{kind}_name"), vec![call(&format!("{kind}_oid"), vec![operand])]),
        (false, true) => call(&format!("{kind}_name"), vec![operand]),
        (true, false) => call(&format!("{kind}_oid"), vec![operand]),
        (false, false) => operand,
    };
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_) => true,
        DataType::Custom(name, _) => {
            plain_name(name).is_some_and(|name| matches!(name.as_str(), "text" | "name" | "varchar"))
        }
        _ => false,
    }
}

/// A function whose result names an object.
fn gives_name(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => parts(&function.name).last().is_some_and(|name| name == "pg_get_serial_sequence"),
        _ => false,
    }
}

fn is_text_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => {
            matches!(value.value, Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_) | Value::Placeholder(_))
        }
        Expr::Nested(inner) => is_text_literal(inner),
        Expr::Cast { expr, data_type, .. } => is_text(data_type) && is_text_literal(expr),
        _ => false,
    }
}

/// A cast to a type by its PostgreSQL name.
pub fn rewrite_cast(expr: &mut Expr) -> Result<()> {
    let length = match expr {
        Expr::Cast { expr: operand, data_type, .. } => {
            if let Some(kind) = registered(data_type) {
                let form = if is_text_literal(operand) { "oid" } else { "name" };
                let operand = std::mem::replace(&mut **operand, Expr::value(Value::Null));
                *expr = call(&format!("{kind}_{form}"), vec![operand]);
                return Ok(());
            }
            bare_type(data_type)?
        }
        Expr::TypedString(typed) => bare_type(&mut typed.data_type)?,
        _ => None,
    };
    // An explicit cast cuts what is too long, unlike the value of a column.
    if let Some(length) = length {
        let cast = std::mem::replace(expr, Expr::value(Value::Null));
        *expr = call("left", vec![cast, Expr::value(Value::Number(length.to_string(), false))]);
    }
    Ok(())
}

/// Makes a cast's type one that DataFusion casts to, and gives the length of `varchar(n)`. Errors: 0A000 where digits or lengths
/// of it would be passed over.
fn bare_type(data_type: &mut DataType) -> Result<Option<u64>> {
    let refused =
        |data_type: &DataType, hint: &str| Err(Error::not_built(format!("a cast to {data_type}")).with_hint(hint));
    match data_type {
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            if let Some(CharacterLength::IntegerLength { length: characters, .. }) = *length {
                *length = None;
                return Ok(Some(characters));
            }
        }
        DataType::Timestamp(Some(digits), _) if *digits < 6 => {
            return refused(
                data_type,
                "date_trunc('second', ...) or date_trunc('milliseconds', ...) cuts the digits of a time.",
            );
        }
        DataType::Interval { precision: Some(digits), .. } if *digits < 6 => {
            return refused(data_type, "Intervals have microseconds; write interval.");
        }
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            let length = bare_type(element)?;
            if length.is_some() {
                return refused(data_type, "Cut the elements before they become an array.");
            }
        }
        _ => {}
    }
    plain_type(data_type);
    Ok(None)
}

/// A type name of pg_catalog as the type that it is.
fn plain_type(data_type: &mut DataType) {
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            plain_type(element);
        }
        DataType::Custom(name, arguments) => {
            if let Some(plain) = plain_name(name).and_then(|name| by_name(&name, arguments)) {
                *data_type = plain;
            }
        }
        _ => {}
    }
}

fn by_name(name: &str, arguments: &[String]) -> Option<DataType> {
    use sqlparser::ast::{ExactNumberInfo, TimezoneInfo};
    Some(match name {
        "text" | "name" | "char" | "bpchar" | "varchar" | "sql_identifier" | "character_data" | "yes_or_no"
        | "cstring" | "unknown" => DataType::Text,
        "bool" => DataType::Boolean,
        "int2" => DataType::SmallInt(None),
        "int4" | "cardinal_number" => DataType::Integer(None),
        "int8" | "oid" | "xid" | "cid" => DataType::BigInt(None),
        "float4" => DataType::Real,
        "float8" => DataType::DoublePrecision,
        "numeric" if arguments.is_empty() => DataType::Numeric(ExactNumberInfo::None),
        "bytea" => DataType::Bytea,
        "date" => DataType::Date,
        "timestamp" => DataType::Timestamp(None, TimezoneInfo::None),
        "timestamptz" | "time_stamp" => DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
        "interval" => DataType::Interval { fields: None, precision: None },
        _ => return None,
    })
}
