//! pg_type: the types of columns and results, their arrays, and those that only the catalog uses.

use crate::system::facts::{Facts, OWNER, PG_CATALOG};
use crate::system::rows::{Rows, row};
use crate::types::SqlType;

/// A type as the catalog knows it.
pub struct TypeRow {
    pub oid: i64,
    pub name: &'static str,
    /// Bytes; -1: variable.
    pub width: i64,
    pub category: &'static str,
    /// Oid of the type of its arrays; 0: none.
    pub array: i64,
    /// As `format_type` prints it.
    pub sql_name: &'static str,
}

const fn entry(
    oid: i64,
    name: &'static str,
    width: i64,
    category: &'static str,
    array: i64,
    sql_name: &'static str,
) -> TypeRow {
    TypeRow { oid, name, width, category, array, sql_name }
}

/// All but the arrays, which follow from `array`.
pub const TYPES: &[TypeRow] = &[
    entry(16, "bool", 1, "B", 1000, "boolean"),
    entry(17, "bytea", -1, "U", 1001, "bytea"),
    entry(18, "char", 1, "Z", 1002, "\"char\""),
    entry(19, "name", 64, "S", 1003, "name"),
    entry(20, "int8", 8, "N", 1016, "bigint"),
    entry(21, "int2", 2, "N", 1005, "smallint"),
    entry(22, "int2vector", -1, "A", 1006, "int2vector"),
    entry(23, "int4", 4, "N", 1007, "integer"),
    entry(24, "regproc", 4, "N", 1008, "regproc"),
    entry(25, "text", -1, "S", 1009, "text"),
    entry(26, "oid", 4, "N", 1028, "oid"),
    entry(30, "oidvector", -1, "A", 1013, "oidvector"),
    entry(700, "float4", 4, "N", 1021, "real"),
    entry(701, "float8", 8, "N", 1022, "double precision"),
    entry(705, "unknown", -2, "X", 0, "unknown"),
    entry(1042, "bpchar", -1, "S", 1014, "character"),
    entry(1043, "varchar", -1, "S", 1015, "character varying"),
    entry(1082, "date", 4, "D", 1182, "date"),
    entry(1114, "timestamp", 8, "D", 1115, "timestamp without time zone"),
    entry(1184, "timestamptz", 8, "D", 1185, "timestamp with time zone"),
    entry(1186, "interval", 16, "T", 1187, "interval"),
    entry(1700, "numeric", -1, "N", 1231, "numeric"),
    entry(2205, "regclass", 4, "N", 2210, "regclass"),
    entry(2206, "regtype", 4, "N", 2211, "regtype"),
    entry(2249, "record", -1, "P", 2287, "record"),
    entry(2278, "void", 4, "P", 0, "void"),
    entry(2950, "uuid", 16, "U", 2951, "uuid"),
    entry(3802, "jsonb", -1, "U", 3807, "jsonb"),
    entry(4089, "regnamespace", 4, "N", 4090, "regnamespace"),
    entry(4096, "regrole", 4, "N", 4097, "regrole"),
];

/// typinput of arrays, by which drivers tell them.
pub const ARRAY_IN: i64 = 750;
const TEXT_IN: i64 = 46;

/// pg_type's name of a column's type.
pub fn type_name(sql_type: &SqlType) -> &'static str {
    let oid = i64::from(sql_type.oid());
    TYPES.iter().find(|known| known.oid == oid).map_or("text", |known| known.name)
}

/// The collation of a type's values: 0 where they have none.
pub fn collation(oid: i64) -> i64 {
    match oid {
        25 | 1042 | 1043 | 1009 | 1015 => 100,
        19 => 950,
        _ => 0,
    }
}

pub fn pg_type(_: &Facts, rows: &mut Rows) {
    for known in TYPES {
        let pseudo = known.category == "P" || known.category == "X";
        let element = match known.name {
            "int2vector" => 21,
            "oidvector" => 26,
            "name" => 18,
            _ => 0,
        };
        push(rows, known, known.oid, known.name, element, known.array, pseudo);
        if known.array != 0 {
            let array = TypeRow { width: -1, category: "A", ..*known };
            push(rows, &array, known.array, &format!("_{}", known.name), known.oid, 0, false);
        }
    }
}

fn push(rows: &mut Rows, known: &TypeRow, oid: i64, name: &str, element: i64, array: i64, pseudo: bool) {
    let is_array = known.category == "A";
    rows.push(row! {
        "oid" => oid, "typname" => name, "typnamespace" => PG_CATALOG, "typowner" => OWNER,
        "typlen" => known.width, "typbyval" => (1..=8).contains(&known.width),
        "typtype" => if pseudo { "p" } else { "b" }, "typcategory" => known.category,
        "typispreferred" => matches!(known.oid, 16 | 25 | 26 | 701 | 1184 | 1186) && !is_array,
        "typisdefined" => true, "typdelim" => ",", "typrelid" => 0, "typsubscript" => 0, "typelem" => element,
        "typarray" => array, "typinput" => if is_array { ARRAY_IN } else { TEXT_IN }, "typoutput" => 0,
        "typreceive" => 0, "typsend" => 0, "typmodin" => 0, "typmodout" => 0, "typanalyze" => 0,
        "typalign" => if known.width == 8 { "d" } else { "i" },
        "typstorage" => if known.width < 0 { "x" } else { "p" }, "typnotnull" => false, "typbasetype" => 0,
        "typtypmod" => -1, "typndims" => 0, "typcollation" => collation(oid),
    });
}
