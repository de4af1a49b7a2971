//! Flush: durable hot rows become cold.
//!
//! ```text
//! 1  under the publish lock: f = durable head, the versions of all tables, catalog and positions
//! 2  rows of commits <= f that a readable commit has -> sorted files; tombstones <= f of cold rows -> a tombstone file
//! 3  the manifest, if its number is free
//! 4  a TierChange commit, durable: so the head is past f
//! 5  under the publish lock: the versions' rows up to f leave memory; readers that come later read at b > f
//! 6  the log may forget what is cold for every table
//! ```
//!
//! A crash between any two steps leaves the former manifest, or the new one with all of its files; what the log still
//! holds of it is skipped on replay by each table's `flushed`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use rustc_hash::FxHashSet;

use super::cell::TableCell;
use super::snapshot::TableSnapshot;
use super::tables::{DurableState, Tables};
use super::version::Version;
use crate::catalog::{Table, TableKind};
use crate::commit::{Sequencer, TierChange, Write};
use crate::delta::batch_bytes;
use crate::error::{Error, Result, SqlState};
use crate::tier::{DataFile, FileSettings, HistoryFile, Manifest, Published as Outcome, TableFiles, Tier, WriterId};
use crate::types::{CommitNumber, RelationId, RowId};

/// A table's tombstone files are merged into one when they would be more.
const TOMBSTONE_FILES_MAX: usize = 8;
/// Wait after a failed flush; doubled up to the longest while it goes on failing.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(500);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(15);
/// Commits without rows are forgotten when there are so many: where views follow time, there is one a second.
pub const EMPTY_COMMITS_MAX: u64 = 10_000;
/// How often a server that has nothing to flush looks whether another one has taken over the object store.
const FENCE_CHECK: Duration = Duration::from_secs(5);

/// What a flush did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlushReport {
    pub manifest: u64,
    /// Rows of commits up to this one are cold in the tables asked for.
    pub flushed: CommitNumber,
    pub rows: u64,
    pub bytes: u64,
    pub files: u64,
    /// Written, or folded in by a compaction.
    pub tombstones: u64,
    /// Files that a compaction read.
    pub compacted: u64,
}

/// What a publication leaves for those who go on with it.
#[derive(Default)]
pub(super) struct Published {
    pub report: FlushReport,
    pub manifest: Manifest,
    /// All tables at the manifest's commit.
    pub snapshots: Vec<TableSnapshot>,
    /// Keeps the manifest's files from being removed.
    pub held: Vec<Arc<TableFiles>>,
}

/// When the flusher did what it does from time to time; monotonic.
struct LastTimes {
    fence_checked: Duration,
    published: Duration,
}

/// The state at the durable head that a flush works from.
struct Captured {
    durable: DurableState,
    tables: Vec<(Arc<TableCell>, Arc<Version>)>,
    /// The oldest commit that can be read: later deletions are not folded in.
    readable_from: CommitNumber,
}

/// What the names of an attempt's files are made of.
#[derive(Clone, Copy)]
pub(super) struct Naming {
    pub number: u64,
    pub attempt: u32,
}

/// Between what goes cold and what does not, and between what can be read and what cannot.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// Rows of commits up to this one go cold.
    pub to: CommitNumber,
    pub readable_from: CommitNumber,
}

impl Cut {
    /// Rows that were deleted by then are in no commit that can be read.
    fn folded_to(self) -> CommitNumber {
        self.readable_from.min(self.to)
    }
}

/// A table's new cold part.
struct Flushed {
    cell: Arc<TableCell>,
    files: Arc<TableFiles>,
    written: bool,
    /// Rows that a compaction left out.
    folded: FxHashSet<RowId>,
}

impl Tables {
    /// Makes everything durable of one table cold.
    pub async fn flush(&self, id: RelationId, sequencer: &Sequencer) -> Result<FlushReport> {
        self.cell(id)?;
        Ok(self.publish_next(|table| table.id == id, None, sequencer).await?.report)
    }

    /// The same for all tables; afterwards the log holds nothing but what came later.
    pub async fn flush_all(&self, sequencer: &Sequencer) -> Result<FlushReport> {
        Ok(self.publish_all(sequencer).await?.report)
    }

    /// Compacts some of a table's cold files. Without any effect where there is nothing to gain.
    pub async fn compact(&self, id: RelationId, sequencer: &Sequencer) -> Result<FlushReport> {
        Ok(self.publish_next(|_| false, Some(id), sequencer).await?.report)
    }

    /// Makes everything durable cold, and gives it as a manifest that needs no log.
    pub(super) async fn publish_all(&self, sequencer: &Sequencer) -> Result<Published> {
        self.publish_next(|_| true, None, sequencer).await
    }

    /// The next manifest: rows of the tables that are `wanted` go cold, and files of `compact` become fewer.
    async fn publish_next(
        &self,
        wanted: impl Fn(&Table) -> bool,
        compact: Option<RelationId>,
        sequencer: &Sequencer,
    ) -> Result<Published> {
        // One flush at a time: whoever holds this makes the next manifest.
        let mut current = self.manifest.lock().await;
        let captured = sequencer.at_head(|head| self.capture(head))?;
        if let Some(wait) = self.before_flush.get() {
            wait().await;
        }
        let flushed_to = captured.durable.commit;
        // Counted up first: what this attempt writes is no other's, whatever becomes of it.
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let mut number = current.number + 1;
        let naming = Naming { number, attempt };
        let mut report = FlushReport { manifest: number, flushed: flushed_to, ..FlushReport::default() };
        let mut flushed = Vec::with_capacity(captured.tables.len());
        for (cell, version) in &captured.tables {
            // The log's rows from before an ALTER have other columns than the manifest's catalog says.
            let behind = cell.altered_at.is_some_and(|altered| altered > version.cold.flushed);
            let wanted = wanted(&cell.table) || behind;
            let cut = Cut { to: flushed_to, readable_from: captured.readable_from.max(version.cold.readable_from) };
            let mut table = self.write_table(cell, version, cut, naming, wanted, &mut report).await?;
            if compact == Some(cell.table.id) && !table.written {
                self.compact_table(&mut table, version, cut, naming, &mut report).await?;
            }
            flushed.push(table);
        }
        if compact.is_some() && report.compacted == 0 {
            return Ok(Published { report, ..Published::default() });
        }
        let history = self.write_history(&current, flushed_to, naming).await?;
        let mut manifest = manifest(&current.writer, &captured.durable, sequencer.next_row_id(), &flushed, history);
        loop {
            manifest.number = number;
            match self.tier.publish(&manifest).await {
                Ok(Outcome::Done) => break,
                Ok(Outcome::ByEarlierAttempt) => number += 1,
                Err(error) if error.state() == SqlState::OBJECT_IN_USE => {
                    sequencer.refuse(&error);
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        self.garbage.unnamed(&current.history, &manifest.history, number);
        self.garbage.published(number, &manifest.tables);
        *current = manifest;
        self.attempts.store(0, Ordering::Relaxed);
        report.manifest = number;
        commit_change(sequencer, &flushed, number).await?;
        sequencer.at_head(|_| flushed.iter().for_each(|table| self.swap(table, number)));
        sequencer.truncate_wal(current.replay_after());
        if let Err(error) = self.tier.prune_manifests().await {
            tracing::warn!(%error, "could not remove old manifests");
        }
        let snapshots = captured.tables.into_iter();
        let snapshots = snapshots
            .map(|(cell, version)| TableSnapshot::at_version(cell, self.tier.clone(), flushed_to, version))
            .collect();
        let held = flushed.into_iter().map(|table| table.files).collect();
        self.collect_garbage(number).await;
        Ok(Published { report, manifest: current.clone(), snapshots, held })
    }

    fn capture(&self, head: CommitNumber) -> Result<Captured> {
        let durable = self.durable();
        // A manifest with an older catalog would lose what the truncated log said of it.
        if durable.commit != head {
            return Err(Error::internal(format!("tables heard of commit {} at head {head}", durable.commit)));
        }
        let readable_from = self.oldest_readable().0;
        let cells = self.cells.read();
        let tables = durable.catalog.tables().filter_map(|table| cells.get(&table.id)).map(|cell| {
            let version = cell.state.read().version.clone();
            (cell.clone(), version)
        });
        let tables = tables.collect();
        Ok(Captured { durable, tables, readable_from })
    }

    /// Writes what a table's version has up to `to`. A table that was not asked for only moves on where there is
    /// nothing to write, so that it does not hold the log back.
    async fn write_table(
        &self,
        cell: &Arc<TableCell>,
        version: &Version,
        cut: Cut,
        naming: Naming,
        wanted: bool,
        report: &mut FlushReport,
    ) -> Result<Flushed> {
        let to = cut.to;
        let mut files = version.cold.as_ref().clone();
        let tombstones = version.unflushed_tombstones(to, cut.folded_to());
        let rows = version.hot.rows_at(to);
        let written = wanted && (rows > 0 || !tombstones.is_empty());
        if rows > 0 && wanted {
            files.readable_from = cut.readable_from;
            let new = self.write_rows(cell, version, cut, naming).await?;
            report.rows += new.iter().map(|file| file.rows).sum::<u64>();
            report.bytes += new.iter().map(|file| file.bytes).sum::<u64>();
            report.files += new.len() as u64;
            files.files.extend(new);
        }
        if wanted || (rows == 0 && tombstones.is_empty()) {
            files.flushed = to.max(files.flushed);
            files.row_id_end = version.hot.last_row_id_at(to).map_or(files.row_id_end, |last| last + 1);
        }
        if !tombstones.is_empty() && wanted {
            report.tombstones += tombstones.len() as u64;
            self.write_tombstones(cell.table.id, version, naming, tombstones, &mut files).await?;
        }
        Ok(Flushed { cell: cell.clone(), files: Arc::new(files), written, folded: FxHashSet::default() })
    }

    async fn compact_table(
        &self,
        table: &mut Flushed,
        version: &Version,
        cut: Cut,
        naming: Naming,
        report: &mut FlushReport,
    ) -> Result<()> {
        if let Some(compacted) = self.compact_files(&table.cell, version, &table.files, cut, naming).await? {
            report.compacted += compacted.files_read as u64;
            report.rows += compacted.rows_written;
            report.files += u64::from(compacted.rows_written > 0);
            report.tombstones += compacted.folded.len() as u64;
            (table.files, table.folded) = (Arc::new(compacted.files), compacted.folded);
        }
        Ok(())
    }

    async fn write_rows(&self, cell: &TableCell, version: &Version, cut: Cut, naming: Naming) -> Result<Vec<DataFile>> {
        let settings =
            FileSettings { row_group_rows: self.settings.row_group_rows, file_rows_max: self.settings.file_rows_max };
        let sort_columns = sort_columns(&cell.table);
        let mut files = Vec::new();
        for (part, rows) in
            parts(version, cut, settings.file_rows_max, self.settings.piece_bytes_max)?.into_iter().enumerate()
        {
            let path = Tier::rows_path(cell.table.id, naming.number, naming.attempt, part);
            let file = self.tier.write_rows(path, &cell.form, &rows.batches, &sort_columns, &settings, rows.commits);
            files.push(file.await?);
        }
        Ok(files)
    }

    async fn write_tombstones(
        &self,
        id: RelationId,
        version: &Version,
        naming: Naming,
        mut new: Vec<(RowId, CommitNumber)>,
        files: &mut TableFiles,
    ) -> Result<()> {
        if files.tombstone_files.len() >= TOMBSTONE_FILES_MAX {
            let (end, flushed) = (version.cold.row_id_end, version.cold.flushed);
            new.extend(version.tombstones.iter().filter(|(row_id, commit)| *row_id < end && *commit <= flushed));
            files.tombstone_files.clear();
        }
        new.sort_unstable();
        let path = Tier::tombstones_path(id, naming.number, naming.attempt);
        files.tombstone_files.push(self.tier.write_tombstones(path, &new).await?);
        Ok(())
    }

    /// Puts a table's new cold part in place. Under the publish lock.
    fn swap(&self, table: &Flushed, manifest: u64) {
        // An ALTER may have put another cell in its place since.
        let id = table.cell.table.id;
        let cell = self.cell(id).unwrap_or_else(|_| {
            // Dropped since.
            self.garbage.dropped(id, table.files.clone());
            table.cell.clone()
        });
        let mut state = cell.state.write();
        self.garbage.replaced(cell.table.id, &state.version.cold, &table.files, manifest);
        if let Some(keys) = &cell.cold_keys {
            keys.keep(&table.files.files);
        }
        let swapped = state.version.with_cold(table.files.clone(), &table.folded);
        let oldest = cell.pins.oldest();
        let needed = |commit: CommitNumber| oldest.is_some_and(|oldest| commit > oldest);
        state.folded = state.folded.split(|_, commit| !needed(commit)).0;
        let folded: Vec<_> = swapped.folded.into_iter().filter(|(_, commit)| needed(*commit)).collect();
        if let Some(run) = super::tombstone::Run::new(folded) {
            state.folded.push(run);
        }
        if table.written {
            let clean = swapped.version.hot.num_rows() == 0 && !swapped.version.has_unflushed_tombstones();
            state.hot_since = (!clean).then(|| self.clock.monotonic());
        }
        let left = state.version.hot.left_by(&swapped.version.hot);
        state.version = Arc::new(swapped.version);
        // Whoever still holds these now is a reader, or this flush.
        self.left.add(left);
    }

    /// Flushes tables by size and age until `stop` says so or its sender is gone.
    pub async fn run_flusher(
        self: Arc<Self>,
        sequencer: Arc<Sequencer>,
        mut stop: tokio::sync::watch::Receiver<bool>,
    ) -> Result<()> {
        let poll = Duration::from_millis(self.settings.flush_poll_ms.max(1));
        let mut wait = poll;
        let mut retry_wait = RETRY_WAIT_MIN;
        let mut last = LastTimes { fence_checked: self.clock.monotonic(), published: self.clock.monotonic() };
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                () = self.clock.sleep(wait) => {}
            }
            wait = poll;
            match self.flush_and_compact(&sequencer, &mut last).await {
                Ok(()) => retry_wait = RETRY_WAIT_MIN,
                Err(error) if error.state() == SqlState::ADMIN_SHUTDOWN => return Ok(()),
                Err(error) if error.state() == SqlState::OBJECT_IN_USE => return Err(error),
                Err(error) => {
                    wait = retry_wait;
                    retry_wait = (retry_wait * 2).min(RETRY_WAIT_MAX);
                    tracing::warn!(%error, "flush failed, trying again");
                }
            }
        }
    }

    /// What is due now. Errors: those of a flush or a compaction.
    async fn flush_and_compact(&self, sequencer: &Sequencer, last: &mut LastTimes) -> Result<()> {
        let (due, now) = (self.due(), self.clock.monotonic());
        // Files wait for manifests, also where nothing is written any more.
        let collects = self.garbage.waits()
            && now.saturating_sub(last.published) >= Duration::from_millis(self.settings.flush_age_ms);
        if !due.is_empty() || collects || self.has_empty_log().await {
            last.published = now;
            let published = self.publish_next(|table| due.contains(&table.id), None, sequencer).await?;
            let FlushReport { manifest, rows, files, .. } = published.report;
            tracing::debug!(manifest, rows, files, "flushed");
        } else if now.saturating_sub(last.fence_checked) >= FENCE_CHECK {
            last.fence_checked = now;
            self.check_fence(sequencer).await;
        }
        if let Some(table) = self.compaction_due() {
            let report = self.compact(table, sequencer).await?;
            tracing::debug!(%table, files = report.compacted, rows = report.rows, "compacted");
        }
        Ok(())
    }

    /// The log holds many commits, and none of them rows that are not cold: a manifest is all that it takes to forget them.
    async fn has_empty_log(&self) -> bool {
        let is_empty = |cell: &Arc<TableCell>| cell.state.read().hot_since.is_none();
        let behind = self.manifest.lock().await.replay_after();
        self.durable().commit.0.saturating_sub(behind.0) >= EMPTY_COMMITS_MAX
            && self.cells.read().values().all(is_empty)
    }

    /// A table whose cold files should be fewer.
    fn compaction_due(&self) -> Option<RelationId> {
        if self.settings.compact_files_min == 0 { None } else { super::compact::due(self) }
    }

    /// Refuses all writes from here on where another server has taken over the object store. A store that does not answer
    /// decides nothing.
    async fn check_fence(&self, sequencer: &Sequencer) {
        let current = self.manifest.lock().await;
        match self.tier.check_fence(current.number, &current.writer).await {
            Ok(()) => {}
            Err(error) if error.state() == SqlState::OBJECT_IN_USE => {
                tracing::error!(%error, "fenced; writes are refused from here on");
                sequencer.refuse(&error);
            }
            Err(error) => tracing::debug!(%error, "could not look for other servers' manifests"),
        }
    }

    /// Tables whose memtable is large or old enough; all of them if they are too large together.
    fn due(&self) -> Vec<RelationId> {
        let now = self.clock.monotonic();
        let age = Duration::from_millis(self.settings.flush_age_ms);
        let cells: Vec<Arc<TableCell>> = self.cells.read().values().cloned().collect();
        let total: u64 = cells.iter().map(|cell| cell.state.read().version.hot.bytes() as u64).sum();
        let due = cells.iter().filter(|cell| {
            let state = cell.state.read();
            let large = state.version.hot.bytes() as u64 >= self.settings.flush_bytes;
            let old = state.hot_since.is_some_and(|since| now.saturating_sub(since) >= age);
            state.hot_since.is_some() && (large || old || total >= self.settings.flush_total_bytes)
        });
        due.map(|cell| cell.table.id).collect()
    }
}

/// Without its number.
fn manifest(
    writer: &WriterId,
    durable: &DurableState,
    next_row_id: RowId,
    flushed: &[Flushed],
    history: Vec<HistoryFile>,
) -> Manifest {
    let tables = flushed.iter().map(|table| (table.cell.table.id, table.files.as_ref().clone()));
    Manifest {
        number: 0,
        writer: writer.clone(),
        commit: durable.commit,
        last_timestamp_us: durable.timestamp_us,
        next_row_id,
        catalog: durable.catalog.as_ref().clone(),
        positions: durable.positions.as_ref().clone(),
        watermarks: durable.watermarks.clone(),
        tables: tables.collect(),
        history,
    }
}

/// Tells the order of commits that the boundary moved, and waits until that is durable.
async fn commit_change(sequencer: &Sequencer, flushed: &[Flushed], manifest: u64) -> Result<()> {
    let changes = flushed.iter().filter(|table| table.written).map(|table| TierChange {
        table: table.cell.table.id,
        flushed: table.files.flushed,
        manifest,
    });
    let write = Write { tier: changes.collect(), ..Write::default() };
    if write.tier.is_empty() {
        return Ok(());
    }
    let ((), durable) = sequencer.sequence(write, |_| Ok(()))?;
    durable.await.map(|_| ())
}

/// Rows of one file.
struct Part {
    batches: Vec<RecordBatch>,
    commits: (CommitNumber, CommitNumber),
    rows: usize,
    bytes: usize,
}

/// The rows of commits up to `cut.to` that a commit which can be read has, cut into files.
fn parts(version: &Version, cut: Cut, file_rows_max: usize, bytes_max: usize) -> Result<Vec<Part>> {
    let file_rows_max = file_rows_max.max(1);
    let mut parts: Vec<Part> = Vec::new();
    for part in version.hot.parts_at(cut.to) {
        let (rows, first, last) = part?;
        let row_ids = super::segment::row_ids(&rows)?;
        let rows = match version.tombstones.alive(row_ids, cut.folded_to()) {
            Some(alive) => arrow::compute::filter_record_batch(&rows, &alive)?,
            None => rows,
        };
        for start in (0..rows.num_rows()).step_by(file_rows_max) {
            let slice = rows.slice(start, file_rows_max.min(rows.num_rows() - start));
            let (count, bytes) = (slice.num_rows(), batch_bytes(&slice));
            let room =
                parts.last_mut().filter(|part| part.rows + count <= file_rows_max && part.bytes + bytes <= bytes_max);
            match room {
                Some(part) => {
                    part.batches.push(slice);
                    part.rows += count;
                    part.bytes += bytes;
                    part.commits.1 = last;
                }
                None => parts.push(Part { batches: vec![slice], commits: (first, last), rows: count, bytes }),
            }
        }
    }
    Ok(parts)
}

/// Files are sorted by primary key, else by the first timestamp column; then by row id.
pub(super) fn sort_columns(table: &Table) -> Vec<usize> {
    if let TableKind::PrimaryKey { columns } = &table.kind {
        return columns.clone();
    }
    let schema = table.schema();
    schema
        .fields()
        .iter()
        .position(|field| matches!(field.data_type(), DataType::Timestamp(_, _)))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests;
