//! How long a start takes, against how much there is: from the call to `Server::start` to clients being let in, to the first
//! answer from a table, and to the first one from a materialized view.
//!
//! ```text
//! cargo bench --bench restart -- [rows ...]        1 and 4 million rows where no number is given
//!
//! clean        after a clean stop: everything is in Parquet files, the view in a checkpoint
//! checkpoint   killed: all rows in the log, the view in a checkpoint of nine tenths of them
//! log alone    killed: all rows in the log, no checkpoint, so that the view is made again
//! ```
//!
//! A kill is `Server::crash`, which writes nothing more. One in ten rows is the first of its device.

use std::path::Path;
use std::time::Duration;

use tidemark::engine::Server;
use tidemark::error::Result;
use tidemark::io::{Clock, SystemClock};
use tidemark::settings::Settings;

const DEFINITIONS: &str = "
    CREATE TABLE readings (device bigint, value double precision) APPEND ONLY;
    CREATE MATERIALIZED VIEW by_device AS SELECT device, count(*) AS n, sum(value) AS total FROM readings GROUP BY device;
";
/// Rows of one INSERT.
const STATEMENT_ROWS: usize = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    Checkpoint,
    LogAlone,
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if numbers.is_empty() { vec![1_000_000, 4_000_000] } else { numbers };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    println!("      rows  end         log MB  state MB   clients s   table s    view s");
    for rows in sizes {
        for end in [End::Clean, End::Checkpoint, End::LogAlone] {
            let times = runtime.block_on(restart(rows, end)).expect("the run ends");
            let Times { log_bytes, state_bytes, clients, table, view } = times;
            let [log, state] = [log_bytes, state_bytes].map(|bytes| bytes as f64 / 1e6);
            let [clients, table, view] = [clients, table, view].map(|time| time.as_secs_f64());
            let end = match end {
                End::Clean => "clean",
                End::Checkpoint => "checkpoint",
                End::LogAlone => "log alone",
            };
            println!("{rows:>10}  {end:<10}  {log:>6.0}  {state:>8.0}  {clients:>10.3}  {table:>8.3}  {view:>8.3}");
        }
    }
}

struct Times {
    log_bytes: u64,
    state_bytes: u64,
    clients: Duration,
    table: Duration,
    view: Duration,
}

async fn restart(rows: usize, end: End) -> Result<Times> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(settings(folder.path())).await?;
    server.run_sql(DEFINITIONS).await?;
    let checkpoint_at = rows / 10 * 9 / STATEMENT_ROWS * STATEMENT_ROWS;
    for first in (0..rows).step_by(STATEMENT_ROWS) {
        if end == End::Checkpoint && first == checkpoint_at {
            server.checkpoint().await?;
        }
        let last = (first + STATEMENT_ROWS).min(rows) - 1;
        let devices = (rows / 10).max(1);
        let insert = format!(
            "INSERT INTO readings SELECT n * 7919 % {devices}, n FROM generate_series({first}, {last}) AS t(n)"
        );
        server.run_sql(&insert).await?;
    }
    server.run_sql("SELECT count(*) FROM by_device").await?;
    match end {
        End::Clean => server.shutdown().await?,
        End::Checkpoint | End::LogAlone => server.crash().await,
    }
    let (log_bytes, state_bytes) = (bytes_below(&folder.path().join("wal")), bytes_below(&folder.path().join("state")));
    let clock = SystemClock::new();
    let server = Server::start(settings(folder.path())).await?;
    let clients = clock.monotonic();
    server.run_sql(&expect("count(*)", "readings", rows)).await?;
    let table = clock.monotonic();
    server.run_sql(&expect("sum(n)", "by_device", rows)).await?;
    let view = clock.monotonic();
    server.crash().await;
    Ok(Times { log_bytes, state_bytes, clients, table, view })
}

/// Fails with 22012 where the answer is another.
fn expect(expression: &str, relation: &str, rows: usize) -> String {
    format!("SELECT 1 / (CASE WHEN {expression} = {rows} THEN 1 ELSE 0 END) FROM {relation}")
}

/// Nothing is flushed or checkpointed but when asked.
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
    settings.table.flush_bytes = u64::MAX;
    settings.table.flush_total_bytes = u64::MAX;
    settings.checkpoint.interval_ms = u64::MAX / 2;
    settings.checkpoint.log_bytes = u64::MAX;
    settings
}

#[expect(clippy::disallowed_methods, reason = "a benchmark that looks at the files that a server left")]
fn bytes_below(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}
