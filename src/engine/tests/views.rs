//! The materialized views of the script: SQL, and the same by loops.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::execution::SessionState;

use super::ledger::State;
use super::pulses::{BEATS, FRESH, PACE, beats, fresh, pace};
use crate::catalog::{Catalog, MaterializedView};
use crate::error::Result;
use crate::plan::{Found, RelationLookup, RelationSource, plan_view};
use crate::sql::parse_query;
use crate::testing::oracle::{self, Call, Row, Value};

/// Name and query; a view stands behind those that it reads.
pub const VIEWS: [(&str, &str); 8] = [
    ("counts", "SELECT device, count(*) AS n, sum(value) AS total, max(value) AS top FROM readings GROUP BY device"),
    ("fresh", FRESH),
    ("sites", "SELECT r.device, r.value, d.note FROM readings r JOIN devices d ON r.device = d.device"),
    ("shares", "SELECT device, 100 / value AS share FROM readings"),
    ("kinds", "SELECT note, count(*) AS n, min(value) AS low FROM events GROUP BY note"),
    ("beats", BEATS),
    ("pace", PACE),
    ("above", "SELECT n, count(*) AS devices FROM counts GROUP BY n"),
];

/// What a view shows over these tables.
pub fn oracle(name: &str, state: &State) -> Vec<Row> {
    let readings = state.rows("readings");
    match name {
        "counts" => oracle::group(&readings, &[0], &[Call::CountAll, Call::Sum(1), Call::Max(1)]),
        "sites" => {
            let joined = oracle::join(&readings, &state.rows("devices"), &[(0, 0)]);
            oracle::project(&joined, |row| vec![row[0].clone(), row[1].clone(), row[5].clone()])
        }
        "shares" => {
            let divisible = oracle::filter(&readings, |row| Some(value_of(row) != 0));
            oracle::project(&divisible, |row| vec![row[0].clone(), Value::Integer(100 / value_of(row))])
        }
        "kinds" => oracle::group(&state.rows_learned(name, "events"), &[2], &[Call::CountAll, Call::Min(1)]),
        "fresh" => fresh(state),
        "beats" => beats(state),
        "pace" => pace(state),
        "above" => oracle::group(&oracle("counts", state), &[1], &[Call::CountAll]),
        other => panic!("no view {other}"),
    }
}

/// How many rows a view leaves out because they err.
pub fn errors(name: &str, state: &State) -> i64 {
    match name {
        "shares" => state.rows("readings").iter().filter(|row| value_of(row) == 0).count() as i64,
        _ => 0,
    }
}

fn value_of(row: &Row) -> i64 {
    match row[1] {
        Value::Integer(value) => value,
        ref other => panic!("a value of {other:?}"),
    }
}

/// A view's definition, planned as CREATE MATERIALIZED VIEW does.
pub fn define(name: &str, sql: &str, catalog: &Catalog, registry: &SessionState) -> Arc<MaterializedView> {
    let plan = plan_view(registry, &Names(catalog), &parse_query(sql).unwrap(), sql, None).unwrap();
    Arc::new(MaterializedView {
        id: catalog.next_id(),
        name: name.to_string(),
        sql: sql.to_string(),
        settings: BTreeMap::new(),
        plan: plan.to_bytes().unwrap(),
        columns: plan.columns.clone(),
        depends_on: plan.sources(),
        emits_on_close: false,
    })
}

struct Names<'a>(&'a Catalog);

impl RelationLookup for Names<'_> {
    fn find(&self, name: &TableReference) -> Result<Option<Found>> {
        Ok(self.0.find(name.table()).map(|relation| {
            let (id, name, schema) = (relation.id(), relation.name().to_string(), relation.schema());
            Found::Rows(Arc::new(RelationSource { id, name, schema }))
        }))
    }
}
