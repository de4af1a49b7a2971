//! The engine's bounds, over tables in memory.

use std::collections::HashMap;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use object_store::memory::InMemory;

use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::*;
use crate::error::SqlState;
use crate::plan::plan_query;
use crate::query::rewrite::{RewriteNames, rewrite};

struct Fixture {
    engine: QueryEngine,
    context: QueryContext,
    _spill: tempfile::TempDir,
}

fn fixture(settings: QuerySettings) -> Fixture {
    let spill = tempfile::tempdir().unwrap();
    let engine = QueryEngine::new(&settings, spill.path(), Arc::new(InMemory::new())).unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("device", DataType::Int64, false)]));
    let values = Int64Array::from_iter_values(0..1000);
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(values)]).unwrap();
    let table: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap());
    let public = HashMap::from([("readings".to_owned(), table)]);
    let context = engine.context(ContextInput::of_tables(public));
    Fixture { engine, context, _spill: spill }
}

impl Fixture {
    async fn plan(&self, sql: &str) -> Result<LogicalPlan> {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(Error::internal)?;
        let Some(Statement::Query(mut query)) = statements.pop() else { return Err(Error::internal("no query")) };
        rewrite(&mut query, &RewriteNames::default())?;
        plan_query(self.context.state(), &self.context, &query, sql)
    }

    async fn rows(&self, sql: &str) -> Result<usize> {
        let result = self.engine.execute(&self.context, self.plan(sql).await?, None).await?;
        result.rows.map(|batch| batch.map(|batch| batch.num_rows())).try_fold(0, |a, b| async move { Ok(a + b) }).await
    }
}

#[tokio::test]
async fn names_resolve_by_search_path_and_by_schema() {
    let fixture = fixture(QuerySettings::default());
    for name in ["readings", "public.readings", "tidemark.public.readings"] {
        assert_eq!(fixture.rows(&format!("SELECT * FROM {name}")).await.unwrap(), 1000, "{name}");
    }
    assert!(fixture.rows("SELECT * FROM other.readings").await.is_err());
}

#[tokio::test]
async fn nothing_but_queries_runs() {
    let fixture = fixture(QuerySettings::default());
    for sql in [
        "CREATE TABLE x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '/etc'",
        "COPY (SELECT 1) TO '/tmp/out.parquet'",
        "INSERT INTO readings VALUES (1)",
        "SET datafusion.execution.batch_size = 1",
    ] {
        let refused = match fixture.plan(sql).await {
            Ok(plan) => fixture.engine.execute(&fixture.context, plan, None).await.is_err(),
            Err(_) => true,
        };
        assert!(refused, "{sql}");
    }
    assert!(fixture.rows("SELECT * FROM '/etc/passwd'").await.is_err());
    let local = datafusion::execution::object_store::ObjectStoreUrl::local_filesystem();
    assert!(fixture.context.state().runtime_env().object_store(local).is_err());
}

#[tokio::test]
async fn memory_and_disk_are_bounded() {
    let settings = QuerySettings { memory_bytes: 64 << 10, spill_bytes: 0, ..QuerySettings::default() };
    let fixture = fixture(settings);
    let sql = "SELECT a.device, b.device, count(*) FROM readings a, readings b GROUP BY 1, 2 ORDER BY 3";
    let error = fixture.rows(sql).await.unwrap_err();
    assert!([SqlState::OUT_OF_MEMORY, SqlState::DISK_FULL].contains(&error.state()), "{error:?}");
    assert_eq!(fixture.rows("SELECT 1").await.unwrap(), 1);
}

/// A list of all rows for each row is more than any operator counts.
#[tokio::test]
async fn what_window_functions_put_together_is_memory_of_the_query() {
    let fixture = fixture(QuerySettings { memory_bytes: 8 << 20, ..QuerySettings::default() });
    for call in ["array_agg(n)", "string_agg(n::text, ',')", "jsonb_agg(n)"] {
        let over = |rows: usize| format!("SELECT {call} OVER () FROM generate_series(1, {rows}) AS t(n)");
        assert_eq!(fixture.rows(&over(200)).await.unwrap(), 200, "{call}");
        let error = fixture.rows(&over(3000)).await.unwrap_err();
        assert_eq!(error.state(), SqlState::OUT_OF_MEMORY, "{call}: {error:?}");
        assert_eq!(fixture.engine.memory_used_bytes(), 0, "{call}");
    }
    assert_eq!(
        fixture
            .rows("SELECT array_agg(n) OVER (ORDER BY n ROWS 5 PRECEDING) FROM generate_series(1, 3000) AS t(n)")
            .await
            .unwrap(),
        3000
    );
}

#[tokio::test]
async fn what_takes_long_leaves_the_threads_to_others_and_ends_when_nobody_waits() {
    let fixture = fixture(QuerySettings { threads: 1, ..QuerySettings::default() });
    let plan =
        fixture.plan("SELECT array_agg(n) OVER (ORDER BY n) FROM generate_series(1, 8000) AS t(n)").await.unwrap();
    let mut long = Box::pin(fixture.engine.execute(&fixture.context, plan, None));
    let begun = async {
        while fixture.engine.memory_used_bytes() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fixture.rows("SELECT device FROM readings").await.unwrap()
    };
    tokio::select! {
        biased;
        _ = &mut long => panic!("the others had to wait for it"),
        _ = begun => {}
    }
    drop(long);
    let (at_most, mut held) = (fixture.engine.memory_used_bytes() + (1 << 20), 1);
    let ended = async {
        while held > 0 {
            held = fixture.engine.memory_used_bytes();
            assert!(held <= at_most, "it goes on though nobody waits");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it does not end");
}

/// A reader that goes away must free what its query holds, also one that is waiting for it.
#[tokio::test]
async fn a_dropped_result_ends_its_query() {
    let fixture = fixture(QuerySettings::default());
    let sql = "SELECT a.device FROM readings a, readings b, readings c ORDER BY a.device + b.device * c.device";
    let plan = fixture.plan(sql).await.unwrap();
    let result = fixture.engine.execute(&fixture.context, plan, None).await.unwrap();
    drop(result);
    let freed = async {
        while fixture.engine.memory_used_bytes() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.unwrap();
}

/// Joins that would run for days, on one thread: once nobody reads them, the next query has the thread.
#[tokio::test]
async fn a_join_without_end_lets_go_of_its_thread() {
    let fixture = fixture(QuerySettings { threads: 1, ..QuerySettings::default() });
    let pairs = "readings a, readings b, readings c, readings d, readings e";
    for sql in [
        format!("SELECT sum(a.device + e.device) FROM {pairs}"),
        format!("SELECT sum(a.device) FROM {pairs} WHERE a.device + b.device + c.device + d.device + e.device < 0"),
        "SELECT sum(d.device) FROM readings a LEFT JOIN readings b ON a.device + b.device < 0 CROSS JOIN readings c \
         CROSS JOIN readings d"
            .to_owned(),
        "SELECT sum(d.device) FROM readings a JOIN readings b ON a.device % 1 = b.device % 1 \
         JOIN readings c ON a.device % 1 = c.device % 1 JOIN readings d ON a.device % 1 = d.device % 1"
            .to_owned(),
    ] {
        let plan = fixture.plan(&sql).await.unwrap();
        let timeout = Some(Duration::from_millis(200));
        let error = match fixture.engine.execute(&fixture.context, plan, timeout).await {
            Ok(result) => result.rows.try_collect::<Vec<_>>().await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.state(), SqlState::QUERY_CANCELED, "{sql}");
        let next = tokio::time::timeout(Duration::from_secs(20), fixture.rows("SELECT 1")).await;
        assert_eq!(next.unwrap_or_else(|_| panic!("{sql} goes on")).unwrap(), 1);
    }
}

#[tokio::test]
async fn a_query_past_its_timeout_is_canceled() {
    let fixture = fixture(QuerySettings::default());
    let sql = "SELECT count(*) FROM readings a, readings b, readings c WHERE a.device + b.device > c.device";
    let plan = fixture.plan(sql).await.unwrap();
    let clock = SystemClock::new();
    let started = clock.monotonic();
    let timeout = Some(Duration::from_millis(50));
    let error = match fixture.engine.execute(&fixture.context, plan, timeout).await {
        Ok(result) => result.rows.try_collect::<Vec<_>>().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.state(), SqlState::QUERY_CANCELED);
    assert!(clock.monotonic() - started < Duration::from_secs(5));
}

#[tokio::test]
async fn explain_analyze_counts() {
    let fixture = fixture(QuerySettings::default());
    let plan = fixture.plan("SELECT count(*) FROM readings WHERE device > 10").await.unwrap();
    let options = ExplainOptions { analyze: true, verbose: false };
    let lines = fixture.engine.explain(&fixture.context, plan, options, None).await.unwrap();
    assert!(lines.iter().any(|line| line == "Rows: 1"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("output_rows=")), "{lines:?}");
}
