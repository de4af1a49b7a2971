//! The cold part of a scan: files through DataFusion's Parquet source, then tombstones.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, DataFusionError, Result, Statistics, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, CardinalityEffect, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt;

use crate::error::Error;
use crate::table::snapshot::TableSnapshot;
use crate::tier::{DataFile, StoredForm, TIER_URL, TableFiles, from_stored};

/// The files of a snapshot, pruned by `predicate` (over the files' columns). Files that lack the same of the wanted
/// columns, because they are older than these, are read together.
pub(super) fn scan(
    snapshot: &TableSnapshot,
    projection: &[usize],
    predicate: Option<Arc<dyn PhysicalExpr>>,
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut groups: Vec<(Vec<bool>, Vec<&DataFile>)> = Vec::new();
    for file in snapshot.files().iter().filter(|file| snapshot.reads(file)) {
        let present = projection.iter().map(|column| snapshot.form().position_in(file, *column).is_some()).collect();
        match groups.iter_mut().find(|(other, _)| *other == present) {
            Some((_, files)) => files.push(file),
            None => groups.push((present, vec![file])),
        }
    }
    let scan = |(present, files): (Vec<bool>, Vec<&DataFile>)| {
        scan_files(snapshot, projection, &present, &files, predicate.clone(), partitions)
    };
    let mut scans = groups.into_iter().map(scan).collect::<Result<Vec<_>>>()?;
    match scans.pop() {
        Some(only) if scans.is_empty() => Ok(only),
        Some(last) => {
            scans.push(last);
            UnionExec::try_new(scans)
        }
        None => internal_err!("a scan of no files"),
    }
}

/// `present`: which of the projection's columns these files have.
fn scan_files(
    snapshot: &TableSnapshot,
    projection: &[usize],
    present: &[bool],
    files: &[&DataFile],
    predicate: Option<Arc<dyn PhysicalExpr>>,
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let form = snapshot.form();
    let row_id = form.table_schema().fields().len() - 1;
    let hides = files.iter().any(|file| snapshot.may_hide(file.row_id_min, file.row_id_max));
    let as_is = projection.iter().all(|column| form.is_same(*column)) && present.iter().all(|present| *present);
    let mut read: Vec<usize> =
        projection.iter().zip(present).filter(|(_, present)| **present).map(|(column, _)| *column).collect();
    if hides {
        read.push(row_id);
    }
    // What a file does not have is not NULL for it, but what the column's definition says.
    let has_all = |predicate: &Arc<dyn PhysicalExpr>| {
        let columns = collect_columns(predicate);
        columns.iter().all(|column| files.iter().all(|file| form.position_in(file, column.index()).is_some()))
    };
    let scanned = file_source(snapshot, files, read, predicate.filter(has_all), partitions)?;
    if !hides && as_is {
        return Ok(scanned);
    }
    let schema = Arc::new(form.table_schema().project(projection)?);
    let columns = projection.iter().copied().zip(present.iter().copied()).collect();
    Ok(Arc::new(ColdRowsExec::new(snapshot.clone(), scanned, schema, columns, hides)))
}

fn file_source(
    snapshot: &TableSnapshot,
    files: &[&DataFile],
    read: Vec<usize>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = snapshot.form().scan_schema();
    let mut source = ParquetSource::new(schema.clone());
    if let Some(predicate) = predicate {
        source = source.with_predicate(predicate);
    }
    let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions.min(files.len())];
    let count = groups.len();
    for (position, file) in files.iter().enumerate() {
        let statistics = Arc::new(statistics(snapshot.form(), file, &schema));
        let file = PartitionedFile::new(file.path.clone(), file.bytes)
            .with_statistics(statistics)
            // A plan keeps the files that it reads from being removed, for as long as it lives.
            .with_extension(HeldFiles(snapshot.cold().clone()));
        if let Some(group) = groups.get_mut(position % count) {
            group.push(file);
        }
    }
    let rows: u64 = files.iter().map(|file| file.rows).sum();
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

/// Held by plans for its `Arc`.
struct HeldFiles(#[expect(dead_code, reason = "holding it is its use")] Arc<TableFiles>);

/// A file's statistics as DataFusion prunes by them. It takes exact bounds only, and answers no query by a single
/// file's; the scan's own statistics say no bounds.
fn statistics(form: &StoredForm, file: &DataFile, schema: &SchemaRef) -> Statistics {
    let rows = usize::try_from(file.rows).unwrap_or(usize::MAX);
    let unknown = ColumnStatistics::new_unknown();
    let columns = schema.fields().iter().enumerate().map(|(position, field)| {
        let bounds = form.position_in(file, position).and_then(|position| file.columns.get(position));
        let Some(bounds) = bounds else { return unknown.clone() };
        // The text of a single float is that of another double.
        let has_other_text = form.is_widened(position) && *field.data_type() == DataType::Float64;
        let value = |bound: &Option<crate::tier::Bound>| {
            let bound = bound.as_ref().filter(|_| !has_other_text);
            let scalar = bound.and_then(|bound| bound.to_scalar(field.data_type()));
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
    /// What comes out: the files' columns without the row id that was read for `hides`, and those that they lack.
    schema: SchemaRef,
    /// For each of the schema's columns its position in the table, and whether the files have it.
    columns: Arc<[(usize, bool)]>,
    hides: bool,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ColdRowsExec {
    fn new(
        snapshot: TableSnapshot,
        files: Arc<dyn ExecutionPlan>,
        schema: SchemaRef,
        columns: Arc<[(usize, bool)]>,
        hides: bool,
    ) -> ColdRowsExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            files.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties);
        ColdRowsExec { snapshot, files, schema, columns, hides, properties, metrics: ExecutionPlanMetricsSet::new() }
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
        Ok(Arc::new(ColdRowsExec::new(
            self.snapshot.clone(),
            files,
            self.schema.clone(),
            self.columns.clone(),
            self.hides,
        )))
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
        let complete = self.columns.iter().all(|(_, present)| *present);
        let as_is = complete && self.schema.fields().iter().zip(self.files.schema().fields()).all(|(a, b)| a == b);
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
        let columns = self.columns.clone();
        let read: Vec<usize> = (0..columns.iter().filter(|(_, present)| *present).count()).collect();
        let visible = rows.map(move |rows| {
            let rows = rows?;
            let _timer = metrics.elapsed_compute().timer();
            let external = |error: Error| DataFusionError::External(Box::new(error));
            let rows = if hides { snapshot.visible(&rows, &read).map_err(external)? } else { rows };
            let mut present = rows.columns().iter();
            let filled = columns.iter().map(|(column, is_present)| match is_present {
                true => present.next().cloned().ok_or_else(|| Error::internal("a column of a file is missing")),
                false => snapshot.form().missing(*column, rows.num_rows()),
            });
            let filled = filled.collect::<crate::error::Result<Vec<_>>>().map_err(external)?;
            let rows = from_stored(&schema, &filled, rows.num_rows()).map_err(external)?;
            metrics.record_output(rows.num_rows());
            Ok(rows)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), visible)))
    }
}
