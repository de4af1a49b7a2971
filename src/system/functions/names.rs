//! Names and oids of relations, types, schemas and roles: what the `reg...` types do.
//!
//! `query::rewrite` makes `regclass_oid('x')` of `'x'::regclass`, and `regclass_name(c.oid)` of `c.oid::regclass`.

use datafusion::common::ScalarValue;

use super::call::{Arguments, Entry, Returns, int, maybe_text, text};
use super::definitions::{namespace_of, type_text};
use super::text::quote_ident;
use crate::error::{Error, Result, SqlState};
use crate::system::facts::{Facts, OWNER, PG_CATALOG, PUBLIC, index_oid, oid, schema_name, schema_oid, table_of_key};
use crate::system::pg_catalog::{TYPES, function_by_oid, function_oid};
use crate::system::table::definitions;

pub const FUNCTIONS: &[Entry] = &[
    ("regclass_oid", 1, 1, Returns::Int, regclass_oid),
    ("regclass_name", 1, 1, Returns::Text, regclass_name),
    ("to_regclass", 1, 1, Returns::Int, to_regclass),
    ("regtype_oid", 1, 1, Returns::Int, regtype_oid),
    ("regtype_name", 1, 1, Returns::Text, regtype_name),
    ("to_regtype", 1, 1, Returns::Int, to_regtype),
    ("regnamespace_oid", 1, 1, Returns::Int, regnamespace_oid),
    ("regnamespace_name", 1, 1, Returns::Text, regnamespace_name),
    ("to_regnamespace", 1, 1, Returns::Int, to_regnamespace),
    ("regrole_oid", 1, 1, Returns::Int, regrole_oid),
    ("regrole_name", 1, 1, Returns::Text, regrole_name),
    ("to_regrole", 1, 1, Returns::Int, to_regrole),
    ("regproc_oid", 1, 1, Returns::Int, regproc_oid),
    ("regproc_name", 1, 1, Returns::Text, regproc_name),
    ("regprocedure_oid", 1, 1, Returns::Int, regproc_oid),
    ("regprocedure_name", 1, 1, Returns::Text, regproc_name),
    ("to_regproc", 1, 1, Returns::Int, regproc_oid),
    ("regoper_name", 1, 1, Returns::Text, number_name),
    ("regcollation_name", 1, 1, Returns::Text, number_name),
    ("pg_get_userbyid", 1, 1, Returns::Text, regrole_name),
];

/// Splits `schema."Name"` as PostgreSQL reads a qualified name; `None` if it is not one.
fn parse_name(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut characters = text.trim().chars().peekable();
    loop {
        let mut part = String::new();
        if characters.next_if_eq(&'"').is_some() {
            loop {
                match characters.next()? {
                    '"' if characters.next_if_eq(&'"').is_some() => part.push('"'),
                    '"' => break,
                    c => part.push(c),
                }
            }
        } else {
            while let Some(c) = characters.next_if(|c| *c != '.') {
                part.extend(c.to_lowercase());
            }
        }
        parts.push(part);
        match characters.next() {
            Some('.') => {}
            Some(_) => return None,
            None => return Some(parts),
        }
    }
}

fn find_relation(facts: &Facts, text: &str) -> Option<i64> {
    let parts = parse_name(text)?;
    let (schema, name) = match parts.as_slice() {
        [name] => (None, name.as_str()),
        [schema, name] => (Some(schema.as_str()), name.as_str()),
        [database, schema, name] if *database == facts.session.database => (Some(schema.as_str()), name.as_str()),
        _ => return None,
    };
    let wanted = |in_schema: &str| schema.map_or(in_schema == "pg_catalog", |schema| schema == in_schema);
    let system = definitions().iter().find(|definition| definition.name == name && wanted(definition.schema));
    if let Some(system) = system {
        return Some(system.oid);
    }
    if schema.is_some_and(|schema| schema != "public") {
        return None;
    }
    let own = facts.catalog.find(name).map(|relation| oid(relation.id()));
    own.or_else(|| {
        let table = facts.catalog.tables().find(|table| name.strip_suffix("_pkey") == Some(&table.name))?;
        table.key().map(|_| index_oid(table.id))
    })
}

/// A relation given by oid or by name.
pub fn relation_oid(facts: &Facts, arguments: &Arguments<'_>, at: usize) -> Option<i64> {
    arguments.int(at).or_else(|| find_relation(facts, arguments.text(at)?))
}

fn regclass_oid(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let Some(name) = arguments.text(0) else { return int(arguments.int(0)) };
    if let Ok(number) = name.parse::<i64>() {
        return int(Some(number));
    }
    match find_relation(facts, name) {
        Some(found) => int(Some(found)),
        None => Err(Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))),
    }
}

fn to_regclass(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    int(relation_oid(facts, arguments, 0))
}

/// The name that finds the relation on the search path, qualified where the plain one does not.
pub fn relation_name(facts: &Facts, oid: i64) -> Option<String> {
    let name = match definitions().iter().find(|definition| definition.oid == oid) {
        Some(definition) => definition.name.to_owned(),
        None => match facts.relation(oid) {
            Some(relation) => relation.name().to_owned(),
            None => {
                let table = facts.catalog.table(table_of_key(oid)?)?;
                table.key()?;
                format!("{}_pkey", table.name)
            }
        },
    };
    let schema = namespace_of(facts, oid)?;
    let plain =
        schema == PG_CATALOG || (schema == PUBLIC && facts.session.search_path.iter().any(|schema| schema == "public"));
    Some(match plain {
        true => quote_ident(&name),
        false => format!("{}.{}", schema_name(schema)?, quote_ident(&name)),
    })
}

fn regclass_name(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let Some(number) = arguments.int(0) else { return maybe_text(arguments.text(0).map(str::to_owned)) };
    maybe_text(Some(match number {
        0 => "-".into(),
        number => relation_name(facts, number).unwrap_or_else(|| number.to_string()),
    }))
}

/// A type by its catalog or SQL name, with or without modifier, schema and brackets.
fn find_type(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(element) = text.strip_suffix("[]") {
        let element = find_type(element)?;
        return TYPES.iter().find(|known| known.oid == element).map(|known| known.array).filter(|oid| *oid != 0);
    }
    let lower = text.to_lowercase();
    let name = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    let name = name.split_once('(').map_or(name, |(name, _)| name).trim().trim_matches('"');
    let name = match name {
        "int" => "int4",
        "decimal" => "numeric",
        "float" => "float8",
        "timestamp" => "timestamp",
        "char" if lower.starts_with('"') => "char",
        "char" => "bpchar",
        other => other,
    };
    if let Some(known) = TYPES.iter().find(|known| known.name == name || known.sql_name == name) {
        return Some(known.oid);
    }
    let element = name.strip_prefix('_')?;
    TYPES.iter().find(|known| known.name == element).map(|known| known.array).filter(|oid| *oid != 0)
}

fn to_regtype(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    int(arguments.int(0).or_else(|| find_type(arguments.text(0)?)))
}

fn regtype_oid(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    match (to_regtype(facts, arguments)?, arguments.text(0)) {
        (ScalarValue::Int64(None), Some(name)) => {
            Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist")))
        }
        (found, _) => Ok(found),
    }
}

fn regtype_name(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.int(0).map(|oid| match type_text(oid, None) {
        unknown if unknown == "???" => oid.to_string(),
        known => known,
    }))
}

fn to_regnamespace(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    int(arguments.int(0).or_else(|| schema_oid(arguments.text(0)?)))
}

fn regnamespace_oid(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    match (to_regnamespace(facts, arguments)?, arguments.text(0)) {
        (ScalarValue::Int64(None), Some(name)) => {
            Err(Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist")))
        }
        (found, _) => Ok(found),
    }
}

fn regnamespace_name(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.int(0).map(|oid| schema_name(oid).map_or_else(|| oid.to_string(), str::to_owned)))
}

fn to_regrole(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    int(arguments.int(0).or_else(|| (arguments.text(0)? == facts.session.user).then_some(OWNER)))
}

fn regrole_oid(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    match (to_regrole(facts, arguments)?, arguments.text(0)) {
        (ScalarValue::Int64(None), Some(name)) => {
            Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")))
        }
        (found, _) => Ok(found),
    }
}

fn regrole_name(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.int(0).map(|oid| match oid {
        OWNER => facts.session.user.clone(),
        other => format!("unknown (OID={other})"),
    }))
}

fn regproc_name(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    match arguments.int(0).and_then(function_by_oid) {
        Some(function) => text(function.name.clone()),
        None => number_name(facts, arguments),
    }
}

/// By pg_proc; `array_in`, which is not there, tells arrays from other types in pg_type.
fn regproc_oid(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let name = arguments.text(0).map(|name| name.strip_prefix("pg_catalog.").unwrap_or(name));
    int(match name {
        Some("array_in") => Some(crate::system::pg_catalog::ARRAY_IN),
        Some(name) => Some(name.parse().ok().or_else(|| function_oid(name)).unwrap_or(0)),
        None => arguments.int(0),
    })
}

fn number_name(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.int(0).map(|number| if number == 0 { "-".into() } else { number.to_string() }))
}
