//! What the names of one statement stand for: relations by schema and search path, functions, time and zone.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{Result as DataFusionResult, TableReference, exec_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::ScalarUDF;

/// The one database.
pub const DATABASE: &str = "tidemark";

/// Not a schema that SQL can name: where DataFusion looks unqualified names up. It holds the search path.
const UNQUALIFIED: &str = " search path ";

/// A schema's relations by name.
pub type Relations = HashMap<String, Arc<dyn TableProvider>>;

/// What a statement may see.
pub struct ContextInput {
    /// `public`, `pg_catalog`, `information_schema`, `tidemark`, each with its relations.
    pub schemas: HashMap<String, Relations>,
    /// Schemas in which unqualified names are looked up, first match wins. `pg_catalog` is looked at first, as in
    /// PostgreSQL, where the path does not name it.
    pub search_path: Vec<String>,
    /// Functions that know this statement's catalog or session, over the registry's.
    pub functions: Vec<Arc<ScalarUDF>>,
    /// The transaction's start: what `now()` gives.
    pub now_us: i64,
    pub time_zone: String,
}

impl ContextInput {
    /// The usual search path over the given schemas.
    pub fn new(schemas: HashMap<String, Relations>, functions: Vec<Arc<ScalarUDF>>, now_us: i64) -> Self {
        ContextInput {
            schemas,
            search_path: vec!["public".into()],
            functions,
            now_us,
            time_zone: "UTC".into(),
        }
    }
}

/// The names of one statement, and DataFusion's state to plan and run it with.
pub struct QueryContext {
    state: SessionState,
    names: Arc<Names>,
}

impl QueryContext {
    pub(super) fn new(state: SessionState, names: Arc<Names>) -> Self {
        QueryContext { state, names }
    }

    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// The relation of a name, qualified or not.
    pub fn relation(&self, name: &TableReference) -> Option<Arc<dyn TableProvider>> {
        if name.catalog().is_some_and(|catalog| catalog != DATABASE) {
            return None;
        }
        match name.schema() {
            Some(schema) => self.names.in_schema(schema, name.table()),
            None => self.names.unqualified(name.table()),
        }
    }

    /// Every name of the search path and of all schemas, for suggestions.
    pub fn relation_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.unqualified_names();
        names.sort();
        names.dedup();
        names
    }
}

/// Schemas and search path; also DataFusion's catalog, for what it plans by itself.
#[derive(Debug)]
pub(super) struct Names {
    schemas: HashMap<String, Arc<Schema>>,
    path: Vec<String>,
}

#[derive(Debug)]
struct Schema {
    relations: HashMap<String, Arc<dyn TableProvider>>,
}

impl Names {
    pub(super) fn new(schemas: HashMap<String, Relations>, search_path: Vec<String>) -> Arc<Names> {
        let mut path = search_path;
        if !path.iter().any(|schema| schema == "pg_catalog") {
            path.insert(0, "pg_catalog".into());
        }
        let schemas =
            schemas.into_iter().map(|(name, relations)| (name, Arc::new(Schema { relations }))).collect();
        Arc::new(Names { schemas, path })
    }

    fn in_schema(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.schemas.get(schema)?.relations.get(name).cloned()
    }

    fn unqualified(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.path.iter().find_map(|schema| self.in_schema(schema, name))
    }

    fn unqualified_names(&self) -> Vec<String> {
        let on_path = self.path.iter().filter_map(|schema| self.schemas.get(schema));
        on_path.flat_map(|schema| schema.relations.keys().cloned()).collect()
    }
}

/// The catalog list, the one catalog, and the search path as its default schema, all read-only.
#[derive(Debug, Clone)]
pub(super) struct CatalogAdapter(pub(super) Arc<Names>);

impl CatalogAdapter {
    pub(super) const DEFAULT_SCHEMA: &str = UNQUALIFIED;
}

impl CatalogProviderList for CatalogAdapter {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![DATABASE.into()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == DATABASE).then(|| Arc::new(self.clone()) as Arc<dyn CatalogProvider>)
    }
}

impl CatalogProvider for CatalogAdapter {
    fn schema_names(&self) -> Vec<String> {
        self.0.schemas.keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == UNQUALIFIED {
            return Some(Arc::new(SearchPath(self.0.clone())));
        }
        self.0.schemas.get(name).map(|schema| schema.clone() as Arc<dyn SchemaProvider>)
    }

    fn register_schema(
        &self,
        _: &str,
        _: Arc<dyn SchemaProvider>,
    ) -> DataFusionResult<Option<Arc<dyn SchemaProvider>>> {
        exec_err!("a query's catalog is read-only")
    }
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        self.relations.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        Ok(self.relations.get(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.relations.contains_key(name)
    }
}

struct SearchPath(Arc<Names>);

impl fmt::Debug for SearchPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SearchPath").field(&self.0.path).finish()
    }
}

#[async_trait]
impl SchemaProvider for SearchPath {
    fn table_names(&self) -> Vec<String> {
        self.0.unqualified_names()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        Ok(self.0.unqualified(name))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.unqualified(name).is_some()
    }
}
