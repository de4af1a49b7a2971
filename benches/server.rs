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
//! | freshness | from INSERT's acknowledgement to the changed row at a SUBSCRIBE of a view of 10,000 groups; alone, and beside COPYs of 100,000 rows/s; Tidemark only |
//!
//! Every figure is the median of three runs, after one that warms up.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use futures::{SinkExt, StreamExt};
use tidemark::engine::Server;
use tidemark::io::{Clock, SystemClock};
use tidemark::settings::Settings;
use tikv_jemallocator::Jemalloc;
use tokio_postgres::{Client, NoTls};

/// As in the server.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const RUNS: usize = 3;
const COPY_ROWS: u64 = 1_000_000;
const COPY_STATEMENTS: u64 = 10;
const KEYS: i32 = 100_000;
const INSERTS: usize = 300;
const READS: usize = 2_000;
/// Of the view that is subscribed to.
const GROUPS: u64 = 10_000;
const PROBES: usize = 500;
const PROBE_EVERY: Duration = Duration::from_millis(7);
/// Rows of one COPY beside the probes, and how often one is sent: 100,000 rows/s.
const LOAD_ROWS: u64 = 1000;
const LOAD_EVERY: Duration = Duration::from_millis(10);
const WORKLOADS: [&str; 4] = ["copy", "insert", "point", "freshness"];

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
            "point" => point(&target).await?,
            _ if target.is_tidemark => freshness(&target).await?,
            other => println!("{other}: only for Tidemark"),
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

async fn freshness(target: &Target) -> Outcome<()> {
    let client = target.connect().await?;
    let setup = "CREATE TABLE arrivals (device int, value double precision); \
                 CREATE MATERIALIZED VIEW by_arrival AS SELECT device, count(*) AS n, avg(value) AS mean, \
                 max(value) AS high FROM arrivals GROUP BY device";
    client.batch_execute(setup).await?;
    for rate in [0, LOAD_ROWS * 1000 / LOAD_EVERY.as_millis() as u64] {
        let stop = Arc::new(AtomicBool::new(false));
        let load = (rate > 0).then(|| target.connect());
        let load = match load {
            Some(connected) => Some(tokio::spawn(load_rows(connected.await?, stop.clone()))),
            None => None,
        };
        let mut times = probe(target, &client, if rate > 0 { -2 } else { -1 }).await?;
        stop.store(true, Ordering::Relaxed);
        let reached = match load {
            Some(load) => load.await?.map_err(|error| error.to_string())?,
            None => 0.0,
        };
        println!(
            "freshness beside {:.0} thousand rows/s: p50 {:.2} ms, p99 {:.2} ms",
            reached / 1e3,
            percentile(&mut times, 50),
            percentile(&mut times, 99),
        );
    }
    Ok(())
}

/// Inserts rows of one device and waits for each at the subscription; the first tenth warms up.
async fn probe(target: &Target, client: &Client, device: i32) -> Outcome<Vec<Duration>> {
    let reader = target.connect().await?;
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let stream = reader.copy_out("COPY (SUBSCRIBE by_arrival) TO STDOUT").await?;
    tokio::spawn(async move {
        futures::pin_mut!(stream);
        let marker = format!("\t1\t{device}\t");
        while let Some(Ok(bytes)) = stream.next().await {
            for line in bytes.split(|byte| *byte == b'\n') {
                let Some(at) = memchr::memmem::find(line, marker.as_bytes()) else { continue };
                let count = line[at + marker.len()..].split(|byte| *byte == b'\t').next();
                let count = count.and_then(|count| std::str::from_utf8(count).ok()?.parse::<usize>().ok());
                if sender.send((count, now())).is_err() {
                    return;
                }
            }
        }
    });
    let insert = client.prepare("INSERT INTO arrivals VALUES ($1, 0.5)").await?;
    let mut times = Vec::with_capacity(PROBES);
    for row in 1..=PROBES {
        client.execute(&insert, &[&device]).await?;
        let acknowledged = now();
        loop {
            let (count, at) = seen.recv().await.ok_or("the subscription ended")?;
            if count == Some(row) {
                times.push(at.saturating_sub(acknowledged));
                break;
            }
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }
    Ok(times.split_off(PROBES / 10))
}

/// COPYs at a fixed rate until told to stop; the rows per second that were reached.
async fn load_rows(client: Client, stop: Arc<AtomicBool>) -> Result<f64, tokio_postgres::Error> {
    let mut ticks = tokio::time::interval(LOAD_EVERY);
    let (started, mut sent) = (now(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let mut text = String::new();
        for row in sent..sent + LOAD_ROWS {
            let mixed = row.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let _ = writeln!(text, "{}\t{:.3}", (mixed >> 32) % GROUPS, (mixed >> 44) as f64 / 1e4);
        }
        let sink = client.copy_in("COPY arrivals FROM STDIN").await?;
        futures::pin_mut!(sink);
        sink.send(Bytes::from(text)).await?;
        sink.finish().await?;
        sent += LOAD_ROWS;
    }
    Ok(sent as f64 / (now() - started).as_secs_f64())
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
