//! Sizes of relations, as far as the statistics know them.

use datafusion::common::ScalarValue;

use super::call::{Arguments, Entry, Returns, int, maybe_text};
use super::names::relation_oid;
use crate::error::Result;
use crate::system::facts::Facts;

pub const FUNCTIONS: &[Entry] = &[
    ("pg_relation_size", 1, 2, Returns::Int, pg_relation_size),
    ("pg_table_size", 1, 1, Returns::Int, pg_relation_size),
    ("pg_total_relation_size", 1, 1, Returns::Int, pg_relation_size),
    ("pg_indexes_size", 1, 1, Returns::Int, pg_indexes_size),
    ("pg_database_size", 1, 1, Returns::Int, pg_database_size),
    ("pg_size_pretty", 1, 1, Returns::Text, pg_size_pretty),
];

fn size(bytes: u64) -> Option<i64> {
    i64::try_from(bytes).ok()
}

/// Bytes in memory and in files; 0 for what holds none.
fn pg_relation_size(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let oid = relation_oid(facts, arguments, 0);
    int(oid.and_then(|oid| {
        let relation = facts.relation(oid);
        size(relation.and_then(|relation| facts.bytes(relation.id())).unwrap_or(0))
    }))
}

/// Keys are part of their table's state.
fn pg_indexes_size(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    int(relation_oid(facts, arguments, 0).map(|_| 0))
}

fn pg_database_size(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let tables = facts.stats.tables.values().map(|table| table.bytes_hot + table.bytes_cold);
    let views = facts.stats.views.values().map(|view| view.state_bytes);
    int(arguments.value(0).and_then(|_| size(tables.chain(views).sum())))
}

/// PostgreSQL's form: the largest unit that leaves fewer than 10240, halves rounded up.
fn pg_size_pretty(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.int(0).map(|bytes| {
        let mut amount = bytes;
        let mut unit = "bytes";
        for larger in ["kB", "MB", "GB", "TB", "PB"] {
            if amount.abs() < 10240 {
                break;
            }
            amount = (amount + 512).div_euclid(1024);
            unit = larger;
        }
        format!("{amount} {unit}")
    }))
}
