//! What a query's names stand for: the seam between planning and whoever has the catalog and the tables.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF, TableProviderFilterPushDown, TableSource};

use crate::error::Result;
use crate::types::RelationId;

/// Resolves the names of a query.
pub trait RelationLookup {
    /// `None` where there is no such relation. The schema, if written, is part of `name`.
    fn find(&self, name: &TableReference) -> Result<Option<Found>>;

    /// Whether rows of this relation only come.
    fn is_append_only(&self, _relation: RelationId) -> bool {
        false
    }

    /// The columns by which this relation has no second row; `None` where that is not known.
    fn primary_key(&self, _relation: RelationId) -> Option<Vec<String>> {
        None
    }

    /// Names to suggest where [`RelationLookup::find`] found nothing.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// `FROM name(arguments)`, for example `generate_series(1, 10)`.
    fn table_function(&self, _name: &str, _arguments: Vec<Expr>) -> Result<Option<Arc<dyn TableSource>>> {
        Ok(None)
    }

    /// A function that stands before the registry's: one that knows the statement's catalog or session.
    fn function(&self, _name: &str) -> Option<Arc<ScalarUDF>> {
        None
    }
}

/// What stands behind a name.
#[derive(Clone)]
pub enum Found {
    /// Rows: a [`RelationSource`] where only the plan is wanted (views, Describe), a provider's source to execute.
    Rows(Arc<dyn TableSource>),
    /// A plain view: its query, planned with the same lookup.
    Query(Box<LogicalPlan>),
}

/// A table or materialized view by its id: name and schema, no rows.
#[derive(Debug, Clone)]
pub struct RelationSource {
    pub id: RelationId,
    pub name: String,
    /// The user's columns.
    pub schema: SchemaRef,
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::common::Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Unsupported; filters.len()])
    }
}

/// The relation that a scan reads, where the lookup gave a [`RelationSource`].
pub fn relation_of(source: &Arc<dyn TableSource>) -> Option<&RelationSource> {
    (source.as_ref() as &dyn Any).downcast_ref::<RelationSource>()
}

/// A plain view as DataFusion expands it: a source with a plan.
pub(super) struct ExpandedView(pub LogicalPlan);

impl TableSource for ExpandedView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.0.schema().inner())
    }

    fn get_logical_plan(&self) -> Option<std::borrow::Cow<'_, LogicalPlan>> {
        Some(std::borrow::Cow::Borrowed(&self.0))
    }
}
