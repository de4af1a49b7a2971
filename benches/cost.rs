//! What a change costs: rows of state that are looked at and time, for each operator, at three sizes of its state.
//!
//! ```text
//! cargo bench --bench cost -- [rows ...] [filter join ...]     10,000, a million and 10 million rows, all, where nothing is given
//! cargo bench --bench cost -- late                             a row a year late, into a view of 10 million groups
//! cargo bench --bench cost -- long                             one row more of a device that has a million, and one an hour late
//! ```
//!
//! The table has rows in groups of ten; a change takes one row away and brings it back with other values, and a barrier
//! behind it is answered. *Alone* is the median of 101 commits of one such change each, *together* one commit of a thousand
//! of them, by changed row. Rows read are the median too, and the same in every run.

mod harness;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
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

const BATCH_ROWS: i64 = 65_536;
const ROWS_PER_GROUP: i64 = 10;
const ALONE: usize = 101;
const TOGETHER: usize = 1000;
const SIZES: [i64; 3] = [10_000, 1_000_000, 10_000_000];
const READINGS: RelationId = RelationId(1);
const DEVICES: RelationId = RelationId(2);
const LATE: RelationId = RelationId(3);
const VIEW: RelationId = RelationId(4);
const YEAR_US: i64 = 365 * 86_400 * 1_000_000;

const READINGS_SQL: &str =
    "CREATE TABLE readings (id bigint, device bigint, x double precision, n bigint, ts timestamptz)";
const DEVICES_SQL: &str = "CREATE TABLE devices (id bigint, site bigint)";
const LATE_SQL: &str = "CREATE TABLE late (device bigint, x double precision, ts timestamptz) APPEND ONLY";
const LATE_VIEW: &str = "SELECT device, time_bucket(INTERVAL '1 minute', ts) AS minute, count(*) AS n, sum(x) AS total, \
                         min(x) AS low, max(x) AS high FROM late GROUP BY 1, 2";

const LONG_VIEWS: [(&str, &str); 5] = [
    ("lag", "SELECT ts, lag(x) OVER (PARTITION BY device ORDER BY ts) AS v FROM late"),
    ("row_number", "SELECT ts, row_number() OVER (PARTITION BY device ORDER BY ts) AS v FROM late"),
    ("sum so far", "SELECT ts, sum(x) OVER (PARTITION BY device ORDER BY ts) AS v FROM late"),
    (
        "mean of 10 minutes",
        "SELECT ts, avg(x) OVER (PARTITION BY device ORDER BY ts RANGE INTERVAL '10 minutes' PRECEDING) AS v FROM late",
    ),
    (
        "sum of 10 minutes",
        "SELECT ts, sum(x) OVER (PARTITION BY device ORDER BY ts RANGE INTERVAL '10 minutes' PRECEDING) AS v FROM late",
    ),
];

const WORKLOADS: [(&str, &str); 20] = [
    ("filter", "SELECT id, x FROM readings WHERE x < 0.5"),
    ("temporal filter", "SELECT id, x FROM readings WHERE ts > now() - INTERVAL '1 hour'"),
    ("inner join", "SELECT r.id, d.site FROM readings r JOIN devices d ON r.device = d.id"),
    ("left join", "SELECT r.id, d.site FROM readings r LEFT JOIN devices d ON r.device = d.id"),
    ("full join", "SELECT r.id, d.site FROM readings r FULL JOIN devices d ON r.device = d.id"),
    ("semi join", "SELECT id FROM readings r WHERE EXISTS (SELECT 1 FROM devices d WHERE d.id = r.device)"),
    ("anti join", "SELECT id FROM readings r WHERE NOT EXISTS (SELECT 1 FROM devices d WHERE d.id = r.device)"),
    ("except", "SELECT device, id FROM readings EXCEPT SELECT id, site FROM devices"),
    ("sum", "SELECT device, sum(x) AS total FROM readings GROUP BY device"),
    ("min", "SELECT device, min(x) AS low FROM readings GROUP BY device"),
    ("min of all", "SELECT min(x) AS low FROM readings"),
    (
        "percentile",
        "SELECT device, percentile_disc(0.9) WITHIN GROUP (ORDER BY x) AS high FROM readings GROUP BY device",
    ),
    ("percentile of all", "SELECT percentile_disc(0.9) WITHIN GROUP (ORDER BY x) AS high FROM readings"),
    ("distinct", "SELECT DISTINCT device, n FROM readings"),
    ("count distinct", "SELECT device, count(DISTINCT n) AS kinds FROM readings GROUP BY device"),
    ("top 10", "SELECT id, x FROM readings ORDER BY x DESC LIMIT 10"),
    ("first of each", "SELECT DISTINCT ON (device) device, id, x FROM readings ORDER BY device, ts DESC"),
    (
        "greatest of each",
        "SELECT r.device, r.id, r.x FROM readings r \
         JOIN (SELECT device, max(ts) AS ts FROM readings GROUP BY device) m ON r.device = m.device AND r.ts = m.ts",
    ),
    ("lag", "SELECT id, lag(x) OVER (PARTITION BY device ORDER BY ts) AS before FROM readings"),
    ("lag of all", "SELECT id, lag(x) OVER (ORDER BY ts, id) AS before FROM readings"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let sizes: Vec<i64> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let names: Vec<&String> = arguments.iter().filter(|argument| argument.parse::<i64>().is_err()).collect();
    let is_chosen = |name: &str| names.is_empty() || names.iter().any(|chosen| *chosen == name);
    let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
    println!("operator            rows of the table    alone: rows read, ms    together: rows read, us by changed row");
    for (name, sql) in WORKLOADS.into_iter().filter(|(name, _)| is_chosen(name)) {
        for rows in &sizes {
            let cost = runtime.block_on(cost(sql, *rows)).expect("the workload runs");
            println!(
                "{name:<20}{rows:>17}    {:>16}{:>8.3}    {:>19}{:>10.2}",
                cost.rows_alone, cost.ms_alone, cost.rows_together, cost.us_together
            );
        }
    }
    if is_chosen("late") {
        runtime.block_on(late()).expect("the workload runs");
    }
    if is_chosen("long") {
        for (name, sql) in LONG_VIEWS {
            runtime.block_on(long(name, sql)).expect("the workload runs");
        }
    }
}

struct Cost {
    rows_alone: u64,
    ms_alone: f64,
    rows_together: u64,
    us_together: f64,
}

async fn cost(sql: &str, rows: i64) -> Result<Cost> {
    let mut engine = Engine::start(&[table(READINGS, READINGS_SQL), table(DEVICES, DEVICES_SQL)]);
    engine.create((VIEW, "bench"), sql, &[(DEVICES, DeltaBatch::inserts(devices(rows)))]).await?;
    let mut number = 0;
    for first in (0..rows).step_by(BATCH_ROWS as usize) {
        number += 1;
        let ids: Vec<i64> = (first..rows.min(first + BATCH_ROWS)).collect();
        engine.push(commit(number, vec![(READINGS, DeltaBatch::inserts(readings(&ids, 0)))]));
    }
    engine.read(VIEW).await?;
    let mut alone = Vec::with_capacity(ALONE);
    for change in 0..ALONE as u64 {
        number += 1;
        let id = change as i64 * (rows / TOGETHER as i64) + 1;
        alone.push(changed(&engine, change_of(number, &[id], change as i64)).await?);
    }
    let together: Vec<i64> = (0..TOGETHER as i64).map(|place| place * (rows / TOGETHER as i64)).collect();
    let (rows_together, ms_together) = changed(&engine, change_of(number + 1, &together, ALONE as i64)).await?;
    engine.stop().await;
    let mut rows_alone: Vec<u64> = alone.iter().map(|(rows, _)| *rows).collect();
    rows_alone.sort_unstable();
    alone.sort_by(|left, right| left.1.total_cmp(&right.1));
    Ok(Cost {
        rows_alone: rows_alone[ALONE / 2],
        ms_alone: alone[ALONE / 2].1,
        rows_together: rows_together / TOGETHER as u64,
        us_together: ms_together * 1e3 / TOGETHER as f64,
    })
}

/// Rows that were read, and milliseconds until a barrier behind the commit was answered.
async fn changed(engine: &Engine, commit: Arc<Commit>) -> Result<(u64, f64)> {
    let rows_read = || engine.stats().iter().map(|stats| stats.rows_read).sum::<u64>();
    let before = rows_read();
    let clock = SystemClock::new();
    let started = clock.monotonic();
    engine.push(commit);
    engine.read(VIEW).await?;
    let milliseconds = (clock.monotonic() - started).as_secs_f64() * 1e3;
    Ok((rows_read() - before, milliseconds))
}

/// Takes rows away as they were made, and brings them back in another version. No row changes twice.
fn change_of(number: u64, ids: &[i64], version: i64) -> Arc<Commit> {
    let changes = [DeltaBatch::deletes(readings(ids, 0)), DeltaBatch::inserts(readings(ids, version + 1))];
    let delta = DeltaBatch::concat(&changes[0].schema(), &changes).expect("one schema");
    commit(number, vec![(READINGS, delta)])
}

/// Rows of these ids, their values by the version, and their row ids.
fn readings(ids: &[i64], version: i64) -> RecordBatch {
    let value = |id: &i64| mix((id << 8 | version) as u64);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| id / ROWS_PER_GROUP))),
        Arc::new(Float64Array::from_iter_values(ids.iter().map(|id| (value(id) >> 11) as f64 / (1_u64 << 53) as f64))),
        Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| (value(id) % 1000) as i64))),
        // Within the last 50 minutes.
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(ids.iter().map(|id| START_US - id % 3_000_000 * 1000))
                .with_timezone("UTC"),
        ),
        Arc::new(Int64Array::from(ids.to_vec())),
    ];
    RecordBatch::try_new(table(READINGS, READINGS_SQL).schema_with_row_id(), columns).expect("the columns of readings")
}

/// One for each group of readings, but every third.
fn devices(rows: i64) -> RecordBatch {
    let ids: Vec<i64> = (0..rows / ROWS_PER_GROUP).filter(|id| id % 3 != 0).collect();
    let sites: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| id % 200)));
    let ids: ArrayRef = Arc::new(Int64Array::from(ids));
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("site", sites, true)]).expect("two columns")
}

/// 10,000 devices, 1,000 minutes; then a row that belongs to a year before.
async fn late() -> Result<()> {
    const GROUPS: i64 = 10_000_000;
    const DEVICES: i64 = 10_000;
    let late = table(LATE, LATE_SQL);
    let mut engine = Engine::start(std::slice::from_ref(&late));
    engine.create((VIEW, "bench"), LATE_VIEW, &[]).await?;
    let row = |number: i64| (number % DEVICES, START_US + number / DEVICES * 60_000_000);
    let mut number = 0;
    for first in (0..GROUPS).step_by(BATCH_ROWS as usize) {
        number += 1;
        let rows: Vec<(i64, i64)> = (first..GROUPS.min(first + BATCH_ROWS)).map(row).collect();
        engine.push(commit(number, vec![(LATE, late_rows(&late, &rows))]));
    }
    engine.read(VIEW).await?;
    // Every other row into a group that is a year old; the others make a new one.
    let (mut new, mut old) = (Vec::new(), Vec::new());
    for change in 0..ALONE as u64 {
        let device = (mix(change) % DEVICES as u64) as i64;
        for costs in [&mut new, &mut old] {
            number += 1;
            let rows = [(device, START_US - YEAR_US + change as i64 * 60_000_000)];
            costs.push(changed(&engine, commit(number, vec![(LATE, late_rows(&late, &rows))])).await?);
        }
    }
    for (what, mut costs) in [("a new group", new), ("a group that is there", old)] {
        costs.sort_by(|left, right| left.1.total_cmp(&right.1));
        let (rows, milliseconds) = costs[ALONE / 2];
        println!("a row a year late, {what}: {rows} rows read, {milliseconds:.3} ms, of {GROUPS} groups");
    }
    engine.stop().await;
    Ok(())
}

/// A device with a million readings, one a second; then one more, and one that is an hour late.
async fn long(name: &str, sql: &str) -> Result<()> {
    const ROWS: i64 = 1_000_000;
    const SECOND_US: i64 = 1_000_000;
    const CHANGES: i64 = 21;
    let late = table(LATE, LATE_SQL);
    let mut engine = Engine::start(std::slice::from_ref(&late));
    engine.create((VIEW, "bench"), sql, &[]).await?;
    let all: Vec<(i64, i64)> = (0..ROWS).map(|second| (0, START_US + second * SECOND_US)).collect();
    engine.push(commit(1, vec![(LATE, late_rows(&late, &all))]));
    engine.read(VIEW).await?;
    let mut number = 1;
    let mut line = format!("one row of a million, {name}:");
    for (what, second) in [("at the end", ROWS), ("an hour late", ROWS - 3600)] {
        let mut costs = Vec::new();
        for change in 0..CHANGES {
            number += 1;
            let rows = [(0, START_US + second * SECOND_US + (change + 1) * 1000)];
            costs.push(changed(&engine, commit(number, vec![(LATE, late_rows(&late, &rows))])).await?);
        }
        costs.sort_by(|left, right| left.1.total_cmp(&right.1));
        let (rows, milliseconds) = costs[costs.len() / 2];
        line += &format!(" {what} {rows} rows read, {milliseconds:.2} ms;");
    }
    println!("{}", line.trim_end_matches(';'));
    engine.stop().await;
    Ok(())
}

fn late_rows(table: &Table, rows: &[(i64, i64)]) -> DeltaBatch {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(_, time)| *time));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(device, _)| *device))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, time)| (mix(*time as u64) % 1000) as f64))),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
    ];
    DeltaBatch::inserts(RecordBatch::try_new(table.schema_with_row_id(), columns).expect("the columns of late"))
}
