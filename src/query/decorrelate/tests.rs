//! Subqueries of every kind, over two small tables.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::*;
use crate::error::{Error, Result, SqlState};
use crate::plan::plan_query;
use crate::query::{ContextInput, QueryEngine};
use crate::settings::QuerySettings;

/// `name(k, v)` with these rows.
fn table(rows: &[(i64, i64)]) -> Arc<dyn TableProvider> {
    let schema =
        Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Int64, true)]));
    let keys = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let values = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(keys), Arc::new(values)]).unwrap();
    Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())
}

/// The last column of the result; the outer table is `o` (1,1 1,1 2,5 3,9), the inner `i` (1,10 2,20 2,30).
async fn values(sql: &str) -> Result<Vec<Option<i64>>> {
    let spill = tempfile::tempdir().unwrap();
    let settings = QuerySettings { threads: 2, ..QuerySettings::default() };
    let engine = QueryEngine::new(&settings, spill.path(), Arc::new(InMemory::new()))?;
    let public = HashMap::from([
        ("o".to_owned(), table(&[(1, 1), (1, 1), (2, 5), (3, 9)])),
        ("i".to_owned(), table(&[(1, 10), (2, 20), (2, 30)])),
    ]);
    let context = engine.context(ContextInput::of_tables(public));
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(Error::internal)?;
    let Some(Statement::Query(query)) = statements.pop() else { return Err(Error::internal("no query")) };
    let plan = plan_query(context.state(), &context, &query, sql)?;
    let batches: Vec<RecordBatch> = engine.execute(&context, plan, None).await?.rows.try_collect().await?;
    let mut values = Vec::new();
    for batch in batches {
        let last = batch.columns().last().cloned().ok_or_else(|| Error::internal("no column"))?;
        match last.data_type() {
            DataType::Boolean => values.extend(last.as_boolean().iter().map(|value| value.map(i64::from))),
            _ => values.extend(last.as_primitive::<Int64Type>().iter()),
        }
    }
    Ok(values)
}

async fn check(sql: &str, expected: &[Option<i64>]) {
    match values(sql).await {
        Ok(found) => assert_eq!(found, expected, "{sql}"),
        Err(error) => panic!("{sql}\n{error:?}"),
    }
}

#[tokio::test]
async fn a_value_without_aggregate() {
    let sql = "SELECT o.k, (SELECT i.v FROM i WHERE i.k = o.k AND i.v < 25) AS x FROM o ORDER BY o.k";
    check(sql, &[Some(10), Some(10), Some(20), None]).await;
}

/// Two inner rows for k = 2: an error for the outer row that has them, and none where no outer row asks.
#[tokio::test]
async fn a_second_value_is_an_error_only_where_it_is_asked_for() {
    let error = values("SELECT (SELECT i.v FROM i WHERE i.k = o.k) AS x FROM o").await.unwrap_err();
    assert_eq!(error.state(), SqlState::CARDINALITY_VIOLATION);
    check(
        "SELECT (SELECT i.v FROM i WHERE i.k = o.k) AS x FROM o WHERE o.k <> 2 ORDER BY o.k",
        &[Some(10), Some(10), None],
    )
    .await;
    let error = values("SELECT (SELECT v FROM i) AS x").await.unwrap_err();
    assert_eq!(error.state(), SqlState::CARDINALITY_VIOLATION);
    check("SELECT (SELECT v FROM i WHERE k = 1) AS x", &[Some(10)]).await;
    check("SELECT (SELECT v FROM i WHERE k = 7) AS x", &[None]).await;
}

#[tokio::test]
async fn aggregates_over_any_predicate() {
    check(
        "SELECT (SELECT count(*) FROM i WHERE i.k <= o.k) AS x FROM o ORDER BY o.k",
        &[Some(1), Some(1), Some(3), Some(3)],
    )
    .await;
    check(
        "SELECT (SELECT max(i.v) + o.v FROM i WHERE i.k > o.k) AS x FROM o ORDER BY o.k",
        &[Some(31), Some(31), None, None],
    )
    .await;
    check("SELECT o.k FROM o WHERE o.v < (SELECT count(*) FROM i WHERE i.k >= o.k) ORDER BY 1", &[Some(1), Some(1)])
        .await;
}

#[tokio::test]
async fn the_first_of_an_order() {
    check(
        "SELECT (SELECT i.v FROM i WHERE i.k = o.k ORDER BY i.v DESC LIMIT 1) AS x FROM o ORDER BY o.k",
        &[Some(10), Some(10), Some(30), None],
    )
    .await;
}

#[tokio::test]
async fn exists_in_a_select_list() {
    check(
        "SELECT EXISTS (SELECT 1 FROM i WHERE i.k = o.k) AS x FROM o ORDER BY o.k",
        &[Some(1), Some(1), Some(1), Some(0)],
    )
    .await;
    check(
        "SELECT NOT EXISTS (SELECT 1 FROM i WHERE i.k > o.v) AS x FROM o ORDER BY o.k",
        &[Some(0), Some(0), Some(1), Some(1)],
    )
    .await;
}

#[tokio::test]
async fn the_same_alias_inside_and_outside() {
    check("SELECT (SELECT t.v FROM i AS t WHERE t.v = 10) AS x FROM o AS t WHERE t.k = 3", &[Some(10)]).await;
}
