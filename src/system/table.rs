//! A system table as DataFusion scans it, and the list of all of them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DataFusionResult;
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use super::facts::{Facts, LazyFacts};
use super::rows::{Columns, Rows};
use super::{information_schema, pg_catalog, tidemark};

/// How a table's rows are made.
pub type MakeRows = fn(&Facts, &mut Rows);

/// A system table, before any facts.
pub struct Definition {
    pub schema: &'static str,
    pub name: &'static str,
    /// Of the reference page; PostgreSQL's own tables are told by its manual.
    pub sentence: Option<&'static str>,
    pub oid: i64,
    pub columns: Columns,
    /// `None`: never filled.
    pub rows: Option<MakeRows>,
}

/// Oids of system tables that PostgreSQL gives no fixed one; below those of users' relations.
const FIRST_OID: i64 = 12000;

/// All system tables.
pub fn definitions() -> &'static [Definition] {
    static ALL: LazyLock<Vec<Definition>> = LazyLock::new(|| {
        let theirs = |schema, entries: &'static [(&'static str, &'static str, Option<MakeRows>)]| {
            entries.iter().map(move |(name, columns, rows)| (schema, *name, None, *columns, *rows))
        };
        let catalog = theirs("pg_catalog", pg_catalog::TABLES);
        let empty = pg_catalog::EMPTY.iter().map(|(name, columns)| ("pg_catalog", *name, None, *columns, None));
        let standard = theirs("information_schema", information_schema::TABLES);
        let ours = tidemark::TABLES.iter();
        let ours = ours.map(|(name, sentence, columns, rows)| ("tidemark", *name, Some(*sentence), *columns, *rows));
        let all = catalog.chain(empty).chain(standard).chain(ours).enumerate();
        all.map(|(position, (schema, name, sentence, columns, rows))| Definition {
            schema,
            name,
            sentence,
            oid: (schema == "pg_catalog").then(|| fixed_oid(name)).flatten().unwrap_or(FIRST_OID + position as i64),
            columns: match schema {
                "tidemark" => Columns::parse(&format!("{columns}{}", tidemark::measure_columns(name))),
                _ => Columns::parse(columns),
            },
            rows,
        })
        .collect()
    });
    &ALL
}

/// The system table of this name.
pub fn definition(schema: &str, name: &str) -> Option<&'static Definition> {
    static BY_NAME: LazyLock<HashMap<(&str, &str), &Definition>> = LazyLock::new(|| {
        definitions().iter().map(|definition| ((definition.schema, definition.name), definition)).collect()
    });
    BY_NAME.get(&(schema, name)).copied()
}

/// Oids that clients know by heart.
fn fixed_oid(name: &str) -> Option<i64> {
    Some(match name {
        "pg_type" => 1247,
        "pg_attribute" => 1249,
        "pg_proc" => 1255,
        "pg_class" => 1259,
        "pg_database" => 1262,
        "pg_am" => 2601,
        "pg_attrdef" => 2604,
        "pg_constraint" => 2606,
        "pg_description" => 2609,
        "pg_index" => 2610,
        "pg_namespace" => 2615,
        "pg_rewrite" => 2618,
        "pg_trigger" => 2620,
        "pg_extension" => 3079,
        _ => return None,
    })
}

pub struct SystemTable {
    definition: &'static Definition,
    facts: Arc<LazyFacts>,
}

impl SystemTable {
    pub fn new(definition: &'static Definition, facts: Arc<LazyFacts>) -> Self {
        SystemTable { definition, facts }
    }
}

impl std::fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SystemTable({}.{})", self.definition.schema, self.definition.name)
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        self.definition.columns.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let mut rows = Rows::default();
        if let Some(make) = self.definition.rows {
            make(&self.facts, &mut rows);
        }
        let batch = rows
            .batch(&self.definition.columns)
            .map_err(|error| datafusion::common::DataFusionError::External(Box::new(error)))?;
        let source = MemorySourceConfig::try_new_exec(&[vec![batch]], self.schema(), projection.cloned())?;
        Ok(source)
    }
}
