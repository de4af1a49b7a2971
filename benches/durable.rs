//! The durable path without a socket: sequencer, log, memtable, flush to Parquet, beside what the disk itself takes.
//!
//! ```text
//! cargo bench --bench durable -- [rows]        10 million rows where no number is given
//! ```
//!
//! Rows are made before the clock starts, in batches of 65,536, one write each; eight writers have one write under way
//! each, so that groups form as they do for clients. The clock stops when the last write is durable; the flusher runs
//! meanwhile, and what it takes to make the rest cold is told apart. The disk's bandwidth is that of appending and syncing
//! pieces of four megabytes to one file.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, TimestampMicrosecondArray};
use futures::future::join_all;
use tidemark::catalog::{CatalogChange, Table};
use tidemark::commit::{Commit, Publish, Sequencer, SequencerStart, TableWrite, Write};
use tidemark::error::Result;
use tidemark::io::{Clock, Disk, OsDisk, SystemClock, open_store};
use tidemark::settings::{TableSettings, WalSettings};
use tidemark::sql::{CreateTable, Statement, parse_statements};
use tidemark::table::Tables;
use tidemark::tier::Tier;
use tidemark::types::RelationId;
use tidemark::wal::WalTail;
use tikv_jemallocator::Jemalloc;

/// As in the server.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const BATCH_ROWS: usize = 65_536;
const WRITERS: usize = 8;
const RUNS: usize = 3;
const READINGS: RelationId = RelationId(16_384);
const PIECE_BYTES: usize = 4 << 20;
const PIECES: usize = 64;

struct Publisher(Arc<Tables>);

impl Publish for Publisher {
    fn publish(&self, commit: &Arc<Commit>) {
        self.0.publish(commit).expect("a durable commit is published");
    }
}

fn main() {
    let rows = std::env::args().filter_map(|argument| argument.parse::<usize>().ok()).next().unwrap_or(10_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    println!("{rows} rows, writes of {BATCH_ROWS}, {WRITERS} writers, median of {RUNS} runs");
    let batches: Vec<RecordBatch> = (0..rows.div_ceil(BATCH_ROWS)).map(|batch| readings(batch * BATCH_ROWS)).collect();
    let mut runs: Vec<Run> =
        (0..=RUNS).map(|_| runtime.block_on(run(&batches)).expect("the run ends")).skip(1).collect();
    runs.sort_by_key(|run| run.durable);
    let Run { durable, cold, log_bytes, commits, syncs, disk_bytes_per_second } = runs[RUNS / 2];
    let seconds = durable.as_secs_f64();
    println!(
        "durable: {:.2} million rows/s, {:.0} MB/s of log in {commits} commits and {syncs} syncs; the disk takes {:.0} MB/s",
        (batches.len() * BATCH_ROWS) as f64 / seconds / 1e6,
        log_bytes as f64 / seconds / 1e6,
        disk_bytes_per_second / 1e6,
    );
    println!("then {:.2} s until every row is in Parquet files", cold.as_secs_f64());
}

#[derive(Clone, Copy)]
struct Run {
    durable: Duration,
    cold: Duration,
    log_bytes: u64,
    commits: u64,
    syncs: u64,
    disk_bytes_per_second: f64,
}

async fn run(batches: &[RecordBatch]) -> Result<Run> {
    let folder = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::open(folder.path())?);
    let disk_bytes_per_second = bandwidth(&*disk, &*clock).expect("the disk takes it");
    let tier = Tier::new(open_store("", &folder.path().join("tier"))?);
    let tables = Tables::new(tier, TableSettings::default(), clock.clone());
    let publisher = Arc::new(Publisher(tables.clone()));
    let start = SequencerStart::default();
    let (sequencer, log) =
        Sequencer::new(WalSettings::default(), clock.clone(), start, publisher, disk, WalTail::default());
    let log = std::thread::Builder::new().spawn(move || alone(log.run())).expect("a thread");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let flusher = {
        let (tables, sequencer) = (tables.clone(), sequencer.clone());
        std::thread::Builder::new().spawn(move || alone(tables.run_flusher(sequencer, stopped))).expect("a thread")
    };
    let table = table();
    let created = Write { catalog: vec![CatalogChange::CreateTable(table.clone())], ..Write::default() };
    sequencer.sequence(created, |sequenced| tables.create(table.clone(), sequenced.commit))?.1.await?;

    let started = clock.monotonic();
    let writers = (0..WRITERS).map(|writer| {
        let own: Vec<RecordBatch> = batches.iter().skip(writer).step_by(WRITERS).cloned().collect();
        let (sequencer, tables) = (sequencer.clone(), tables.clone());
        tokio::spawn(async move {
            for inserts in own {
                let part = TableWrite { table: READINGS, schema_version: 1, inserts: Some(inserts), deletes: None };
                let write = Write { tables: vec![part], ..Write::default() };
                sequencer.sequence(write, |sequenced| tables.apply_write(sequenced))?.1.await?;
            }
            Ok::<(), tidemark::error::Error>(())
        })
    });
    join_all(writers).await.into_iter().try_for_each(|written| written.expect("a writer ends"))?;
    let durable = clock.monotonic() - started;
    let counters = sequencer.counters();
    let started = clock.monotonic();
    tables.flush_all(&sequencer).await?;
    let cold = clock.monotonic() - started;
    stop.send_replace(true);
    flusher.join().expect("the flusher ends")?;
    sequencer.shutdown().await;
    log.join().expect("the log ends")?;
    Ok(Run {
        durable,
        cold,
        log_bytes: counters.bytes,
        commits: counters.commits,
        syncs: counters.syncs,
        disk_bytes_per_second,
    })
}

fn alone<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Bytes per second that one file takes, synced.
fn bandwidth(disk: &dyn Disk, clock: &dyn Clock) -> std::io::Result<f64> {
    let piece = vec![0x5a; PIECE_BYTES];
    let mut file = disk.create("bandwidth")?;
    let started = clock.monotonic();
    for _ in 0..PIECES {
        file.append(&piece)?;
        file.sync()?;
    }
    let seconds = (clock.monotonic() - started).as_secs_f64();
    drop(file);
    disk.remove("bandwidth")?;
    Ok((PIECE_BYTES * PIECES) as f64 / seconds)
}

fn table() -> Arc<Table> {
    let sql =
        "CREATE TABLE readings (ts timestamptz, device int, sensor int, temperature double precision) APPEND ONLY";
    let statement = parse_statements(sql).expect("it parses").remove(0).statement;
    let Statement::CreateTable(create) = statement else { panic!("not a table") };
    let CreateTable { name, columns, kind, .. } = create;
    Arc::new(Table {
        id: READINGS,
        name,
        columns,
        kind,
        schema_version: 1,
        upsert: false,
        source: None,
        stored: Vec::new(),
        dropped: Vec::new(),
        last_field_id: 0,
        watermark: None,
    })
}

fn readings(from: usize) -> RecordBatch {
    let rows = from as u64..(from + BATCH_ROWS) as u64;
    let mixed = rows.clone().map(|row| row.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let times = rows.map(|row| 1_767_225_600_000_000 + row as i64 * 180);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(Int32Array::from_iter_values(mixed.clone().map(|mixed| (mixed % 10_000) as i32))),
        Arc::new(Int32Array::from_iter_values(mixed.clone().map(|mixed| (mixed >> 20) as i32 & 0xf_ffff))),
        Arc::new(Float64Array::from_iter_values(mixed.map(|mixed| 20.0 + (mixed >> 48) as f64 / 65536.0 * 15.0))),
    ];
    RecordBatch::try_new(table().schema(), columns).expect("the columns of readings")
}
