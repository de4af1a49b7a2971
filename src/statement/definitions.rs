//! The catalog's names without rows: enough to plan a view, or to describe a statement.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, ScalarUDF, TableSource};
use sqlparser::ast;

use super::scope::{Environment, rename, table_function, user_columns_of};
use crate::catalog::{Catalog, Relation, TableKind};
use crate::error::Result;
use crate::plan::{Found, RelationLookup, RelationSource, plan_query};
use crate::query::QueryContext;
use crate::query::rewrite::{RewriteNames, rewrite};
use crate::sql::parse_query;
use crate::system::{LeftOut, never_filled};
use crate::types::RelationId;

/// A catalog as the planner asks for it.
pub struct Definitions {
    catalog: Arc<Catalog>,
    context: QueryContext,
    /// A table whose hidden row id the statement may name.
    changed: Option<String>,
}

impl Definitions {
    pub fn new(environment: &Environment<'_>, catalog: Arc<Catalog>, now_us: i64) -> Self {
        Definitions::in_zone(environment, catalog, now_us, None)
    }

    /// In the zone that a view was made in; `None`: the session's.
    pub fn in_zone(environment: &Environment<'_>, catalog: Arc<Catalog>, now_us: i64, zone: Option<&str>) -> Self {
        let facts = environment.session.facts(environment.handles, catalog.clone(), LeftOut::default());
        let mut context = environment.context(HashMap::new(), facts, now_us);
        if let Some(zone) = zone {
            context.set_time_zone(zone);
        }
        Definitions { catalog, context, changed: None }
    }

    /// Shows the row ids of the table that a statement changes.
    pub fn with_row_ids_of(mut self, table: &str) -> Self {
        self.changed = Some(table.to_owned());
        self
    }

    pub fn state(&self) -> &SessionState {
        self.context.state()
    }

    pub fn rewritten(&self, query: &ast::Query) -> Result<ast::Query> {
        let mut query = query.clone();
        rewrite(&mut query, &RewriteNames { never_filled: &never_filled })?;
        Ok(query)
    }
}

impl RelationLookup for Definitions {
    fn find(&self, name: &TableReference) -> Result<Option<Found>> {
        let relation = match name.schema() {
            None | Some("public") => self.catalog.find(name.table()),
            Some(_) => None,
        };
        let Some(relation) = relation else {
            return Ok(self.context.relation(name).map(|provider| Found::Rows(provider_as_source(provider))));
        };
        let schema = match relation {
            Relation::View(view) => {
                let query = self.rewritten(&*parse_query(&view.sql)?)?;
                let plan = plan_query(self.state(), self, &query, &view.sql)?;
                let plan = rename(plan, view.columns.iter().map(|column| column.name.as_str()))?;
                return Ok(Some(Found::Query(Box::new(plan))));
            }
            Relation::Table(table) if self.changed.as_ref() == Some(&table.name) => table.schema_with_row_id(),
            other => other.schema(),
        };
        let source = |schema| RelationSource { id: relation.id(), name: relation.name().to_owned(), schema };
        match relation {
            Relation::Table(table) if table.watermark.is_some() && self.changed.as_ref() != Some(&table.name) => {
                user_columns_of(table, Arc::new(source(table.schema()))).map(Some)
            }
            _ => Ok(Some(Found::Rows(Arc::new(source(schema))))),
        }
    }

    fn is_append_only(&self, relation: RelationId) -> bool {
        self.catalog.table(relation).is_some_and(|table| table.kind == TableKind::AppendOnly)
    }

    fn primary_key(&self, relation: RelationId) -> Option<Vec<String>> {
        let table = self.catalog.table(relation)?;
        Some(table.key()?.iter().map(|column| table.columns[*column].name.clone()).collect())
    }

    fn names(&self) -> Vec<String> {
        self.catalog.relations().map(|relation| relation.name().to_owned()).collect()
    }

    fn table_function(&self, name: &str, arguments: Vec<Expr>) -> Result<Option<Arc<dyn TableSource>>> {
        table_function(self.state(), name, &arguments)
    }

    fn function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.context.system_function(name)
    }
}
