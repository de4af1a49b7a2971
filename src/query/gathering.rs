//! Window functions that put values together within a query's memory: for each row a list of its whole frame, which is more than any
//! operator counts.
//!
//! A node of this kind stands above each window operator. While that computes, what it puts together is taken from the pool of all
//! queries; and until the operator ends, it is not given back. It computes a partition or a batch at once, of n rows n * n values, without
//! letting go of its thread; so the thread's other queries go on on another one meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use futures::{Stream, StreamExt};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use super::pass_through::{Pass, PassThrough};
use crate::functions::GatherBudget;

/// Puts the nodes into a finished plan.
#[derive(Debug)]
pub struct GatheringWindows;

impl PhysicalOptimizerRule for GatheringWindows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let bounded = plan.transform_up(|plan| {
            let is_window =
                plan.downcast_ref::<WindowAggExec>().is_some() || plan.downcast_ref::<BoundedWindowAggExec>().is_some();
            Ok(if is_window { Transformed::yes(PassThrough::over(plan, Gathering)) } else { Transformed::no(plan) })
        })?;
        Ok(bounded.data)
    }

    fn name(&self) -> &str {
        "gathering_windows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone)]
struct Gathering;

impl Pass for Gathering {
    const NAME: &'static str = "GatheringExec";

    fn pass(&self, rows: SendableRecordBatchStream, context: &TaskContext) -> SendableRecordBatchStream {
        let reservation = MemoryConsumer::new("lists of window functions").register(context.memory_pool());
        Box::pin(GatheringStream { rows, budget: Some(GatherBudget::Pool(reservation)) })
    }
}

struct GatheringStream {
    rows: SendableRecordBatchStream,
    /// Taken out while the rows are computed.
    budget: Option<GatherBudget>,
}

impl Stream for GatheringStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(budget) = this.budget.take() else { return Poll::Ready(None) };
        let (polled, left) = beside_others(|| budget.bound(|| this.rows.poll_next_unpin(context)));
        this.budget = Some(left);
        polled
    }
}

/// Runs what may take long. Where the runtime has one thread alone, its other tasks wait.
fn beside_others<R>(run: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(run),
        _ => run(),
    }
}

impl RecordBatchStream for GatheringStream {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}
