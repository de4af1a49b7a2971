//! A bound that is computed from one time: of a commit, or of a table's watermark.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result, SqlState};

#[derive(Debug)]
pub struct TimeBound {
    bound: Expressions,
    /// Of the one column that it reads.
    schema: SchemaRef,
}

impl TimeBound {
    /// `bound`: one expression over `time`, a column of a timestamp type.
    pub fn new(bound: Expressions, time: Field) -> Self {
        TimeBound { bound, schema: Arc::new(Schema::new(vec![time])) }
    }

    /// Its value, one row, at a time in microseconds since 1970.
    ///
    /// Errors: 22008 where it is out of range, and those of the expression.
    pub fn at(&self, time_us: i64) -> Result<ArrayRef> {
        let DataType::Timestamp(_, zone) = self.schema.field(0).data_type() else {
            return Err(Error::internal("a bound of something that is no time"));
        };
        let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![time_us]).with_timezone_opt(zone.clone()));
        let time = batch(&self.schema, vec![time], 1)?;
        let mut errors = ErrorDelta::default();
        let (_, mut bound) = self.bound.evaluate(DeltaBatch::inserts(time), &mut errors)?;
        match bound.pop().filter(|bound| bound.len() == 1 && !bound.is_null(0)) {
            Some(bound) => Ok(bound),
            None => Err(Error::new(SqlState::DATETIME_OVERFLOW, "a bound of a view that follows time is out of range")),
        }
    }
}
