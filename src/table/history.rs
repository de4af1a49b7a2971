//! Which commits of the past can still be read, and what was there by each.
//!
//! ```text
//! row_id  1 ........ 40 | 41 ..... 63 | 64 .. 70 |        row ids are given in the order of commits
//! commit       17       |     18      |    19    |        so a row of commit 18 or before has an id below 64
//! ```
//!
//! A cold row does not know its commit. Its id and the marks kept here tell whether it was there at an earlier one; the
//! tombstones, which know their commits, whether it was there still. So what a commit that can be read needs is that no
//! row and no tombstone of a later deletion goes: flush and compaction fold in deletions up to [`History::oldest`] alone.
//!
//! A mark is 24 bytes in memory for each commit within `table.history_retention_ms`. Marks of commits that the manifest
//! covers stand in files that it names; the log tells of the later ones.

use std::collections::VecDeque;

use super::flush::Naming;
use super::snapshot::TableSnapshot;
use super::tables::Tables;
use crate::error::{Error, Result, SqlState};
use crate::tier::{CommitMark, HistoryFile, Manifest, Tier};
use crate::types::{CommitNumber, RowId};

/// Files of marks are merged into one when they would be more.
const FILES_MAX: usize = 8;

/// The commits that can be read, oldest first, without a gap up to the durable head. Empty before the first.
#[derive(Debug, Default)]
pub(super) struct History {
    marks: VecDeque<CommitMark>,
    /// Above the ids of all rows so far, also of commits that have no mark.
    row_id_end: RowId,
}

impl History {
    /// Row ids of commits without a mark, which come before those that have one.
    pub fn know(&mut self, row_id_end: RowId) {
        self.row_id_end = self.row_id_end.max(row_id_end);
    }

    /// The next commit: `row_id_end` is above the ids of what it inserted, whatever if it did not. What is older than
    /// `retention_us` goes, but for the commit that was the last one then.
    pub fn push(&mut self, mark: CommitMark, retention_us: i64) {
        self.know(mark.row_id_end);
        self.marks.push_back(CommitMark { row_id_end: self.row_id_end, ..mark });
        let since_us = mark.timestamp_us.saturating_sub(retention_us);
        while self.marks.get(1).is_some_and(|second| second.timestamp_us <= since_us) {
            self.marks.pop_front();
        }
    }

    pub fn oldest(&self) -> Option<CommitMark> {
        self.marks.front().copied()
    }

    /// What the commit left, or the last one before it.
    pub fn at(&self, commit: CommitNumber) -> Option<CommitMark> {
        let after = self.marks.partition_point(|mark| mark.commit <= commit);
        self.marks.get(after.checked_sub(1)?).copied()
    }

    /// The last commit by then.
    pub fn at_time(&self, timestamp_us: i64) -> Option<CommitMark> {
        let after = self.marks.partition_point(|mark| mark.timestamp_us <= timestamp_us);
        self.marks.get(after.checked_sub(1)?).copied()
    }

    /// In memory.
    fn memory_bytes(&self) -> usize {
        self.marks.capacity() * size_of::<CommitMark>()
    }

    /// Marks of later commits than `after`.
    fn since(&self, after: CommitNumber) -> impl Iterator<Item = CommitMark> + '_ {
        self.marks.range(self.marks.partition_point(|mark| mark.commit <= after)..).copied()
    }
}

impl Tables {
    /// Memory of the marks of commits that can be read.
    pub fn history_bytes(&self) -> u64 {
        self.history.lock().memory_bytes() as u64
    }

    /// Microseconds; 0: only the head can be read.
    pub(super) fn history_retention_us(&self) -> i64 {
        i64::try_from(self.settings.history_retention_ms).unwrap_or(i64::MAX).saturating_mul(1000)
    }

    /// The same table as it was at a commit, which is not later than the snapshot's. Without the transaction's own writes.
    ///
    /// Errors: 22023 for a commit that cannot be read any more.
    pub fn as_of(&self, snapshot: &TableSnapshot, commit: CommitNumber) -> Result<TableSnapshot> {
        let history = self.history.lock();
        let oldest = history.oldest().map_or(snapshot.at(), |mark| mark.commit).min(snapshot.at());
        let oldest = oldest.max(snapshot.cold().readable_from);
        if commit < oldest {
            return Err(self.not_kept(&format!("commit {commit}"), &snapshot.table().name, oldest));
        }
        let row_id_end = match commit >= snapshot.cold().flushed {
            // What is cold was there already.
            true => None,
            false => Some(history.at(commit).ok_or_else(|| Error::internal("a commit without a mark"))?.row_id_end),
        };
        Ok(snapshot.at_earlier(commit, row_id_end))
    }

    /// The last commit by a time, which is not later than that of the head. Errors: 22023 for one before those that are kept.
    pub fn commit_by(&self, timestamp_us: i64, time: &str, table: &str) -> Result<CommitNumber> {
        let head = self.durable();
        let history = self.history.lock();
        if timestamp_us >= head.timestamp_us {
            return Ok(head.commit);
        }
        let oldest = history.oldest().map_or(head.commit, |mark| mark.commit);
        let found = history.at_time(timestamp_us).map(|mark| mark.commit);
        found.ok_or_else(|| self.not_kept(time, table, oldest))
    }

    fn not_kept(&self, what: &str, table: &str, oldest: CommitNumber) -> Error {
        let hint = match self.settings.history_retention_ms {
            0 => "History is not kept: set table.history_retention_ms.",
            _ => "A longer table.history_retention_ms keeps more, from then on.",
        };
        Error::new(
            SqlState::INVALID_PARAMETER,
            format!("cannot read \"{table}\" as of {what}: it is not kept any more"),
        )
        .with_detail(format!("The oldest commit that can be read is {oldest}."))
        .with_hint(hint)
    }

    /// The oldest commit that can be read, with its time; the head, where no history is kept.
    pub fn oldest_readable(&self) -> (CommitNumber, i64) {
        let oldest = self.history.lock().oldest();
        let head = self.durable();
        oldest.map_or((head.commit, head.timestamp_us), |mark| (mark.commit, mark.timestamp_us))
    }

    /// Files of the marks up to `to`: what the newest manifest has of them goes on, with those since then behind it.
    pub(super) async fn write_history(
        &self,
        former: &Manifest,
        to: CommitNumber,
        naming: Naming,
    ) -> Result<Vec<HistoryFile>> {
        if self.settings.history_retention_ms == 0 {
            return Ok(Vec::new());
        }
        let mut files = former.history.clone();
        let marks: Vec<CommitMark> = {
            let history = self.history.lock();
            let oldest = history.oldest().map(|mark| mark.commit).unwrap_or_default();
            files.retain(|file| file.commit_max >= oldest);
            if files.len() >= FILES_MAX {
                files.clear();
            }
            let written = files.last().map(|file| file.commit_max).unwrap_or_default();
            history.since(written).take_while(|mark| mark.commit <= to).collect()
        };
        if !marks.is_empty() {
            files.push(self.tier.write_marks(Tier::history_path(naming.number, naming.attempt), &marks).await?);
        }
        Ok(files)
    }

    /// Takes over the marks of a manifest. Where they are damaged, history begins anew: no row depends on them.
    pub(super) async fn restore_history(&self, manifest: &Manifest) -> Result<()> {
        if self.settings.history_retention_ms == 0 {
            return Ok(());
        }
        for file in &manifest.history {
            let marks = match self.tier.read_marks(file).await {
                Ok(marks) => marks,
                Err(error) if error.state() == SqlState::DATA_CORRUPTED => {
                    tracing::warn!(%error, "what was before this start cannot be read with FOR SYSTEM_TIME AS OF");
                    *self.history.lock() = History::default();
                    break;
                }
                Err(error) => return Err(error),
            };
            let mut history = self.history.lock();
            marks.into_iter().for_each(|mark| history.push(mark, self.history_retention_us()));
        }
        let end = manifest.tables.values().map(|table| table.row_id_end).max();
        self.history.lock().know(end.unwrap_or_default());
        Ok(())
    }
}
