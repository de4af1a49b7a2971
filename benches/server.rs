//! The server as clients meet it: COPY, INSERT, and SELECT of one row by key, over a socket, one durable commit each.
//!
//! ```text
//! cargo bench --bench server                                   a server of its own, in a folder that is removed again
//! cargo bench --bench server -- copy insert                    some of the workloads
//! cargo bench --bench server -- --url 'host=/run/postgresql user=postgres dbname=bench'     PostgreSQL, side by side
//! ```
//!
//! | workload | what is measured |
//! |---|---|
//! | copy | CSV by COPY FROM STDIN, a million rows in ten statements: MB/s and rows/s |
//! | insert | one-row INSERTs, prepared, one and 16 writers: milliseconds at the 50th and 99th percentile |
//! | point | one row by key out of 100,000: from a materialized view, on PostgreSQL from a table with an index; one and 16 connections |
//!
//! Every figure is the median of three runs, after one that warms up.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use futures::future::join_all;
use tidemark::engine::Server;
use tidemark::io::{Clock, SystemClock};
use tidemark::settings::Settings;
use tokio_postgres::{Client, NoTls};

const RUNS: usize = 3;
const COPY_ROWS: u64 = 1_000_000;
const COPY_STATEMENTS: u64 = 10;
const KEYS: i32 = 100_000;
const INSERTS: usize = 300;
const READS: usize = 2_000;
const WORKLOADS: [&str; 3] = ["copy", "insert", "point"];

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let url = arguments.iter().position(|argument| argument == "--url").and_then(|at| arguments.get(at + 1));
    let chosen: Vec<&str> =
        WORKLOADS.into_iter().filter(|name| arguments.iter().any(|chosen| chosen == name)).collect();
    let chosen = if chosen.is_empty() { WORKLOADS.to_vec() } else { chosen };
    let folder = tempfile::tempdir()?;
    let server = match url {
        Some(_) => None,
        None => Some(start(folder.path()).await?),
    };
    let target = Target {
        url: match (&server, url) {
            (_, Some(url)) => url.clone(),
            (Some(server), None) => {
                let address = server.addr_sql();
                format!("host={} port={} user=tidemark dbname=tidemark", address.ip(), address.port())
            }
            (None, None) => unreachable!("one of the two is there"),
        },
        is_tidemark: server.is_some(),
    };
    for workload in chosen {
        match workload {
            "copy" => copy(&target).await?,
            "insert" => insert(&target).await?,
            _ => point(&target).await?,
        }
    }
    if let Some(server) = server {
        server.shutdown().await?;
    }
    Ok(())
}

async fn start(folder: &std::path::Path) -> Outcome<Server> {
    let mut settings = Settings { data_dir: folder.join("data"), trust_loopback: true, ..Settings::default() };
    settings.listen_sql.set_port(0);
    settings.listen_http.set_port(0);
    settings.listen_flight.set_port(0);
    Ok(Server::start(settings).await?)
}

struct Target {
    url: String,
    is_tidemark: bool,
}

impl Target {
    async fn connect(&self) -> Outcome<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn connect_many(&self, count: usize) -> Outcome<Vec<Client>> {
        join_all((0..count).map(|_| self.connect())).await.into_iter().collect()
    }
}

async fn copy(target: &Target) -> Outcome<()> {
    let client = target.connect().await?;
    let statements: Vec<Bytes> = (0..COPY_STATEMENTS).map(|part| csv(part, COPY_ROWS / COPY_STATEMENTS)).collect();
    let bytes: usize = statements.iter().map(Bytes::len).sum();
    let mut seconds = Vec::new();
    for _ in 0..=RUNS {
        client
            .batch_execute(
                "DROP TABLE IF EXISTS readings; CREATE TABLE readings (ts timestamptz, device int, sensor int, \
                 temperature double precision, humidity double precision, status text)",
            )
            .await?;
        let started = now();
        for statement in &statements {
            let sink = client.copy_in("COPY readings FROM STDIN (FORMAT csv)").await?;
            futures::pin_mut!(sink);
            for piece in 0..statement.len().div_ceil(1 << 16) {
                sink.send(statement.slice(piece << 16..statement.len().min((piece + 1) << 16))).await?;
            }
            sink.finish().await?;
        }
        seconds.push((now() - started).as_secs_f64());
    }
    let seconds = median(&mut seconds.split_off(1));
    println!(
        "copy: {:.0} MB/s, {:.0} thousand rows/s ({COPY_ROWS} rows of {} bytes, {COPY_STATEMENTS} statements)",
        bytes as f64 / seconds / 1e6,
        COPY_ROWS as f64 / seconds / 1e3,
        bytes as u64 / COPY_ROWS
    );
    Ok(())
}

fn csv(part: u64, rows: u64) -> Bytes {
    let mut text = String::new();
    for row in part * rows..(part + 1) * rows {
        let mixed = row.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (minute, second) = (row / 60_000 % 60, row / 1000 % 60);
        let _ = writeln!(
            text,
            "2026-01-01 00:{minute:02}:{second:02}.{:03}+00,{},{},{:.3},{:.3},{}",
            row % 1000,
            mixed % 10_000,
            (mixed >> 20) % 1_000_000,
            20.0 + (mixed >> 40) as f64 / 1e7,
            30.0 + (mixed >> 44) as f64 / 1e6,
            ["ok", "warning", "maintenance due"][(mixed >> 60) as usize % 3],
        );
    }
    text.into()
}

async fn insert(target: &Target) -> Outcome<()> {
    let setup = target.connect().await?;
    setup
        .batch_execute("DROP TABLE IF EXISTS events; CREATE TABLE events (device int, value double precision)")
        .await?;
    for writers in [1, 16] {
        let clients = target.connect_many(writers).await?;
        let mut seconds = Vec::new();
        let mut percentiles = [Vec::new(), Vec::new()];
        for _ in 0..=RUNS {
            let started = now();
            let all = join_all(clients.iter().map(insert_rows)).await;
            seconds.push((now() - started).as_secs_f64());
            let mut all: Vec<Duration> = all.into_iter().collect::<Outcome<Vec<_>>>()?.concat();
            percentiles[0].push(percentile(&mut all, 50));
            percentiles[1].push(percentile(&mut all, 99));
        }
        println!(
            "insert, {writers} writers: p50 {:.2} ms, p99 {:.2} ms, {:.0} rows/s",
            median(&mut percentiles[0].split_off(1)),
            median(&mut percentiles[1].split_off(1)),
            (writers * INSERTS) as f64 / median(&mut seconds.split_off(1)),
        );
    }
    Ok(())
}

async fn insert_rows(client: &Client) -> Outcome<Vec<Duration>> {
    let statement = client.prepare("INSERT INTO events VALUES ($1, $2)").await?;
    let mut times = Vec::with_capacity(INSERTS);
    for row in 0..INSERTS {
        let started = now();
        client.execute(&statement, &[&(row as i32), &0.5_f64]).await?;
        times.push(now() - started);
    }
    Ok(times)
}

async fn point(target: &Target) -> Outcome<()> {
    let setup = target.connect().await?;
    let readings = "DROP TABLE IF EXISTS samples CASCADE; CREATE TABLE samples (device int, value double precision)";
    let view = "SELECT device, count(*) AS n, avg(value) AS mean, max(value) AS high FROM samples GROUP BY device";
    if target.is_tidemark {
        setup.batch_execute(&format!("{readings}; CREATE MATERIALIZED VIEW by_device AS {view}")).await?;
    } else {
        setup.batch_execute(&format!("{readings}; DROP TABLE IF EXISTS by_device")).await?;
    }
    let fill = format!("INSERT INTO samples SELECT n % {KEYS}, n FROM generate_series(1, {}) AS s(n)", KEYS * 3);
    setup.batch_execute(&fill).await?;
    if !target.is_tidemark {
        let indexed = format!("CREATE TABLE by_device AS {view}; CREATE UNIQUE INDEX ON by_device (device); ANALYZE");
        setup.batch_execute(&indexed).await?;
    }
    for connections in [1, 16] {
        let clients = target.connect_many(connections).await?;
        let mut rates = Vec::new();
        let mut percentiles = [Vec::new(), Vec::new()];
        for _ in 0..=RUNS {
            let started = now();
            let reads = READS / connections;
            let all = join_all(clients.iter().enumerate().map(|(seed, client)| read_rows(client, seed, reads))).await;
            rates.push((reads * connections) as f64 / (now() - started).as_secs_f64());
            let mut all: Vec<Duration> = all.into_iter().collect::<Outcome<Vec<_>>>()?.concat();
            percentiles[0].push(percentile(&mut all, 50));
            percentiles[1].push(percentile(&mut all, 99));
        }
        println!(
            "point, {connections} connections: p50 {:.2} ms, p99 {:.2} ms, {:.0} queries/s",
            median(&mut percentiles[0].split_off(1)),
            median(&mut percentiles[1].split_off(1)),
            median(&mut rates.split_off(1)),
        );
    }
    Ok(())
}

async fn read_rows(client: &Client, seed: usize, reads: usize) -> Outcome<Vec<Duration>> {
    let statement = client.prepare("SELECT device, n, mean, high FROM by_device WHERE device = $1").await?;
    let mut times = Vec::with_capacity(reads);
    for read in 0..reads {
        let key = ((seed * 7919 + read * 104_729) % KEYS as usize) as i32;
        let started = now();
        let row = client.query_one(&statement, &[&key]).await?;
        times.push(now() - started);
        assert_eq!(row.get::<_, i64>(1), 3, "device {key}");
    }
    Ok(times)
}

fn now() -> Duration {
    static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);
    CLOCK.monotonic()
}

/// In milliseconds.
fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort();
    times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
