//! W1 to W4: the incremental engine alone, from rows in memory to a view that is read at the end.
//!
//! ```text
//! cargo bench --bench engine -- [rows]        20 million rows where no number is given
//! ```
//!
//! Rows are made before the clock starts, in batches of 65,536, one commit each; the clock stops when a barrier behind
//! the last commit has been answered and every row of the view was read.
//!
//! | workload | view |
//! |---|---|
//! | W1 | filter and project; 6.7 % of the rows pass |
//! | W2 | count, avg, min, max per device and minute; 10,000 devices, 1 % of rows late by up to 5 minutes |
//! | W3 | count, sum, min, max, avg by a million keys |
//! | W4 | join with a registry of 10,000 devices, count, sum, max by site |

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use datafusion::common::{HashMap, TableReference};
use datafusion::execution::SessionState;
use futures::{StreamExt, stream};
use tidemark::catalog::{MaterializedView, Table};
use tidemark::commit::{Commit, TableDelta};
use tidemark::dataflow::{Backfill, Worker};
use tidemark::delta::DeltaBatch;
use tidemark::error::Result;
use tidemark::io::{Clock, ScopedThreads, SystemClock};
use tidemark::plan::{Found, RelationLookup, RelationSource, plan_view};
use tidemark::settings::DataflowSettings;
use tidemark::sql::{CreateTable, Statement, parse_query, parse_statements};
use tidemark::types::{CommitNumber, RelationId};

const BATCH_ROWS: usize = 65_536;
const DEVICES: u64 = 10_000;
const SENSORS: u64 = 1_000_000;
const SITES: i32 = 200;
/// 2026-01-01 00:00:00 UTC.
const START_US: i64 = 1_767_225_600_000_000;

const WORKLOADS: [(&str, &str); 4] = [
    ("W1", "SELECT device_id, ts, temperature * 1.8 + 32 AS fahrenheit FROM readings WHERE temperature > 34"),
    (
        "W2",
        "SELECT device_id, time_bucket(INTERVAL '1 minute', ts) AS minute, count(*) AS n, avg(temperature) AS mean, \
         min(temperature) AS low, max(temperature) AS high FROM readings GROUP BY 1, 2",
    ),
    (
        "W3",
        "SELECT sensor_id, count(*) AS n, sum(temperature) AS total, min(temperature) AS low, \
         max(temperature) AS high, avg(temperature) AS mean FROM readings GROUP BY sensor_id",
    ),
    (
        "W4",
        "SELECT d.site, count(*) AS n, sum(r.temperature) AS total, max(r.temperature) AS high \
         FROM readings r JOIN devices d ON r.device_id = d.id GROUP BY d.site",
    ),
];

fn main() {
    let rows = std::env::args().filter_map(|argument| argument.parse::<u64>().ok()).next().unwrap_or(20_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let tables = Tables::new();
    println!("{rows} rows, batches of {BATCH_ROWS}, one commit each");
    for (name, sql) in WORKLOADS {
        let commits: Vec<Arc<Commit>> = commits(&tables.readings, rows);
        let (seconds, view_rows, state_bytes) =
            runtime.block_on(run(&tables, sql, commits)).expect("the workload runs");
        println!(
            "{name}: {:.2} million rows/s ({seconds:.2} s), {view_rows} rows in the view, {} MiB of state",
            rows as f64 / seconds / 1e6,
            state_bytes >> 20
        );
    }
}

/// Seconds, rows of the view, bytes of its state.
async fn run(tables: &Tables, sql: &str, commits: Vec<Arc<Commit>>) -> Result<(f64, u64, usize)> {
    let registry = tidemark::functions::session_state(Default::default(), Default::default()).build();
    let (view, plan) = tables.view(&registry, sql)?;
    let (dataflows, worker) = Worker::new(DataflowSettings::default(), CommitNumber(0));
    let worker = worker.with_threads(Arc::new(ScopedThreads::new(2)));
    let worker = tokio::spawn(worker.run());
    let mut backfill = HashMap::new();
    for id in plan.sources() {
        let rows = if id == tables.devices.id { vec![Ok(registry_rows())] } else { Vec::new() };
        backfill.insert(id, Backfill { rows: stream::iter(rows).boxed(), append_only: id == tables.readings.id });
    }
    dataflows.push_create(view.clone(), plan, backfill).await.expect("the worker answers")?;
    let clock = SystemClock::new();
    let started = clock.monotonic();
    commits.into_iter().for_each(|commit| dataflows.push_commit(commit));
    let snapshots = dataflows.push_read(&[view.id]).await.expect("the worker answers")?;
    let view_rows = snapshots[&view.id].batches(None, BATCH_ROWS).map(|batch| batch.map(|rows| rows.num_rows() as u64));
    let view_rows = view_rows.sum::<Result<u64>>()?;
    let seconds = (clock.monotonic() - started).as_secs_f64();
    let state_bytes = dataflows.stats().first().map_or(0, |stats| stats.state_bytes);
    dataflows.stop();
    worker.await.expect("the worker ends");
    Ok((seconds, view_rows, state_bytes))
}

struct Tables {
    readings: Arc<Table>,
    devices: Arc<Table>,
}

impl Tables {
    fn new() -> Tables {
        let readings = "CREATE TABLE readings (ts timestamptz, device_id int, sensor_id int, temperature double precision) \
                        APPEND ONLY";
        let devices = "CREATE TABLE devices (id int, site int)";
        Tables { readings: table(1, readings), devices: table(2, devices) }
    }

    fn view(&self, registry: &SessionState, sql: &str) -> Result<(Arc<MaterializedView>, tidemark::plan::ViewPlan)> {
        let plan = plan_view(registry, self, &*parse_query(sql)?, sql)?;
        let view = MaterializedView {
            id: RelationId(3),
            name: "bench".to_owned(),
            sql: sql.to_owned(),
            settings: Default::default(),
            plan: plan.to_bytes()?,
            columns: plan.columns.clone(),
            depends_on: plan.sources(),
        };
        Ok((Arc::new(view), plan))
    }
}

impl RelationLookup for Tables {
    fn find(&self, name: &TableReference) -> Result<Option<Found>> {
        let table = [&self.readings, &self.devices].into_iter().find(|table| table.name == name.table());
        Ok(table.map(|table| {
            let source = RelationSource { id: table.id, name: table.name.clone(), schema: table.schema() };
            Found::Rows(Arc::new(source))
        }))
    }
}

fn table(id: u32, sql: &str) -> Arc<Table> {
    let statement = parse_statements(sql).expect("it parses").remove(0).statement;
    let Statement::CreateTable(create) = statement else { panic!("not a table") };
    let CreateTable { name, columns, kind, .. } = create;
    Arc::new(Table { id: RelationId(id), name, columns, kind, schema_version: 1, upsert: false, source: None })
}

fn registry_rows() -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..DEVICES as i32));
    let sites: ArrayRef = Arc::new(Int32Array::from_iter_values((0..DEVICES as i32).map(|id| id % SITES)));
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("site", sites, true)]).expect("two columns")
}

/// 5,555 rows per second of event time, so that 20 million are an hour.
fn commits(readings: &Table, rows: u64) -> Vec<Arc<Commit>> {
    let starts = (0..rows).step_by(BATCH_ROWS).enumerate();
    let commits = starts.map(|(index, start)| {
        let numbers: Vec<u64> = (start..rows.min(start + BATCH_ROWS as u64)).collect();
        let delta = DeltaBatch::inserts(batch(readings, &numbers));
        Arc::new(Commit {
            number: CommitNumber(index as u64 + 1),
            timestamp_us: START_US + index as i64,
            tables: vec![TableDelta { table: readings.id, schema_version: 1, delta: Arc::new(delta) }],
            catalog: Vec::new(),
            positions: Vec::new(),
            tier: Vec::new(),
        })
    });
    commits.collect()
}

fn batch(readings: &Table, numbers: &[u64]) -> RecordBatch {
    let hashes: Vec<(u64, u64)> = numbers.iter().map(|number| (mix(*number), mix(mix(*number)))).collect();
    let late = |second: u64| if second.is_multiple_of(100) { ((second >> 8) % 300_000) as i64 * 1000 } else { 0 };
    let times = numbers.iter().zip(&hashes);
    let times = times.map(|(number, (_, second))| START_US + (number * 180) as i64 - late(*second));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(Int32Array::from_iter_values(hashes.iter().map(|(first, _)| (first % DEVICES) as i32))),
        Arc::new(Int32Array::from_iter_values(hashes.iter().map(|(first, _)| ((first >> 20) % SENSORS) as i32))),
        Arc::new(Float64Array::from_iter_values(
            hashes.iter().map(|(_, second)| 20.0 + ((second >> 16) & 0xFFFF) as f64 / 65536.0 * 15.0),
        )),
        Arc::new(Int64Array::from_iter_values(numbers.iter().map(|number| *number as i64))),
    ];
    RecordBatch::try_new(readings.schema_with_row_id(), columns).expect("the columns of readings")
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
