//! `WHERE time > now() - INTERVAL '1 hour'`: rows on one side of a bound that rises with the commits' time.
//!
//! ```text
//!                 bound
//!   crossed  ------|------  rows ahead of it: the state, value | whole row -> weight
//!                  |---->
//! ```
//!
//! Rows that the bound has reached are forgotten. Where they expire (`>`), they go when it reaches them, and what still comes of
//! them is nothing. Where they come (`<`), they go on when it reaches them, and so does what still comes of them. A step reads
//! the rows that the bound crosses, and none else.

use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};

use super::Counters;
use super::ordered_rows::OrderedRows;
use super::time_bound::TimeBound;
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::dataflow::state::{OrderedUpdates, StateRef};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::plan::{SortDirection, TimeComparison};

/// Name of the column that stands for now() in a bound.
pub const COMMIT_TIME: &str = "commit_time";

#[derive(Debug)]
pub struct Temporal {
    rows: OrderedRows,
    comparison: TimeComparison,
    /// Of the commit's time.
    bound: TimeBound,
    /// The bound of the step, as rows begin with their value.
    reached: Option<Vec<u8>>,
    schema: SchemaRef,
    pub counters: Counters,
}

/// What a bound is computed from.
pub fn commit_time_field() -> Field {
    Field::new(COMMIT_TIME, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
}

impl Temporal {
    /// `value`: one expression over the input, never NULL. `bound`: one of its type over [`commit_time_field`].
    pub fn new(value: Expressions, comparison: TimeComparison, bound: Expressions, schema: SchemaRef) -> Result<Self> {
        let bound = TimeBound::new(bound.cast_to(&value.types()), commit_time_field());
        let ascending = [SortDirection { descending: false, nulls_first: false }];
        let rows = OrderedRows::new(value, &ascending, schema.clone())?;
        Ok(Temporal { rows, comparison, bound, reached: None, schema, counters: Counters::default() })
    }

    pub fn memory_bytes(&self) -> usize {
        self.rows.state.memory_bytes()
    }

    pub fn states(&mut self) -> [StateRef<'_>; 1] {
        [StateRef::Ordered(&mut self.rows.state)]
    }

    /// The time of the commit that the next steps end with; never less than before.
    ///
    /// Errors: those of the bound, for example a date out of range.
    pub fn advance_to(&mut self, now_us: i64) -> Result<()> {
        self.reached = Some(self.rows.key_of(&[self.bound.at(now_us)?])?);
        Ok(())
    }

    pub fn step(&mut self, input: Vec<DeltaBatch>, errors: &mut ErrorDelta) -> Result<Vec<DeltaBatch>> {
        let reached = self.reached.as_deref().ok_or_else(|| Error::internal("a step without a time"))?;
        let change = self.rows.change(input, None, errors)?;
        let (mut updates, mut output): (OrderedUpdates, Vec<(&[u8], i64)>) = Default::default();
        let expires = self.comparison.expires();
        let before = self.rows.state.clone();
        before.each_with_prefix(&[], |entry, weight| {
            let crossed = has_crossed(entry, reached, self.comparison);
            if crossed {
                updates.push(&[entry], -weight);
                output.push((entry, if expires { -weight } else { weight }));
            }
            Ok(crossed)
        })?;
        self.counters.rows_read += output.len() as u64;
        for (entry, weight) in change.entries() {
            let crossed = has_crossed(entry, reached, self.comparison);
            if !crossed {
                updates.push(&[entry], weight);
            }
            if crossed != expires {
                output.push((entry, weight));
            }
        }
        self.rows.state.apply(&updates)?;
        self.counters.rows_emitted += output.len() as u64;
        if output.is_empty() {
            return Ok(Vec::new());
        }
        let (entries, weights): (Vec<&[u8]>, Vec<i64>) = output.into_iter().unzip();
        let columns = self.rows.columns(&entries)?;
        Ok(vec![DeltaBatch::new(batch(&self.schema, columns, weights.len())?, weights.into())?])
    }
}

/// Whether a bound has reached the row.
fn has_crossed(entry: &[u8], reached: &[u8], comparison: TimeComparison) -> bool {
    if entry.starts_with(reached) { comparison.crosses_when_equal() } else { entry < reached }
}

#[cfg(test)]
mod tests;
