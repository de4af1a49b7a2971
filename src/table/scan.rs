//! A snapshot as DataFusion's table: hot rows and cold files as one scan at one commit.
//!
//! ```text
//! UnionExec
//!   HotRowsExec                      hot rows: prefixes of segments, minus tombstones
//!   ColdRowsExec                     minus tombstones by row id, intervals from their stored form; left out where
//!     DataSourceExec (Parquet)       neither is needed. Files and row groups pruned by the filters
//! ```
//!
//! Filters are pushed down for pruning alone (inexact): DataFusion filters again above.

mod cold;
mod hot;

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;

use super::snapshot::TableSnapshot;

/// A table at a commit.
#[derive(Debug)]
pub struct SnapshotTable {
    snapshot: TableSnapshot,
    schema: SchemaRef,
}

impl SnapshotTable {
    /// `with_row_id` also shows `_row_id`, as the last column.
    pub fn new(snapshot: TableSnapshot, with_row_id: bool) -> SnapshotTable {
        let schema = if with_row_id { snapshot.schema_with_row_id() } else { snapshot.table().schema() };
        SnapshotTable { snapshot, schema }
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let options = state.config_options();
        let (partitions, batch_rows) = (options.execution.target_partitions.max(1), options.execution.batch_size.get());
        let hot = hot::scan(&self.snapshot, &projection, partitions, batch_rows)?;
        let cold = if !self.snapshot.files().iter().any(|file| self.snapshot.reads(file)) {
            None
        } else {
            let predicate = conjunction(filters.iter().filter(|filter| self.stored_as_is(filter)).cloned());
            let schema = DFSchema::try_from(self.snapshot.form().scan_schema().as_ref().clone())?;
            let in_files = |predicate| state.create_physical_expr(self.in_files(predicate)?, &schema);
            let predicate = predicate.map(in_files).transpose()?;
            Some(cold::scan(&self.snapshot, &projection, predicate, partitions)?)
        };
        match (hot, cold) {
            (Some(hot), Some(cold)) => UnionExec::try_new(vec![hot, cold]),
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (None, None) => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&projection)?)))),
        }
    }
}

impl SnapshotTable {
    /// Whether a filter can be evaluated over the files' form of the columns, and never depends on when it is.
    fn stored_as_is(&self, filter: &Expr) -> bool {
        let schema = self.snapshot.schema_with_row_id();
        !filter.is_volatile()
            && filter.column_refs().into_iter().all(|column| {
                let field = schema.column_with_name(&column.name);
                field.is_some_and(|(_, field)| !matches!(field.data_type(), DataType::Interval(_)))
            })
    }

    /// The filter in the files' names of the columns, of no table.
    fn in_files(&self, filter: Expr) -> DataFusionResult<Expr> {
        let (table, files) = (self.snapshot.schema_with_row_id(), self.snapshot.form().scan_schema());
        let transformed = filter.transform(|expr| match expr {
            Expr::Column(column) => {
                let name = match table.index_of(&column.name) {
                    Ok(position) => files.field(position).name().clone(),
                    Err(_) => column.name,
                };
                Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(transformed.data)
    }
}

#[cfg(test)]
mod tests;
