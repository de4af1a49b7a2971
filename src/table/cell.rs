//! One table's place in memory: its definition, its state, and how a write becomes part of it.
//!
//! A write is first prepared, which may refuse it and changes nothing, and then put in, which cannot fail but for a
//! defect of ours. So a write to several tables is all or nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashSet;

use super::cold_keys::ColdKeys;
use super::columns::ColumnChange;
use super::key_form::KeyForm;
use super::keyed::{CheckedInserts, KeyedRows};
use super::pins::Pins;
use super::segment::{Segment, row_ids};
use super::tombstone::{Run, Tombstones};
use super::version::Version;
use super::watermark::WatermarkState;
use crate::catalog::Table;
use crate::commit::TableWrite;
use crate::error::{Error, Result, SqlState};
use crate::tier::StoredForm;
use crate::types::{CommitNumber, RowId};

pub(super) struct TableCell {
    pub table: Arc<Table>,
    pub form: StoredForm,
    /// The commit that made the table's present columns, where this server applied it: rows of the log from before it
    /// have others, so that the next manifest must have them cold.
    pub altered_at: Option<CommitNumber>,
    pub write_lock: Arc<tokio::sync::Mutex<()>>,
    pub pins: Arc<Pins>,
    /// So many deletions of cold rows were there when a compaction for their sake folded none.
    pub futile_tombstones: AtomicU64,
    pub state: RwLock<State>,
    /// In sequenced state; held by whoever sequences rows, so that the next writer's are marked by it.
    pub watermark: Mutex<WatermarkState>,
    /// Of a PRIMARY KEY table: what finds its rows in files.
    pub cold_keys: Option<ColdKeys>,
}

pub(super) struct State {
    pub version: Arc<Version>,
    /// Of a PRIMARY KEY table: live rows by key, in sequenced state; all hot ones, and of the cold ones those that
    /// memory has room for.
    pub keyed: Option<KeyedRows>,
    /// Deletions that a flush folded in, as long as a snapshot from before them lives.
    pub folded: Tombstones,
    /// Dropped in sequenced state; still read until the drop is durable.
    pub dropped: bool,
    /// Altered in sequenced state: nothing is written until that is durable.
    pub altering: bool,
    /// Monotonic time of the oldest change that is not cold.
    pub hot_since: Option<Duration>,
}

/// A write to one table that was checked.
pub(super) struct Prepared {
    inserts: Vec<RecordBatch>,
    deletes: Vec<RecordBatch>,
    run: Option<Run>,
    keyed: Vec<CheckedInserts>,
}

impl TableCell {
    pub fn new(table: Arc<Table>, version: Version) -> Result<TableCell> {
        let schema = table.schema_with_row_id();
        let keys = table.key().map(|key| KeyForm::new(&schema, key).map(Arc::new)).transpose()?;
        let keyed = keys.as_ref().map(|keys| KeyedRows::new(schema, keys.clone()));
        let state = State {
            version: Arc::new(version),
            keyed,
            folded: Tombstones::default(),
            dropped: false,
            altering: false,
            hot_since: None,
        };
        Ok(TableCell {
            form: StoredForm::new(&table)?,
            altered_at: None,
            write_lock: Arc::new(tokio::sync::Mutex::new(())),
            pins: Arc::new(Pins::default()),
            futile_tombstones: AtomicU64::new(0),
            state: RwLock::new(state),
            watermark: Mutex::default(),
            cold_keys: keys.map(ColdKeys::new),
            table,
        })
    }

    /// Checks the writes, all to this table, with the row id of each one's first insert.
    ///
    /// Errors: 42P01 where the table was dropped, 40001 where it was altered or a row to delete is deleted already,
    /// 23505 for a key that a live row has in memory. Whoever inserts has looked the keys up under the write lock, in
    /// files too.
    pub fn prepare(&self, commit: CommitNumber, writes: &[(&TableWrite, RowId)]) -> Result<Prepared> {
        let state = self.state.read();
        if state.dropped {
            return Err(self.does_not_exist());
        }
        if state.altering || writes.iter().any(|(write, _)| write.schema_version != self.table.schema_version) {
            return Err(Error::new(
                SqlState::SERIALIZATION_FAILURE,
                format!("table \"{}\" was altered by a concurrent statement", self.table.name),
            )
            .with_hint("Run the statement again."));
        }
        let mut inserts = Vec::new();
        for (write, first_row_id) in writes {
            if let Some(rows) = write.inserts.as_ref().filter(|rows| rows.num_rows() > 0) {
                inserts.push(self.with_row_ids(rows, *first_row_id)?);
            }
        }
        let deletes: Vec<RecordBatch> =
            writes.iter().filter_map(|(write, _)| write.deletes.clone().filter(|rows| rows.num_rows() > 0)).collect();
        self.prepare_rows(&state, commit, inserts, deletes)
    }

    /// The same of rows that have their row ids.
    pub fn prepare_numbered(
        &self,
        commit: CommitNumber,
        inserts: Vec<RecordBatch>,
        deletes: Vec<RecordBatch>,
    ) -> Result<Prepared> {
        self.prepare_rows(&self.state.read(), commit, inserts, deletes)
    }

    fn prepare_rows(
        &self,
        state: &State,
        commit: CommitNumber,
        inserts: Vec<RecordBatch>,
        deletes: Vec<RecordBatch>,
    ) -> Result<Prepared> {
        let mut deleted: FxHashSet<RowId> = FxHashSet::default();
        for row_id in deletes.iter().map(row_ids).collect::<Result<Vec<_>>>()?.iter().flat_map(|ids| ids.values()) {
            if state.version.tombstones.commit_of(*row_id).is_some() || state.folded.commit_of(*row_id).is_some() {
                return Err(concurrent_update());
            }
            if *row_id < 0 || !deleted.insert(*row_id) {
                return Err(Error::internal(format!("row {row_id} of \"{}\" deleted twice", self.table.name)));
            }
        }
        let keyed = match &state.keyed {
            Some(keyed) => self.check_keys(keyed, &inserts, &deleted)?,
            None => Vec::new(),
        };
        let run = Run::new(deleted.into_iter().map(|row_id| (row_id, commit)).collect());
        Ok(Prepared { inserts, deletes, run, keyed })
    }

    /// All inserts of a write are checked as one batch, so that two of its statements cannot give the same key.
    fn check_keys(
        &self,
        keyed: &KeyedRows,
        inserts: &[RecordBatch],
        deleted: &FxHashSet<RowId>,
    ) -> Result<Vec<CheckedInserts>> {
        let rows = match inserts {
            [] => return Ok(Vec::new()),
            [one] => one.clone(),
            many => arrow::compute::concat_batches(self.form.table_schema(), many)?,
        };
        Ok(vec![keyed.check(rows, deleted, &self.table.name)?])
    }

    /// The same rows as a table with other columns: `version` of them, and the newest state beside it.
    pub fn altered(&self, table: Arc<Table>, version: &Version, at: CommitNumber) -> Result<TableCell> {
        let form = StoredForm::new(&table)?;
        let columns = ColumnChange::between(&self.form, &form);
        let convert = |rows: &RecordBatch| columns.convert(rows, &form);
        let state = self.state.read();
        let hot = version.hot.converted(&convert)?;
        let altered = TableCell {
            write_lock: self.write_lock.clone(),
            pins: self.pins.clone(),
            altered_at: Some(at),
            watermark: Mutex::new(self.watermark.lock().clone()),
            ..TableCell::new(table.clone(), Version { hot, ..version.clone() })?
        };
        {
            let mut new = altered.state.write();
            new.folded = state.folded.clone();
            new.hot_since = state.hot_since;
            if let (Some(old), Some(new)) = (&state.keyed, &mut new.keyed) {
                for rows in old.live_batches()? {
                    let checked = new.check(convert(&rows)?, &FxHashSet::default(), &table.name)?;
                    new.insert(checked)?;
                }
                if !old.is_complete() {
                    new.set_incomplete();
                }
            }
        }
        Ok(altered)
    }

    fn with_row_ids(&self, rows: &RecordBatch, first: RowId) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        columns.push(Arc::new(Int64Array::from_iter_values(first..first + rows.num_rows() as i64)));
        RecordBatch::try_new(self.form.table_schema().clone(), columns)
            .map_err(|error| Error::internal(format!("rows for table \"{}\": {error}", self.table.name)))
    }

    /// Makes a prepared write part of sequenced state.
    pub fn put(&self, commit: CommitNumber, prepared: Prepared, now: Duration) -> Result<()> {
        let mut state = self.state.write();
        if let Some(keyed) = &mut state.keyed {
            prepared.deletes.iter().try_for_each(|rows| keyed.remove(rows))?;
            prepared.keyed.into_iter().try_for_each(|rows| keyed.insert(rows))?;
        }
        if prepared.inserts.is_empty() && prepared.run.is_none() {
            return Ok(());
        }
        state.hot_since.get_or_insert(now);
        let version = Arc::make_mut(&mut state.version);
        for rows in prepared.inserts {
            version.hot.push(Segment::new(rows, commit));
        }
        if let Some(run) = prepared.run {
            version.tombstones.push(run);
        }
        Ok(())
    }

    /// Rows that are alive are there no more.
    pub fn expire(&self, commit: CommitNumber, rows: impl Iterator<Item = RowId>, now: Duration) {
        let Some(run) = Run::new(rows.map(|row_id| (row_id, commit)).collect()) else { return };
        let mut state = self.state.write();
        state.hot_since.get_or_insert(now);
        Arc::make_mut(&mut state.version).tombstones.push(run);
    }

    /// Memory of what finds rows by key.
    pub fn keyed_bytes(&self) -> usize {
        let rows = self.state.read().keyed.as_ref().map_or(0, KeyedRows::memory_bytes);
        rows + self.cold_keys.as_ref().map_or(0, ColdKeys::memory_bytes)
    }

    /// Some live rows that are in files leave memory. Returns the bytes that are free now; 0: there are none.
    pub fn evict_keyed(&self) -> usize {
        let mut state = self.state.write();
        let cold_end = state.version.cold.row_id_end;
        state.keyed.as_mut().map_or(0, |keyed| keyed.evict(cold_end))
    }

    pub fn does_not_exist(&self) -> Error {
        Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", self.table.name))
    }
}

fn concurrent_update() -> Error {
    Error::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
        .with_hint("Run the transaction again.")
}
