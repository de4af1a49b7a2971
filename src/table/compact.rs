//! Compaction: many small cold files become few, and the deletions of their rows are folded in.
//!
//! ```text
//! files of like size, eight or more   -> read, without rows that no readable commit has -> sorted -> one file
//! files of which a quarter is deleted -> the same, one by one
//! ```
//!
//! It is part of a publication (`flush`): the new files are in the next manifest, or nothing happened. Only deletions that
//! the manifest has are folded: the log still brings the later ones, and they must find their rows; and only those by commits
//! up to the oldest that can be read (`history`): a later one still sees the row. Row ids stay, so that a transaction that saw a row in an old file can delete it in the new one. Readers of the old files keep them (`garbage`).
//!
//! Memory is bounded by what is read at a time: `piece_bytes_max` of decoded rows, and one file.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use rustc_hash::FxHashSet;

use super::cell::TableCell;
use super::flush::{Cut, Naming, sort_columns};
use super::segment::row_ids;
use super::snapshot::TableSnapshot;
use super::tables::Tables;
use super::tombstone::Tombstones;
use super::version::Version;
use crate::delta::batch_bytes;
use crate::error::Result;
use crate::tier::{DataFile, FileSettings, TableFiles, Tier};
use crate::types::{CommitNumber, RelationId, RowId};

/// Smallest size that is told from others; below it all files are alike.
const CLASS_BYTES_MIN: u64 = 64 << 10;
/// Files of one class are within this factor.
const CLASS_FACTOR: u64 = 8;
/// Of a table's cold rows, one in so many deleted is worth a compaction.
const DELETED_ONE_IN: u64 = 4;
/// And at least so many.
const DELETED_ROWS_MIN: u64 = 1024;
const BATCH_ROWS: usize = 1 << 16;

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
        let folded_to = version.cold.flushed.min(cut.readable_from);
        // Without deletions, so that every row is seen, and which of them are gone.
        let undeleted = Version { tombstones: Tombstones::default(), ..version.clone() };
        let all = TableSnapshot::at_version(cell.clone(), self.tier.clone(), CommitNumber::MAX, Arc::new(undeleted));
        let (mut batches, mut folded) = (Vec::<RecordBatch>::new(), FxHashSet::default());
        let (mut bytes, mut read) = (0, Vec::new());
        for position in chosen {
            let mut rows = all.clone().cold_file(position, (0..all.columns()).collect(), BATCH_ROWS).await?;
            while let Some(rows) = rows.try_next().await? {
                let alive = version.tombstones.alive(row_ids(&rows)?, folded_to);
                let kept = match &alive {
                    Some(alive) => {
                        let ids = row_ids(&rows)?.values().iter().zip(alive.values());
                        folded.extend(ids.filter(|(_, alive)| !alive).map(|(id, _)| *id));
                        arrow::compute::filter_record_batch(&rows, alive)?
                    }
                    None => rows,
                };
                if kept.num_rows() > 0 {
                    bytes += batch_bytes(&kept);
                    batches.push(kept);
                }
            }
            read.push(position);
            // Two at least, so that something is gained.
            if bytes > self.settings.piece_bytes_max && read.len() > 1 {
                break;
            }
        }
        if folded.is_empty() && read.len() < 2 {
            let seen = version.tombstones.count_at(folded_to) as u64;
            cell.futile_tombstones.store(seen, std::sync::atomic::Ordering::Relaxed);
            return Ok(None);
        }
        let mut files = cold.clone();
        let olds: Vec<DataFile> =
            read.iter().filter_map(|position| version.cold.files.get(*position).cloned()).collect();
        files.files.retain(|file| !olds.iter().any(|old| old.path == file.path));
        let mut rows_written = 0;
        if !batches.is_empty() {
            let commits = (
                olds.iter().map(|file| file.commit_min).min().unwrap_or_default(),
                olds.iter().map(|file| file.commit_max).max().unwrap_or_default(),
            );
            let settings = FileSettings {
                row_group_rows: self.settings.row_group_rows,
                file_rows_max: self.settings.file_rows_max,
            };
            let path = Tier::rows_path(cell.table.id, naming.number, naming.attempt, 0);
            let sort = sort_columns(&cell.table);
            let file = self.tier.write_rows(path, &cell.form, &batches, &sort, &settings, commits).await?;
            rows_written = file.rows;
            files.files.push(file);
        }
        if !folded.is_empty() {
            files.readable_from = cut.readable_from;
            self.rewrite_tombstones(cell, version, naming, &folded, &mut files).await?;
        }
        Ok(Some(Compacted { folded, files, files_read: read.len(), rows_written }))
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

#[cfg(test)]
mod tests;
