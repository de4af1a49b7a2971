//! Definitions as SQL text: of views, keys, defaults, types.

use datafusion::common::ScalarValue;

use super::call::{Arguments, Entry, Returns, boolean, maybe_text, null_text, text};
use super::names::relation_oid;
use super::text::quote_ident;
use crate::catalog::{Relation, Table};
use crate::error::Result;
use crate::system::facts::{Facts, PG_CATALOG, PUBLIC, index_oid, table_of_key};
use crate::system::pg_catalog::{TYPES, function_by_oid};
use crate::system::table::definitions;

pub const FUNCTIONS: &[Entry] = &[
    ("format_type", 2, 2, Returns::Text, format_type),
    ("pg_get_viewdef", 1, 2, Returns::Text, pg_get_viewdef),
    ("pg_get_expr", 2, 3, Returns::Text, pg_get_expr),
    ("pg_get_indexdef", 1, 3, Returns::Text, pg_get_indexdef),
    ("pg_get_constraintdef", 1, 2, Returns::Text, pg_get_constraintdef),
    ("pg_get_partkeydef", 1, 1, Returns::Text, null_text),
    ("pg_get_ruledef", 1, 2, Returns::Text, null_text),
    ("pg_get_triggerdef", 1, 2, Returns::Text, null_text),
    ("pg_get_functiondef", 1, 1, Returns::Text, null_text),
    ("pg_get_function_result", 1, 1, Returns::Text, null_text),
    ("pg_get_function_arguments", 1, 1, Returns::Text, pg_get_function_arguments),
    ("pg_get_function_identity_arguments", 1, 1, Returns::Text, pg_get_function_arguments),
    ("pg_get_function_sqlbody", 1, 1, Returns::Text, null_text),
    ("pg_get_statisticsobjdef", 1, 1, Returns::Text, null_text),
    ("pg_get_statisticsobjdef_columns", 1, 1, Returns::Text, null_text),
    ("pg_get_serial_sequence", 2, 2, Returns::Text, null_text),
    ("obj_description", 1, 2, Returns::Text, null_text),
    ("col_description", 2, 2, Returns::Text, null_text),
    ("shobj_description", 2, 2, Returns::Text, null_text),
    ("pg_describe_object", 3, 3, Returns::Text, null_text),
    ("pg_table_is_visible", 1, 1, Returns::Bool, pg_table_is_visible),
    ("pg_type_is_visible", 1, 1, Returns::Bool, always),
    ("pg_function_is_visible", 1, 1, Returns::Bool, always),
    ("pg_operator_is_visible", 1, 1, Returns::Bool, always),
    ("pg_opclass_is_visible", 1, 1, Returns::Bool, always),
    ("pg_opfamily_is_visible", 1, 1, Returns::Bool, always),
    ("pg_collation_is_visible", 1, 1, Returns::Bool, always),
    ("pg_conversion_is_visible", 1, 1, Returns::Bool, always),
    ("pg_statistics_obj_is_visible", 1, 1, Returns::Bool, always),
    ("pg_ts_config_is_visible", 1, 1, Returns::Bool, always),
    ("pg_ts_dict_is_visible", 1, 1, Returns::Bool, always),
    ("pg_ts_parser_is_visible", 1, 1, Returns::Bool, always),
    ("pg_ts_template_is_visible", 1, 1, Returns::Bool, always),
    ("pg_relation_is_publishable", 1, 1, Returns::Bool, never),
    ("pg_is_other_temp_schema", 1, 1, Returns::Bool, never),
];

fn pg_get_function_arguments(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.int(0).and_then(function_by_oid).map(|function| function.arguments.clone()))
}

fn always(_: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    boolean(true)
}

fn never(_: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    boolean(false)
}

/// A view's text as PostgreSQL prints it: with its semicolon.
pub fn view_definition(sql: &str) -> String {
    format!("{};", sql.trim().trim_end_matches(';').trim_end())
}

fn key_list(table: &Table) -> String {
    let columns = table.key().unwrap_or_default().iter().filter_map(|at| table.columns.get(*at));
    columns.map(|column| quote_ident(&column.name)).collect::<Vec<_>>().join(", ")
}

/// CREATE INDEX of a primary key.
pub fn index_definition(table: &Table) -> String {
    let index = quote_ident(&format!("{}_pkey", table.name));
    let table_name = quote_ident(&table.name);
    format!("CREATE UNIQUE INDEX {index} ON public.{table_name} USING btree ({})", key_list(table))
}

/// The SQL name of a type with its modifier: `numeric(10,2)`, `text[]`.
pub fn type_text(oid: i64, modifier: Option<i64>) -> String {
    if let Some(array) = TYPES.iter().find(|known| known.array == oid && oid != 0) {
        return format!("{}[]", type_text(array.oid, modifier));
    }
    let Some(known) = TYPES.iter().find(|known| known.oid == oid) else {
        return if oid == 0 { "-".into() } else { "???".into() };
    };
    match (known.name, modifier.filter(|modifier| *modifier >= 4)) {
        ("numeric", Some(modifier)) => format!("numeric({},{})", (modifier - 4) >> 16, (modifier - 4) & 0xffff),
        ("varchar", Some(modifier)) => format!("character varying({})", modifier - 4),
        _ => known.sql_name.to_owned(),
    }
}

fn format_type(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.int(0).map(|oid| type_text(oid, arguments.int(1))))
}

fn pg_get_viewdef(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let relation = relation_oid(facts, arguments, 0).and_then(|oid| facts.relation(oid));
    maybe_text(relation.and_then(|relation| match relation {
        Relation::View(view) => Some(view_definition(&view.sql)),
        Relation::MaterializedView(view) => Some(view_definition(&view.sql)),
        Relation::Table(_) => None,
    }))
}

/// Expressions are stored as their text.
fn pg_get_expr(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.text(0).map(str::to_owned))
}

/// The table of a primary key's index or constraint.
fn keyed_table<'a>(facts: &'a Facts, arguments: &Arguments<'_>) -> Option<&'a Table> {
    let table = facts.catalog.table(table_of_key(arguments.int(0)?)?)?;
    table.key().is_some().then_some(table.as_ref())
}

fn pg_get_indexdef(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let Some(table) = keyed_table(facts, arguments) else { return maybe_text(None) };
    if arguments.int(0) != Some(index_oid(table.id)) {
        return maybe_text(None);
    }
    match arguments.int(1).unwrap_or(0) {
        0 => text(index_definition(table)),
        number => {
            let at = usize::try_from(number - 1).ok().and_then(|at| table.key()?.get(at));
            maybe_text(at.and_then(|at| table.columns.get(*at)).map(|column| quote_ident(&column.name)))
        }
    }
}

fn pg_get_constraintdef(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let table = keyed_table(facts, arguments);
    maybe_text(table.map(|table| format!("PRIMARY KEY ({})", key_list(table))))
}

/// Whether its plain name finds it: it is in pg_catalog, or in public and the path has public.
fn pg_table_is_visible(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let Some(oid) = arguments.int(0) else { return Ok(ScalarValue::Boolean(None)) };
    let public_in_path = facts.session.search_path.iter().any(|schema| schema == "public");
    boolean(match namespace_of(facts, oid) {
        Some(PG_CATALOG) => true,
        Some(PUBLIC) => public_in_path,
        Some(other) => {
            facts.session.search_path.iter().any(|schema| crate::system::facts::schema_oid(schema) == Some(other))
        }
        None => false,
    })
}

/// The schema of a relation, index or system table.
pub fn namespace_of(facts: &Facts, oid: i64) -> Option<i64> {
    if let Some(definition) = definitions().iter().find(|definition| definition.oid == oid) {
        return crate::system::facts::schema_oid(definition.schema);
    }
    let is_key = || table_of_key(oid).and_then(|id| facts.catalog.table(id)).is_some_and(|table| table.key().is_some());
    (facts.relation(oid).is_some() || is_key()).then_some(PUBLIC)
}
