//! One connection to the server under test: statements as text in, answers as text out.
//!
//! COPY stands in a golden with its data behind the first line, which holds the whole statement:
//!
//! ```text
//! statement count 1
//! COPY readings FROM STDIN WITH (FORMAT csv)
//! truck_0,2026-01-01 00:00:00,21.5
//! ```

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt};
use sqllogictest::SortMode;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_postgres::config::Host;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use crate::answer::{Answer, Refusal, line_of};
use crate::wire::{Protocol, Wire};

/// A client library's connection, or one of our own that speaks the protocol that the mode is about.
pub enum Client {
    Library(Library),
    Wire(Mutex<Wire>),
}

pub struct Library {
    client: tokio_postgres::Client,
    connection: JoinHandle<()>,
}

impl Client {
    /// `None`: by the library, in the simple protocol.
    pub async fn connect(config: &Config, protocol: Option<Protocol>) -> Result<Client, Refusal> {
        match protocol {
            None => Library::connect(config).await.map(Client::Library),
            Some(protocol) => match (config.get_hosts(), config.get_ports()) {
                ([Host::Tcp(host)], [port]) => {
                    Wire::connect((host, *port), protocol).await.map(Mutex::new).map(Client::Wire)
                }
                other => Err(Refusal { code: String::new(), text: format!("connection: no address in {other:?}") }),
            },
        }
    }

    pub async fn run(&self, sql: &str) -> Result<Answer, Refusal> {
        self.run_sorted(sql, None).await
    }

    /// `sort` says whether the order of the rows means something.
    pub async fn run_sorted(&self, sql: &str, sort: Option<SortMode>) -> Result<Answer, Refusal> {
        match self {
            Client::Library(library) => library.run(sql).await,
            Client::Wire(wire) => wire.lock().await.run(sql, sort).await,
        }
    }

    /// What came over a bare socket since the last call.
    pub async fn take_seen(&self) -> Vec<String> {
        match self {
            Client::Library(_) => Vec::new(),
            Client::Wire(wire) => wire.lock().await.take_seen(),
        }
    }
}

impl Library {
    async fn connect(config: &Config) -> Result<Library, Refusal> {
        let (client, connection) = config.connect(NoTls).await.map_err(refusal)?;
        let connection = tokio::spawn(async move {
            // The error that ends the connection reaches the client with the statement that it ends.
            let _ = connection.await;
        });
        Ok(Library { client, connection })
    }

    async fn run(&self, sql: &str) -> Result<Answer, Refusal> {
        match CopyKind::of(sql) {
            Some(CopyKind::In) => self.copy_in(sql).await,
            Some(CopyKind::Out) => self.copy_out(sql).await,
            None => self.simple(sql).await,
        }
        .map_err(refusal)
    }

    async fn simple(&self, sql: &str) -> Result<Answer, tokio_postgres::Error> {
        let mut columns = None;
        let mut lines = Vec::new();
        let mut affected = 0;
        for message in self.client.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(described) => columns = Some(described.len()),
                SimpleQueryMessage::Row(row) => lines.push(line_of((0..row.len()).map(|index| row.get(index)))),
                SimpleQueryMessage::CommandComplete(count) => affected = count,
                _ => {}
            }
        }
        Ok(match columns {
            Some(columns) => Answer::Rows { columns, lines },
            None => Answer::Done { rows: affected },
        })
    }

    async fn copy_in(&self, sql: &str) -> Result<Answer, tokio_postgres::Error> {
        let (statement, data) = sql.split_once('\n').unwrap_or((sql, ""));
        let mut sink = Box::pin(self.client.copy_in::<str, Bytes>(statement).await?);
        if !data.is_empty() {
            sink.send(Bytes::from(format!("{data}\n"))).await?;
        }
        Ok(Answer::Done { rows: sink.as_mut().finish().await? })
    }

    async fn copy_out(&self, sql: &str) -> Result<Answer, tokio_postgres::Error> {
        let chunks: Vec<Bytes> = self.client.copy_out(sql).await?.boxed().try_collect().await?;
        let text = String::from_utf8_lossy(&chunks.concat()).into_owned();
        let lines = text.lines().map(|line| line_of(std::iter::once(Some(line)))).collect();
        Ok(Answer::Rows { columns: 1, lines })
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Whether the lines below the statement are COPY's data.
pub fn copies_in(sql: &str) -> bool {
    matches!(CopyKind::of(sql), Some(CopyKind::In))
}

enum CopyKind {
    In,
    Out,
}

impl CopyKind {
    fn of(sql: &str) -> Option<CopyKind> {
        let first = sql.lines().next()?.to_ascii_uppercase();
        if !first.starts_with("COPY ") {
            None
        } else if first.contains(" FROM STDIN") {
            Some(CopyKind::In)
        } else {
            sql.to_ascii_uppercase().contains(" TO STDOUT").then_some(CopyKind::Out)
        }
    }
}

fn refusal(error: tokio_postgres::Error) -> Refusal {
    let Some(fields) = error.as_db_error() else {
        return Refusal { code: String::new(), text: format!("connection: {error:?}") };
    };
    let mut text = format!("{}: {}", fields.code().code(), fields.message());
    for (name, value) in [("DETAIL", fields.detail()), ("HINT", fields.hint()), ("CONTEXT", fields.where_())] {
        if let Some(value) = value {
            text.push_str(&format!("\n{name}: {value}"));
        }
    }
    if let Some(tokio_postgres::error::ErrorPosition::Original(position)) = fields.position() {
        text.push_str(&format!("\nPOSITION: {position}"));
    }
    Refusal { code: fields.code().code().to_owned(), text }
}
