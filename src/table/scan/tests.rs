//! SQL over snapshots: hot and cold as one table, what is pruned, what is hidden.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::{ExecutionPlan, collect as collect_plan};
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;

use super::*;
use crate::io::{DurableLocalStore, SystemClock};
use crate::settings::TableSettings;
use crate::table::TableSnapshot;
use crate::table::tests::{Database, Media, READINGS, TRUCKS, reading_rows, readings, truck_rows, trucks};
use crate::testing::SimDisk;
use crate::tier::TIER_URL;

struct Fixture {
    database: Database,
    store: Arc<dyn ObjectStore>,
    _directory: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(DurableLocalStore::open(directory.path()).unwrap());
        let media = Media { store: store.clone(), disk: SimDisk::new(1) };
        let settings =
            TableSettings { row_group_rows: 10, file_rows_max: 100, compact_files_min: 2, ..TableSettings::default() };
        let spawn = |task| {
            tokio::spawn(task);
        };
        let database = Database::open(&media, Arc::new(SystemClock::new()), settings, &spawn).await.unwrap();
        database.create(readings()).await.unwrap();
        database.create(trucks()).await.unwrap();
        Fixture { database, store, _directory: directory }
    }

    async fn flush(&self) {
        self.database.tables.flush_all(&self.database.sequencer).await.unwrap();
    }

    fn context(&self) -> SessionContext {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
        context.register_object_store(ObjectStoreUrl::parse(TIER_URL).unwrap().as_ref(), self.store.clone());
        context
    }

    async fn plan(&self, snapshot: TableSnapshot, sql: &str) -> (SessionContext, Arc<dyn ExecutionPlan>) {
        let context = self.context();
        context.register_table("t", Arc::new(SnapshotTable::new(snapshot, true))).unwrap();
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        (context, plan)
    }

    /// The first column of the answer.
    async fn ask(&self, snapshot: TableSnapshot, sql: &str) -> Vec<i64> {
        let (context, plan) = self.plan(snapshot, sql).await;
        let batches = collect_plan(plan, context.task_ctx()).await.unwrap();
        batches.iter().flat_map(|rows| rows.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    async fn readings(&self, sql: &str) -> Vec<i64> {
        self.ask(self.database.at_head(READINGS), sql).await
    }

    /// (files pruned, row groups pruned, rows read from files) of a query over readings.
    async fn pruned(&self, sql: &str) -> (usize, usize, usize) {
        let (context, plan) = self.plan(self.database.at_head(READINGS), sql).await;
        collect_plan(plan.clone(), context.task_ctx()).await.unwrap();
        let mut counts = (0, 0, 0);
        count(&plan, &mut counts);
        counts
    }

    async fn delete(&self, table: crate::types::RelationId, row_ids: impl IntoIterator<Item = i64>) {
        let row_ids: BTreeSet<i64> = row_ids.into_iter().collect();
        let rows = self.database.rows_of(table, &row_ids).await;
        assert_eq!(rows.num_rows(), row_ids.len());
        self.database.change(table, None, Some(rows)).await.unwrap();
    }
}

fn count(plan: &Arc<dyn ExecutionPlan>, counts: &mut (usize, usize, usize)) {
    use datafusion::physical_plan::metrics::MetricValue;
    if plan.name() == "DataSourceExec" {
        let metrics = plan.metrics().unwrap();
        let pruned = |name: &str| {
            metrics
                .iter()
                .filter_map(|metric| match metric.value() {
                    MetricValue::PruningMetrics { name: found, pruning_metrics } if found == name => {
                        Some(pruning_metrics.pruned())
                    }
                    _ => None,
                })
                .sum::<usize>()
        };
        counts.0 += pruned("files_ranges_pruned_statistics");
        counts.1 += pruned("row_groups_pruned_statistics");
        counts.2 += metrics.output_rows().unwrap_or(0);
    }
    plan.children().into_iter().for_each(|child| count(child, counts));
}

#[tokio::test]
async fn hot_and_cold_are_one_table() {
    let fixture = Fixture::new().await;
    let insert = |values: Vec<i64>| fixture.database.insert(READINGS, reading_rows(&values));
    assert_eq!(fixture.readings("select count(*) from t").await, [0]);
    insert((0..50).collect()).await.unwrap();
    fixture.flush().await;
    assert_eq!(fixture.readings("select count(*) from t").await, [50]);
    insert((50..60).collect()).await.unwrap();
    assert_eq!(fixture.readings("select count(*) from t").await, [60]);
    assert_eq!(
        fixture.readings("select cast(sum(temperature) as bigint) from t where temperature >= 45").await,
        [(45..60).sum::<i64>()]
    );
    // Columns by name in another order, and the row id.
    let sql = "select _row_id, temperature, device from t where device = 'device-3' and temperature > 40 order by 1";
    assert_eq!(fixture.readings(sql).await, [46, 53, 60]);
}

#[tokio::test]
async fn files_that_overlap_and_rows_deleted_and_updated_while_cold() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        fixture.database.insert(READINGS, reading_rows(&(0..20).collect::<Vec<_>>())).await.unwrap();
        fixture.flush().await;
    }
    let before = fixture.database.at_head(READINGS);
    let sql = "select _row_id from t where temperature = 7 order by 1";
    assert_eq!(fixture.readings(sql).await, [8, 28, 48]);
    // One row is updated, another deleted.
    let old = fixture.database.rows_of(READINGS, &BTreeSet::from([28])).await;
    fixture.database.change(READINGS, Some(reading_rows(&[7])), Some(old)).await.unwrap();
    fixture.delete(READINGS, [8]).await;
    for _ in 0..2 {
        assert_eq!(fixture.readings(sql).await, [48, 61]);
        assert_eq!(fixture.readings("select count(*) from t").await, [59]);
        assert_eq!(fixture.readings("select cast(count(temperature) as bigint) from t").await, [59]);
        assert_eq!(fixture.ask(before.clone(), sql).await, [8, 28, 48]);
        fixture.flush().await;
    }
    let stats = fixture.database.tables.stats(READINGS).unwrap();
    assert_eq!((stats.files, stats.rows_cold, stats.tombstones), (4, 61, 2));
}

#[tokio::test]
async fn files_and_row_groups_are_pruned() {
    let fixture = Fixture::new().await;
    for day in 0..4 {
        let values: Vec<i64> = (day * 100..day * 100 + 100).rev().collect();
        fixture.database.insert(READINGS, reading_rows(&values)).await.unwrap();
        fixture.flush().await;
    }
    // 4 files of 10 row groups of 10 rows, each sorted by time.
    let one_minute = "select count(*) from t where time >= timestamp '1970-01-01 02:30:00' and time < timestamp '1970-01-01 02:31:00'";
    assert_eq!(fixture.readings(one_minute).await, [1]);
    let (files, row_groups, rows) = fixture.pruned(one_minute).await;
    assert_eq!((files, row_groups), (3, 9));
    assert!(rows <= 10, "{rows} rows read");
    assert_eq!(fixture.pruned("select count(*) from t where temperature = 250.5").await, (3, 9, 10));
    assert_eq!(fixture.pruned("select temperature from t where temperature > 1000").await, (4, 0, 0));
    // With tombstones in the way as well.
    fixture.delete(READINGS, [1, 150]).await;
    let (files, row_groups, _) = fixture.pruned(one_minute).await;
    assert_eq!((files, row_groups), (3, 9));
}

#[tokio::test]
async fn explain_analyze_says_what_was_pruned() {
    let fixture = Fixture::new().await;
    fixture.database.insert(READINGS, reading_rows(&(0..40).collect::<Vec<_>>())).await.unwrap();
    fixture.flush().await;
    fixture.delete(READINGS, [1]).await;
    let context = fixture.context();
    let snapshot = fixture.database.at_head(READINGS);
    context.register_table("t", Arc::new(SnapshotTable::new(snapshot, false))).unwrap();
    let sql = "explain analyze select count(*) from t where temperature >= 30";
    let batches: Vec<RecordBatch> = context.sql(sql).await.unwrap().collect().await.unwrap();
    let text = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    assert!(text.contains("ColdRowsExec: table=readings, tombstones=true"), "{text}");
    assert!(text.contains("row_groups_pruned_statistics=4 total → 1 matched"), "{text}");
    assert!(text.contains("files_ranges_pruned_statistics=1 total → 1 matched"), "{text}");
}

#[tokio::test]
async fn nan_is_greater_than_every_number_and_is_not_pruned() {
    let fixture = Fixture::new().await;
    let mut columns = reading_rows(&[1, 2]).columns().to_vec();
    columns[2] = Arc::new(arrow::array::Float64Array::from(vec![1.0, f64::NAN]));
    let rows = RecordBatch::try_new(readings().schema(), columns).unwrap();
    fixture.database.insert(READINGS, rows).await.unwrap();
    let sql = "select _row_id from t where temperature > 100";
    assert_eq!(fixture.readings(sql).await, [2]);
    fixture.flush().await;
    assert_eq!(fixture.readings(sql).await, [2]);
    fixture.database.insert(READINGS, reading_rows(&[3, 4])).await.unwrap();
    fixture.flush().await;
    let report = fixture.database.tables.compact(READINGS, &fixture.database.sequencer).await.unwrap();
    assert_eq!((report.compacted, report.rows), (2, 4));
    assert_eq!(fixture.readings(sql).await, [2]);
    let cold = fixture.database.at_head(READINGS).files()[0].columns.clone();
    assert_eq!(cold[2].min, None);
    assert!(cold[1].min.is_some(), "the other columns have bounds: {cold:?}");
}

#[tokio::test]
async fn a_file_of_nulls_does_not_keep_others_from_being_pruned_after_a_merge() {
    let fixture = Fixture::new().await;
    let mut columns = reading_rows(&(0..10).collect::<Vec<_>>()).columns().to_vec();
    columns[2] = Arc::new(arrow::array::Float64Array::from(vec![None; 10]));
    let nulls = RecordBatch::try_new(readings().schema(), columns).unwrap();
    for rows in [nulls, reading_rows(&(100..110).collect::<Vec<_>>())] {
        fixture.database.insert(READINGS, rows).await.unwrap();
        fixture.flush().await;
    }
    fixture.database.tables.compact(READINGS, &fixture.database.sequencer).await.unwrap();
    assert_eq!(fixture.pruned("select count(*) from t where temperature = 105").await, (0, 1, 10));
}

#[tokio::test]
async fn intervals_come_back_and_filters_on_them_work_above() {
    let fixture = Fixture::new().await;
    fixture.database.insert(READINGS, reading_rows(&(0..30).collect::<Vec<_>>())).await.unwrap();
    fixture.flush().await;
    let sql = "select _row_id from t where pause = interval '5 months -1 days 0.000000017 seconds' and temperature > 3";
    assert_eq!(fixture.readings(sql).await, [18]);
    assert_eq!(fixture.readings("select count(pause) from t").await, [30]);
}

#[tokio::test]
async fn a_keyed_table_reads_one_row_per_key_wherever_its_versions_are() {
    let fixture = Fixture::new().await;
    fixture.database.insert(TRUCKS, truck_rows(&[(1, 0), (2, 0)])).await.unwrap();
    for load in 1..=30 {
        let key: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1]));
        let (old, found) = fixture.database.tables.lookup_keys(TRUCKS, &[key]).await.unwrap();
        assert_eq!(found, [Some(0)]);
        fixture.database.change(TRUCKS, Some(truck_rows(&[(1, load)])), Some(old)).await.unwrap();
        if load % 4 == 0 {
            fixture.flush().await;
        }
        let rows = fixture.ask(fixture.database.at_head(TRUCKS), "select load from t order by id").await;
        assert_eq!(rows, [load, 0]);
    }
    let joined = "select a.load from t a join t b on a.id = b.id where b.load = 30";
    assert_eq!(fixture.ask(fixture.database.at_head(TRUCKS), joined).await, [30]);
}

/// Rows that joins kept of one side, to look the other side's up.
fn built(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name("build_input_rows"));
    own.map_or(0, |rows| rows.as_usize()) + plan.children().into_iter().map(built).sum::<usize>()
}

#[tokio::test]
async fn a_join_keeps_the_smaller_side_hot_or_cold_and_however_it_is_written() {
    let fixture = Fixture::new().await;
    let (few, many) = ((0..5).map(|id| (id, id)).collect::<Vec<_>>(), (0..500).collect::<Vec<_>>());
    fixture.database.insert(TRUCKS, truck_rows(&few)).await.unwrap();
    fixture.database.insert(READINGS, reading_rows(&many)).await.unwrap();
    for cold in [false, true] {
        if cold {
            fixture.database.tables.flush(READINGS, &fixture.database.sequencer).await.unwrap();
        }
        for tables in ["t join trucks on t.temperature = trucks.load", "trucks join t on t.temperature = trucks.load"] {
            let context = fixture.context();
            for (name, table) in [("t", READINGS), ("trucks", TRUCKS)] {
                let snapshot = fixture.database.at_head(table);
                context.register_table(name, Arc::new(SnapshotTable::new(snapshot, false))).unwrap();
            }
            let plan = context.sql(&format!("select load from {tables}")).await.unwrap();
            let plan = plan.create_physical_plan().await.unwrap();
            let found = collect_plan(plan.clone(), context.task_ctx()).await.unwrap();
            assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
            assert_eq!(built(&plan), 5, "{tables}, readings are cold: {cold}");
        }
    }
}
