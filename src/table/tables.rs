//! All tables: what is sequenced goes in, snapshots come out.
//!
//! Also keeps the durable catalog and the sources' positions, as the published commits say them, because a manifest
//! must hold them as of the commit that it was made at.
//!
//! Does not know: SQL, sessions, views.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, filter_record_batch};
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};

use super::cell::{Prepared, TableCell};
use super::cold_keys::{ColdKeys, Lookup, taken};
use super::garbage::Garbage;
use super::history::History;
use super::left::LeftRows;
use super::snapshot::TableSnapshot;
use super::version::Version;
use crate::catalog::{Catalog, CatalogChange, RowRuns, Table};
use crate::commit::{Commit, SequencedWrite, TableDelta, TableWrite};
use crate::delta::Weights;
use crate::error::{Error, Result, SqlState};
use crate::io::Clock;
use crate::settings::TableSettings;
use crate::tier::{CommitMark, Manifest, TableFiles, Tier};
use crate::types::{CommitNumber, RelationId, RowId};

/// What the published commits said, up to one of them.
#[derive(Debug, Clone, Default)]
pub struct DurableState {
    pub commit: CommitNumber,
    pub timestamp_us: i64,
    pub catalog: Arc<Catalog>,
    pub positions: Arc<BTreeMap<RelationId, Vec<u8>>>,
    /// Of tables that have one that was ever set, microseconds since 1970.
    pub watermarks: BTreeMap<RelationId, i64>,
}

impl DurableState {
    /// As a manifest has it.
    pub(super) fn of(manifest: &Manifest) -> DurableState {
        DurableState {
            commit: manifest.commit,
            timestamp_us: manifest.last_timestamp_us,
            catalog: Arc::new(manifest.catalog.clone()),
            positions: Arc::new(manifest.positions.clone()),
            watermarks: manifest.watermarks.clone(),
        }
    }

    /// What the next commit says besides.
    pub fn advance(&mut self, commit: &Commit) {
        for change in &commit.catalog {
            Arc::make_mut(&mut self.catalog).apply(change);
        }
        for position in &commit.positions {
            Arc::make_mut(&mut self.positions).insert(position.source, position.position.clone());
        }
        for advance in &commit.watermarks {
            self.watermarks.insert(advance.table, advance.at_us);
        }
        for change in &commit.catalog {
            if let CatalogChange::Drop(id) = change {
                self.watermarks.remove(id);
                if self.positions.contains_key(id) {
                    Arc::make_mut(&mut self.positions).remove(id);
                }
            }
        }
        (self.commit, self.timestamp_us) = (commit.number, commit.timestamp_us);
    }
}

/// Sizes of a table's two parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Rows in memory, deleted ones among them until the next flush.
    pub rows_hot: u64,
    pub rows_cold: u64,
    pub bytes_hot: u64,
    pub bytes_cold: u64,
    pub files: u64,
    pub tombstones: u64,
    /// Live rows of a PRIMARY KEY table that are in memory by key.
    pub rows_keyed: u64,
    /// Of these, and of what is kept to find the others in files.
    pub bytes_keyed: u64,
    /// Rows of commits up to this one are cold.
    pub flushed: CommitNumber,
    /// The oldest commit that the table can be read at.
    pub readable_from: CommitNumber,
}

/// A write's parts for one table, each with the row id of its first insert.
type NumberedWrites<'a> = Vec<(&'a TableWrite, RowId)>;

/// What must have happened before a manifest may let the log forget commits.
pub type BeforeFlush = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// All tables of a database.
pub struct Tables {
    pub(super) tier: Arc<Tier>,
    pub(super) settings: TableSettings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cells: RwLock<HashMap<RelationId, Arc<TableCell>>>,
    pub(super) durable: Mutex<DurableState>,
    /// The newest manifest, and the lock of whoever makes the next one.
    pub(super) manifest: tokio::sync::Mutex<Manifest>,
    /// Flushes begun since the newest manifest.
    pub(super) attempts: AtomicU32,
    pub(super) garbage: Garbage,
    pub(super) left: LeftRows,
    /// Locked behind `durable` where both are.
    pub(super) history: Mutex<History>,
    pub(super) before_flush: OnceLock<BeforeFlush>,
    /// What live rows by key may hold in memory, with what finds them in files.
    keyed_bytes_max: AtomicUsize,
}

impl Tables {
    pub fn new(tier: Arc<Tier>, settings: TableSettings, clock: Arc<dyn Clock>) -> Arc<Tables> {
        Arc::new(Tables {
            tier,
            settings,
            clock,
            cells: RwLock::default(),
            durable: Mutex::default(),
            manifest: tokio::sync::Mutex::default(),
            attempts: AtomicU32::new(0),
            garbage: Garbage::default(),
            left: LeftRows::default(),
            history: Mutex::default(),
            before_flush: OnceLock::new(),
            keyed_bytes_max: AtomicUsize::new(usize::MAX),
        })
    }

    /// Every flush waits for this, once it knows the commit that it flushes up to. Said once.
    pub fn before_flush(&self, wait: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        let _ = self.before_flush.set(Box::new(wait));
    }

    /// The oldest commit that every table can be read at, with the columns that it has now.
    pub fn readable_from(&self) -> CommitNumber {
        let cells = self.cells.read();
        let from =
            |cell: &Arc<TableCell>| cell.state.read().version.cold.flushed.max(cell.altered_at.unwrap_or_default());
        cells.values().map(from).max().unwrap_or_default()
    }

    pub fn tier(&self) -> &Arc<Tier> {
        &self.tier
    }

    /// Makes an empty table, so that writes to it can be sequenced; nothing where it exists. `commit` is the one that
    /// creates it: earlier ones have no rows of it, so that a manifest that names the table does not ask for them, when the
    /// log may have forgotten them.
    pub fn create(&self, table: Arc<Table>, commit: CommitNumber) -> Result<()> {
        let id = table.id;
        if self.cells.read().contains_key(&id) {
            return Ok(());
        }
        let flushed = CommitNumber(commit.0.saturating_sub(1));
        let cold = TableFiles { flushed, readable_from: commit, ..TableFiles::default() };
        let cell = Arc::new(TableCell::new(table, Version { cold: Arc::new(cold), ..Version::default() })?);
        self.cells.write().entry(id).or_insert(cell);
        Ok(())
    }

    /// Refuses further writes. Readers of durable state see the table until the drop is published.
    pub fn drop_table(&self, id: RelationId) {
        if let Ok(cell) = self.cell(id) {
            cell.state.write().dropped = true;
        }
    }

    /// Refuses writes (40001) until the ALTER that was sequenced is published.
    pub fn begin_alter(&self, id: RelationId) {
        if let Ok(cell) = self.cell(id) {
            cell.state.write().altering = true;
        }
    }

    /// Puts the table with its new columns in the place of the old one. Whoever reads the old one holds it.
    fn alter(&self, table: &Arc<Table>, at: CommitNumber) -> Result<()> {
        let old = self.cell(table.id)?;
        let version = old.state.read().version.clone();
        let new = old.altered(table.clone(), &version, at)?;
        self.cells.write().insert(table.id, Arc::new(new));
        Ok(())
    }

    pub(super) fn cell(&self, id: RelationId) -> Result<Arc<TableCell>> {
        self.cells
            .read()
            .get(&id)
            .cloned()
            .ok_or_else(|| Error::new(SqlState::UNDEFINED_TABLE, format!("relation with OID {id} does not exist")))
    }

    /// Called under the sequencing lock: makes a whole write part of sequenced state, or refuses it and changes nothing.
    ///
    /// Errors: 42P01 for a dropped table; 40001 for an altered one, or where a row to delete is deleted already; 23505.
    pub fn apply_write(&self, sequenced: &SequencedWrite<'_>) -> Result<()> {
        let mut by_table: Vec<(Arc<TableCell>, NumberedWrites<'_>)> = Vec::new();
        for (write, first_row_id) in sequenced.write.tables.iter().zip(&sequenced.first_row_ids) {
            let known = by_table.iter_mut().find(|(cell, _)| cell.table.id == write.table);
            match known {
                Some((_, writes)) => writes.push((write, *first_row_id)),
                None => by_table.push((self.cell(write.table)?, vec![(write, *first_row_id)])),
            }
        }
        let prepared: Vec<(Arc<TableCell>, Prepared)> = by_table
            .into_iter()
            .map(|(cell, writes)| {
                let prepared = cell.prepare(sequenced.commit, &writes)?;
                Ok((cell, prepared))
            })
            .collect::<Result<_>>()?;
        let now = self.clock.monotonic();
        prepared.into_iter().try_for_each(|(cell, prepared)| cell.put(sequenced.commit, prepared, now))
    }

    /// The same of a write with definitions: tables that it creates are there for its rows, those that it drops refuse
    /// any later write.
    pub fn apply_with_definitions(&self, sequenced: &SequencedWrite<'_>) -> Result<()> {
        for change in &sequenced.write.catalog {
            if let CatalogChange::CreateTable(table) = change {
                self.create(table.clone(), sequenced.commit)?;
            }
        }
        self.apply_write(sequenced)?;
        for change in &sequenced.write.catalog {
            match change {
                CatalogChange::Expire { table, rows, .. } => self.expire(*table, sequenced.commit, rows)?,
                CatalogChange::Drop(id) => self.drop_table(*id),
                CatalogChange::AlterTable(table) => self.begin_alter(table.id),
                _ => {}
            }
        }
        Ok(())
    }

    /// The same for one table alone.
    pub fn apply(&self, commit: CommitNumber, first_row_id: RowId, write: &TableWrite) -> Result<()> {
        let cell = self.cell(write.table)?;
        let prepared = cell.prepare(commit, &[(write, first_row_id)])?;
        cell.put(commit, prepared, self.clock.monotonic())
    }

    /// A durable commit, live: its catalog changes and positions become the durable ones. Its rows were applied when it
    /// was sequenced.
    pub fn publish(&self, commit: &Commit) -> Result<()> {
        self.advance(commit)?;
        self.forget_dropped(commit);
        Ok(())
    }

    /// A durable commit from the log: its rows as well. Skips what the manifest already holds. Commits come in order.
    ///
    /// Errors: XX001 where the log names a table or a manifest that is not there.
    pub fn apply_commit(&self, commit: &Commit) -> Result<()> {
        self.check_manifests(commit)?;
        let before = self.durable.lock().commit;
        if commit.number <= before {
            self.history.lock().know(row_id_end(commit)?);
        }
        self.advance(commit)?;
        for delta in &commit.tables {
            match self.cell(delta.table) {
                Ok(cell) => self.apply_delta(&cell, commit.number, delta)?,
                // Dropped before the manifest was made.
                Err(_) if commit.number <= before => {}
                Err(_) => {
                    return Err(Error::corrupted(format!("commit {} changes an unknown table", commit.number))
                        .with_detail(format!("Its OID is {}.", delta.table)));
                }
            }
        }
        for advance in &commit.watermarks {
            if let Ok(cell) = self.cell(advance.table) {
                cell.watermark.lock().raise(advance.at_us);
            }
        }
        for change in &commit.catalog {
            if let CatalogChange::Expire { table, rows, .. } = change
                && self.cell(*table).is_ok_and(|cell| commit.number > cell.state.read().version.cold.flushed)
            {
                self.expire(*table, commit.number, rows)?;
            }
        }
        self.forget_dropped(commit);
        Ok(())
    }

    /// Takes rows that are alive, without anybody's hearing of it.
    fn expire(&self, table: RelationId, commit: CommitNumber, rows: &RowRuns) -> Result<()> {
        self.cell(table)?.expire(commit, rows.iter(), self.clock.monotonic());
        Ok(())
    }

    fn apply_delta(&self, cell: &TableCell, commit: CommitNumber, delta: &TableDelta) -> Result<()> {
        if commit <= cell.state.read().version.cold.flushed {
            return Ok(());
        }
        let rows = delta.delta.rows();
        let (inserts, deletes) = match delta.delta.weights() {
            Weights::AllOne => (rows.clone(), rows.slice(0, 0)),
            Weights::Each(weights) => {
                let part = |positive: bool| {
                    let wanted = weights.values().iter().map(|weight| (*weight > 0) == positive);
                    filter_record_batch(rows, &BooleanArray::new(wanted.collect::<BooleanBuffer>(), None))
                };
                (part(true)?, part(false)?)
            }
        };
        let filled = |rows: RecordBatch| if rows.num_rows() > 0 { vec![rows] } else { Vec::new() };
        let prepared = cell.prepare_numbered(commit, filled(in_row_id_order(inserts)?), filled(deletes))?;
        cell.put(commit, prepared, self.clock.monotonic())
    }

    /// The log was written with the manifests that it names; without the newest of them, rows are missing.
    fn check_manifests(&self, commit: &Commit) -> Result<()> {
        let known = self.manifest.try_lock().map(|manifest| manifest.number).unwrap_or(u64::MAX);
        match commit.tier.iter().map(|change| change.manifest).max() {
            Some(named) if named > known => Err(Error::corrupted(format!("manifest {named} is missing or damaged"))
                .with_detail(format!(
                    "Commit {} of the log names it, and the newest that can be read is {known}.",
                    commit.number
                ))
                .with_hint("Restore the object store to the state of this log.")),
            _ => Ok(()),
        }
    }

    /// Takes over a commit's catalog changes, positions and time, unless they are known.
    fn advance(&self, commit: &Commit) -> Result<()> {
        let mut durable = self.durable.lock();
        if commit.number <= durable.commit {
            return Ok(());
        }
        for change in &commit.catalog {
            if let CatalogChange::CreateTable(table) = change {
                self.create(table.clone(), commit.number)?;
            }
            if let CatalogChange::AlterTable(table) = change {
                self.alter(table, commit.number)?;
            }
        }
        durable.advance(commit);
        if self.settings.history_retention_ms > 0 {
            let mark = CommitMark {
                commit: commit.number,
                timestamp_us: commit.timestamp_us,
                row_id_end: row_id_end(commit)?,
            };
            self.history.lock().push(mark, self.history_retention_us());
        }
        Ok(())
    }

    fn forget_dropped(&self, commit: &Commit) {
        for change in &commit.catalog {
            if let CatalogChange::Drop(id) = change
                && let Some(cell) = self.cells.write().remove(id)
            {
                self.garbage.dropped(*id, cell.state.read().version.cold.clone());
            }
        }
    }

    /// Catalog and source positions as of the last published commit.
    pub fn durable(&self) -> DurableState {
        self.durable.lock().clone()
    }

    /// The same as of the newest manifest's commit.
    pub async fn durable_in_manifest(&self) -> DurableState {
        DurableState::of(&*self.manifest.lock().await)
    }

    /// The table at a commit: [`CommitNumber::MAX`] for sequenced state, else the durable head, taken together with the
    /// snapshot under the publish lock (`Sequencer::at_head`).
    pub fn snapshot(&self, id: RelationId, at: CommitNumber) -> Result<TableSnapshot> {
        TableSnapshot::new(self.cell(id)?, self.tier.clone(), at)
    }

    /// A table that is not committed yet, for the transaction that creates it.
    pub fn empty_snapshot(&self, table: Arc<Table>) -> Result<TableSnapshot> {
        let cell = Arc::new(TableCell::new(table, Version::default())?);
        TableSnapshot::new(cell, self.tier.clone(), CommitNumber::MAX)
    }

    /// Held by a read-modify-write from reading to sequencing.
    pub async fn write_lock(&self, id: RelationId) -> Result<tokio::sync::OwnedMutexGuard<()>> {
        Ok(self.cell(id)?.write_lock.clone().lock_owned().await)
    }

    /// For each of `keys` (the key's columns, in key order), the index of its live row in the returned batch (the
    /// table's columns and `_row_id`), under the sequenced state of one moment; it stays so as long as the caller holds the write
    /// lock. Reads files for keys that are not in memory. Errors: the store's; an internal one for a table without a key.
    pub async fn lookup_keys(&self, id: RelationId, keys: &[ArrayRef]) -> Result<(RecordBatch, Vec<Option<u32>>)> {
        let cell = self.cell(id)?;
        let no_key = || Error::internal(format!("table \"{}\" has no key", cell.table.name));
        let cold_keys = cell.cold_keys.as_ref().ok_or_else(no_key)?;
        // What left memory is in the files of the version of the same moment.
        let (rows, mut found, version) = {
            let state = cell.state.read();
            let keyed = state.keyed.as_ref().ok_or_else(no_key)?;
            let (rows, found) = keyed.lookup(keys)?;
            if keyed.is_complete() || found.iter().all(Option::is_some) {
                return Ok((rows, found));
            }
            (rows, found, state.version.clone())
        };
        let numbered = (0..).zip(&found);
        let elsewhere: Vec<u32> = numbered.filter_map(|(key, found)| found.is_none().then_some(key)).collect();
        let lookup = Lookup {
            tier: &self.tier,
            form: &cell.form,
            version: &version,
            bytes_max: self.keyed_bytes_max.load(Ordering::Relaxed) / 2,
            kept_bytes: &|| {
                let cells = self.cells.read();
                cells.values().filter_map(|cell| cell.cold_keys.as_ref()).map(ColdKeys::memory_bytes).sum()
            },
        };
        let cold = cold_keys.find(&lookup, &taken(keys, &elsewhere)?).await?;
        for (key, row) in elsewhere.into_iter().zip(cold.of_keys) {
            found[key as usize] = row.map(|row| row + rows.num_rows() as u32);
        }
        Ok((concat_batches(cell.form.table_schema(), [&rows, &cold.rows])?, found))
    }

    /// Live rows of PRIMARY KEY tables leave memory until they are no more than `bytes` together, but for hot ones. Those
    /// that nobody asked for lately go first, of the table that holds most.
    pub fn keep_keyed_within(&self, bytes: usize) {
        self.keyed_bytes_max.store(bytes, Ordering::Relaxed);
        let mut held: Vec<(usize, Arc<TableCell>)> = {
            let cells = self.cells.read();
            cells.values().map(|cell| (cell.keyed_bytes(), cell.clone())).filter(|(held, _)| *held > 0).collect()
        };
        let mut excess = held.iter().map(|(held, _)| held).sum::<usize>().saturating_sub(bytes);
        if excess == 0 {
            return;
        }
        held.sort_by_key(|(held, _)| std::cmp::Reverse(*held));
        for (_, cell) in held {
            while excess > 0 {
                // One chunk at a time, so that writers wait for no more.
                let freed = cell.evict_keyed();
                if freed == 0 {
                    break;
                }
                excess = excess.saturating_sub(freed);
            }
        }
    }

    /// Whether any of these rows was deleted after commit `since`, durable or not. Exact as long as the caller keeps the
    /// snapshot at `since` in which it saw them.
    pub fn any_deleted_since(&self, id: RelationId, row_ids: &[RowId], since: CommitNumber) -> Result<bool> {
        let cell = self.cell(id)?;
        let state = cell.state.read();
        let deleted = |row_id: &RowId| {
            let commit = state.version.tombstones.commit_of(*row_id).or_else(|| state.folded.commit_of(*row_id));
            commit.is_some_and(|commit| commit > since)
        };
        Ok(row_ids.iter().any(deleted))
    }

    /// Memory of hot rows, and of what finds rows by key.
    pub fn memory_bytes(&self) -> (u64, u64) {
        self.cells.read().values().fold((0, 0), |(hot, keyed), cell| {
            let own = cell.keyed_bytes() as u64;
            (hot + cell.state.read().version.hot.bytes() as u64, keyed + own)
        })
    }

    /// Bytes of rows that were flushed, and that readers still hold.
    pub fn left_bytes(&self) -> u64 {
        self.left.bytes()
    }

    /// Lets the oldest of these go under their readers, until the others are so many bytes at most.
    pub fn keep_left_within(&self, bytes_max: u64) {
        let emptied = self.left.keep_within(bytes_max);
        if emptied > 0 {
            tracing::info!(
                segments = emptied,
                "rows that slow readers of tables held were let go, because memory is short"
            );
        }
    }

    pub fn stats(&self, id: RelationId) -> Result<TableStats> {
        let cell = self.cell(id)?;
        let readable_from = self.oldest_readable().0;
        let bytes_keyed = cell.keyed_bytes() as u64;
        let state = cell.state.read();
        let version = &state.version;
        Ok(TableStats {
            rows_hot: version.hot.num_rows() as u64,
            rows_cold: version.cold.rows(),
            bytes_hot: version.hot.bytes() as u64,
            bytes_cold: version.cold.bytes(),
            files: version.cold.files.len() as u64,
            tombstones: version.tombstones.len() as u64,
            rows_keyed: state.keyed.as_ref().map_or(0, |keyed| keyed.len() as u64),
            bytes_keyed,
            flushed: version.cold.flushed,
            readable_from: version.cold.readable_from.max(readable_from),
        })
    }
}

/// Above the ids of all rows that the commit inserts.
fn row_id_end(commit: &Commit) -> Result<RowId> {
    let mut end = 0;
    for delta in &commit.tables {
        let ids = super::segment::row_ids(delta.delta.rows())?;
        end = end.max(arrow::compute::max(ids).map_or(0, |last| last + 1));
    }
    Ok(end)
}

/// Rows come in the order of their ids; a combined commit may give them in another.
fn in_row_id_order(rows: RecordBatch) -> Result<RecordBatch> {
    let row_ids = super::segment::row_ids(&rows)?;
    if row_ids.values().is_sorted() {
        return Ok(rows);
    }
    let order = arrow::compute::sort_to_indices(row_ids, None, None)?;
    Ok(arrow::compute::take_record_batch(&rows, &order)?)
}
