//! Nexmark: the queries of an auction house's stream, as materialized views.
//!
//! ```text
//! cargo bench --bench nexmark -- [events] [q0 q1 ...]     10 million events, all queries, where nothing is given
//! cargo bench --bench nexmark -- verify [events]          a server, 100,000 events in commits of 1,000, VERIFY of every view
//! ```
//!
//! Events are made before the clock starts, 65,536 to a commit, in three APPEND ONLY tables; the clock stops when a barrier
//! behind the last commit has been answered and every row of the view was read. Steps may use two threads. Each query has
//! a process of its own. Every figure is the median of three runs after one that warms up; of that one is the memory: what
//! was resident at most, without the events.

mod generator;
#[path = "../harness.rs"]
mod harness;
mod queries;
mod verify;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use tidemark::catalog::Table;
use tidemark::commit::Commit;
use tidemark::delta::DeltaBatch;
use tidemark::error::Result;
use tidemark::io::{Clock, Parallel, ScopedThreads, SystemClock, parallel};
use tidemark::types::RelationId;
use tikv_jemallocator::Jemalloc;

use self::generator::Generator;
use self::harness::{Engine, THREADS, commit, table};
use self::queries::{QUERIES, SIDE_INPUT, TABLES};

/// As in the server.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const EVENTS: u64 = 10_000_000;
const EVENTS_TO_VERIFY: u64 = 100_000;
const EVENTS_PER_COMMIT: u64 = 65_536;
/// Said to a process that is to measure one query.
const ALONE: &str = "alone";
const RUNS: usize = 3;
const SIDE_ROWS: i64 = 10_000;
const SIDE: RelationId = RelationId(4);
const VIEW: RelationId = RelationId(5);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let events = arguments.iter().find_map(|argument| argument.parse::<u64>().ok());
    let chosen: Vec<(&str, &str)> =
        QUERIES.into_iter().filter(|(name, ..)| given(name)).map(|(name, _, sql)| (name, sql)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.expect("a runtime");
    if given("verify") {
        let verified = runtime.block_on(verify::run(events.unwrap_or(EVENTS_TO_VERIFY), &chosen));
        return verified.expect("the server answers");
    }
    let events = events.unwrap_or(EVENTS);
    match chosen[..] {
        [(name, sql)] if given(ALONE) => runtime.block_on(measure(name, sql, events)),
        [] => QUERIES.into_iter().for_each(|(name, ..)| in_a_process(name, events)),
        _ => chosen.into_iter().for_each(|(name, _)| in_a_process(name, events)),
    }
}

/// So that no query finds memory or caches as another one left them.
fn in_a_process(name: &str, events: u64) {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    // As in the server: what is freed goes back after a second.
    command.env("_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0");
    let status = command.args([&events.to_string(), name, ALONE]).status().expect("it starts");
    assert!(status.success(), "{name} failed");
}

async fn measure(name: &str, sql: &str, events: u64) {
    let tables = tables();
    if let Err(error) = run(&tables, sql, &[]).await {
        println!("{name}: refused, {} {}", error.state(), error.message());
        return;
    }
    let commits = commits(&tables, events);
    // Until what the generator freed is no longer resident.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let resident = Resident::start();
    let first = run(&tables, sql, &commits).await.expect("the query runs");
    let peak_mib = resident.peak_mib();
    let mut seconds = Vec::new();
    for _ in 0..RUNS {
        seconds.push(run(&tables, sql, &commits).await.expect("the query runs").seconds);
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "{name}: {:.2} million events/s ({:.2} s), {} rows in the view, {} MiB of state, {peak_mib} MiB at most",
        events as f64 / seconds[RUNS / 2] / 1e6,
        seconds[RUNS / 2],
        first.view_rows,
        first.state_bytes >> 20,
    );
}

struct Run {
    seconds: f64,
    view_rows: usize,
    state_bytes: usize,
}

async fn run(tables: &[Arc<Table>], sql: &str, commits: &[Arc<Commit>]) -> Result<Run> {
    let mut engine = Engine::start(tables);
    engine.create((VIEW, "nexmark"), sql, &[(SIDE, DeltaBatch::inserts(side_input()))]).await?;
    let clock = SystemClock::new();
    let started = clock.monotonic();
    commits.iter().for_each(|commit| engine.push(commit.clone()));
    let view = engine.read(VIEW).await?;
    let mut view_rows = 0;
    for batch in view.batches(None, EVENTS_PER_COMMIT as usize) {
        view_rows += batch?.num_rows();
    }
    let seconds = (clock.monotonic() - started).as_secs_f64();
    let state_bytes = engine.stats().iter().map(|stats| stats.state_bytes).sum();
    drop(view);
    engine.stop().await;
    Ok(Run { seconds, view_rows, state_bytes })
}

fn tables() -> Vec<Arc<Table>> {
    TABLES.into_iter().chain([SIDE_INPUT]).zip(1..).map(|(sql, id)| table(RelationId(id), sql)).collect()
}

fn commits(tables: &[Arc<Table>], events: u64) -> Vec<Arc<Commit>> {
    let generator = Generator::new();
    let starts: Vec<u64> = (0..events).step_by(EVENTS_PER_COMMIT as usize).collect();
    let threads: &dyn Parallel = &ScopedThreads::new(THREADS);
    let batches =
        parallel::map(threads, starts, |start| generator.events(tables, start, events.min(start + EVENTS_PER_COMMIT)));
    let of = |(batches, number): ([RecordBatch; 3], u64)| {
        let deltas = tables.iter().map(|table| table.id).zip(batches.map(DeltaBatch::inserts));
        commit(number, deltas.collect())
    };
    batches.into_iter().zip(1..).map(of).collect()
}

/// The rows of q13's table.
fn side_input() -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..SIDE_ROWS));
    let values: ArrayRef = Arc::new(StringArray::from_iter_values((0..SIDE_ROWS).map(|key| format!("value {key}"))));
    RecordBatch::try_from_iter_with_nullable([("key", keys, true), ("value", values, true)]).expect("two columns")
}

/// The process's memory from a moment on, by Linux.
struct Resident {
    before_kib: u64,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark that asks Linux for its own memory")]
impl Resident {
    fn start() -> Resident {
        // Resets the most that was resident; where it is not allowed, that is of the whole process.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Resident { before_kib: kib_of("VmRSS:") }
    }

    fn peak_mib(&self) -> u64 {
        kib_of("VmHWM:").saturating_sub(self.before_kib) >> 10
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark that asks Linux for its own memory")]
fn kib_of(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
