//! The cold part of a scan: files through DataFusion's Parquet source, then tombstones.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, DataFusionError, Result, Statistics, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, CardinalityEffect, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt;

use crate::table::snapshot::TableSnapshot;
use crate::tier::{DataFile, TIER_URL, from_stored};

/// The files of a snapshot, pruned by `predicate` (over the files' columns).
pub(super) fn scan(
    snapshot: &TableSnapshot,
    projection: &[usize],
    predicate: Option<Arc<dyn PhysicalExpr>>,
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let form = snapshot.form();
    let row_id = form.table_schema().fields().len() - 1;
    let hides = snapshot.files().iter().any(|file| snapshot.may_hide(file.row_id_min, file.row_id_max));
    let as_is = projection.iter().all(|column| form.is_same(*column));
    let mut read = projection.to_vec();
    if hides {
        read.push(row_id);
    }
    let files = files(snapshot, read, predicate, partitions)?;
    if !hides && as_is {
        return Ok(files);
    }
    let schema = Arc::new(form.table_schema().project(projection)?);
    Ok(Arc::new(ColdRowsExec::new(snapshot.clone(), files, schema, hides)))
}

fn files(
    snapshot: &TableSnapshot,
    read: Vec<usize>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = snapshot.form().scan_schema();
    let mut source = ParquetSource::new(schema.clone());
    if let Some(predicate) = predicate {
        source = source.with_predicate(predicate);
    }
    let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions.min(snapshot.files().len())];
    let count = groups.len();
    for (position, file) in snapshot.files().iter().enumerate() {
        let statistics = Arc::new(statistics(file, &schema));
        let file = PartitionedFile::new(file.path.clone(), file.bytes).with_statistics(statistics);
        if let Some(group) = groups.get_mut(position % count) {
            group.push(file);
        }
    }
    let rows: u64 = snapshot.files().iter().map(|file| file.rows).sum();
    let all = Statistics {
        num_rows: Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX)),
        ..Statistics::new_unknown(&schema)
    };
    let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(TIER_URL)?, Arc::new(source))
        .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
        .with_statistics(all)
        .with_projection_indices(Some(read))?
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

/// A file's statistics as DataFusion prunes by them. It takes exact bounds only, and answers no query by a single
/// file's; the scan's own statistics say no bounds.
fn statistics(file: &DataFile, schema: &SchemaRef) -> Statistics {
    let rows = usize::try_from(file.rows).unwrap_or(usize::MAX);
    let unknown = ColumnStatistics::new_unknown();
    let columns = schema.fields().iter().enumerate().map(|(position, field)| {
        let Some(bounds) = file.columns.get(position) else { return unknown.clone() };
        let value = |bound: &Option<crate::tier::Bound>| {
            let scalar = bound.as_ref().and_then(|bound| bound.to_scalar(field.data_type()));
            scalar.map_or(Precision::Absent, Precision::Exact)
        };
        ColumnStatistics {
            null_count: Precision::Exact(usize::try_from(bounds.null_count).unwrap_or(usize::MAX)),
            min_value: value(&bounds.min),
            max_value: value(&bounds.max),
            ..unknown.clone()
        }
    });
    Statistics {
        num_rows: Precision::Exact(rows),
        total_byte_size: Precision::Absent,
        column_statistics: columns.collect(),
    }
}

/// Leaves out rows that are deleted, and gives columns their table's form.
#[derive(Debug)]
struct ColdRowsExec {
    snapshot: TableSnapshot,
    files: Arc<dyn ExecutionPlan>,
    /// What comes out: the files' columns without the row id that was read for `hides`.
    schema: SchemaRef,
    hides: bool,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ColdRowsExec {
    fn new(snapshot: TableSnapshot, files: Arc<dyn ExecutionPlan>, schema: SchemaRef, hides: bool) -> ColdRowsExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            files.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties);
        ColdRowsExec { snapshot, files, schema, hides, properties, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for ColdRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ColdRowsExec: table={}, tombstones={}", self.snapshot.table().name, self.hides)
    }
}

impl ExecutionPlan for ColdRowsExec {
    fn name(&self) -> &str {
        "ColdRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.files]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
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
        let Ok([files]) = <[Arc<dyn ExecutionPlan>; 1]>::try_from(children) else {
            return internal_err!("ColdRowsExec has one child");
        };
        Ok(Arc::new(ColdRowsExec::new(self.snapshot.clone(), files, self.schema.clone(), self.hides)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// A filter commutes with the tombstones: it may go down to where it prunes.
    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let as_is = self.schema.fields().iter().zip(self.files.schema().fields()).all(|(a, b)| a == b);
        if as_is {
            FilterDescription::from_children(parent_filters, &self.children())
        } else {
            Ok(FilterDescription::all_unsupported(&parent_filters, &self.children()))
        }
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// The number of rows alone, and exact only where none is hidden.
    fn statistics_from_inputs(&self, files: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let rows = files.first().map_or(Precision::Absent, |files| files.num_rows);
        let num_rows = if self.hides { rows.to_inexact() } else { rows };
        Ok(Arc::new(Statistics { num_rows, ..Statistics::new_unknown(&self.schema) }))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        if self.hides { CardinalityEffect::LowerEqual } else { CardinalityEffect::Equal }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.files.execute(partition, context)?;
        let (snapshot, schema, hides) = (self.snapshot.clone(), self.schema.clone(), self.hides);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let visible = rows.map(move |rows| {
            let rows = rows?;
            let _timer = metrics.elapsed_compute().timer();
            let external = |error: crate::error::Error| DataFusionError::External(Box::new(error));
            let rows = if hides { snapshot.visible(&rows, &columns).map_err(external)? } else { rows };
            let rows = from_stored(&schema, rows.columns(), rows.num_rows()).map_err(external)?;
            metrics.record_output(rows.num_rows());
            Ok(rows)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), visible)))
    }
}
