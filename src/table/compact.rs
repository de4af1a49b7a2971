//! Compaction: many small cold files become few, and the deletions of their rows are folded in.
//!
//! ```text
//! files of like size, eight or more   -> read, without rows that no readable commit has -> merged -> one file
//! files of which a quarter is deleted -> the same, one by one
//! ```
//!
//! It is part of a publication (`flush`): the new files are in the next manifest, or nothing happened. Only deletions that
//! the manifest has are folded: the log still brings the later ones, and they must find their rows; and only those by commits
//! up to the oldest that can be read (`history`): a later one still sees the row. Row ids stay, so that a transaction that saw a row in an
//! old file can delete it in the new one. Readers of the old files keep them (`garbage`).
//!
//! Files are in order, and so they are merged while they are read: in memory are some rows of each and what the new file has so far, which
//! is compressed. Where an ALTER changed what files are sorted by, older ones have another order, and the new one has none; nothing needs it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use rustc_hash::FxHashSet;

use super::cell::TableCell;
use super::flush::{Cut, Naming, sort_columns};
use super::segment::row_ids;
use super::snapshot::TableSnapshot;
use super::tables::Tables;
use super::tombstone::Tombstones;
use super::version::Version;
use crate::error::{Error, Result};
use crate::tier::{DataFile, FileSettings, TableFiles, Tier, encode_in_order};
use crate::types::{CommitNumber, RelationId, RowId};

/// Smallest size that is told from others; below it all files are alike.
const CLASS_BYTES_MIN: u64 = 64 << 10;
/// Files of one class are within this factor.
const CLASS_FACTOR: u64 = 8;
/// Of a table's cold rows, one in so many deleted is worth a compaction.
const DELETED_ONE_IN: u64 = 4;
/// And at least so many.
const DELETED_ROWS_MIN: u64 = 1024;
/// Rows of a file that are merged at a time are so many at most, fewer where they would not fit if each had so many bytes.
const BATCH_ROWS_MAX: usize = 8192;
const ROW_BYTES: usize = 1024;

/// Tables with files that should be compacted, most of them first.
pub(super) fn due(tables: &Tables) -> Option<RelationId> {
    let cells: Vec<Arc<TableCell>> = tables.cells.read().values().cloned().collect();
    let pressing = cells.iter().filter_map(|cell| {
        let version = cell.state.read().version.clone();
        let files = choose(cell, &version, tables)?.len();
        Some((files, cell.table.id))
    });
    pressing.max().map(|(_, id)| id)
}

/// What a compaction made of a table's cold part.
pub(super) struct Compacted {
    /// Rows that are in no file any more, and so are their deletions.
    pub folded: FxHashSet<RowId>,
    pub files: TableFiles,
    pub files_read: usize,
    pub rows_written: u64,
}

/// Positions of the files to read together; `None` where there is nothing to gain.
fn choose(cell: &TableCell, version: &Version, tables: &Tables) -> Option<Vec<usize>> {
    let files = &version.cold.files;
    let settings = &tables.settings;
    let mut by_class: std::collections::BTreeMap<u32, Vec<usize>> = std::collections::BTreeMap::new();
    for (position, file) in files.iter().enumerate() {
        if file.rows < settings.file_rows_max as u64 && file.bytes < settings.compact_bytes_max {
            by_class.entry(class(file.bytes)).or_default().push(position);
        }
    }
    for positions in by_class.values().filter(|positions| positions.len() >= settings.compact_files_min.max(2)) {
        let (mut rows, mut bytes) = (0, 0);
        let named = positions.iter().copied().filter_map(|position| files.get(position).map(|file| (position, file)));
        let mut smallest: Vec<(usize, &DataFile)> = named.collect();
        smallest.sort_by_key(|(_, file)| file.bytes);
        let fits: Vec<usize> = smallest
            .into_iter()
            .take_while(|(_, file)| {
                rows += file.rows;
                bytes += file.bytes;
                rows <= settings.file_rows_max as u64 && bytes <= settings.compact_bytes_max
            })
            .map(|(position, _)| position)
            .collect();
        if fits.len() >= 2 {
            return Some(fits);
        }
    }
    worn_out(cell, version, tables.oldest_readable().0).map(|position| vec![position])
}

/// The file with the most deleted rows, where enough of the table's are.
fn worn_out(cell: &TableCell, version: &Version, readable_from: CommitNumber) -> Option<usize> {
    let flushed = version.cold.flushed.min(readable_from);
    let deleted = version.tombstones.count_at(flushed) as u64;
    let futile = cell.futile_tombstones.load(std::sync::atomic::Ordering::Relaxed);
    if deleted < DELETED_ROWS_MIN || deleted * DELETED_ONE_IN < version.cold.rows() || deleted <= futile {
        return None;
    }
    let density = |file: &DataFile| {
        let near = version.tombstones.count_in(file.row_id_min, file.row_id_max, flushed) as u64;
        near * 1000 / file.rows.max(1)
    };
    version.cold.files.iter().map(density).enumerate().max_by_key(|(_, density)| *density).map(|(position, _)| position)
}

fn class(bytes: u64) -> u32 {
    (bytes.max(CLASS_BYTES_MIN) / CLASS_BYTES_MIN).ilog(CLASS_FACTOR)
}

impl Tables {
    /// Writes a table's chosen files anew. `cold` is its cold part as this publication has it so far. `None` where there is
    /// nothing to do.
    pub(super) async fn compact_files(
        &self,
        cell: &Arc<TableCell>,
        version: &Version,
        cold: &TableFiles,
        cut: Cut,
        naming: Naming,
    ) -> Result<Option<Compacted>> {
        let Some(chosen) = choose(cell, version, self) else { return Ok(None) };
        let olds: Vec<DataFile> =
            chosen.iter().filter_map(|position| version.cold.files.get(*position).cloned()).collect();
        let folded_to = version.cold.flushed.min(cut.readable_from);
        let (merged, folded) = self.merged(cell, version, chosen, folded_to).await?;
        let settings =
            FileSettings { row_group_rows: self.settings.row_group_rows, file_rows_max: self.settings.file_rows_max };
        let encoded = encode_in_order(&cell.form, merged.err_into(), &olds, &settings).await?;
        let folded = std::mem::take(&mut *folded.lock());
        if folded.is_empty() && olds.len() < 2 {
            let seen = version.tombstones.count_at(folded_to) as u64;
            cell.futile_tombstones.store(seen, std::sync::atomic::Ordering::Relaxed);
            return Ok(None);
        }
        let mut files = cold.clone();
        files.files.retain(|file| !olds.iter().any(|old| old.path == file.path));
        let mut rows_written = 0;
        if let Some(encoded) = encoded {
            let commits = (
                olds.iter().map(|file| file.commit_min).min().unwrap_or_default(),
                olds.iter().map(|file| file.commit_max).max().unwrap_or_default(),
            );
            let path = Tier::rows_path(cell.table.id, naming.number, naming.attempt, 0);
            let file = self.tier.put_rows(path, &cell.form, encoded, commits).await?;
            rows_written = file.rows;
            files.files.push(file);
        }
        if !folded.is_empty() {
            files.readable_from = cut.readable_from;
            self.rewrite_tombstones(cell, version, naming, &folded, &mut files).await?;
        }
        Ok(Some(Compacted { folded, files, files_read: olds.len(), rows_written }))
    }

    /// The rows of these files in one order, without those that were deleted by `folded_to`, whose ids are put aside when the rows come.
    async fn merged(
        &self,
        cell: &Arc<TableCell>,
        version: &Version,
        chosen: Vec<usize>,
        folded_to: CommitNumber,
    ) -> Result<(SendableRecordBatchStream, Arc<Mutex<FxHashSet<RowId>>>)> {
        let schema = cell.form.table_schema().clone();
        let batch_rows = self.settings.piece_bytes_max / (chosen.len() * ROW_BYTES).max(1);
        let batch_rows = batch_rows.clamp(1, BATCH_ROWS_MAX);
        let folded = Arc::new(Mutex::new(FxHashSet::default()));
        // Without deletions, so that every row is seen, and which of them are gone.
        let undeleted = Version { tombstones: Tombstones::default(), ..version.clone() };
        let all = TableSnapshot::at_version(cell.clone(), self.tier.clone(), CommitNumber::MAX, Arc::new(undeleted));
        let mut streams: Vec<SendableRecordBatchStream> = Vec::with_capacity(chosen.len());
        for position in chosen {
            let rows = all.clone().cold_file(position, (0..all.columns()).collect(), batch_rows).await?;
            let (tombstones, folded) = (version.tombstones.clone(), folded.clone());
            let kept = rows.map(move |rows| {
                let rows = rows.and_then(|rows| without_deleted(rows, &tombstones, folded_to, &folded));
                rows.map_err(|error| DataFusionError::External(Box::new(error)))
            });
            streams.push(Box::pin(RecordBatchStreamAdapter::new(schema.clone(), kept)));
        }
        let row_id = schema.fields().len().saturating_sub(1);
        let by = sort_columns(&cell.table).into_iter().chain([row_id]).map(|column| {
            let name = schema.fields().get(column).map_or("", |field| field.name());
            PhysicalSortExpr::new_default(Arc::new(Column::new(name, column)))
        });
        let order = LexOrdering::new(by).ok_or_else(|| Error::internal("a table without columns"))?;
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let merged = StreamingMergeBuilder::new()
            .with_streams(streams)
            .with_schema(schema)
            .with_expressions(&order)
            .with_batch_size(batch_rows)
            .with_metrics(BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0))
            .with_reservation(MemoryConsumer::new("compaction").register(&pool))
            .build()?;
        Ok((merged, folded))
    }

    /// One file of the deletions that are left.
    async fn rewrite_tombstones(
        &self,
        cell: &TableCell,
        version: &Version,
        naming: Naming,
        folded: &FxHashSet<RowId>,
        files: &mut TableFiles,
    ) -> Result<()> {
        let (end, flushed) = (version.cold.row_id_end, version.cold.flushed);
        let left = version
            .tombstones
            .iter()
            .filter(|(row_id, commit)| *row_id < end && *commit <= flushed && !folded.contains(row_id));
        let mut left: Vec<(RowId, CommitNumber)> = left.collect();
        left.sort_unstable();
        files.tombstone_files.clear();
        if !left.is_empty() {
            let path = Tier::tombstones_path(cell.table.id, naming.number, naming.attempt);
            files.tombstone_files.push(self.tier.write_tombstones(path, &left).await?);
        }
        Ok(())
    }
}

fn without_deleted(
    rows: RecordBatch,
    tombstones: &Tombstones,
    folded_to: CommitNumber,
    folded: &Mutex<FxHashSet<RowId>>,
) -> Result<RecordBatch> {
    let Some(alive) = tombstones.alive(row_ids(&rows)?, folded_to) else { return Ok(rows) };
    let ids = row_ids(&rows)?.values().iter().zip(alive.values());
    folded.lock().extend(ids.filter(|(_, alive)| !alive).map(|(id, _)| *id));
    Ok(arrow::compute::filter_record_batch(&rows, &alive)?)
}

#[cfg(test)]
mod tests;
