//! Whether every view is its query: a server, the events by COPY, and VERIFY, which runs the query ad hoc and compares.

use std::fmt::Write as _;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use futures::SinkExt;
use tidemark::engine::Server;
use tidemark::settings::Settings;
use tokio_postgres::{Client, NoTls};

use crate::generator::Generator;
use crate::queries::{QUERIES, SIDE_INPUT, TABLES};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const EVENTS_PER_COMMIT: u64 = 1000;

/// All queries where none is chosen. Errors: those of the server; a view that differs.
pub async fn run(events: u64, chosen: &[(&str, &str)]) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let mut settings = Settings { data_dir: folder.path().join("data"), trust_loopback: true, ..Settings::default() };
    settings.listen_sql.set_port(0);
    settings.listen_http.set_port(0);
    settings.listen_flight.set_port(0);
    let server = Server::start(settings).await?;
    let address = server.addr_sql();
    let url = format!("host={} port={} user=tidemark dbname=tidemark", address.ip(), address.port());
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);

    client.batch_execute(&TABLES.join("; ")).await?;
    client.batch_execute(SIDE_INPUT).await?;
    client
        .batch_execute("INSERT INTO side_input SELECT n, 'value ' || n FROM generate_series(0, 9999) AS s(n)")
        .await?;
    let mut views = Vec::new();
    for (name, _, sql) in QUERIES {
        if !chosen.is_empty() && chosen.iter().all(|(wanted, _)| *wanted != name) {
            continue;
        }
        match client.batch_execute(&format!("CREATE MATERIALIZED VIEW {name} AS {sql}")).await {
            Ok(()) => views.push(name),
            Err(error) => println!("{name}: refused, {}", error.as_db_error().map_or("", |error| error.message())),
        }
    }
    let (generator, tables) = (Generator::new(), crate::tables());
    for first in (0..events).step_by(EVENTS_PER_COMMIT as usize) {
        let batches = generator.events(&tables, first, events.min(first + EVENTS_PER_COMMIT));
        for (table, rows) in ["person", "auction", "bid"].into_iter().zip(batches) {
            copy(&client, table, &rows).await?;
        }
    }
    let mut differing = 0;
    for name in views {
        let row = client.query_one(&format!("VERIFY MATERIALIZED VIEW {name}"), &[]).await?;
        let (status, rows): (String, i64) = (row.try_get("status")?, row.try_get("rows")?);
        println!("{name}: {status}, {rows} rows");
        differing += usize::from(status != "verified");
    }
    server.shutdown().await?;
    if differing > 0 { Err(format!("{differing} views differ from their queries").into()) } else { Ok(()) }
}

/// The rows without their row ids, as text; no value has a tab, a backslash or an end of line in it.
async fn copy(client: &Client, table: &str, rows: &RecordBatch) -> Outcome<()> {
    let options = FormatOptions::default();
    let columns = rows.columns().iter().take(rows.num_columns() - 1);
    let columns: Vec<ArrayFormatter<'_>> =
        columns.map(|column| ArrayFormatter::try_new(column.as_ref(), &options)).collect::<Result<_, _>>()?;
    let mut text = String::new();
    for row in 0..rows.num_rows() {
        for (place, column) in columns.iter().enumerate() {
            let before = if place == 0 { "" } else { "\t" };
            write!(text, "{before}{}", column.value(row))?;
        }
        text.push('\n');
    }
    let sink = client.copy_in(&format!("COPY {table} FROM STDIN")).await?;
    futures::pin_mut!(sink);
    sink.send(Bytes::from(text)).await?;
    sink.finish().await?;
    Ok(())
}
