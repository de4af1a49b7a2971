//! What a PRIMARY KEY table costs by its size: a start, writes of keys that are in memory, in files, or nowhere, and memory.
//!
//! ```text
//! cargo bench --bench keys -- [rows ...]        1 and 4 million rows where no number is given
//!
//! start      from the call to `Server::start` to clients being let in, after everything went cold
//! first      the first row after it, of a later minute than all others
//! later      10,000 rows of a later minute: keys that no file can have
//! old        10,000 rows of an old minute, ON CONFLICT DO UPDATE: keys that are in files
//! again      the same keys once more
//! between    10,000 rows of half a minute later than old ones: keys that files could have
//! ```
//!
//! A row is a reading of one of 10,000 devices at a minute, (device, minute) its key; a million rows to a file. Every line of writes is the
//! median of five, of other minutes. Each size has a process of its own.

use std::path::Path;
use std::time::Duration;

use tidemark::engine::Server;
use tidemark::error::Result;
use tidemark::io::{Clock, SystemClock, machine};
use tidemark::settings::Settings;

const DEFINITIONS: &str = "
    CREATE TABLE readings (device bigint, at timestamp, value double precision, PRIMARY KEY (device, at));
";
const DEVICES: usize = 10_000;
/// Minutes of one INSERT.
const STATEMENT_MINUTES: usize = 10;
/// Of a file.
const FILE_MINUTES: usize = 100;
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    if let [_, fill, rows, folder] = arguments.as_slice()
        && let Ok(rows) = rows.parse()
    {
        let run = async {
            match fill.as_str() {
                "fill" => self::fill(Path::new(folder), rows).await,
                _ => measure(Path::new(folder), rows).await,
            }
        };
        runtime.block_on(run).expect("the run ends");
        return;
    }
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if numbers.is_empty() { vec![1_000_000, 4_000_000] } else { numbers };
    println!("      rows   start s   first ms   later ms     old ms   again ms   between ms   resident MiB");
    for rows in sizes {
        let folder = tempfile::tempdir().expect("a folder");
        for part in ["fill", "measure"] {
            let own = std::env::current_exe().expect("this program");
            let ended = std::process::Command::new(own).args([part, &rows.to_string()]).arg(folder.path()).status();
            assert!(ended.expect("a process").success());
        }
    }
}

async fn fill(folder: &Path, rows: usize) -> Result<()> {
    let server = Server::start(settings(folder)).await?;
    server.run_sql(DEFINITIONS).await?;
    for first in (0..rows / DEVICES).step_by(STATEMENT_MINUTES) {
        server.run_sql(&insert(first, STATEMENT_MINUTES.min(rows / DEVICES - first), 0, "")).await?;
        if (first + STATEMENT_MINUTES).is_multiple_of(FILE_MINUTES) {
            server.run_sql("FLUSH").await?;
        }
    }
    server.shutdown().await
}

async fn measure(folder: &Path, rows: usize) -> Result<()> {
    let clock = SystemClock::new();
    let server = Server::start(settings(folder)).await?;
    let start = clock.monotonic();
    let minutes = rows / DEVICES;
    server.run_sql(&format!("INSERT INTO readings SELECT 1, {}, 1", minute(minutes, 0))).await?;
    let first = clock.monotonic() - start;
    let mut times = Vec::new();
    for kind in ["later", "old", "again", "between"] {
        let mut of_kind = Vec::new();
        for round in 0..ROUNDS {
            let old = minutes * (round + 1) / (ROUNDS + 2);
            let statement = match kind {
                "later" => insert(minutes + 1 + round, 1, 0, ""),
                "between" => insert(old, 1, 30, ""),
                _ => insert(old, 1, 0, "ON CONFLICT (device, at) DO UPDATE SET value = excluded.value + 1"),
            };
            let before = clock.monotonic();
            server.run_sql(&statement).await?;
            of_kind.push(clock.monotonic() - before);
        }
        of_kind.sort();
        times.push(of_kind[ROUNDS / 2]);
    }
    let expected = rows + 1 + 2 * ROUNDS * DEVICES;
    server.run_sql(&format!("SELECT 1 / (CASE WHEN count(*) = {expected} THEN 1 ELSE 0 END) FROM readings")).await?;
    let resident = machine::resident_bytes().unwrap_or_default() >> 20;
    let ms = |time: &Duration| time.as_secs_f64() * 1e3;
    let [later, old, again, between] = [0, 1, 2, 3].map(|kind| ms(&times[kind]));
    let (start, first) = (start.as_secs_f64(), ms(&first));
    println!(
        "{rows:>10}  {start:>8.3}  {first:>9.2}  {later:>9.2}  {old:>9.2}  {again:>9.2}  {between:>11.2}  {resident:>13}"
    );
    server.crash().await;
    Ok(())
}

/// `count` minutes of all devices.
fn insert(first: usize, count: usize, seconds: u32, conflict: &str) -> String {
    format!(
        "INSERT INTO readings SELECT n % {DEVICES}, {at} + n / {DEVICES} * interval '1 minute', n
         FROM generate_series(0, {last}) AS t(n) {conflict}",
        at = minute(first, seconds),
        last = DEVICES * count - 1,
    )
}

fn minute(number: usize, seconds: u32) -> String {
    format!("timestamp '2026-01-01' + interval '{number} minutes {seconds} seconds'")
}

/// Flushed when asked.
fn settings(directory: &Path) -> Settings {
    let any_port = ([127, 0, 0, 1], 0).into();
    let mut settings = Settings {
        data_dir: directory.to_path_buf(),
        listen_sql: any_port,
        listen_http: any_port,
        listen_flight: any_port,
        trust_loopback: true,
        ..Settings::default()
    };
    settings.table.flush_age_ms = u64::MAX / 2;
    settings.table.compact_files_min = 0;
    settings
}
