//! Runs a query through planning and DataFusion, for the tests of functions.

use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::TableReference;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};
use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::session_state;
use crate::error::{Error, Result};
use crate::plan::{Found, RelationLookup, plan_query};

struct NoRelations;

impl RelationLookup for NoRelations {
    fn find(&self, _: &TableReference) -> Result<Option<Found>> {
        Ok(None)
    }
}

fn run(sql: &str) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = SessionConfig::new().with_target_partitions(2);
    let state = session_state(config, Arc::new(RuntimeEnv::default())).build();
    let context = SessionContext::new_with_state(state);
    let Statement::Query(query) = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0) else {
        panic!("not a query: {sql}");
    };
    let batches = runtime.block_on(async {
        let plan = plan_query(&context.state(), &NoRelations, &query, sql)?;
        context.execute_logical_plan(plan).await?.collect().await.map_err(Error::from)
    })?;
    let mut lines = Vec::new();
    for batch in &batches {
        let options = FormatOptions::default();
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            lines.push(cells.join("|"));
        }
    }
    Ok(lines.join("\n"))
}

/// Rows as lines, cells parted by `|`, NULL as nothing.
pub fn check(sql: &str, expected: &str) {
    match run(sql) {
        Ok(found) => assert_eq!(found, expected, "{sql}"),
        Err(error) => panic!("{sql}: {error:?}"),
    }
}

pub fn check_error(sql: &str, expected: &str) {
    match run(sql) {
        Ok(found) => panic!("{sql}: {found}"),
        Err(error) => assert_eq!(format!("{} {}", error.state(), error.message()), expected, "{sql}"),
    }
}
