//! What was asked of the core, in the order in which it was sequenced. Maps and loops, nothing of the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::ipc::reader::StreamReader;

use super::pulses::{beats, beats_since, cutoff_of_beats, learn};
use crate::catalog::{Catalog, CatalogChange, Relation, StoredColumn, Table};
use crate::commit::SequencedWrite;
use crate::testing::oracle::{Row, Value};
use crate::testing::values::rows_of;
use crate::types::{CommitNumber, RelationId, RowId};

/// Rows by id.
pub type Rows = BTreeMap<RowId, Row>;

/// One write, as the sequencer took it.
pub struct Entry {
    commit: CommitNumber,
    inserted: Vec<(RelationId, RowId, Row)>,
    deleted: Vec<(RelationId, RowId)>,
    catalog: Vec<CatalogChange>,
    positions: Vec<(RelationId, Vec<u8>)>,
}

/// A database at one moment.
#[derive(Clone, Default)]
pub struct State {
    pub catalog: Catalog,
    pub tables: BTreeMap<RelationId, Rows>,
    pub positions: BTreeMap<RelationId, Vec<u8>>,
    /// The time of its last commit, where that was asked for.
    pub now_us: i64,
    /// What the view `pace` has learned of `beats`, where there is one.
    pub learned: Vec<Row>,
    /// Rows that expired, with the first relation that never saw them.
    pub expired: Vec<(RelationId, RelationId, Row)>,
}

/// After so many entries the database is remembered, so that an earlier commit's need not be made from the first entry on.
const SNAPSHOT_ENTRIES: usize = 32;

/// All writes, and how far they were acknowledged.
#[derive(Clone, Default)]
pub struct Ledger {
    /// In the order of commits.
    entries: Vec<Arc<Entry>>,
    /// After each [`SNAPSHOT_ENTRIES`] of them.
    snapshots: Vec<Arc<State>>,
    /// After all of them.
    pub state: State,
    pub acknowledged: CommitNumber,
    /// Tables that are gone.
    pub dropped: BTreeSet<RelationId>,
    pub operations: usize,
    /// Cold files that compactions read.
    pub compacted: u64,
    pub expired: usize,
    /// How often rows of a view expired.
    pub cutoffs: usize,
}

impl Entry {
    fn of(sequenced: &SequencedWrite<'_>) -> Entry {
        let (mut inserted, mut deleted) = (Vec::new(), Vec::new());
        for (table, first) in sequenced.write.tables.iter().zip(&sequenced.first_row_ids) {
            let rows = table.inserts.iter().flat_map(rows_of);
            inserted.extend(rows.zip(*first..).map(|(row, id)| (table.table, id, row)));
            deleted.extend(table.deletes.iter().flat_map(rows_of).map(|row| (table.table, split(row).0)));
        }
        let positions = sequenced.write.positions.iter().map(|at| (at.source, at.position.clone()));
        Entry {
            commit: sequenced.commit,
            inserted,
            deleted,
            catalog: sequenced.write.catalog.clone(),
            positions: positions.collect(),
        }
    }
}

/// A row with its id behind it.
pub fn split(mut row: Row) -> (RowId, Row) {
    match row.pop() {
        Some(Value::Integer(id)) => (id, row),
        other => panic!("a row id of {other:?}"),
    }
}

impl State {
    fn apply(&mut self, entry: &Entry) {
        let learns = |catalog: &Catalog| catalog.find("pace").is_some();
        let (cutoff, before) = (cutoff_of_beats(&self.catalog), learns(&self.catalog).then(|| beats(self)));
        self.apply_rows(entry);
        match before {
            Some(before) if learns(&self.catalog) => {
                let after = beats_since(self, cutoff);
                learn(&mut self.learned, &before, &after);
            }
            _ if learns(&self.catalog) => self.learned = beats(self),
            _ => self.learned.clear(),
        }
    }

    fn apply_rows(&mut self, entry: &Entry) {
        for change in &entry.catalog {
            match change {
                CatalogChange::CreateTable(table) => drop(self.tables.insert(table.id, Rows::new())),
                CatalogChange::AlterTable(next) => self.alter(next),
                CatalogChange::Expire { table, rows, .. } => {
                    let present = self.tables.get_mut(table).unwrap();
                    let unseen_from = self.catalog.next_id();
                    self.expired.extend(rows.iter().map(|id| (*table, unseen_from, present.remove(&id).unwrap())));
                }
                _ => {}
            }
            self.catalog.apply(change);
        }
        for (table, id) in &entry.deleted {
            assert!(self.tables.get_mut(table).unwrap().remove(id).is_some(), "row {id} deleted twice");
        }
        for (table, id, row) in &entry.inserted {
            assert!(self.tables.get_mut(table).unwrap().insert(*id, row.clone()).is_none(), "row id {id} given twice");
        }
        self.positions.extend(entry.positions.iter().cloned());
        for change in &entry.catalog {
            if let CatalogChange::Drop(id) = change {
                self.tables.remove(id);
                self.positions.remove(id);
            }
        }
    }

    /// Each row gets the columns of the next definition: what it had of them, and what their definition says of the others.
    pub fn alter(&mut self, next: &Table) {
        let Some(before) = self.catalog.table(next.id).map(|table| table.stored_columns()) else { return };
        let place = |stored: &StoredColumn| before.iter().position(|old| old.field_id == stored.field_id);
        let columns: Vec<(Option<usize>, Value)> =
            next.stored_columns().iter().map(|stored| (place(stored), value_of_missing(stored))).collect();
        for row in self.tables.get_mut(&next.id).unwrap().values_mut() {
            let value = |(place, missing): &(Option<usize>, Value)| place.map_or(missing, |at| &row[at]).clone();
            *row = columns.iter().map(value).collect();
        }
    }

    /// A table's rows; none where there is no such table.
    pub fn rows(&self, name: &str) -> Vec<Row> {
        let rows = self.catalog.find(name).and_then(|table| self.tables.get(&table.id()));
        rows.into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// A table's rows as a view knows them: those that expired since it was made are still among them.
    pub fn rows_learned(&self, view: &str, table: &str) -> Vec<Row> {
        let id = |name: &str| self.catalog.find(name).map(Relation::id);
        let (Some(view), Some(id)) = (id(view), id(table)) else { return self.rows(table) };
        let expired = self.expired.iter().filter(|(of, unseen_from, _)| *of == id && view < *unseen_from);
        self.rows(table).into_iter().chain(expired.map(|(_, _, row)| row.clone())).collect()
    }

    /// As lines that compare.
    pub fn render(&self) -> Vec<String> {
        let relations = self
            .catalog
            .relations()
            .map(|relation| format!("{} {} \"{}\"", relation.id(), relation.kind_name(), relation.name()));
        let rows = self.tables.iter().flat_map(|(table, rows)| {
            rows.iter().map(move |(id, row)| {
                let values: Vec<String> = row.iter().map(Value::render).collect();
                format!("{table} row {id}: {}", values.join(" | "))
            })
        });
        let positions = self.positions.iter().map(|(source, position)| format!("{source} read to {position:?}"));
        relations.chain(rows).chain(positions).collect()
    }
}

fn value_of_missing(stored: &StoredColumn) -> Value {
    let Some(bytes) = &stored.missing else { return Value::Null };
    let batch = StreamReader::try_new(bytes.as_slice(), None).unwrap().next().unwrap().unwrap();
    rows_of(&batch).remove(0).remove(0)
}

impl Ledger {
    /// Called under the sequencing lock.
    pub fn record(&mut self, sequenced: &SequencedWrite<'_>) {
        let entry = Entry::of(sequenced);
        let before: Vec<RelationId> = self.state.tables.keys().copied().collect();
        self.state.apply(&entry);
        self.dropped.extend(before.into_iter().filter(|table| !self.state.tables.contains_key(table)));
        assert!(
            self.entries.last().is_none_or(|last| last.commit <= entry.commit),
            "sequenced in the order of commits"
        );
        self.entries.push(Arc::new(entry));
        if self.entries.len().is_multiple_of(SNAPSHOT_ENTRIES) {
            self.snapshots.push(Arc::new(self.state.clone()));
        }
    }

    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// The ledger as it was after its first `count` entries, without a state until [`Ledger::forget_after`].
    pub fn first(&self, count: usize, acknowledged: CommitNumber) -> Ledger {
        let (entries, snapshots) = (&self.entries[..count], &self.snapshots[..count / SNAPSHOT_ENTRIES]);
        Ledger { entries: entries.to_vec(), snapshots: snapshots.to_vec(), acknowledged, ..Ledger::default() }
    }

    fn count_up_to(&self, commit: CommitNumber) -> usize {
        self.entries.partition_point(|entry| entry.commit <= commit)
    }

    /// The database after all writes of commits up to `commit`: whole commits, and nothing else.
    pub fn state_at(&self, commit: CommitNumber) -> State {
        let count = self.count_up_to(commit);
        let snapshots = count / SNAPSHOT_ENTRIES;
        let mut state = match snapshots.checked_sub(1) {
            Some(last) => State::clone(&self.snapshots[last]),
            None => State::default(),
        };
        self.entries[snapshots * SNAPSHOT_ENTRIES..count].iter().for_each(|entry| state.apply(entry));
        state
    }

    /// What a recovery found: later commits never happened.
    pub fn forget_after(&mut self, commit: CommitNumber) {
        self.state = self.state_at(commit);
        self.entries.truncate(self.count_up_to(commit));
        self.snapshots.truncate(self.entries.len() / SNAPSHOT_ENTRIES);
    }
}
