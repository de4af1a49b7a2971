//! The leaf of a physical plan over rows that are here: parts that are read apart, and how many rows they have, which is what
//! DataFusion chooses the sides of a join by.
//!
//! Does not know: where the rows come from.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, stream};

/// Rows that are read in one go, each time anew.
pub trait Part: fmt::Debug + Send + Sync {
    /// About how many there are.
    fn rows(&self) -> usize;

    /// They, as batches of the leaf's schema.
    fn read(&self) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;
}

/// A partition for each part.
#[derive(Debug)]
pub struct LeafExec {
    name: &'static str,
    relation: String,
    schema: SchemaRef,
    parts: Arc<[Arc<dyn Part>]>,
    /// Rows that are wanted of each part.
    fetch: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LeafExec {
    /// `name` is the operator's in a printed plan, `relation` what it reads.
    pub fn new(name: &'static str, relation: &str, schema: SchemaRef, parts: Vec<Arc<dyn Part>>) -> LeafExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative));
        let (parts, metrics) = (parts.into(), ExecutionPlanMetricsSet::new());
        LeafExec { name, relation: relation.to_owned(), schema, parts, fetch: None, properties, metrics }
    }

    /// At most so many rows of each part.
    pub fn fetching(&self, fetch: Option<usize>) -> LeafExec {
        LeafExec {
            name: self.name,
            relation: self.relation.clone(),
            schema: self.schema.clone(),
            parts: self.parts.clone(),
            fetch,
            properties: self.properties.clone(),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for LeafExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "{}: {}, parts={}, columns=[{}]", self.name, self.relation, self.parts.len(), columns.join(", "))?;
        match self.fetch {
            Some(fetch) => write!(f, ", fetch={fetch}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for LeafExec {
    fn name(&self) -> &str {
        self.name
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("{} has no children", self.name) }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn with_fetch(&self, fetch: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(self.fetching(fetch)))
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let parts = match args.partition() {
            Some(part) => self.parts.get(part..part + 1).unwrap_or_default(),
            None => &self.parts[..],
        };
        let wanted = |part: &Arc<dyn Part>| self.fetch.map_or(part.rows(), |fetch| fetch.min(part.rows()));
        let rows = parts.iter().map(wanted).fold(0, usize::saturating_add);
        Ok(Arc::new(Statistics { num_rows: Precision::Inexact(rows), ..Statistics::new_unknown(&self.schema) }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(part) = self.parts.get(partition) else {
            return internal_err!("{} has no partition {partition}", self.name);
        };
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = match self.fetch {
            Some(_) => stream::iter(part.read()).boxed(),
            None => {
                let metrics = metrics.clone();
                let counted = part.read().inspect(move |batch| {
                    metrics.record_output(batch.as_ref().map_or(0, RecordBatch::num_rows));
                });
                stream::iter(counted).boxed()
            }
        };
        let batches = Box::pin(cooperative(RecordBatchStreamAdapter::new(self.schema.clone(), batches)));
        Ok(match self.fetch {
            Some(fetch) => Box::pin(LimitStream::new(batches, 0, Some(fetch), metrics)),
            None => batches,
        })
    }
}

#[cfg(test)]
mod tests;
