//! What every connector offers: to be checked at CREATE SOURCE, and to be read from a position.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;

use super::fleet;
use crate::catalog::{Column, SourceOptions};
use crate::error::{Error, Result, SqlState};
use crate::io::Clock;

/// Rows of a source, and where to go on once they are committed.
#[derive(Debug, Clone)]
pub struct SourceBatch {
    /// The source's columns, in order.
    pub rows: RecordBatch,
    /// Opaque to everyone but the connector; committed with the rows.
    pub position: Vec<u8>,
}

/// A source that is being read.
#[async_trait]
pub trait SourceReader: Send {
    /// The next rows, as soon as there are any; `None` after the last. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Option<SourceBatch>>;
}

/// The columns of a source that is created with `columns`: checked, or the connector's own where none are named.
///
/// Errors: 0A000 for an unknown connector, 22023 for options and 42703 or 42804 for columns that it does not know.
pub fn complete_columns(source: &SourceOptions, columns: Vec<Column>) -> Result<Vec<Column>> {
    match source.connector.as_str() {
        "fleet" if columns.is_empty() => fleet::default_columns(&source.options),
        "fleet" => fleet::validate(&source.options, &columns).map(|()| columns),
        other => Err(unknown(other)),
    }
}

/// Reads on behind `position`, the last committed one; `None` at first.
///
/// Errors: as [`complete_columns`]; XX001 for a position that the connector cannot read.
pub fn open(
    source: &SourceOptions,
    columns: &[Column],
    position: Option<&[u8]>,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn SourceReader>> {
    match source.connector.as_str() {
        "fleet" => Ok(Box::new(fleet::Fleet::open(&source.options, columns, position, clock)?)),
        other => Err(unknown(other)),
    }
}

fn unknown(connector: &str) -> Error {
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("connector \"{connector}\" is not supported yet"))
        .with_hint("The connector built so far is 'fleet', a generator. Load your own rows with COPY or INSERT.")
}
