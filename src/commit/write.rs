//! What a writer asks to commit, and what a commit is once it is durable.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::catalog::CatalogChange;
use crate::delta::DeltaBatch;
use crate::types::{CommitNumber, RelationId, RowId};

/// What one writer asks to commit, all or nothing.
#[derive(Debug, Clone, Default)]
pub struct Write {
    pub tables: Vec<TableWrite>,
    pub catalog: Vec<CatalogChange>,
    pub positions: Vec<SourcePosition>,
    pub tier: Vec<TierChange>,
    pub watermarks: Vec<WatermarkAdvance>,
}

/// Rows into and out of one table.
#[derive(Debug, Clone)]
pub struct TableWrite {
    pub table: RelationId,
    /// Of the table that the rows were made for.
    pub schema_version: u32,
    /// New rows, the table's columns without the row id; the sequencer numbers them.
    pub inserts: Option<RecordBatch>,
    /// Rows to remove, whole: the table's columns and `_row_id` as the last.
    pub deletes: Option<RecordBatch>,
}

/// How far a source has been read; opaque to everyone but its connector. Replaces the source's former position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePosition {
    pub source: RelationId,
    pub position: Vec<u8>,
}

/// The hot/cold boundary of a table moved: rows of commits up to `flushed` are in the manifest's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierChange {
    pub table: RelationId,
    pub flushed: CommitNumber,
    /// Number of the manifest that says so.
    pub manifest: u64,
}

/// From the next write on, rows of the table with a time before `at_us` come too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkAdvance {
    pub table: RelationId,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// A write that has its place in the order of commits, and is not durable yet.
#[derive(Debug, Clone)]
pub struct SequencedWrite<'a> {
    pub commit: CommitNumber,
    pub write: &'a Write,
    /// For each of `write.tables`, the row id of its first insert; the others follow it.
    pub first_row_ids: Vec<RowId>,
}

/// A durable commit, as everyone downstream receives it, live or replayed.
#[derive(Debug, Clone)]
pub struct Commit {
    pub number: CommitNumber,
    /// Microseconds since 1970; grows from commit to commit.
    pub timestamp_us: i64,
    /// At most one per table.
    pub tables: Vec<TableDelta>,
    pub catalog: Vec<CatalogChange>,
    pub positions: Vec<SourcePosition>,
    pub tier: Vec<TierChange>,
    /// In the order of the writers, so that of one table the last counts.
    pub watermarks: Vec<WatermarkAdvance>,
}

/// A commit's change of one table: the table's columns and `_row_id`. A row that the same commit inserts and deletes is
/// not in it. Shared, because the WAL, the memtable and every view read the same arrays.
#[derive(Debug, Clone)]
pub struct TableDelta {
    pub table: RelationId,
    pub schema_version: u32,
    pub delta: Arc<DeltaBatch>,
}
