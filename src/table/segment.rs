//! Hot rows in memory: segments of rows in the order of their commits.
//!
//! A segment is one RecordBatch (the table's columns and `_row_id`) and, run-length encoded, the commit of each row.
//! Rows are only appended, and commits and row ids only grow, so what was inserted by commit b is always a *prefix* of
//! the memtable: reading at b is slicing, without looking at rows. Deletions are apart, in `tombstone`.
//!
//! Small segments are merged geometrically, so that ten thousand commits of one row are a dozen batches; a merged
//! segment is never more than [`SEGMENT_ROWS_MAX`] rows, and a large batch is taken by reference.
//!
//! Does not know: deletions, files, commits' durability.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;

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
    rows: RecordBatch,
    /// (end row, commit): rows from the former end to this one belong to this commit. Both grow.
    commits: Vec<(usize, CommitNumber)>,
    bytes: usize,
}

impl Segment {
    /// One commit's rows, `_row_id` last and ascending.
    pub fn new(rows: RecordBatch, commit: CommitNumber) -> Self {
        let bytes = batch_bytes(&rows);
        Segment { commits: vec![(rows.num_rows(), commit)], rows, bytes }
    }

    fn num_rows(&self) -> usize {
        self.rows.num_rows()
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
        let rows = concat_batches(&self.rows.schema(), [&self.rows, &later.rows])?;
        let offset = self.num_rows();
        let mut commits = self.commits.clone();
        for (end, commit) in &later.commits {
            match commits.last_mut() {
                Some(last) if last.1 == *commit => last.0 = offset + end,
                _ => commits.push((offset + end, *commit)),
            }
        }
        Ok(Segment { rows, commits, bytes: self.bytes + later.bytes })
    }

    /// The rows after the first `count`.
    fn skip(&self, count: usize) -> Segment {
        let rows = self.rows.slice(count, self.num_rows() - count);
        let commits = self.commits.iter().filter(|(end, _)| *end > count);
        Segment {
            bytes: batch_bytes(&rows),
            commits: commits.map(|(end, commit)| (end - count, *commit)).collect(),
            rows,
        }
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
            let rows = convert(&segment.rows)?;
            let bytes = batch_bytes(&rows);
            converted.bytes += bytes;
            converted.segments.push(Arc::new(Segment { rows, commits: segment.commits.clone(), bytes }));
        }
        Ok(converted)
    }

    /// Number of rows inserted by commits up to `at`.
    pub fn rows_at(&self, at: CommitNumber) -> usize {
        self.segments.iter().map(|segment| segment.rows_at(at)).sum()
    }

    /// The rows inserted by commits up to `at`, in order, as slices of the segments.
    pub fn slices_at(&self, at: CommitNumber) -> impl Iterator<Item = RecordBatch> + '_ {
        self.parts_at(at).map(|(rows, _, _)| rows)
    }

    /// The same with the range of each slice's commits.
    pub fn parts_at(&self, at: CommitNumber) -> impl Iterator<Item = (RecordBatch, CommitNumber, CommitNumber)> + '_ {
        self.segments.iter().filter_map(move |segment| {
            let count = segment.rows_at(at);
            let (first, last) = segment.commit_range()?;
            (count > 0).then(|| (segment.rows.slice(0, count), first, last.min(at)))
        })
    }

    /// What stays hot once commits up to `flushed` are cold.
    pub fn after(&self, flushed: CommitNumber) -> Memtable {
        let mut rest = Memtable::default();
        for segment in &self.segments {
            let count = segment.rows_at(flushed);
            let kept = match count {
                0 => segment.clone(),
                all if all == segment.num_rows() => continue,
                some => Arc::new(segment.skip(some)),
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
        Some(row_ids(&segment.rows).ok()?.value(count - 1))
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
