//! Prepared statements: made, described, given parameters.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;
use futures::{Stream, TryStreamExt};
use parking_lot::Mutex;
use tonic::Status;

use super::parameter::values;
use crate::error::{Error, Result, SqlState};
use crate::session::{Connection, OutputColumn, Parsed};
use crate::types::SqlType;

/// Batches of parameters that are read before they are too many.
const BATCHES_MAX: usize = 16;

pub(super) struct Prepared {
    pub statement: Parsed,
    /// Of its result.
    pub schema: SchemaRef,
    parameters: Vec<SqlType>,
    zone: Tz,
    /// What the client bound last.
    bound: Mutex<Vec<ScalarValue>>,
}

impl Prepared {
    /// Errors: 0A000 for a statement without a result.
    pub async fn new(session: &mut dyn Connection, sql: &str) -> Result<Prepared> {
        let statement = single(session.parse(sql)?)?;
        let description = session.describe(&statement, &[]).await?;
        let columns = description.columns.ok_or_else(refused_update)?;
        let zone = session.settings().time_zone;
        let schema = Arc::new(schema_of(&columns));
        Ok(Prepared { statement, schema, parameters: description.parameters, zone, bound: Mutex::default() })
    }

    /// Of the row that the client is to bind.
    pub fn parameter_schema(&self) -> Schema {
        let fields = self.parameters.iter().enumerate();
        let fields = fields.map(|(at, sql_type)| Field::new(format!("${}", at + 1), sql_type.arrow(), true));
        Schema::new(fields.collect::<Vec<_>>())
    }

    /// Takes the one row of a stream.
    pub async fn bind(&self, stream: impl Stream<Item = Result<FlightData, Status>> + Send + 'static) -> Result<()> {
        let stream = FlightRecordBatchStream::new_from_flight_data(stream.map_err(FlightError::from));
        let mut batches = std::pin::pin!(stream);
        let mut read = Vec::new();
        while let Some(batch) = batches.try_next().await.map_err(malformed)? {
            if batch.num_rows() > 0 {
                read.push(batch);
            }
            if read.len() > BATCHES_MAX {
                return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many batches of parameters"));
            }
        }
        let row = match read.as_slice() {
            [one] => one.clone(),
            [] => RecordBatch::new_empty(Arc::new(Schema::empty())),
            several => arrow::compute::concat_batches(&several[0].schema(), several)?,
        };
        *self.bound.lock() = values(&self.parameters, &row, self.zone)?;
        Ok(())
    }

    /// What was bound. Errors: 08P01 where a parameter was not.
    pub fn bound(&self) -> Result<Vec<ScalarValue>> {
        let bound = self.bound.lock().clone();
        if bound.len() != self.parameters.len() {
            return Err(Error::new(
                SqlState::PROTOCOL_VIOLATION,
                format!("{} parameters were bound, but the statement takes {}", bound.len(), self.parameters.len()),
            ));
        }
        Ok(bound)
    }
}

/// The one statement of a string.
pub(super) fn single(statements: Vec<Parsed>) -> Result<Parsed> {
    match <[Parsed; 1]>::try_from(statements) {
        Ok([statement]) => Ok(statement),
        Err(statements) if statements.is_empty() => Err(Error::new(SqlState::SYNTAX_ERROR, "the query is empty")),
        Err(_) => Err(Error::new(SqlState::SYNTAX_ERROR, "cannot run several statements as one query")
            .with_hint("Send them one by one.")),
    }
}

/// The schema that a held query of these columns has.
pub(super) fn schema_of(columns: &[OutputColumn]) -> Schema {
    let fields = columns.iter().map(|column| Field::new(&column.name, column.sql_type.arrow(), true));
    Schema::new(fields.collect::<Vec<_>>())
}

/// For what changes rows or definitions.
pub(super) fn refused_update() -> Error {
    Error::not_built("a statement that does more than read, over Arrow Flight")
        .with_hint("Use PostgreSQL's protocol, at the address of --listen-sql.")
}

fn malformed(error: FlightError) -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, "the parameters are no Arrow stream").with_detail(error.to_string())
}
