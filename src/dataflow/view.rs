//! A view at one commit, as readers hold it, and as DataFusion scans it.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::content::{Content, Place, in_schema};
use super::errors::{ErrorSet, ViewError};
use super::expression::take_rows;
use super::operators::LateRows;
use super::readers::{HeldContent, Readers};
use crate::delta::{DeltaBatch, Digest, digest_batch};
use crate::error::{Error, Result, SqlState};
use crate::leaf::{LeafExec, Part};
use crate::types::CommitNumber;

/// Rows of a batch where the reader does not say.
const BATCH_ROWS: usize = 8192;
/// A view with so many rows is read in parallel.
const PARTS_ROWS_MIN: u64 = 65_536;

/// Immutable; shares its chunks with the view, which copies those it writes while this is held. For a reader that is too slow they
/// are not kept: reading fails then with 53400.
#[derive(Debug, Clone)]
pub struct ViewSnapshot {
    schema: SchemaRef,
    commit: CommitNumber,
    content: Arc<HeldContent>,
    rows_held: u64,
    errors: ErrorSet,
    late: Option<LateRows>,
}

impl ViewSnapshot {
    pub(super) fn new(
        schema: SchemaRef,
        commit: CommitNumber,
        content: Content,
        errors: ErrorSet,
        late: Option<LateRows>,
        readers: &mut Readers,
    ) -> Self {
        let rows_held = content.rows_held();
        let content = readers.hold(commit, content);
        ViewSnapshot { schema, commit, content, rows_held, errors, late }
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Everything up to this commit is in the view, and nothing after it.
    pub fn commit(&self) -> CommitNumber {
        self.commit
    }

    /// All rows, each as often as it is there, in no promised order; `projection` indexes the schema.
    pub fn batches(
        &self,
        projection: Option<&[usize]>,
        batch_rows: usize,
    ) -> impl Iterator<Item = Result<RecordBatch>> + Send + use<> {
        self.part_batches(projection, batch_rows, 0, 1)
    }

    /// The same for one part of so many, which together are the whole.
    fn part_batches(
        &self,
        projection: Option<&[usize]>,
        batch_rows: usize,
        part: usize,
        parts: usize,
    ) -> impl Iterator<Item = Result<RecordBatch>> + Send + use<> {
        let projection = projection.map(<[usize]>::to_vec);
        self.part_deltas(batch_rows, part, parts).map(move |delta| {
            let rows = repeated(&delta?)?;
            Ok(match &projection {
                Some(columns) => rows.project(columns)?,
                None => rows,
            })
        })
    }

    /// Distinct parts of the content with their weights.
    pub fn deltas(&self, batch_rows: usize) -> impl Iterator<Item = Result<DeltaBatch>> + Send + use<> {
        self.part_deltas(batch_rows, 0, 1)
    }

    fn part_deltas(
        &self,
        batch_rows: usize,
        part: usize,
        parts: usize,
    ) -> impl Iterator<Item = Result<DeltaBatch>> + Send + use<> {
        let (content, schema) = (self.content.clone(), self.schema.clone());
        let mut place = Some(Place::new(part, parts));
        std::iter::from_fn(move || {
            loop {
                let place_now = place.as_mut()?;
                let read = content.content().and_then(|content| content.read(place_now, batch_rows.max(1)));
                match read.transpose()?.and_then(|delta| in_schema(&delta, &schema)) {
                    Ok(delta) if delta.is_empty() => {}
                    Ok(delta) => return Some(Ok(delta)),
                    Err(error) => {
                        place = None;
                        return Some(Err(error));
                    }
                }
            }
        })
    }

    /// The rows that all `filters` could hold for, found by their key; `None` where they do not make a whole key.
    pub(super) fn find(&self, filters: &[Expr]) -> Result<Option<RecordBatch>> {
        let value = |filter: &Expr| {
            let (column, value) = equality(filter)?;
            Some((self.schema.index_of(&column.name).ok()?, value.clone()))
        };
        let values: Vec<(usize, ScalarValue)> = filters.iter().filter_map(value).collect();
        match self.content.content()?.find(&values)? {
            Some(found) => Ok(Some(repeated(&in_schema(&found, &self.schema)?)?)),
            None => Ok(None),
        }
    }

    /// About how many rows there are, without reading them.
    pub fn rows_held(&self) -> u64 {
        self.rows_held
    }

    /// Parts that can be read apart.
    fn parts(&self) -> Result<usize> {
        Ok(self.content.content()?.parts())
    }

    /// Errors: XX000, as for [`ViewSnapshot::digest`], if the content cannot be read.
    pub fn rows(&self) -> Result<u64> {
        let mut rows = 0;
        for delta in self.deltas(BATCH_ROWS) {
            let delta = delta?;
            rows += (0..delta.num_rows()).map(|row| delta.weight(row).max(0) as u64).sum::<u64>();
        }
        Ok(rows)
    }

    pub fn digest(&self) -> Result<Digest> {
        let mut digest = Digest::default();
        for delta in self.deltas(BATCH_ROWS) {
            digest.add(digest_batch(&delta?)?);
        }
        Ok(digest)
    }

    /// Rows and groups that could not be computed and are left out.
    pub fn errors(&self) -> Result<impl Iterator<Item = ViewError>> {
        self.errors.iter()
    }

    /// Rows that came too late, with their windows for messages.
    pub fn late_rows(&self) -> Result<impl Iterator<Item = ViewError>> {
        let late = self.late.as_ref().map(|late| late.rows().iter()).transpose()?;
        Ok(late.into_iter().flatten())
    }

    /// How many of [`ViewSnapshot::errors`] there are, and how many rows and groups they stand for.
    pub fn error_counts(&self) -> (usize, u64) {
        (self.errors.len(), self.errors.rows())
    }

    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }
}

/// `column = value`, in either order.
fn equality(filter: &Expr) -> Option<(&Column, &ScalarValue)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
    match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(column)) => {
            (!value.is_null()).then_some((column, value))
        }
        _ => None,
    }
}

/// Rows as often as their weights say. A negative weight means that the view was given a delete without its insert.
fn repeated(delta: &DeltaBatch) -> Result<RecordBatch> {
    if (0..delta.num_rows()).all(|row| delta.weight(row) == 1) {
        return Ok(delta.rows().clone());
    }
    let mut indices = Vec::with_capacity(delta.num_rows());
    for row in 0..delta.num_rows() {
        let weight = delta.weight(row);
        let times = usize::try_from(weight).map_err(|_| {
            Error::new(SqlState::DATA_CORRUPTED, "a materialized view holds a row with a negative weight")
                .with_hint("Drop the view and create it again.")
        })?;
        indices.extend(std::iter::repeat_n(row as u32, times));
    }
    Ok(take_rows(delta, &UInt32Array::from(indices))?.rows().clone())
}

/// DataFusion's view of a snapshot.
#[derive(Debug)]
pub struct ViewTable {
    /// As plans print it.
    name: String,
    snapshot: Arc<ViewSnapshot>,
}

impl ViewTable {
    pub fn new(name: &str, snapshot: ViewSnapshot) -> Self {
        ViewTable { name: name.to_owned(), snapshot: Arc::new(snapshot) }
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        self.snapshot.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Conditions on keys choose rows; DataFusion applies all conditions again.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let pushdown = |filter: &&Expr| match equality(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(pushdown).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let found = self.snapshot.find(filters).map_err(external)?;
        if let Some(rows) = found {
            return Ok(MemorySourceConfig::try_new_exec(&[vec![rows]], self.schema(), projection.cloned())?);
        }
        let schema = match projection {
            Some(columns) => Arc::new(self.schema().project(columns)?),
            None => self.schema(),
        };
        // A small view is not worth a second partition.
        let parts = match self.snapshot.rows_held() < PARTS_ROWS_MIN {
            true => 1,
            false => self.snapshot.parts().map_err(external)?.min(state.config().target_partitions()).max(1),
        };
        let part = |part: usize| {
            let (snapshot, projection) = (self.snapshot.clone(), projection.cloned());
            let batch_rows = state.config().batch_size();
            Arc::new(ViewPart { snapshot, projection, batch_rows, part, parts }) as Arc<dyn Part>
        };
        let leaf = LeafExec::new("ViewRowsExec", &self.name, schema, (0..parts).map(part).collect());
        Ok(Arc::new(leaf.fetching(limit)))
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A share of a snapshot's rows.
#[derive(Debug)]
struct ViewPart {
    snapshot: Arc<ViewSnapshot>,
    projection: Option<Vec<usize>>,
    batch_rows: usize,
    part: usize,
    parts: usize,
}

impl Part for ViewPart {
    /// An even share.
    fn rows(&self) -> usize {
        usize::try_from(self.snapshot.rows_held()).unwrap_or(usize::MAX) / self.parts
    }

    fn read(&self) -> Box<dyn Iterator<Item = DataFusionResult<RecordBatch>> + Send> {
        let batches = self.snapshot.part_batches(self.projection.as_deref(), self.batch_rows, self.part, self.parts);
        Box::new(batches.map(|batch| batch.map_err(external)))
    }
}
