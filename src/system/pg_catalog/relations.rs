//! Users' relations, their columns and keys, and the system tables themselves.

use crate::catalog::{Relation, Table};
use crate::system::facts::{Facts, OWNER, PG_CATALOG, PUBLIC, constraint_oid, index_oid, oid, schema_oid};
use crate::system::functions::definitions::{index_definition, view_definition};
use crate::system::rows::{Cell, CellType, Rows, row};
use crate::system::table::definitions;
use crate::types::SqlType;

/// pg_am's heap and btree.
const HEAP: i64 = 2;
const BTREE: i64 = 403;
const PAGE_BYTES: u64 = 8192;

pub fn pg_class(facts: &Facts, rows: &mut Rows) {
    for relation in facts.catalog.relations() {
        let (kind, access, columns) = match relation {
            Relation::Table(table) => ("r", HEAP, table.user_columns().len()),
            Relation::View(view) => ("v", 0, view.columns.len()),
            Relation::MaterializedView(view) => ("m", HEAP, view.columns.len()),
        };
        let has_key = matches!(relation, Relation::Table(table) if table.key().is_some());
        let id = relation.id();
        let tuples = facts.rows(id).map_or(-1.0, |rows| rows as f64);
        let pages = facts.bytes(id).map_or(0, |bytes| bytes.div_ceil(PAGE_BYTES));
        push_class(rows, oid(id), relation.name(), PUBLIC, kind, access, columns, has_key, tuples, pages);
        if let Relation::Table(table) = relation
            && let Some(key) = table.key()
        {
            let name = format!("{}_pkey", table.name);
            push_class(rows, index_oid(id), &name, PUBLIC, "i", BTREE, key.len(), false, tuples, 0);
        }
    }
    for definition in definitions() {
        let namespace = schema_oid(definition.schema).unwrap_or(PG_CATALOG);
        let kind = if namespace == PG_CATALOG { "r" } else { "v" };
        let access = if kind == "r" { HEAP } else { 0 };
        let columns = definition.columns.columns.len();
        push_class(rows, definition.oid, definition.name, namespace, kind, access, columns, false, -1.0, 0);
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one row")]
fn push_class(
    rows: &mut Rows,
    oid: i64,
    name: &str,
    namespace: i64,
    kind: &str,
    access: i64,
    columns: usize,
    has_index: bool,
    tuples: f64,
    pages: u64,
) {
    rows.push(row! {
        "oid" => oid, "relname" => name, "relnamespace" => namespace, "reltype" => 0, "reloftype" => 0,
        "relowner" => OWNER, "relam" => access, "relfilenode" => oid, "reltablespace" => 0, "relpages" => pages,
        "reltuples" => tuples, "relallvisible" => 0, "reltoastrelid" => 0, "relhasindex" => has_index,
        "relisshared" => false, "relpersistence" => "p", "relkind" => kind, "relnatts" => columns,
        "relchecks" => 0, "relhasrules" => kind == "v", "relhastriggers" => false, "relhassubclass" => false,
        "relrowsecurity" => false, "relforcerowsecurity" => false, "relispopulated" => true,
        "relreplident" => if kind == "r" { "d" } else { "n" }, "relispartition" => false, "relrewrite" => 0,
        "relfrozenxid" => 0, "relminmxid" => 0,
    });
}

pub fn pg_attribute(facts: &Facts, rows: &mut Rows) {
    for relation in facts.catalog.relations() {
        let id = oid(relation.id());
        match relation {
            Relation::Table(table) => {
                for (position, column) in table.user_columns().iter().enumerate() {
                    let has_default = column.default.is_some();
                    push_column(rows, id, position, &column.name, &column.sql_type, column.not_null, has_default);
                }
                for (position, column) in key_columns(table).enumerate() {
                    push_column(rows, index_oid(table.id), position, &column.name, &column.sql_type, false, false);
                }
            }
            Relation::View(view) => {
                for (position, column) in view.columns.iter().enumerate() {
                    push_column(rows, id, position, &column.name, &column.sql_type, false, false);
                }
            }
            Relation::MaterializedView(view) => {
                for (position, column) in view.columns.iter().enumerate() {
                    push_column(rows, id, position, &column.name, &column.sql_type, false, false);
                }
            }
        }
    }
    for definition in definitions() {
        for (position, (name, cell_type)) in definition.columns.columns.iter().enumerate() {
            push_attribute(rows, definition.oid, position, name, system_type(*cell_type), false, false);
        }
    }
}

fn key_columns(table: &Table) -> impl Iterator<Item = &crate::catalog::Column> {
    table.key().unwrap_or_default().iter().filter_map(|at| table.columns.get(*at))
}

/// What pg_attribute says of a column's type.
struct ColumnType {
    oid: i64,
    modifier: i32,
    width: i64,
    collation: i64,
}

fn system_type(cell_type: CellType) -> ColumnType {
    let width = super::TYPES.iter().find(|known| known.oid == cell_type.oid()).map_or(-1, |known| known.width);
    ColumnType { oid: cell_type.oid(), modifier: -1, width, collation: super::types::collation(cell_type.oid()) }
}

fn push_column(
    rows: &mut Rows,
    relation: i64,
    position: usize,
    name: &str,
    sql_type: &SqlType,
    not_null: bool,
    has_default: bool,
) {
    let column_type = ColumnType {
        oid: i64::from(sql_type.oid()),
        modifier: sql_type.type_modifier(),
        width: i64::from(sql_type.byte_width()),
        collation: super::types::collation(i64::from(sql_type.oid())),
    };
    push_attribute(rows, relation, position, name, column_type, not_null, has_default);
}

fn push_attribute(
    rows: &mut Rows,
    relation: i64,
    position: usize,
    name: &str,
    column_type: ColumnType,
    not_null: bool,
    has_default: bool,
) {
    let variable = column_type.width < 0;
    rows.push(row! {
        "attrelid" => relation, "attname" => name, "atttypid" => column_type.oid, "attstattarget" => -1,
        "attlen" => column_type.width, "attnum" => position + 1, "attndims" => 0, "attcacheoff" => -1,
        "atttypmod" => column_type.modifier, "attbyval" => (1..=8).contains(&column_type.width),
        "attalign" => if column_type.width == 8 { "d" } else { "i" },
        "attstorage" => if variable { "x" } else { "p" }, "attcompression" => "", "attnotnull" => not_null,
        "atthasdef" => has_default, "atthasmissing" => false, "attidentity" => "", "attgenerated" => "",
        "attisdropped" => false, "attislocal" => true, "attinhcount" => 0, "attcollation" => column_type.collation,
    });
}

pub fn pg_attrdef(facts: &Facts, rows: &mut Rows) {
    let mut defaults = 0;
    for table in facts.catalog.tables() {
        for (position, column) in table.user_columns().iter().enumerate() {
            let Some(default) = &column.default else { continue };
            defaults += 1;
            rows.push(row! {
                "oid" => 2_000_000_000_i64 + defaults, "adrelid" => oid(table.id), "adnum" => position + 1,
                "adbin" => default.as_str(),
            });
        }
    }
}

/// Tables with a primary key, and the attribute numbers of its columns.
fn keys(facts: &Facts) -> impl Iterator<Item = (&Table, Vec<i64>)> {
    facts.catalog.tables().filter_map(|table| {
        let numbers = table.key()?.iter().map(|at| *at as i64 + 1).collect();
        Some((table.as_ref(), numbers))
    })
}

pub fn pg_index(facts: &Facts, rows: &mut Rows) {
    for (table, numbers) in keys(facts) {
        let zeros = vec![0; numbers.len()];
        rows.push(row! {
            "indexrelid" => index_oid(table.id), "indrelid" => oid(table.id), "indnatts" => numbers.len(),
            "indnkeyatts" => numbers.len(), "indisunique" => true, "indnullsnotdistinct" => false,
            "indisprimary" => true, "indisexclusion" => false, "indimmediate" => true, "indisclustered" => false,
            "indisvalid" => true, "indcheckxmin" => false, "indisready" => true, "indislive" => true,
            "indisreplident" => false, "indkey" => Cell::Ints(numbers), "indcollation" => Cell::Ints(zeros.clone()),
            "indclass" => Cell::Ints(zeros.clone()), "indoption" => Cell::Ints(zeros),
        });
    }
}

pub fn pg_constraint(facts: &Facts, rows: &mut Rows) {
    for (table, numbers) in keys(facts) {
        rows.push(row! {
            "oid" => constraint_oid(table.id), "conname" => format!("{}_pkey", table.name), "connamespace" => PUBLIC,
            "contype" => "p", "condeferrable" => false, "condeferred" => false, "convalidated" => true,
            "conrelid" => oid(table.id), "contypid" => 0, "conindid" => index_oid(table.id), "conparentid" => 0,
            "confrelid" => 0, "confupdtype" => " ", "confdeltype" => " ", "confmatchtype" => " ",
            "conislocal" => true, "coninhcount" => 0, "connoinherit" => true, "conkey" => Cell::Ints(numbers),
        });
    }
}

pub fn pg_tables(facts: &Facts, rows: &mut Rows) {
    let owner = facts.session.user.as_str();
    for table in facts.catalog.tables() {
        rows.push(row! {
            "schemaname" => "public", "tablename" => table.name.as_str(), "tableowner" => owner,
            "hasindexes" => table.key().is_some(), "hasrules" => false, "hastriggers" => false,
            "rowsecurity" => false,
        });
    }
    for definition in definitions().iter().filter(|definition| definition.schema == "pg_catalog") {
        rows.push(row! {
            "schemaname" => definition.schema, "tablename" => definition.name, "tableowner" => owner,
            "hasindexes" => false, "hasrules" => false, "hastriggers" => false, "rowsecurity" => false,
        });
    }
}

pub fn pg_views(facts: &Facts, rows: &mut Rows) {
    for relation in facts.catalog.relations() {
        let Relation::View(view) = relation else { continue };
        rows.push(row! {
            "schemaname" => "public", "viewname" => view.name.as_str(), "viewowner" => facts.session.user.as_str(),
            "definition" => view_definition(&view.sql),
        });
    }
}

pub fn pg_matviews(facts: &Facts, rows: &mut Rows) {
    for view in facts.catalog.materialized_views() {
        rows.push(row! {
            "schemaname" => "public", "matviewname" => view.name.as_str(),
            "matviewowner" => facts.session.user.as_str(), "hasindexes" => false, "ispopulated" => true,
            "definition" => view_definition(&view.sql),
        });
    }
}

pub fn pg_indexes(facts: &Facts, rows: &mut Rows) {
    for (table, _) in keys(facts) {
        rows.push(row! {
            "schemaname" => "public", "tablename" => table.name.as_str(),
            "indexname" => format!("{}_pkey", table.name), "indexdef" => index_definition(table),
        });
    }
}

pub fn pg_stat_user_tables(facts: &Facts, rows: &mut Rows) {
    for table in facts.catalog.tables() {
        rows.push(row! {
            "relid" => oid(table.id), "schemaname" => "public", "relname" => table.name.as_str(),
            "n_live_tup" => facts.rows(table.id).unwrap_or(0), "n_dead_tup" => 0,
        });
    }
}
