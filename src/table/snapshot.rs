//! A table at one commit: immutable, cheap to take and to clone.
//!
//! A transaction's own writes may lie on top: rows with provisional (negative) row ids, and deletions.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and, filter_record_batch};
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::cell::TableCell;
use super::left::KeptRows;
use super::pins::Pin;
use super::projection::Projection;
use super::segment::{Segment, row_ids};
use super::version::Version;
use crate::catalog::Table;
use crate::error::{Error, Result, SqlState};
use crate::tier::{DataFile, StoredForm, TableFiles, Tier};
use crate::types::{CommitNumber, RowId};

#[derive(Clone)]
pub struct TableSnapshot {
    cell: Arc<TableCell>,
    tier: Arc<Tier>,
    at: CommitNumber,
    version: Arc<Version>,
    overlay: Option<Arc<Overlay>>,
    /// Of a snapshot of the past: cold rows from this id on came later.
    row_id_end: Option<RowId>,
    /// Kept for their `Drop`.
    _pin: Option<Arc<Pin>>,
    _kept: Option<Arc<KeptRows>>,
}

/// A part of a snapshot's hot rows, read when it is asked for.
#[derive(Debug, Clone)]
pub(super) struct HotPart {
    source: HotSource,
    start: usize,
    rows: usize,
}

impl HotPart {
    /// With those that are deleted.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

#[derive(Debug, Clone)]
enum HotSource {
    Segment(Arc<Segment>),
    /// A transaction's own.
    Own(RecordBatch),
}

#[derive(Debug)]
struct Overlay {
    inserts: Vec<RecordBatch>,
    /// Ascending.
    deleted: Vec<RowId>,
}

impl std::fmt::Debug for TableSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TableSnapshot({} at {})", self.cell.table.name, self.at)
    }
}

impl TableSnapshot {
    /// Errors: an internal one where rows later than `at` are already cold; whoever takes `at` and the snapshot
    /// together under the publish lock never sees it.
    pub(super) fn new(cell: Arc<TableCell>, tier: Arc<Tier>, at: CommitNumber) -> Result<TableSnapshot> {
        // The pin before the version: a flush in between then remembers what it folds.
        let pin = (at != CommitNumber::MAX).then(|| Arc::new(cell.pins.pin(at)));
        let version = cell.state.read().version.clone();
        if at < version.cold.flushed {
            return Err(Error::internal(format!(
                "table \"{}\" is cold up to commit {}, and was to be read at {at}",
                cell.table.name, version.cold.flushed
            )));
        }
        Ok(TableSnapshot { cell, tier, at, version, overlay: None, row_id_end: None, _pin: pin, _kept: None })
    }

    /// The same as it was at an earlier commit, without a transaction's own writes; `row_id_end` where cold rows may be of a later
    /// one. The caller knows that the version still has what was there.
    pub(super) fn at_earlier(&self, at: CommitNumber, row_id_end: Option<RowId>) -> TableSnapshot {
        TableSnapshot { at, row_id_end, overlay: None, ..self.clone() }
    }

    /// A version that the caller holds anyway, which is not older than `at` where it is to be read at that.
    pub(super) fn at_version(
        cell: Arc<TableCell>,
        tier: Arc<Tier>,
        at: CommitNumber,
        version: Arc<Version>,
    ) -> TableSnapshot {
        TableSnapshot { cell, tier, at, version, overlay: None, row_id_end: None, _pin: None, _kept: None }
    }

    /// Number of columns with `_row_id`.
    pub(super) fn columns(&self) -> usize {
        self.cell.form.table_schema().fields().len()
    }

    /// Keeps the files that it reads from being removed.
    pub(super) fn cold(&self) -> &Arc<TableFiles> {
        &self.version.cold
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.cell.table
    }

    pub fn schema_with_row_id(&self) -> SchemaRef {
        self.cell.form.table_schema().clone()
    }

    pub fn at(&self) -> CommitNumber {
        self.at
    }

    /// A transaction's own writes on top: rows (the table's columns and `_row_id`, provisional and negative, so that they
    /// can be addressed) and the row ids it deleted, of either kind. Replaces an earlier overlay.
    pub fn with_overlay(&self, inserts: Vec<RecordBatch>, deleted: Arc<Vec<RowId>>) -> TableSnapshot {
        let mut deleted = Arc::unwrap_or_clone(deleted);
        deleted.sort_unstable();
        deleted.dedup();
        TableSnapshot { overlay: Some(Arc::new(Overlay { inserts, deleted })), ..self.clone() }
    }

    /// The same rows as a table that the transaction has altered.
    pub fn altered(&self, table: Arc<Table>) -> Result<TableSnapshot> {
        let cell = self.cell.altered(table, &self.version, CommitNumber::MAX)?;
        let version = cell.state.read().version.clone();
        Ok(TableSnapshot { cell: Arc::new(cell), version, ..self.clone() })
    }

    /// Number of visible rows; not known without reading them for a snapshot of the past, where it is too large.
    pub fn row_count(&self) -> usize {
        let rows = self.version.rows_at(self.at);
        let Some(overlay) = &self.overlay else { return rows };
        let inserts: usize = overlay.inserts.iter().map(RecordBatch::num_rows).sum();
        (rows + inserts).saturating_sub(overlay.deleted.len())
    }

    /// All visible rows: cold ones first, then hot ones in the order of their commits, then the transaction's own.
    /// `projection` indexes [`Self::schema_with_row_id`], in any order; no batch is empty.
    pub fn stream(&self, projection: Option<Vec<usize>>, batch_rows: usize) -> BoxStream<'static, Result<RecordBatch>> {
        let projection = projection.unwrap_or_else(|| (0..self.cell.form.table_schema().fields().len()).collect());
        let batch_rows = batch_rows.max(1);
        let (snapshot, columns) = (self.clone(), projection.clone());
        let cold = stream::iter(0..self.version.cold.files.len())
            .then(move |file| snapshot.clone().cold_file(file, columns.clone(), batch_rows))
            .flat_map(|file| match file {
                Ok(rows) => rows,
                Err(error) => stream::once(async { Err(error) }).boxed(),
            });
        let snapshot = self.clone();
        let hot = self.hot_parts(batch_rows);
        let hot = stream::iter(hot).map(move |part| snapshot.visible(&snapshot.hot_rows(&part)?, &projection));
        let filled =
            |rows: &Result<RecordBatch>| futures::future::ready(!matches!(rows, Ok(rows) if rows.num_rows() == 0));
        cold.chain(hot).filter(filled).boxed()
    }

    /// The visible rows of a cold file.
    pub(super) async fn cold_file(
        self,
        file: usize,
        projection: Vec<usize>,
        batch_rows: usize,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let file = self.files().get(file).ok_or_else(|| Error::internal("a file that is not there"))?;
        if !self.reads(file) {
            return Ok(stream::empty().boxed());
        }
        let hidden = self.may_hide(file.row_id_min, file.row_id_max);
        let projection = Projection::new(&self.cell.form, file, projection, hidden)?;
        let (positions, schema) = (projection.positions.clone(), projection.read_schema.clone());
        let rows = self.tier.read_rows(file, positions, schema, batch_rows).await?;
        let snapshot = self.clone();
        let all: Vec<usize> = (0..projection.positions.len()).collect();
        let visible = move |rows: Result<RecordBatch>| {
            let rows = rows?;
            let rows = if hidden { snapshot.visible(&rows, &all)? } else { rows };
            projection.apply(&snapshot.cell.form, &rows)
        };
        Ok(rows.map(visible).boxed())
    }

    /// The files that rows are read from. All of them, also where a snapshot of the past reads no row of some.
    pub(super) fn files(&self) -> &[DataFile] {
        &self.version.cold.files
    }

    /// Whether any row of the file was there by the snapshot's commit.
    pub(super) fn reads(&self, file: &DataFile) -> bool {
        self.row_id_end.is_none_or(|end| file.row_id_min < end)
    }

    pub(super) fn form(&self) -> &StoredForm {
        &self.cell.form
    }

    /// Hot rows and the transaction's own, deleted ones among them, in parts of at most `batch_rows`.
    pub(super) fn hot_parts(&self, batch_rows: usize) -> Vec<HotPart> {
        let hot =
            self.version.hot.segments_at(self.at).map(|(segment, rows)| (HotSource::Segment(segment.clone()), rows));
        let own = self.overlay.iter().flat_map(|overlay| overlay.inserts.iter().cloned());
        let own = own.map(|rows| (HotSource::Own(rows.clone()), rows.num_rows()));
        let parts = hot.chain(own).flat_map(|(source, rows)| {
            let starts = (0..rows).step_by(batch_rows);
            starts.map(move |start| HotPart { source: source.clone(), start, rows: batch_rows.min(rows - start) })
        });
        parts.collect()
    }

    /// Errors: 53400 where they were flushed since, and memory is short.
    pub(super) fn hot_rows(&self, part: &HotPart) -> Result<RecordBatch> {
        let rows = match &part.source {
            HotSource::Own(rows) => rows.clone(),
            HotSource::Segment(segment) => segment.rows().ok_or_else(|| self.not_kept())?,
        };
        Ok(rows.slice(part.start, part.rows))
    }

    fn not_kept(&self) -> Error {
        let message =
            format!("the statement reads table \"{}\" as of a commit that is not kept any longer", self.table().name);
        Error::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message)
            .with_detail("Its rows were flushed since, and what is kept in memory for slow readers may take an eighth of memory.limit_bytes.")
            .with_hint("Read again and faster, or raise memory.limit_bytes.")
    }

    /// The same, whose rows stay for as long as it is read, however short memory is.
    pub fn kept(self) -> TableSnapshot {
        let segments = self.version.hot.segments_at(self.at).map(|(segment, _)| segment.clone()).collect();
        TableSnapshot { _kept: Some(Arc::new(KeptRows::new(segments))), ..self }
    }

    /// Whether a row with an id between `low` and `high`, both included, may be deleted.
    pub(super) fn may_hide(&self, low: RowId, high: RowId) -> bool {
        let own = self.overlay.as_ref().is_some_and(|overlay| {
            let from = overlay.deleted.partition_point(|row_id| *row_id < low);
            overlay.deleted.get(from).is_some_and(|row_id| *row_id <= high)
        });
        let later = self.row_id_end.is_some_and(|end| high >= end);
        own || later || self.version.tombstones.any_in(low, high, self.at)
    }

    /// The rows that are not deleted, `_row_id` last in them, and the columns `projection` of those.
    pub(super) fn visible(&self, rows: &RecordBatch, projection: &[usize]) -> Result<RecordBatch> {
        let alive = self.alive(rows)?;
        let rows = rows.project(projection)?;
        match alive {
            Some(alive) => Ok(filter_record_batch(&rows, &alive)?),
            None => Ok(rows),
        }
    }

    fn alive(&self, rows: &RecordBatch) -> Result<Option<BooleanArray>> {
        let row_ids = row_ids(rows)?;
        let mut committed = self.version.tombstones.alive(row_ids, self.at);
        if let Some(end) = self.row_id_end {
            let earlier = row_ids.values().iter().map(|row_id| *row_id < end).collect::<BooleanBuffer>();
            let earlier = BooleanArray::new(earlier, None);
            committed = Some(committed.map_or(Ok(earlier.clone()), |alive| and(&alive, &earlier))?);
        }
        let Some(overlay) = self.overlay.as_ref().filter(|overlay| !overlay.deleted.is_empty()) else {
            return Ok(committed);
        };
        let kept = |row_id: &RowId| overlay.deleted.binary_search(row_id).is_err();
        let own = BooleanArray::new(row_ids.values().iter().map(kept).collect::<BooleanBuffer>(), None);
        Ok(Some(match committed {
            Some(committed) => and(&committed, &own)?,
            None => own,
        }))
    }
}
