//! Deletions: sorted runs of (row id, commit), for hot and cold rows alike.
//!
//! A row inserted at commit i and deleted at commit d is visible at b iff `i <= b` and not `d <= b`. Runs are immutable
//! and shared with snapshots; small ones are merged geometrically. A row id stands in at most one run.
//!
//! Does not know: which rows exist.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array};
use arrow::buffer::BooleanBuffer;

use crate::types::{CommitNumber, RowId};

/// Where the tombstones in a batch's range are more than this many times its rows, each row is looked up in the runs
/// instead of collecting the range.
const COLLECT_RATIO: usize = 4;

#[derive(Debug)]
pub(super) struct Run {
    /// Ascending.
    row_ids: Vec<RowId>,
    /// One per row id.
    commits: Vec<CommitNumber>,
    commit_min: CommitNumber,
    commit_max: CommitNumber,
}

impl Run {
    /// In any order. `None` for no tombstones.
    pub fn new(mut tombstones: Vec<(RowId, CommitNumber)>) -> Option<Run> {
        tombstones.sort_unstable();
        tombstones.dedup_by_key(|(row_id, _)| *row_id);
        Run::sorted(tombstones)
    }

    fn sorted(tombstones: Vec<(RowId, CommitNumber)>) -> Option<Run> {
        let commit_min = tombstones.iter().map(|(_, commit)| *commit).min()?;
        let commit_max = tombstones.iter().map(|(_, commit)| *commit).max()?;
        let (row_ids, commits) = tombstones.into_iter().unzip();
        Some(Run { row_ids, commits, commit_min, commit_max })
    }

    fn len(&self) -> usize {
        self.row_ids.len()
    }

    fn iter(&self) -> impl Iterator<Item = (RowId, CommitNumber)> + '_ {
        self.row_ids.iter().copied().zip(self.commits.iter().copied())
    }

    fn merge(&self, other: &Run) -> Option<Run> {
        let mut merged = Vec::with_capacity(self.len() + other.len());
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        loop {
            match (left.peek(), right.peek()) {
                (Some(a), Some(b)) if a <= b => merged.extend(left.next()),
                (_, Some(_)) => merged.extend(right.next()),
                (Some(_), None) => merged.extend(left.next()),
                (None, None) => break,
            }
        }
        merged.dedup_by_key(|(row_id, _)| *row_id);
        Run::sorted(merged)
    }

    /// Positions of the row ids between `low` and `high`, both included.
    fn range(&self, low: RowId, high: RowId) -> std::ops::Range<usize> {
        let start = self.row_ids.partition_point(|row_id| *row_id < low);
        let end = self.row_ids.partition_point(|row_id| *row_id <= high);
        start..end.max(start)
    }

    fn commit_of(&self, row_id: RowId) -> Option<CommitNumber> {
        let position = self.row_ids.binary_search(&row_id).ok()?;
        self.commits.get(position).copied()
    }

    fn count_at(&self, at: CommitNumber) -> usize {
        if self.commit_max <= at {
            self.len()
        } else if self.commit_min > at {
            0
        } else {
            self.commits.iter().filter(|commit| **commit <= at).count()
        }
    }
}

/// All deletions of a table that may still hide a row. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Tombstones {
    runs: Vec<Arc<Run>>,
}

impl Tombstones {
    pub fn push(&mut self, run: Run) {
        self.runs.push(Arc::new(run));
        while let [.., earlier, later] = self.runs.as_slice() {
            if earlier.len() > 2 * later.len() {
                break;
            }
            let Some(merged) = earlier.merge(later) else { break };
            self.runs.truncate(self.runs.len() - 2);
            self.runs.push(Arc::new(merged));
        }
    }

    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.len()).sum()
    }

    /// Number of rows deleted by commits up to `at`.
    pub fn count_at(&self, at: CommitNumber) -> usize {
        self.runs.iter().map(|run| run.count_at(at)).sum()
    }

    /// Number of rows with ids between `low` and `high` that were deleted by commits up to `at`.
    pub fn count_in(&self, low: RowId, high: RowId, at: CommitNumber) -> usize {
        let count = |run: &Run| {
            let commits = run.commits.get(run.range(low, high)).unwrap_or_default();
            commits.iter().filter(|commit| **commit <= at).count()
        };
        self.runs.iter().map(|run| count(run)).sum()
    }

    /// The commit that deleted a row.
    pub fn commit_of(&self, row_id: RowId) -> Option<CommitNumber> {
        self.runs.iter().find_map(|run| run.commit_of(row_id))
    }

    /// Whether any row id between `low` and `high` is deleted by commits up to `at`.
    pub fn any_in(&self, low: RowId, high: RowId, at: CommitNumber) -> bool {
        self.runs.iter().filter(|run| run.commit_min <= at).any(|run| {
            let range = run.range(low, high);
            run.commits.get(range).is_some_and(|commits| commits.iter().any(|commit| *commit <= at))
        })
    }

    /// Which of these rows (in any order) are not deleted at `at`; `None` where none is deleted.
    pub fn alive(&self, row_ids: &Int64Array, at: CommitNumber) -> Option<BooleanArray> {
        let values = row_ids.values();
        let (low, high) = bounds(values)?;
        let near: Vec<(&Run, std::ops::Range<usize>)> = self
            .runs
            .iter()
            .filter(|run| run.commit_min <= at)
            .map(|run| (run.as_ref(), run.range(low, high)))
            .filter(|(_, range)| !range.is_empty())
            .collect();
        let tombstones: usize = near.iter().map(|(_, range)| range.len()).sum();
        if tombstones == 0 {
            return None;
        }
        if tombstones > COLLECT_RATIO * values.len() {
            let dead = |row_id: RowId| near.iter().any(|(run, _)| run.commit_of(row_id).is_some_and(|d| d <= at));
            return Some(keep(values, dead));
        }
        let mut collected: Vec<RowId> = near
            .iter()
            .flat_map(|(run, range)| run.iter().skip(range.start).take(range.len()))
            .filter(|(_, commit)| *commit <= at)
            .map(|(row_id, _)| row_id)
            .collect();
        if collected.is_empty() {
            return None;
        }
        collected.sort_unstable();
        Some(keep(values, |row_id| collected.binary_search(&row_id).is_ok()))
    }

    /// Splits off the tombstones that `gone` picks by row id and commit; both parts keep their shape where they can.
    pub fn split(&self, gone: impl Fn(RowId, CommitNumber) -> bool) -> (Tombstones, Vec<(RowId, CommitNumber)>) {
        let (mut kept, mut split) = (Tombstones::default(), Vec::new());
        for run in &self.runs {
            let before = split.len();
            let rest: Vec<_> = run
                .iter()
                .filter(|(row_id, commit)| {
                    let picked = gone(*row_id, *commit);
                    if picked {
                        split.push((*row_id, *commit));
                    }
                    !picked
                })
                .collect();
            if split.len() == before {
                kept.runs.push(run.clone());
            } else if let Some(rest) = Run::sorted(rest) {
                kept.runs.push(Arc::new(rest));
            }
        }
        (kept, split)
    }

    pub fn iter(&self) -> impl Iterator<Item = (RowId, CommitNumber)> + '_ {
        self.runs.iter().flat_map(|run| run.iter())
    }

    #[cfg(test)]
    pub fn num_runs(&self) -> usize {
        self.runs.len()
    }
}

fn bounds(values: &[RowId]) -> Option<(RowId, RowId)> {
    Some((*values.iter().min()?, *values.iter().max()?))
}

fn keep(values: &[RowId], dead: impl Fn(RowId) -> bool) -> BooleanArray {
    BooleanArray::new(values.iter().map(|row_id| !dead(*row_id)).collect::<BooleanBuffer>(), None)
}

#[cfg(test)]
mod tests;
