//! A query that is planned over fixed snapshots and runs when its result is read.
//!
//! A result may be read in parts, each by itself and as often as asked: for bulk export over several connections. Only
//! a plan in which no partition needs another one (scans, filters, projections, unions of them) has more than one part:
//!
//! ```text
//! partitions of the plan   0  1  2  3  4
//! part 0                   0     2     4
//! part 1                      1     3
//! ```
//!
//! Whoever reads gets every column in its SQL type's one Arrow form, and batches of exactly the schema that was told.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execute_stream};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::context::QueryContext;
use super::engine::physical_plan;
use super::output::result_type;
use super::rows::{Deadline, RowStream, on_query_threads, stream_rows};
use super::running::RunningQueries;
use crate::error::{Error, Result, SqlState};

/// Batches of a bulk read are about this large where rows are narrow...
const BATCH_BYTES: usize = 1 << 20;
/// ... and hold no more rows than this.
const BATCH_ROWS_MAX: usize = 65_536;
/// What a value of variable width is taken to need.
const VARIABLE_BYTES: usize = 16;
/// A smaller part is not worth a connection of its own.
const PART_ROWS_MIN: usize = 65_536;
const PARTS_MAX: usize = 16;

/// Operators that work on each partition by itself.
const LOCAL_OPERATORS: [&str; 9] = [
    "HotRowsExec",
    "ViewRowsExec",
    "DataSourceExec",
    "ColdRowsExec",
    "FilterExec",
    "ProjectionExec",
    "UnionExec",
    "CoalesceBatchesExec",
    "CooperativeExec",
];

/// A result that was promised. Holds its snapshots until it is dropped.
pub struct HeldQuery {
    schema: SchemaRef,
    source: Source,
}

enum Source {
    /// Of a statement that is no query and has run.
    Rows(Vec<RecordBatch>),
    Plan(Box<HeldPlan>),
}

struct HeldPlan {
    threads: Handle,
    running: Arc<RunningQueries>,
    text: String,
    state: SessionState,
    timeout: Option<Duration>,
    reading: Reading,
}

enum Reading {
    /// The plan's first reading takes the physical plan; a later one plans again, because operators keep what they built.
    Whole { logical: LogicalPlan, first: Mutex<Option<Arc<dyn ExecutionPlan>>> },
    /// More than one part. The operators are all local and keep nothing.
    Parts { physical: Arc<dyn ExecutionPlan>, parts: usize },
}

impl HeldQuery {
    /// Rows that are there already.
    pub fn of_rows(schema: &Schema, rows: Vec<RecordBatch>) -> Result<HeldQuery> {
        Ok(HeldQuery { schema: result_schema(schema)?, source: Source::Rows(rows) })
    }

    /// Plans. `rows` is how many the tables below have together, as far as is known: small results are one part.
    pub(super) async fn plan(
        threads: &Handle,
        running: Arc<RunningQueries>,
        context: &QueryContext,
        logical: LogicalPlan,
        rows: usize,
        timeout: Option<Duration>,
    ) -> Result<HeldQuery> {
        let mut state = context.state().clone();
        let batch_rows = batch_rows(logical.schema().as_arrow(), state.config().batch_size());
        *state.config_mut() = state.config().clone().with_batch_size(batch_rows);
        let planned = {
            let (state, logical) = (state.clone(), logical.clone());
            on_query_threads(threads, async move { physical_plan(&state, logical).await })
        };
        let physical = Deadline::after(timeout).bound(planned).await??;
        let schema = result_schema(&physical.schema())?;
        let parts = match is_local(&physical) {
            true => parts(physical.output_partitioning().partition_count(), rows),
            false => 1,
        };
        let reading = if parts > 1 {
            // A file belongs to its partition, whoever reads faster.
            state.config_mut().options_mut().execution.enable_file_stream_work_stealing = false;
            Reading::Parts { physical, parts }
        } else {
            Reading::Whole { logical, first: Mutex::new(Some(physical)) }
        };
        let plan =
            HeldPlan { threads: threads.clone(), running, text: context.text().to_owned(), state, timeout, reading };
        Ok(HeldQuery { schema, source: Source::Plan(Box::new(plan)) })
    }

    /// Of every batch that comes.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Disjoint, and together the whole result. Only a single one has the query's order.
    pub fn parts(&self) -> usize {
        match &self.source {
            Source::Plan(plan) => match plan.reading {
                Reading::Parts { parts, .. } => parts,
                Reading::Whole { .. } => 1,
            },
            Source::Rows(_) => 1,
        }
    }

    /// How long one reading may take, from its start to its last row.
    pub fn timeout(&self) -> Option<Duration> {
        match &self.source {
            Source::Plan(plan) => plan.timeout,
            Source::Rows(_) => None,
        }
    }

    /// Starts to read a part from its beginning.
    pub async fn read(&self, part: usize) -> Result<RowStream> {
        let rows = match &self.source {
            Source::Rows(rows) => stream::iter(rows.clone()).map(Ok).boxed(),
            Source::Plan(plan) => plan.read(part).await?,
        };
        let schema = self.schema.clone();
        Ok(rows.map(move |batch| in_schema(batch?, &schema)).boxed())
    }
}

impl HeldPlan {
    async fn read(&self, part: usize) -> Result<RowStream> {
        let mut deadline = Deadline::after(self.timeout);
        let state = self.state.clone();
        let (task, wanted) = self.running.start(&state, &self.text);
        let batches = match &self.reading {
            Reading::Whole { logical, first } => {
                let (first, logical) = (first.lock().take(), logical.clone());
                let work = async move {
                    let physical = match first {
                        Some(physical) => physical,
                        None => physical_plan(&state, logical).await?,
                    };
                    Ok(execute_stream(physical, task)?)
                };
                deadline.bound(on_query_threads(&self.threads, work)).await??
            }
            Reading::Parts { physical, parts } => {
                let (physical, parts) = (physical.clone(), *parts);
                let work = async move { partitions(physical, task, part, parts) };
                deadline.bound(on_query_threads(&self.threads, work)).await??
            }
        };
        Ok(stream_rows(&self.threads, batches, deadline, Some(wanted)))
    }
}

/// The partitions of one part, one after the other.
fn partitions(
    physical: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    part: usize,
    parts: usize,
) -> Result<SendableRecordBatchStream> {
    let physical = reset_plan_states(physical)?;
    let count = physical.output_partitioning().partition_count();
    let streams = (part..count).step_by(parts).map(|partition| physical.execute(partition, context.clone()));
    let streams = streams.collect::<datafusion::common::Result<Vec<_>>>()?;
    Ok(Box::pin(RecordBatchStreamAdapter::new(physical.schema(), stream::iter(streams).flatten())))
}

fn parts(partitions: usize, rows: usize) -> usize {
    partitions.min(rows / PART_ROWS_MIN).clamp(1, PARTS_MAX)
}

/// Whether each partition's rows come from that partition alone, and none is left out for the sake of a limit.
fn is_local(plan: &Arc<dyn ExecutionPlan>) -> bool {
    LOCAL_OPERATORS.contains(&plan.name()) && plan.fetch().is_none() && plan.children().into_iter().all(is_local)
}

/// Rows of a batch: what the engine usually takes, and more where rows are narrow.
fn batch_rows(schema: &Schema, usual: usize) -> usize {
    let width: usize =
        schema.fields().iter().map(|field| field.data_type().primitive_width().unwrap_or(VARIABLE_BYTES)).sum();
    (BATCH_BYTES / width.max(1)).min(BATCH_ROWS_MAX).max(usual)
}

/// The schema of a query's result as it leaves: each column in its SQL type's one Arrow form, and nullable, because what
/// DataFusion infers of an expression's NULLs is no promise.
fn result_schema(schema: &Schema) -> Result<SchemaRef> {
    let fields =
        schema.fields().iter().map(|field| Ok(Field::new(field.name(), result_type(field.data_type())?.arrow(), true)));
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// The batch with exactly this schema; columns that have their form already are shared.
fn in_schema(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(array, field)| in_form(array, field.data_type())).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|error| {
        Error::new(SqlState::INTERNAL, "a batch does not have its query's schema").with_detail(error.to_string())
    })
}

fn in_form(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if array.data_type() == data_type {
        return Ok(array.clone());
    }
    Ok(cast_with_options(array, data_type, &CastOptions { safe: false, ..CastOptions::default() })?)
}

#[cfg(test)]
mod tests;
