//! What a statement answers, before any protocol.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::Result;
use crate::types::SqlType;

/// COPY's overall format, as CopyInResponse and CopyOutResponse say it.
pub use crate::types::CopyFormat;

/// Batches of a result, made as they are asked for. Dropping it cancels the query.
pub type RowStream = BoxStream<'static, Result<RecordBatch>>;

/// Name and type of a result's column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    pub name: String,
    pub sql_type: SqlType,
}

/// What a statement answers.
pub enum Response {
    /// A result set. The tag is `SELECT n`, or what `tag` says with the number of rows behind it (`INSERT 0` gives
    /// `INSERT 0 3`). A live result may never end, and may stand still for long: its rows are worth sending one by one,
    /// and a client that went away must be noticed without any.
    Rows { columns: Arc<[OutputColumn]>, schema: SchemaRef, rows: RowStream, tag: String, is_live: bool },
    /// A command tag alone: `CREATE TABLE`, `INSERT 0 3`.
    Done { tag: String },
    /// COPY FROM STDIN: the client sends data until it says done or fail.
    CopyIn { sink: Box<dyn CopyInSink>, columns: usize, format: CopyFormat },
    /// COPY TO STDOUT: chunks that each hold whole lines. The tag is `COPY n`, n known at the end from the row counts.
    CopyOut { chunks: BoxStream<'static, Result<CopyChunk>>, columns: usize, format: CopyFormat, is_live: bool },
    /// An empty query string.
    Empty,
}

/// Some whole lines of COPY TO STDOUT.
pub struct CopyChunk {
    pub bytes: Bytes,
    pub rows: u64,
}

/// Takes the bytes of COPY FROM STDIN. Dropped without `finish`, nothing of the statement is kept.
#[async_trait]
pub trait CopyInSink: Send {
    /// Any cut of the byte stream; lines need not be whole.
    async fn write(&mut self, bytes: &[u8]) -> Result<()>;
    /// After the last byte. Returns the number of rows, durably committed.
    async fn finish(self: Box<Self>) -> Result<u64>;
}

/// A NOTICE or WARNING that goes before the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// `NOTICE`, `WARNING`, `INFO`.
    pub severity: &'static str,
    /// SQLSTATE, `00000` for a plain notice, `01000` for a warning.
    pub code: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}
