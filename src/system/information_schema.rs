//! `information_schema`: the standard's view of the catalog. Materialized views are not in it, as in PostgreSQL.

use super::facts::{Facts, SCHEMAS};
use super::rows::{Cell, Rows, row};
use super::table::MakeRows;
use crate::catalog::{Relation, Table};
use crate::types::SqlType;

/// Name, columns, rows.
pub const TABLES: &[(&str, &str, Option<MakeRows>)] = &[
    (
        "schemata",
        "catalog_name:name schema_name:name schema_owner:name default_character_set_catalog:name \
         default_character_set_schema:name default_character_set_name:name sql_path:text",
        Some(schemata),
    ),
    (
        "tables",
        "table_catalog:name table_schema:name table_name:name table_type:text self_referencing_column_name:name \
         reference_generation:text user_defined_type_catalog:name user_defined_type_schema:name \
         user_defined_type_name:name is_insertable_into:text is_typed:text commit_action:text",
        Some(tables),
    ),
    (
        "columns",
        "table_catalog:name table_schema:name table_name:name column_name:name ordinal_position:int4 \
         column_default:text is_nullable:text data_type:text character_maximum_length:int4 \
         character_octet_length:int4 numeric_precision:int4 numeric_precision_radix:int4 numeric_scale:int4 \
         datetime_precision:int4 interval_type:text interval_precision:int4 character_set_catalog:name \
         character_set_schema:name character_set_name:name collation_catalog:name collation_schema:name \
         collation_name:name domain_catalog:name domain_schema:name domain_name:name udt_catalog:name \
         udt_schema:name udt_name:name scope_catalog:name scope_schema:name scope_name:name \
         maximum_cardinality:int4 dtd_identifier:name is_self_referencing:text is_identity:text \
         identity_generation:text identity_start:text identity_increment:text identity_maximum:text \
         identity_minimum:text identity_cycle:text is_generated:text generation_expression:text is_updatable:text",
        Some(columns),
    ),
    (
        "views",
        "table_catalog:name table_schema:name table_name:name view_definition:text check_option:text \
         is_updatable:text is_insertable_into:text is_trigger_updatable:text is_trigger_deletable:text \
         is_trigger_insertable_into:text",
        Some(views),
    ),
    (
        "table_constraints",
        "constraint_catalog:name constraint_schema:name constraint_name:name table_catalog:name table_schema:name \
         table_name:name constraint_type:text is_deferrable:text initially_deferred:text enforced:text",
        Some(table_constraints),
    ),
    (
        "key_column_usage",
        "constraint_catalog:name constraint_schema:name constraint_name:name table_catalog:name table_schema:name \
         table_name:name column_name:name ordinal_position:int4 position_in_unique_constraint:int4",
        Some(key_column_usage),
    ),
    (
        "referential_constraints",
        "constraint_catalog:name constraint_schema:name constraint_name:name unique_constraint_catalog:name \
         unique_constraint_schema:name unique_constraint_name:name match_option:text update_rule:text delete_rule:text",
        None,
    ),
    (
        "routines",
        "specific_catalog:name specific_schema:name specific_name:name routine_catalog:name routine_schema:name \
         routine_name:name routine_type:text data_type:text routine_definition:text",
        None,
    ),
];

fn schemata(facts: &Facts, rows: &mut Rows) {
    for (name, _) in SCHEMAS {
        rows.push(row! {
            "catalog_name" => facts.session.database.as_str(), "schema_name" => name,
            "schema_owner" => facts.session.user.as_str(),
        });
    }
}

/// What information_schema shows: not materialized views.
fn relations(facts: &Facts) -> impl Iterator<Item = &Relation> {
    facts.catalog.relations().filter(|relation| !matches!(relation, Relation::MaterializedView(_)))
}

fn tables(facts: &Facts, rows: &mut Rows) {
    let database = facts.session.database.as_str();
    for relation in relations(facts) {
        let is_table = matches!(relation, Relation::Table(_));
        rows.push(row! {
            "table_catalog" => database, "table_schema" => "public", "table_name" => relation.name(),
            "table_type" => if is_table { "BASE TABLE" } else { "VIEW" },
            "is_insertable_into" => if is_table { "YES" } else { "NO" }, "is_typed" => "NO",
        });
    }
    for definition in super::table::definitions() {
        rows.push(row! {
            "table_catalog" => database, "table_schema" => definition.schema, "table_name" => definition.name,
            "table_type" => "VIEW", "is_insertable_into" => "NO", "is_typed" => "NO",
        });
    }
}

fn columns(facts: &Facts, rows: &mut Rows) {
    for relation in relations(facts) {
        match relation {
            Relation::Table(table) => {
                for (position, column) in table.user_columns().iter().enumerate() {
                    let default = column.default.as_deref();
                    let not_null = column.not_null;
                    push_column(facts, rows, &table.name, position, &column.name, &column.sql_type, default, not_null);
                }
            }
            Relation::View(view) => {
                for (position, column) in view.columns.iter().enumerate() {
                    push_column(facts, rows, &view.name, position, &column.name, &column.sql_type, None, false);
                }
            }
            Relation::MaterializedView(_) => {}
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one row")]
fn push_column(
    facts: &Facts,
    rows: &mut Rows,
    table: &str,
    position: usize,
    name: &str,
    sql_type: &SqlType,
    default: Option<&str>,
    not_null: bool,
) {
    let database = facts.session.database.as_str();
    let (precision, radix, scale) = numeric_precision(sql_type);
    let length = match sql_type {
        SqlType::Varchar(length) => length.map(i64::from),
        _ => None,
    };
    let is_time = matches!(sql_type, SqlType::Timestamp | SqlType::Timestamptz | SqlType::Interval);
    let time_precision = if is_time { Some(6) } else { (*sql_type == SqlType::Date).then_some(0) };
    rows.push(row! {
        "table_catalog" => database, "table_schema" => "public", "table_name" => table, "column_name" => name,
        "ordinal_position" => position + 1, "column_default" => default,
        "is_nullable" => if not_null { "NO" } else { "YES" }, "data_type" => data_type(sql_type),
        "character_maximum_length" => length, "character_octet_length" => length.map(|length| length * 4),
        "numeric_precision" => precision, "numeric_precision_radix" => radix, "numeric_scale" => scale,
        "datetime_precision" => time_precision, "udt_catalog" => database, "udt_schema" => "pg_catalog",
        "udt_name" => super::pg_catalog::type_name(sql_type), "dtd_identifier" => (position + 1).to_string(),
        "is_self_referencing" => "NO", "is_identity" => "NO", "identity_cycle" => "NO", "is_generated" => "NEVER",
        "is_updatable" => "YES",
    });
}

/// The type's name without its modifier.
fn data_type(sql_type: &SqlType) -> String {
    match sql_type {
        SqlType::Numeric { .. } => "numeric".into(),
        SqlType::Varchar(_) => "character varying".into(),
        other => other.to_string(),
    }
}

fn numeric_precision(sql_type: &SqlType) -> (Cell, Cell, Cell) {
    let of = |precision: i64, radix: i64, scale: Option<i64>| (precision.into(), radix.into(), scale.into());
    match sql_type {
        SqlType::Int2 => of(16, 2, Some(0)),
        SqlType::Int4 => of(32, 2, Some(0)),
        SqlType::Int8 => of(64, 2, Some(0)),
        SqlType::Float4 => of(24, 2, None),
        SqlType::Float8 => of(53, 2, None),
        SqlType::Numeric { precision, scale } => of((*precision).into(), 10, Some((*scale).into())),
        _ => (Cell::Null, Cell::Null, Cell::Null),
    }
}

fn views(facts: &Facts, rows: &mut Rows) {
    for relation in facts.catalog.relations() {
        let Relation::View(view) = relation else { continue };
        rows.push(row! {
            "table_catalog" => facts.session.database.as_str(), "table_schema" => "public",
            "table_name" => view.name.as_str(), "view_definition" => view.sql.as_str(), "check_option" => "NONE",
            "is_updatable" => "NO", "is_insertable_into" => "NO", "is_trigger_updatable" => "NO",
            "is_trigger_deletable" => "NO", "is_trigger_insertable_into" => "NO",
        });
    }
}

/// Tables with a primary key, and its columns.
fn keyed(facts: &Facts) -> impl Iterator<Item = (&Table, &[usize])> {
    facts.catalog.tables().filter_map(|table| table.key().map(|key| (table.as_ref(), key)))
}

fn table_constraints(facts: &Facts, rows: &mut Rows) {
    let database = facts.session.database.as_str();
    for (table, _) in keyed(facts) {
        rows.push(row! {
            "constraint_catalog" => database, "constraint_schema" => "public",
            "constraint_name" => format!("{}_pkey", table.name), "table_catalog" => database,
            "table_schema" => "public", "table_name" => table.name.as_str(), "constraint_type" => "PRIMARY KEY",
            "is_deferrable" => "NO", "initially_deferred" => "NO", "enforced" => "YES",
        });
    }
}

fn key_column_usage(facts: &Facts, rows: &mut Rows) {
    let database = facts.session.database.as_str();
    for (table, key) in keyed(facts) {
        for (position, column) in key.iter().filter_map(|at| table.columns.get(*at)).enumerate() {
            rows.push(row! {
                "constraint_catalog" => database, "constraint_schema" => "public",
                "constraint_name" => format!("{}_pkey", table.name), "table_catalog" => database,
                "table_schema" => "public", "table_name" => table.name.as_str(),
                "column_name" => column.name.as_str(), "ordinal_position" => position + 1,
            });
        }
    }
}
