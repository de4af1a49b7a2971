//! W1 to W4: the incremental engine alone, from rows in memory to a view that is read at the end.
//!
//! ```text
//! cargo bench --bench engine -- [rows] [W1 W2 ...]        20 million rows, all workloads, where nothing is given
//! ```
//!
//! Rows are made before the clock starts, in batches of 65,536, one commit each; the clock stops when a barrier behind
//! the last commit has been answered and every row of the view was read. Steps may use two threads, and cover at most a
//! million rows. Every figure is the median of three runs, after one that warms up.
//!
//! | workload | view |
//! |---|---|
//! | W1 | filter and project; 6.7 % of the rows pass |
//! | W2 | count, avg, min, max per device and minute; 10,000 devices, 1 % of rows late by up to 5 minutes |
//! | W3 | count, sum, min, max, avg by a million keys |
//! | W3c | the same with a view above it, which consumes every change |
//! | W4 | join with a registry of 10,000 devices, count, sum, max by site; then one row of the registry changes |
//!
//! W4's counts and maxima are compared with those of a loop over the rows.

mod harness;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use tidemark::catalog::Table;
use tidemark::commit::Commit;
use tidemark::delta::DeltaBatch;
use tidemark::error::Result;
use tidemark::io::{Clock, SystemClock};
use tidemark::types::RelationId;
use tikv_jemallocator::Jemalloc;

use self::harness::{Engine, START_US, THREADS, commit, mix, table};

/// As in the server.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const BATCH_ROWS: usize = 65_536;
const DEVICES: u64 = 10_000;
const SENSORS: u64 = 1_000_000;
const SITES: i32 = 200;

const RUNS: usize = 3;
const READINGS: RelationId = RelationId(1);
const REGISTRY: RelationId = RelationId(2);
const VIEW: RelationId = RelationId(3);
const CONSUMER: RelationId = RelationId(4);

const READINGS_SQL: &str =
    "CREATE TABLE readings (ts timestamptz, device_id int, sensor_id int, temperature double precision) APPEND ONLY";
const REGISTRY_SQL: &str = "CREATE TABLE devices (id int, site int)";

const W3: &str = "SELECT sensor_id, count(*) AS n, sum(temperature) AS total, min(temperature) AS low, \
                  max(temperature) AS high, avg(temperature) AS mean FROM readings GROUP BY sensor_id";

const WORKLOADS: [(&str, &str); 5] = [
    ("W1", "SELECT device_id, ts, temperature * 1.8 + 32 AS fahrenheit FROM readings WHERE temperature > 34"),
    (
        "W2",
        "SELECT device_id, time_bucket(INTERVAL '1 minute', ts) AS minute, count(*) AS n, avg(temperature) AS mean, \
         min(temperature) AS low, max(temperature) AS high FROM readings GROUP BY 1, 2",
    ),
    ("W3", W3),
    ("W3c", W3),
    (
        "W4",
        "SELECT d.site, count(*) AS n, sum(r.temperature) AS total, max(r.temperature) AS high \
         FROM readings r JOIN devices d ON r.device_id = d.id GROUP BY d.site",
    ),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rows = arguments.iter().filter_map(|argument| argument.parse::<u64>().ok()).next().unwrap_or(20_000_000);
    let chosen = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !WORKLOADS.iter().any(|(name, _)| chosen(name));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let tables = [table(READINGS, READINGS_SQL), table(REGISTRY, REGISTRY_SQL)];
    let commits = commits(&tables[0], rows);
    println!("{rows} rows, batches of {BATCH_ROWS}, one commit each, two threads, median of {RUNS} runs");
    for (name, sql) in WORKLOADS.into_iter().filter(|(name, _)| all || chosen(name)) {
        let run = || runtime.block_on(run(&tables, sql, name, &commits)).expect("the workload runs");
        run();
        let mut runs: Vec<Run> = (0..RUNS).map(|_| run()).collect();
        runs.sort_by(|left, right| left.seconds.total_cmp(&right.seconds));
        let Run { seconds, view_rows, state_bytes, correction } = &runs[RUNS / 2];
        println!(
            "{name}: {:.2} million rows/s ({seconds:.2} s), {view_rows} rows in the view, {} MiB of state",
            rows as f64 / seconds / 1e6,
            state_bytes >> 20
        );
        if let Some(milliseconds) = correction {
            println!("{name}: one row of the registry changed, and read, in {milliseconds:.2} ms");
        }
    }
}

struct Run {
    seconds: f64,
    view_rows: u64,
    state_bytes: usize,
    /// Milliseconds for a change of the registry, where there is one.
    correction: Option<f64>,
}

async fn run(tables: &[Arc<Table>], sql: &str, name: &str, commits: &[Arc<Commit>]) -> Result<Run> {
    let mut engine = Engine::start(tables);
    engine.create((VIEW, "bench"), sql, &[(REGISTRY, DeltaBatch::inserts(registry_rows()))]).await?;
    if name == "W3c" {
        let consumer = "SELECT count(*) AS groups, sum(n) AS rows FROM bench";
        engine.create((CONSUMER, "consumer"), consumer, &[]).await?;
    }
    let clock = SystemClock::new();
    let started = clock.monotonic();
    commits.iter().for_each(|commit| engine.push(commit.clone()));
    let view_rows = read(&engine).await?.iter().map(|batch| batch.num_rows() as u64).sum();
    let seconds = (clock.monotonic() - started).as_secs_f64();
    let state_bytes = engine.stats().iter().map(|stats| stats.state_bytes).sum();
    let mut correction = None;
    if name == "W4" {
        let started = clock.monotonic();
        engine.push(move_device(commits.len() as u64 + 1));
        let found = read(&engine).await?;
        correction = Some((clock.monotonic() - started).as_secs_f64() * 1e3);
        assert_eq!(counts_and_maxima(&found), expected_by_site(commits), "W4 differs from a loop over the rows");
    }
    engine.stop().await;
    Ok(Run { seconds, view_rows, state_bytes, correction })
}

/// Every row of the view at a barrier behind what was pushed.
async fn read(engine: &Engine) -> Result<Vec<RecordBatch>> {
    engine.read(VIEW).await?.batches(None, BATCH_ROWS).collect()
}

/// Device 0 moves from site 0 to site 1.
fn move_device(number: u64) -> Arc<Commit> {
    let row = |site: i32| {
        let columns: [ArrayRef; 2] = [Arc::new(Int32Array::from(vec![0])), Arc::new(Int32Array::from(vec![site]))];
        RecordBatch::try_from_iter_with_nullable(["id", "site"].into_iter().zip(columns).map(|(n, c)| (n, c, true)))
            .expect("two columns")
    };
    let changes = [DeltaBatch::deletes(row(0)), DeltaBatch::inserts(row(1))];
    let delta = DeltaBatch::concat(&row(0).schema(), &changes).expect("one schema");
    commit(number, vec![(REGISTRY, delta)])
}

/// Site, count and maximum, in the order of the sites.
fn counts_and_maxima(view: &[RecordBatch]) -> Vec<(i32, i64, f64)> {
    let rows = view.iter().flat_map(|batch| {
        let sites = batch.column(0).as_primitive::<Int32Type>().values().to_vec();
        let counts = batch.column(1).as_primitive::<Int64Type>().values().to_vec();
        let maxima = batch.column(3).as_primitive::<Float64Type>().values().to_vec();
        sites.into_iter().zip(counts).zip(maxima).map(|((site, count), high)| (site, count, high))
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(site, ..)| *site);
    rows
}

fn expected_by_site(commits: &[Arc<Commit>]) -> Vec<(i32, i64, f64)> {
    let mut sites: Vec<(i32, i64, f64)> = (0..SITES).map(|site| (site, 0, f64::MIN)).collect();
    for commit in commits {
        let rows = commit.tables[0].delta.rows();
        let devices = rows.column(1).as_primitive::<Int32Type>().values();
        let temperatures = rows.column(3).as_primitive::<Float64Type>().values();
        for (device, temperature) in devices.iter().zip(temperatures) {
            let site = if *device == 0 { 1 } else { device % SITES };
            let (_, count, high) = &mut sites[site as usize];
            *count += 1;
            *high = high.max(*temperature);
        }
    }
    sites.retain(|(_, count, _)| *count > 0);
    sites
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
        commit(index as u64 + 1, vec![(readings.id, delta)])
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
