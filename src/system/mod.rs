//! The system tables: `pg_catalog` and `information_schema` for PostgreSQL's clients, `tidemark` for ours.
//!
//! A statement gets one [`Facts`], gathered when it is first asked for, and each table is made from it when it is scanned,
//! so that all of a query's system tables show one moment. Does not know: sessions, queries, how the numbers in the facts were measured.

mod facts;
mod functions;
mod information_schema;
pub mod measures;
mod pg_catalog;
mod rows;
mod table;
mod tidemark;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::ScalarUDF;

pub use facts::{
    CommitFacts, CursorFact, Facts, LazyFacts, LeftOut, MemoryFact, RelationStats, SessionFacts, SetSetting,
    SettingFact, SourceStats, SystemStats, ViewErrorFact, ViewStats,
};
pub use pg_catalog::never_filled;

use crate::query::SystemNames;

/// A system table as the reference page tells it.
#[derive(Debug, Clone)]
pub struct TableDescription {
    pub schema: &'static str,
    pub name: &'static str,
    pub sentence: Option<&'static str>,
    /// Name and PostgreSQL's name of the type.
    pub columns: Vec<(String, &'static str)>,
    pub is_never_filled: bool,
}

/// All system tables, by schema.
pub fn described_tables() -> Vec<TableDescription> {
    let described = |table: &'static table::Definition| TableDescription {
        schema: table.schema,
        name: table.name,
        sentence: table.sentence,
        columns: table.columns.columns.iter().map(|(name, cell_type)| (name.clone(), cell_type.name())).collect(),
        is_never_filled: table.rows.is_none(),
    };
    table::definitions().iter().map(described).collect()
}

/// Name, least and most arguments of each function that reads the catalog or the session, by name.
pub fn described_functions() -> Vec<(&'static str, usize, usize)> {
    functions::described()
}

/// All system tables and functions over one set of facts.
pub struct SystemTables {
    facts: Arc<LazyFacts>,
}

impl SystemTables {
    pub fn new(facts: LazyFacts) -> Self {
        SystemTables { facts: Arc::new(facts) }
    }
}

impl SystemNames for SystemTables {
    fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
        let definition = table::definition(schema, name)?;
        Some(Arc::new(table::SystemTable::new(definition, self.facts.clone())))
    }

    fn function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::function(name, &self.facts)
    }
}

#[cfg(test)]
mod tests;
