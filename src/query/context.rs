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

/// The system's schemas and functions, made one by one as a statement names them: most name none.
pub trait SystemNames: Send + Sync {
    /// A table of `pg_catalog`, `information_schema` or `tidemark`.
    fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>>;

    /// A function that knows the statement's catalog or session.
    fn function(&self, name: &str) -> Option<Arc<ScalarUDF>>;
}

/// What a statement may see.
pub struct ContextInput {
    /// The relations of `public`.
    pub public: Relations,
    /// The system's relations, and functions that know this statement's catalog or session.
    pub system: Arc<dyn SystemNames>,
    /// Schemas in which unqualified names are looked up, first match wins. `pg_catalog` is looked at first, as in
    /// PostgreSQL, where the path does not name it.
    pub search_path: Vec<String>,
    /// The transaction's start: what `now()` gives.
    pub now_us: i64,
    pub time_zone: String,
    /// Of the statement, to tell its memory by.
    pub text: String,
}

#[cfg(test)]
impl ContextInput {
    /// Tables alone, at some time, in UTC.
    pub fn of_tables(public: Relations) -> ContextInput {
        struct Nothing;
        impl SystemNames for Nothing {
            fn table(&self, _: &str, _: &str) -> Option<Arc<dyn TableProvider>> {
                None
            }

            fn function(&self, _: &str) -> Option<Arc<ScalarUDF>> {
                None
            }
        }
        ContextInput {
            public,
            system: Arc::new(Nothing),
            search_path: vec!["public".into()],
            now_us: 1_700_000_000_000_000,
            time_zone: "UTC".into(),
            text: String::new(),
        }
    }
}

/// The names of one statement, and DataFusion's state to plan and run it with.
pub struct QueryContext {
    state: Arc<SessionState>,
    public: Relations,
    system: Arc<dyn SystemNames>,
    /// With pg_catalog.
    path: Vec<String>,
    text: String,
}

impl QueryContext {
    pub(super) fn new(state: SessionState, input: ContextInput) -> Self {
        let mut path = input.search_path;
        if !path.iter().any(|schema| schema == "pg_catalog") {
            path.insert(0, "pg_catalog".into());
        }
        QueryContext { state: Arc::new(state), public: input.public, system: input.system, path, text: input.text }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// The zone that times are read and cut in.
    pub fn time_zone(&self) -> &str {
        self.state.config_options().execution.time_zone.as_deref().unwrap_or("UTC")
    }

    pub(super) fn shared_state(&self) -> Arc<SessionState> {
        self.state.clone()
    }

    /// The zone that times are read and cut in from here on.
    pub fn set_time_zone(&mut self, zone: &str) {
        let state = Arc::make_mut(&mut self.state);
        state.config_mut().options_mut().execution.time_zone = Some(zone.to_owned());
    }

    /// The state with another zone, for planning alone.
    pub fn state_in_zone(&self, zone: &str) -> SessionState {
        let mut state = SessionState::clone(&self.state);
        state.config_mut().options_mut().execution.time_zone = Some(zone.to_owned());
        state
    }

    /// The relations of schema `public`.
    pub fn public(&self) -> &Relations {
        &self.public
    }

    /// A function that knows the statement's catalog or session.
    pub fn system_function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.system.function(name)
    }

    /// The relation of a name, qualified or not.
    pub fn relation(&self, name: &TableReference) -> Option<Arc<dyn TableProvider>> {
        if name.catalog().is_some_and(|catalog| catalog != DATABASE) {
            return None;
        }
        let in_schema = |schema: &str| match schema {
            "public" => self.public.get(name.table()).cloned(),
            schema => self.system.table(schema, name.table()),
        };
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
        self.public.keys().cloned().collect()
    }

    fn table_function(&self, name: &str, arguments: Vec<Expr>) -> Result<Option<Arc<dyn TableSource>>> {
        let functions = all_default_table_functions();
        let Some(function) = functions.iter().find(|function| function.name() == name) else { return Ok(None) };
        let arguments = TableFunctionArgs::new(&arguments, &*self.state);
        Ok(Some(provider_as_source(function.create_table_provider_with_args(arguments)?)))
    }

    fn function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.system_function(name)
    }
}
