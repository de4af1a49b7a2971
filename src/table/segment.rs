//! Hot rows in memory: segments of rows in the order of their commits.
//!
//! A segment is one RecordBatch (the table's columns and `_row_id`) and, run-length encoded, the commit of each row.
//! Rows are only appended, and commits and row ids only grow, so what was inserted by commit b is always a *prefix* of
//! the memtable: reading at b is slicing, without looking at rows. Deletions are apart, in `tombstone`.
//!
//! Small segments are merged geometrically, so that ten thousand commits of one row are a dozen batches; a merged
//! segment is never more than [`SEGMENT_ROWS_MAX`] rows, and a large batch is taken by reference.
//!
//! Once its rows are in files, a segment may be emptied under the snapshots that still hold it (`left`); nobody else reads
//! it then.
//!
//! Does not know: deletions, files, commits' durability.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use parking_lot::RwLock;

use crate::delta::batch_bytes;
use crate::error::{Error, Result};
use crate::types::{CommitNumber, RowId};

/// Segments are merged up to this many rows.
const SEGMENT_ROWS_MAX: usize = 1 << 16;
/// And up to this many bytes, so that a merge under the sequencing lock stays short.
const SEGMENT_BYTES_MAX: usize = 8 << 20;

/// Rows in the order of their commits; at least one.
#[derive(Debug)]
pub(super) struct Segment {
    /// `None` once it was emptied.
    rows: RwLock<Option<RecordBatch>>,
    num_rows: usize,
    /// (end row, commit): rows from the former end to this one belong to this commit. Both grow.
    commits: Vec<(usize, CommitNumber)>,
    bytes: usize,
    /// Snapshots that must be able to read it.
    kept: AtomicUsize,
}

impl Segment {
    /// One commit's rows, `_row_id` last and ascending.
    pub fn new(rows: RecordBatch, commit: CommitNumber) -> Self {
        let commits = vec![(rows.num_rows(), commit)];
        Segment::of(rows, commits)
    }

    fn of(rows: RecordBatch, commits: Vec<(usize, CommitNumber)>) -> Self {
        let (num_rows, bytes) = (rows.num_rows(), batch_bytes(&rows));
        Segment { rows: RwLock::new(Some(rows)), num_rows, commits, bytes, kept: AtomicUsize::new(0) }
    }

    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// `None` once it was emptied.
    pub fn rows(&self) -> Option<RecordBatch> {
        self.rows.read().clone()
    }

    /// Of one that is hot.
    fn hot_rows(&self) -> Result<RecordBatch> {
        self.rows().ok_or_else(|| Error::internal("hot rows that are gone"))
    }

    /// Lets the rows go, whoever still holds the segment, unless it is kept; whether there were any.
    pub fn empty(&self) -> bool {
        let mut rows = self.rows.write();
        let may_go = self.kept.load(Ordering::Acquire) == 0 && rows.is_some();
        if may_go {
            *rows = None;
        }
        may_go
    }

    /// From now on it may not be emptied, until [`Segment::unkeep`].
    pub fn keep(&self) {
        // Nobody is about to empty it, having seen that it is not kept.
        let _rows = self.rows.read();
        self.kept.fetch_add(1, Ordering::AcqRel);
    }

    pub fn unkeep(&self) {
        self.kept.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many rows, from the first, were inserted by commits up to `at`.
    fn rows_at(&self, at: CommitNumber) -> usize {
        let runs = self.commits.partition_point(|(_, commit)| *commit <= at);
        runs.checked_sub(1).and_then(|last| self.commits.get(last)).map_or(0, |(end, _)| *end)
    }

    fn commit_range(&self) -> Option<(CommitNumber, CommitNumber)> {
        Some((self.commits.first()?.1, self.commits.last()?.1))
    }

    fn merge(&self, later: &Segment) -> Result<Segment> {
        let (earlier, others) = (self.hot_rows()?, later.hot_rows()?);
        let rows = concat_batches(&earlier.schema(), [&earlier, &others])?;
        let offset = self.num_rows();
        let mut commits = self.commits.clone();
        for (end, commit) in &later.commits {
            match commits.last_mut() {
                Some(last) if last.1 == *commit => last.0 = offset + end,
                _ => commits.push((offset + end, *commit)),
            }
        }
        Ok(Segment::of(rows, commits))
    }

    /// The rows after the first `count`.
    fn skip(&self, count: usize) -> Option<Segment> {
        let rows = self.rows()?.slice(count, self.num_rows() - count);
        let commits = self.commits.iter().filter(|(end, _)| *end > count);
        Some(Segment::of(rows, commits.map(|(end, commit)| (end - count, *commit)).collect()))
    }
}

/// All hot rows of a table. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Memtable {
    segments: Vec<Arc<Segment>>,
    rows: usize,
    bytes: usize,
}

impl Memtable {
    pub fn num_rows(&self) -> usize {
        self.rows
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub fn num_segments(&self) -> usize {
        self.segments.len()
    }

    /// Appends rows of one commit, not before the last one's.
    pub fn push(&mut self, segment: Segment) {
        self.rows += segment.num_rows();
        self.bytes += segment.bytes;
        self.segments.push(Arc::new(segment));
        while self.merge_last() {}
    }

    /// Merges the last two segments where they are small and of similar size. A merge that Arrow refuses (text beyond
    /// 2 GiB) leaves them apart: nothing depends on it but speed.
    fn merge_last(&mut self) -> bool {
        let [.., earlier, later] = self.segments.as_slice() else { return false };
        let rows = earlier.num_rows() + later.num_rows();
        if earlier.num_rows() > 2 * later.num_rows()
            || rows > SEGMENT_ROWS_MAX
            || earlier.bytes + later.bytes > SEGMENT_BYTES_MAX
        {
            return false;
        }
        let Ok(merged) = earlier.merge(later) else { return false };
        self.segments.truncate(self.segments.len() - 2);
        self.segments.push(Arc::new(merged));
        true
    }

    /// The same rows with other columns.
    pub fn converted(&self, convert: &dyn Fn(&RecordBatch) -> Result<RecordBatch>) -> Result<Memtable> {
        let mut converted = Memtable { segments: Vec::with_capacity(self.segments.len()), rows: self.rows, bytes: 0 };
        for segment in &self.segments {
            let segment = Segment::of(convert(&segment.hot_rows()?)?, segment.commits.clone());
            converted.bytes += segment.bytes;
            converted.segments.push(Arc::new(segment));
        }
        Ok(converted)
    }

    /// Number of rows inserted by commits up to `at`.
    pub fn rows_at(&self, at: CommitNumber) -> usize {
        self.segments.iter().map(|segment| segment.rows_at(at)).sum()
    }

    /// The segments with rows inserted by commits up to `at`, in order, and how many of each, from its first on.
    pub fn segments_at(&self, at: CommitNumber) -> impl Iterator<Item = (&Arc<Segment>, usize)> {
        let counted = self.segments.iter().map(move |segment| (segment, segment.rows_at(at)));
        counted.filter(|(_, count)| *count > 0)
    }

    /// The hot rows inserted by commits up to `at`, as slices of the segments, with the range of each slice's commits.
    pub fn parts_at(
        &self,
        at: CommitNumber,
    ) -> impl Iterator<Item = Result<(RecordBatch, CommitNumber, CommitNumber)>> + '_ {
        self.segments_at(at).filter_map(move |(segment, count)| {
            let (first, last) = segment.commit_range()?;
            Some(segment.hot_rows().map(|rows| (rows.slice(0, count), first, last.min(at))))
        })
    }

    /// Those of its segments that `rest`, what stays hot of it, does not have.
    pub fn left_by(&self, rest: &Memtable) -> Vec<Weak<Segment>> {
        let stays = |segment: &Arc<Segment>| rest.segments.iter().any(|other| Arc::ptr_eq(segment, other));
        self.segments.iter().filter(|segment| !stays(segment)).map(Arc::downgrade).collect()
    }

    /// What stays hot once commits up to `flushed` are cold.
    pub fn after(&self, flushed: CommitNumber) -> Memtable {
        let mut rest = Memtable::default();
        for segment in &self.segments {
            let count = segment.rows_at(flushed);
            let kept = match count {
                0 => segment.clone(),
                all if all == segment.num_rows() => continue,
                // None of these was emptied: only what has left can be.
                some => segment.skip(some).map_or_else(|| segment.clone(), Arc::new),
            };
            rest.rows += kept.num_rows();
            rest.bytes += kept.bytes;
            rest.segments.push(kept);
        }
        rest
    }

    /// Row id of the last row inserted by commits up to `at`.
    pub fn last_row_id_at(&self, at: CommitNumber) -> Option<RowId> {
        let (segment, count) =
            self.segments.iter().rev().map(|segment| (segment, segment.rows_at(at))).find(|(_, count)| *count > 0)?;
        Some(row_ids(&segment.rows()?).ok()?.value(count - 1))
    }
}

/// The `_row_id` column: the last one.
pub(super) fn row_ids(rows: &RecordBatch) -> Result<&Int64Array> {
    rows.columns()
        .last()
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
        .ok_or_else(|| Error::internal("rows without a row id column"))
}

#[cfg(test)]
mod tests;
