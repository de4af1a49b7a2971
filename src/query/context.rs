//! What the names of one statement stand for: relations by schema and search path, functions, time and zone.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableProvider};
use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::functions_table::all_default_table_functions;
use datafusion::logical_expr::{Expr, ScalarUDF, TableSource};

use crate::error::Result;
use crate::functions::DATABASE;
use crate::plan::{Found, RelationLookup};

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
        ContextInput { schemas, search_path: vec!["public".into()], functions, now_us, time_zone: "UTC".into() }
    }
}

/// The names of one statement, and DataFusion's state to plan and run it with.
pub struct QueryContext {
    state: SessionState,
    schemas: HashMap<String, Relations>,
    /// With pg_catalog.
    path: Vec<String>,
}

impl QueryContext {
    pub(super) fn new(state: SessionState, schemas: HashMap<String, Relations>, search_path: Vec<String>) -> Self {
        let mut path = search_path;
        if !path.iter().any(|schema| schema == "pg_catalog") {
            path.insert(0, "pg_catalog".into());
        }
        QueryContext { state, schemas, path }
    }

    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// The zone that times are read and cut in from here on.
    pub fn set_time_zone(&mut self, zone: &str) {
        self.state.config_mut().options_mut().execution.time_zone = Some(zone.to_owned());
    }

    /// The state with another zone, for planning alone.
    pub fn state_in_zone(&self, zone: &str) -> SessionState {
        let mut state = self.state.clone();
        state.config_mut().options_mut().execution.time_zone = Some(zone.to_owned());
        state
    }

    /// The relation of a name, qualified or not.
    pub fn relation(&self, name: &TableReference) -> Option<Arc<dyn TableProvider>> {
        if name.catalog().is_some_and(|catalog| catalog != DATABASE) {
            return None;
        }
        let in_schema = |schema: &str| self.schemas.get(schema)?.get(name.table()).cloned();
        match name.schema() {
            Some(schema) => in_schema(schema),
            None => self.path.iter().find_map(|schema| in_schema(schema)),
        }
    }
}

impl RelationLookup for QueryContext {
    fn find(&self, name: &TableReference) -> Result<Option<Found>> {
        Ok(self.relation(name).map(|provider| Found::Rows(provider_as_source(provider))))
    }

    /// Users' relations; nobody means a system table by mistake.
    fn names(&self) -> Vec<String> {
        self.schemas.get("public").into_iter().flat_map(|relations| relations.keys().cloned()).collect()
    }

    fn table_function(&self, name: &str, arguments: Vec<Expr>) -> Result<Option<Arc<dyn TableSource>>> {
        let functions = all_default_table_functions();
        let Some(function) = functions.iter().find(|function| function.name() == name) else { return Ok(None) };
        let arguments = TableFunctionArgs::new(&arguments, &self.state);
        Ok(Some(provider_as_source(function.create_table_provider_with_args(arguments)?)))
    }
}
