//! A scripted history of one table, and a ledger of what was asked, sequenced, acknowledged and published.
//!
//! The ledger is the oracle: maps and loops, nothing of the code under test.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use parking_lot::Mutex;

use crate::catalog::{CatalogChange, View};
use crate::commit::{Commit, Publish, Sequencer, SourcePosition, TableWrite, TierChange, Write};
use crate::delta::{DeltaBatch, Digest, digest_batch};
use crate::error::Result;
use crate::testing::SimRng;
use crate::types::{CommitNumber, ROW_ID, RelationId};

pub const TABLE: RelationId = RelationId(16_384);

/// A publisher that keeps what it gets.
#[derive(Default)]
pub struct Collect(Mutex<Vec<Arc<Commit>>>);

impl Collect {
    pub fn commits(&self) -> Vec<Arc<Commit>> {
        self.0.lock().clone()
    }
}

impl Publish for Collect {
    fn publish(&self, commit: &Arc<Commit>) {
        self.0.lock().push(commit.clone());
    }
}

pub fn inserts(values: Range<i64>) -> RecordBatch {
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("value", values)]).unwrap()
}

/// Rows (row id, value) to delete.
pub fn deletes(rows: &[(i64, i64)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    RecordBatch::try_from_iter([("value", values), (ROW_ID, ids)]).unwrap()
}

pub fn table_write(inserts: Option<RecordBatch>, deletes: Option<RecordBatch>) -> TableWrite {
    TableWrite { table: TABLE, schema_version: 1, inserts, deletes }
}

pub fn insert(values: Range<i64>) -> Write {
    Write { tables: vec![table_write(Some(inserts(values)), None)], ..Write::default() }
}

/// (row id, value, weight) in the batch's order.
pub fn ids_and_values(delta: &DeltaBatch) -> Vec<(i64, i64, i64)> {
    let values = delta.rows().column(0).as_primitive::<Int64Type>();
    let ids = delta.rows().column(1).as_primitive::<Int64Type>();
    (0..delta.num_rows()).map(|row| (ids.value(row), values.value(row), delta.weight(row))).collect()
}

/// Digest of commits with everything in them, per commit.
pub fn digest(commits: &[Arc<Commit>]) -> Vec<(u64, i64, Digest, String)> {
    commits
        .iter()
        .map(|commit| {
            let mut rows = Digest::default();
            commit.tables.iter().for_each(|table| rows.add(digest_batch(&table.delta).unwrap()));
            let rest = format!("{:?} {:?} {:?}", commit.catalog, commit.positions, commit.tier);
            (commit.number.0, commit.timestamp_us, rows, rest)
        })
        .collect()
}

/// One write, as the sequencer took it.
#[derive(Clone)]
struct Entry {
    commit: CommitNumber,
    inserted: Vec<(i64, i64)>,
    deleted: Vec<i64>,
}

/// Rows by id.
pub type Rows = BTreeMap<i64, i64>;

#[derive(Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    /// Rows of sequenced state.
    pub rows: Rows,
    pub acknowledged: CommitNumber,
    /// What a manifest would say, durable at once: commits up to here are in files.
    pub flushed: CommitNumber,
}

impl Ledger {
    /// The table after all writes of commits up to `commit`.
    pub fn rows_at(&self, commit: CommitNumber) -> Rows {
        let mut rows = Rows::new();
        for entry in self.entries.iter().filter(|entry| entry.commit <= commit) {
            rows.extend(entry.inserted.iter().copied());
            entry.deleted.iter().for_each(|id| assert!(rows.remove(id).is_some()));
        }
        rows
    }

    pub fn writes_of(&self, commit: CommitNumber) -> usize {
        self.entries.iter().filter(|entry| entry.commit == commit).count()
    }

    /// What a restart found: later commits never happened.
    pub fn forget_after(&mut self, commit: CommitNumber) {
        self.entries.retain(|entry| entry.commit <= commit);
        self.rows = self.rows_at(commit);
    }
}

/// Rows after `commits` on top of `rows`. Panics on a delete of what is not there, or an insert of what is.
pub fn play(mut rows: Rows, commits: &[Arc<Commit>]) -> Rows {
    for delta in commits.iter().flat_map(|commit| &commit.tables) {
        for (id, value, weight) in ids_and_values(&delta.delta) {
            match weight {
                1 => assert_eq!(rows.insert(id, value), None),
                -1 => assert_eq!(rows.remove(&id), Some(value)),
                other => panic!("weight {other}"),
            }
        }
    }
    rows
}

/// One writer's share of the history: `operations` writes drawn from `rng`, most of them waited for.
pub async fn write_history(sequencer: Arc<Sequencer>, ledger: Arc<Mutex<Ledger>>, rng: SimRng, operations: usize) {
    for operation in 0..operations {
        let durable = match operate(&sequencer, &ledger, &rng, operation) {
            Ok(durable) => durable,
            Err(_) => return,
        };
        if rng.one_in(3) {
            // Not waiting is allowed: the write becomes durable, or is lost, without us.
            continue;
        }
        match durable.await {
            Ok(commit) => {
                let mut ledger = ledger.lock();
                ledger.acknowledged = ledger.acknowledged.max(commit);
            }
            Err(_) => return,
        }
    }
}

/// Makes one write and sequences it, with nothing in between, so that it fits the sequenced rows.
fn operate(
    sequencer: &Sequencer,
    ledger: &Mutex<Ledger>,
    rng: &SimRng,
    operation: usize,
) -> Result<crate::commit::Durable> {
    let mut ledger = ledger.lock();
    let value = operation as i64 * 10;
    let inserted = value..value + 1 + rng.below(3) as i64;
    let victims: Vec<(i64, i64)> = {
        let skip = rng.below(ledger.rows.len() as u64 + 1) as usize;
        ledger.rows.iter().skip(skip).take(2).map(|(id, value)| (*id, *value)).collect()
    };
    let gone = (!victims.is_empty()).then(|| deletes(&victims));
    let mut write = Write::default();
    match rng.below(20) {
        0..10 => write.tables.push(table_write(Some(inserts(inserted)), None)),
        10..13 => write.tables.push(table_write(None, gone)),
        13..16 => write.tables.push(table_write(Some(inserts(inserted)), gone)),
        16 => write.catalog.push(create_view(operation)),
        17 => {
            write.tables.push(table_write(Some(inserts(inserted)), None));
            write.positions.push(SourcePosition { source: TABLE, position: value.to_le_bytes().to_vec() });
        }
        _ => {
            let flushed = sequencer.durable_head();
            ledger.flushed = flushed;
            sequencer.truncate_wal(flushed);
            write.tier.push(TierChange { table: TABLE, flushed, manifest: operation as u64 });
        }
    }
    let ((), durable) = sequencer.sequence(write, |sequenced| {
        let mut entry = Entry { commit: sequenced.commit, inserted: vec![], deleted: vec![] };
        for (table, first) in sequenced.write.tables.iter().zip(&sequenced.first_row_ids) {
            if let Some(rows) = &table.inserts {
                let values = rows.column(0).as_primitive::<Int64Type>().values();
                entry.inserted.extend(values.iter().enumerate().map(|(row, value)| (first + row as i64, *value)));
            }
            if table.deletes.is_some() {
                entry.deleted.extend(victims.iter().map(|victim| victim.0));
            }
        }
        ledger.rows.extend(entry.inserted.iter().copied());
        entry.deleted.iter().for_each(|id| {
            ledger.rows.remove(id);
        });
        ledger.entries.push(entry);
        Ok(())
    })?;
    Ok(durable)
}

fn create_view(operation: usize) -> CatalogChange {
    CatalogChange::CreateView(Arc::new(View {
        id: RelationId(20_000 + operation as u32),
        name: format!("view_{operation}"),
        sql: "SELECT 1".to_string(),
        columns: vec![],
        depends_on: vec![],
    }))
}
