//! One state of a table's rows: what is hot, what is deleted, what is cold. Cloned only where a snapshot holds it.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::segment::Memtable;
use super::tombstone::Tombstones;
use crate::tier::TableFiles;
use crate::types::{CommitNumber, RowId};

#[derive(Debug, Clone, Default)]
pub(super) struct Version {
    /// Rows of commits later than `cold.flushed`.
    pub hot: Memtable,
    /// Of hot and cold rows.
    pub tombstones: Tombstones,
    pub cold: Arc<TableFiles>,
}

/// What left memory when a flush was swapped in.
pub(super) struct Swapped {
    pub version: Version,
    /// Deletions of rows that never reached a file.
    pub folded: Vec<(RowId, CommitNumber)>,
}

impl Version {
    /// Number of rows visible at `at`: each tombstone hides exactly one.
    pub fn rows_at(&self, at: CommitNumber) -> usize {
        let rows = self.hot.rows_at(at) + self.cold.rows() as usize;
        rows.saturating_sub(self.tombstones.count_at(at))
    }

    /// Deletions of cold rows since the last flush, by commits up to `at`.
    pub fn unflushed_tombstones(&self, at: CommitNumber) -> Vec<(RowId, CommitNumber)> {
        let cold = &self.cold;
        let wanted =
            |row_id: RowId, commit: CommitNumber| row_id < cold.row_id_end && commit > cold.flushed && commit <= at;
        self.tombstones.iter().filter(|(row_id, commit)| wanted(*row_id, *commit)).collect()
    }

    /// This version once `cold` is its cold part: rows up to `cold.flushed` leave the memtable, and with them the
    /// tombstones of those that were deleted by then and so are in no file.
    /// `folded`: cold rows that a compaction left out, with their tombstones.
    pub fn with_cold(&self, cold: Arc<TableFiles>, folded: &FxHashSet<RowId>) -> Swapped {
        let hot_ids = self.cold.row_id_end..cold.row_id_end;
        let gone = |row_id: RowId, commit: CommitNumber| {
            (hot_ids.contains(&row_id) && commit <= cold.flushed) || folded.contains(&row_id)
        };
        let (tombstones, folded) = self.tombstones.split(gone);
        Swapped { version: Version { hot: self.hot.after(cold.flushed), tombstones, cold }, folded }
    }
}
