//! Joins that let go: a cancelled query ends within a bounded piece of work, however many pairs its join makes.
//!
//! DataFusion's joins make pairs as long as they have rows of both sides, and a task that never waits cannot be aborted.
//! A node of this kind stands above each join, and gives way to the runtime between batches; below the probe side of a
//! nested loop another one hands on few rows at a time, so that a join that finds no pair comes back for more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use futures::{Stream, StreamExt};

use super::pass_through::{Pass, PassThrough};

/// Rows of the probe side that a nested loop pairs with all of the other side before it gives way.
const PROBE_ROWS: usize = 64;
/// Batches of a join's output between two ways given.
const BATCHES: usize = 16;

/// Puts the nodes into a finished plan.
#[derive(Debug)]
pub struct YieldingJoins;

impl PhysicalOptimizerRule for YieldingJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let yielding = plan.transform_up(|plan| {
            let is_nested_loop = plan.downcast_ref::<NestedLoopJoinExec>().is_some();
            let is_join = is_nested_loop
                || plan.downcast_ref::<CrossJoinExec>().is_some()
                || plan.downcast_ref::<HashJoinExec>().is_some()
                || plan.downcast_ref::<SortMergeJoinExec>().is_some();
            if !is_join {
                return Ok(Transformed::no(plan));
            }
            let mut children: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().cloned().collect();
            let plan = match children.pop() {
                Some(probe) if is_nested_loop => {
                    children.push(PassThrough::over(probe, Yielding { rows_max: Some(PROBE_ROWS), batches: 1 }));
                    plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))?
                }
                _ => plan,
            };
            Ok(Transformed::yes(PassThrough::over(plan, Yielding { rows_max: None, batches: BATCHES })))
        })?;
        Ok(yielding.data)
    }

    fn name(&self) -> &str {
        "yielding_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Gives way after every few batches, or slices of them.
#[derive(Debug, Clone)]
struct Yielding {
    /// `None`: batches as they come.
    rows_max: Option<usize>,
    batches: usize,
}

impl Pass for Yielding {
    const NAME: &'static str = "YieldingExec";

    fn pass(&self, input: SendableRecordBatchStream, _: &TaskContext) -> SendableRecordBatchStream {
        let Yielding { rows_max, batches } = *self;
        Box::pin(YieldingStream { input, rows_max, batches, given: 0, rest: None })
    }
}

struct YieldingStream {
    input: SendableRecordBatchStream,
    rows_max: Option<usize>,
    batches: usize,
    /// Since it gave way.
    given: usize,
    /// What is left of a batch.
    rest: Option<RecordBatch>,
}

impl Stream for YieldingStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.given >= self.batches {
            self.given = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.input.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(batch))) => batch,
                other => return other,
            },
        };
        self.given += 1;
        match self.rows_max {
            Some(rows_max) if batch.num_rows() > rows_max => {
                self.rest = Some(batch.slice(rows_max, batch.num_rows() - rows_max));
                Poll::Ready(Some(Ok(batch.slice(0, rows_max))))
            }
            _ => Poll::Ready(Some(Ok(batch))),
        }
    }
}

impl RecordBatchStream for YieldingStream {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
