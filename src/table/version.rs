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

    /// Deletions that a flush up to `to` writes: of cold rows those since the last flush, of rows that it writes those by
    /// commits later than `folded_to`.
    pub fn unflushed_tombstones(&self, to: CommitNumber, folded_to: CommitNumber) -> Vec<(RowId, CommitNumber)> {
        let cold = &self.cold;
        let from = |row_id: RowId| if row_id < cold.row_id_end { cold.flushed } else { folded_to };
        self.tombstones.iter().filter(|(row_id, commit)| *commit > from(*row_id) && *commit <= to).collect()
    }

    /// Whether any cold row was deleted since the last flush.
    pub fn has_unflushed_tombstones(&self) -> bool {
        let cold = &self.cold;
        self.tombstones.iter().any(|(row_id, commit)| row_id < cold.row_id_end && commit > cold.flushed)
    }

    /// This version once `cold` is its cold part: rows up to `cold.flushed` leave the memtable, and with them the
    /// tombstones of those that are in no file because no commit that can be read has them.
    /// `folded`: cold rows that a compaction left out, with their tombstones.
    pub fn with_cold(&self, cold: Arc<TableFiles>, folded: &FxHashSet<RowId>) -> Swapped {
        let hot_ids = self.cold.row_id_end..cold.row_id_end;
        let gone = |row_id: RowId, commit: CommitNumber| {
            (hot_ids.contains(&row_id) && commit <= cold.flushed.min(cold.readable_from)) || folded.contains(&row_id)
        };
        let (tombstones, folded) = self.tombstones.split(gone);
        Swapped { version: Version { hot: self.hot.after(cold.flushed), tombstones, cold }, folded }
    }
}
