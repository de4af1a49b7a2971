//! A database that does what its statements say: `rows 10`, `echo int4 text`, `write a`, `fail`, `hang`, `copy in` ...

use std::net::SocketAddr;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::ScalarValue;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;

use crate::error::{Error, Result, SqlState};
use crate::server::pg::scram_verifier;
use crate::session::{
    Authentication, Connection, CopyChunk, CopyFormat, CopyInSink, Database, Description, EncodeSettings, HeldQuery,
    Login, Notice, OutputColumn, Parsed, Response, TransactionStatus,
};
use crate::types::SqlType;

/// What happened, for tests to look at.
#[derive(Default)]
pub struct Journal {
    pub committed: Vec<String>,
    pub copied: Vec<u8>,
    pub sinks_dropped: usize,
    pub streams_dropped: usize,
    pub implicit_begun: usize,
    pub login: Option<Login>,
}

#[derive(Default)]
pub struct FakeDatabase {
    pub journal: Arc<Mutex<Journal>>,
}

#[async_trait]
impl Database for FakeDatabase {
    async fn connect(&self, login: Login) -> Result<Box<dyn Connection>> {
        if login.database != "tidemark" {
            let message = format!("database \"{}\" does not exist", login.database);
            return Err(Error::new(SqlState::INVALID_CATALOG_NAME, message));
        }
        self.journal.lock().login = Some(login);
        Ok(Box::new(FakeConnection {
            journal: self.journal.clone(),
            status: TransactionStatus::Idle,
            implicit: false,
            pending: Vec::new(),
            notices: Vec::new(),
            zone: None,
        }))
    }

    fn authentication(&self, user: &str, _peer: SocketAddr) -> Authentication {
        match user {
            "local" => Authentication::Trust,
            "nobody" => Authentication::Reject,
            _ => Authentication::ScramSha256(scram_verifier("right", b"0123456789abcdef".to_vec(), 4096).unwrap()),
        }
    }
}

struct FakeConnection {
    journal: Arc<Mutex<Journal>>,
    status: TransactionStatus,
    implicit: bool,
    pending: Vec<String>,
    notices: Vec<Notice>,
    zone: Option<String>,
}

/// Counts when a result that holds it is dropped.
struct DropCount(Arc<Mutex<Journal>>);

impl Drop for DropCount {
    fn drop(&mut self) {
        self.0.lock().streams_dropped += 1;
    }
}

fn column(name: &str, sql_type: SqlType) -> OutputColumn {
    OutputColumn { name: name.to_owned(), sql_type }
}

fn sql_type(name: &str) -> SqlType {
    match name {
        "bool" => SqlType::Boolean,
        "int2" => SqlType::Int2,
        "int4" => SqlType::Int4,
        "int8" => SqlType::Int8,
        "float4" => SqlType::Float4,
        "float8" => SqlType::Float8,
        "numeric" => SqlType::Numeric { precision: 38, scale: 4 },
        "bytea" => SqlType::Bytea,
        "date" => SqlType::Date,
        "timestamp" => SqlType::Timestamp,
        "timestamptz" => SqlType::Timestamptz,
        "interval" => SqlType::Interval,
        _ => SqlType::Text,
    }
}

impl FakeConnection {
    fn in_transaction(&self) -> bool {
        self.implicit || self.status == TransactionStatus::Open
    }

    fn write(&mut self, what: &str) {
        if self.in_transaction() {
            self.pending.push(what.to_owned());
        } else {
            self.journal.lock().committed.push(what.to_owned());
        }
    }

    fn commit(&mut self) {
        self.journal.lock().committed.append(&mut self.pending);
    }

    fn rows(&self, batches: BoxStream<'static, Result<RecordBatch>>, name: &str) -> Response {
        let schema = Arc::new(Schema::new(vec![Field::new(name, SqlType::Int8.arrow(), true)]));
        let guard = DropCount(self.journal.clone());
        let rows = batches
            .map(move |batch| {
                let _held = &guard;
                batch
            })
            .boxed();
        Response::Rows {
            columns: vec![column(name, SqlType::Int8)].into(),
            schema,
            rows,
            tag: "SELECT".into(),
            is_live: false,
        }
    }
}

fn batch(values: impl Iterator<Item = i64>) -> RecordBatch {
    let array: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter_with_nullable([("id", array, true)]).unwrap()
}

fn echo(types: &str, parameters: Vec<ScalarValue>) -> Response {
    let columns: Vec<OutputColumn> = types.split(' ').map(|name| column(name, sql_type(name))).collect();
    let arrays: Vec<ArrayRef> = parameters.iter().map(|value| value.to_array().unwrap()).collect();
    let fields: Vec<Field> =
        columns.iter().zip(&arrays).map(|(c, a)| Field::new(&c.name, a.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options).unwrap();
    Response::Rows {
        columns: columns.into(),
        schema,
        rows: stream::iter([Ok(batch)]).boxed(),
        tag: "SELECT".into(),
        is_live: false,
    }
}

#[async_trait]
impl Connection for FakeConnection {
    fn parse(&self, sql: &str) -> Result<Vec<Parsed>> {
        if let Some(at) = sql.find("syntax") {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"syntax\"")
                .with_position(at + 1)
                .with_hint("Do not."));
        }
        let words = sql.split(';').map(str::trim).filter(|statement| !statement.is_empty());
        Ok(words.map(|statement| Parsed::new(statement.to_owned())).collect())
    }

    async fn describe(&mut self, statement: &Parsed, declared: &[Option<SqlType>]) -> Result<Description> {
        let sql = statement.get::<String>().unwrap();
        let none = Description::default();
        Ok(match sql.split_once(' ').unwrap_or((sql, "")) {
            ("echo", types) => {
                let columns: Vec<_> = types.split(' ').map(|name| column(name, sql_type(name))).collect();
                let inferred = columns.iter().enumerate();
                let parameters =
                    inferred.map(|(i, c)| declared.get(i).cloned().flatten().unwrap_or(c.sql_type.clone())).collect();
                Description { parameters, columns: Some(columns), ..Description::default() }
            }
            ("rows" | "endless" | "changed", _) => {
                Description { columns: Some(vec![column("id", SqlType::Int8)]), ..Description::default() }
            }
            _ => none,
        })
    }

    async fn execute(&mut self, statement: &Parsed, parameters: Vec<ScalarValue>) -> Result<Response> {
        let sql = statement.get::<String>().unwrap().clone();
        if self.status == TransactionStatus::Failed && sql != "rollback" {
            return Err(Error::new(SqlState::IN_FAILED_TRANSACTION, "current transaction is aborted"));
        }
        let done = |tag: &str| Ok(Response::Done { tag: tag.to_owned() });
        let sql = match sql.as_str() {
            "COPY t FROM STDIN" => "copyin".to_owned(),
            "COPY t TO STDOUT" => "copyout".to_owned(),
            _ => sql,
        };
        match sql.split_once(' ').unwrap_or((&sql, "")) {
            ("echo", types) => Ok(echo(types, parameters)),
            ("rows", count) => {
                let count: i64 = count.parse().unwrap();
                let starts = (0..count).step_by(1000).collect::<Vec<_>>();
                let batches = starts.into_iter().map(move |start| Ok(batch(start..(start + 1000).min(count))));
                Ok(self.rows(stream::iter(batches).boxed(), "id"))
            }
            ("changed", _) => Ok(echo("text", vec![ScalarValue::Utf8(Some("x".into()))])),
            ("endless", _) => Ok(self.rows(stream::repeat_with(|| Ok(batch(0..1000))).boxed(), "id")),
            ("broken", _) => {
                let batches = [Ok(batch(0..2)), Err(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"))];
                Ok(self.rows(stream::iter(batches).boxed(), "id"))
            }
            ("begin", _) => {
                self.status = TransactionStatus::Open;
                done("BEGIN")
            }
            ("commit", _) => {
                self.status = TransactionStatus::Idle;
                self.commit();
                done("COMMIT")
            }
            ("rollback", _) => {
                self.status = TransactionStatus::Idle;
                self.pending.clear();
                done("ROLLBACK")
            }
            ("write", what) => {
                self.write(what);
                done("INSERT 0 1")
            }
            ("fail", _) => Err(Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "too big")
                .with_detail("It is.")
                .with_hint("Less.")
                .with_context("COPY readings, line 3")),
            ("panic", _) => panic!("as asked"),
            ("hang", _) => std::future::pending().await,
            ("notice", _) => {
                self.notices.push(Notice {
                    severity: "WARNING",
                    code: "01000",
                    message: "mind".into(),
                    detail: None,
                    hint: None,
                });
                done("NOTICE")
            }
            ("zone", zone) => {
                self.zone = Some(zone.to_owned());
                done("SET")
            }
            ("copyin", limit) => Ok(Response::CopyIn {
                sink: Box::new(FakeSink {
                    journal: self.journal.clone(),
                    bytes: Vec::new(),
                    bytes_max: limit.parse().unwrap_or(usize::MAX),
                    finished: false,
                }),
                columns: 2,
                format: CopyFormat::Text,
            }),
            ("copyout", _) => {
                let chunks = [("a\t1\nb\t2\n", 2), ("c\t3\n", 1)];
                let chunks =
                    chunks.map(|(text, rows)| Ok(CopyChunk { bytes: Bytes::from_static(text.as_bytes()), rows }));
                Ok(Response::CopyOut {
                    chunks: stream::iter(chunks).boxed(),
                    columns: 2,
                    format: CopyFormat::Text,
                    is_live: false,
                })
            }
            (other, _) => Err(Error::new(SqlState::SYNTAX_ERROR, format!("what is {other}?"))),
        }
    }

    fn cursor_columns(&self, _name: &str) -> Option<Arc<[OutputColumn]>> {
        None
    }

    fn statement_failed(&mut self) {
        if self.status == TransactionStatus::Open {
            self.status = TransactionStatus::Failed;
        }
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status
    }

    fn begin_implicit(&mut self) {
        self.implicit = true;
        self.journal.lock().implicit_begun += 1;
    }

    async fn end_implicit(&mut self, ok: bool) -> Result<()> {
        if std::mem::take(&mut self.implicit) && self.status == TransactionStatus::Idle {
            if ok {
                self.commit();
            } else {
                self.pending.clear();
            }
        }
        Ok(())
    }

    async fn hold(&mut self, _: &Parsed, _: Vec<ScalarValue>) -> Result<HeldQuery> {
        Err(Error::not_built("a held query of the fake"))
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn parameter_changes(&mut self) -> Vec<(String, String)> {
        self.zone.take().map(|zone| ("TimeZone".to_owned(), zone)).into_iter().collect()
    }

    fn settings(&self) -> EncodeSettings {
        EncodeSettings::default()
    }
}

struct FakeSink {
    journal: Arc<Mutex<Journal>>,
    bytes: Vec<u8>,
    bytes_max: usize,
    finished: bool,
}

#[async_trait]
impl CopyInSink for FakeSink {
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > self.bytes_max {
            return Err(Error::new(SqlState::BAD_COPY_FORMAT, "missing data for column \"b\""));
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        self.finished = true;
        let rows = self.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.journal.lock().copied.append(&mut self.bytes);
        Ok(rows)
    }
}

impl Drop for FakeSink {
    fn drop(&mut self) {
        if !self.finished {
            self.journal.lock().sinks_dropped += 1;
        }
    }
}
