//! Export over Arrow Flight: a narrow and a wide table through gRPC on loopback, with Arrow's own client.
//!
//! ```text
//! cargo bench --bench flight -- [rows]        8 million narrow rows where no number is given, a tenth as many wide ones
//! ```
//!
//! Server and client are in this process, on threads of their own. The clock runs from GetFlightInfo to the last row; the
//! best of three is told. Megabytes are those of the arrays that the client holds at the end, not of the wire.
//!
//! | table | columns |
//! |---|---|
//! | narrow | bigint, double precision: 16 bytes a row |
//! | wide | 16 double precision, 8 bigint, 4 integer, 4 timestamptz, 4 text: about 300 bytes a row |

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightEndpoint, FlightInfo};
use futures::TryStreamExt;
use tidemark::engine::Server;
use tidemark::error::{Error, Result};
use tidemark::io::{Clock, SystemClock};
use tidemark::settings::Settings;
use tikv_jemallocator::Jemalloc;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

/// As in the server.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const NARROW_ROWS: usize = 8_000_000;
/// Rows of one INSERT.
const INSERT_ROWS: usize = 100_000;
/// What the client lets the server send ahead.
const WINDOW_BYTES: u32 = 8 << 20;
const FRAME_BYTES: u32 = 1 << 20;
const MEGABYTE: f64 = 1e6;

type Client = FlightSqlServiceClient<Channel>;

fn main() {
    // `cargo bench` passes flags of its own.
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(NARROW_ROWS);
    let server_threads = Runtime::new().expect("a runtime for the server");
    let client_threads = Runtime::new().expect("a runtime for the client");
    let folder = tempfile::tempdir().expect("a folder");
    let server = server_threads.block_on(start(folder.path())).expect("a server");
    for (table, columns, rows) in [("narrow", narrow(), rows), ("wide", wide(), rows / 10)] {
        server_threads.block_on(load(&server, table, &columns, rows)).expect("rows");
        for state in ["hot", "cold"] {
            if state == "cold" {
                server_threads.block_on(server.run_sql("FLUSH")).expect("a flush");
            }
            client_threads.block_on(measure(&server, table, state, rows)).expect("an export");
        }
    }
    server_threads.block_on(server.shutdown()).expect("a clean stop");
}

async fn start(folder: &std::path::Path) -> Result<Server> {
    let any = "127.0.0.1:0".parse().map_err(Error::internal)?;
    let mut settings = Settings {
        data_dir: folder.to_path_buf(),
        listen_sql: any,
        listen_http: any,
        listen_flight: any,
        trust_loopback: true,
        ..Settings::default()
    };
    // Rows stay hot until they are told to go.
    settings.table.flush_bytes = u64::MAX >> 1;
    settings.table.flush_age_ms = 1 << 40;
    Server::start(settings).await
}

/// Definitions of columns, and the expressions over `n` that fill them.
type Columns = Vec<(String, &'static str)>;

fn narrow() -> Columns {
    vec![("id bigint NOT NULL".into(), "n"), ("value double precision".into(), "n * 0.25")]
}

fn wide() -> Columns {
    let kinds = [
        (16, "double precision", "n * 0.25"),
        (8, "bigint", "n"),
        (4, "integer", "CAST(n % 1000000 AS integer)"),
        (4, "timestamptz", "TIMESTAMPTZ '2026-01-01 00:00:00Z'"),
        (4, "text", "'truck_' || n"),
    ];
    let columns = kinds.iter().flat_map(|(count, sql_type, value)| (0..*count).map(move |_| (*sql_type, *value)));
    columns.enumerate().map(|(at, (sql_type, value))| (format!("c{at} {sql_type}"), value)).collect()
}

async fn load(server: &Server, table: &str, columns: &Columns, rows: usize) -> Result<()> {
    let definitions: Vec<&str> = columns.iter().map(|(definition, _)| definition.as_str()).collect();
    let values: Vec<String> = columns.iter().enumerate().map(|(at, (_, value))| format!("{value} AS v{at}")).collect();
    server.run_sql(&format!("CREATE TABLE {table} ({})", definitions.join(", "))).await?;
    for start in (0..rows).step_by(INSERT_ROWS) {
        let end = (start + INSERT_ROWS).min(rows) - 1;
        let source = format!("SELECT {} FROM generate_series({start}, {end}) AS t(n)", values.join(", "));
        server.run_sql(&format!("INSERT INTO {table} {source}")).await?;
    }
    Ok(())
}

/// One stream after the other, then all of them at the same time, each over a connection of its own.
async fn measure(server: &Server, table: &str, state: &str, rows: usize) -> Result<()> {
    let clock = SystemClock::new();
    for parallel in [false, true] {
        let mut best = Duration::MAX;
        let (mut bytes, mut endpoints) = (0, 0);
        for _ in 0..3 {
            let started = clock.monotonic();
            let info = client(server).await?.execute(format!("SELECT * FROM {table}"), None).await;
            let info = info.map_err(Error::internal)?;
            let read = export(server, &info, parallel).await?;
            best = best.min(clock.monotonic() - started);
            if read.0 != rows {
                return Err(Error::internal(format!("{} rows of {table} instead of {rows}", read.0)));
            }
            (bytes, endpoints) = (read.1, info.endpoint.len());
        }
        let seconds = best.as_secs_f64();
        let how = if parallel { "in parallel" } else { "one by one" };
        println!(
            "{table:6} {state:4} {endpoints} endpoints {how:11}  {rows:9} rows  {:7.1} MB  {seconds:7.3} s  {:7.1} MB/s",
            bytes as f64 / MEGABYTE,
            bytes as f64 / MEGABYTE / seconds
        );
    }
    Ok(())
}

/// Rows and bytes that came.
async fn export(server: &Server, info: &FlightInfo, parallel: bool) -> Result<(usize, usize)> {
    let mut sum = (0, 0);
    let mut streams = tokio::task::JoinSet::new();
    for endpoint in info.endpoint.clone() {
        let client = client(server).await?;
        streams.spawn(read(client, endpoint));
        if !parallel {
            add(&mut sum, &mut streams).await?;
        }
    }
    while !streams.is_empty() {
        add(&mut sum, &mut streams).await?;
    }
    Ok(sum)
}

async fn add(sum: &mut (usize, usize), streams: &mut tokio::task::JoinSet<Result<(usize, usize)>>) -> Result<()> {
    if let Some(read) = streams.join_next().await {
        let (rows, bytes) = read.map_err(Error::internal)??;
        *sum = (sum.0 + rows, sum.1 + bytes);
    }
    Ok(())
}

async fn read(mut client: Client, endpoint: FlightEndpoint) -> Result<(usize, usize)> {
    let ticket = endpoint.ticket.ok_or_else(|| Error::internal("no ticket"))?;
    let mut batches = client.do_get(ticket).await.map_err(Error::internal)?;
    let (mut rows, mut bytes) = (0, 0);
    while let Some(batch) = batches.try_next().await.map_err(Error::internal)? {
        rows += batch.num_rows();
        bytes += bytes_of(&batch)?;
    }
    Ok((rows, bytes))
}

fn bytes_of(batch: &RecordBatch) -> Result<usize> {
    let mut bytes = 0;
    for column in batch.columns() {
        bytes += column.to_data().get_slice_memory_size()?;
    }
    Ok(bytes)
}

async fn client(server: &Server) -> Result<Client> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addr_flight())).map_err(Error::internal)?;
    let endpoint = endpoint
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES);
    Ok(Client::new(endpoint.connect().await.map_err(Error::internal)?))
}
