//! `WHERE`: rows for which the predicate is true. Linear, so it keeps nothing.

use arrow::array::{Array, AsArray};

use super::Counters;
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::Expressions;
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};

#[derive(Debug)]
pub struct Filter {
    predicate: Expressions,
    pub counters: Counters,
}

impl Filter {
    /// `predicate` is one boolean expression.
    pub fn new(predicate: Expressions) -> Self {
        Filter { predicate, counters: Counters::default() }
    }

    pub fn step(&mut self, input: Vec<DeltaBatch>, errors: &mut ErrorDelta) -> Result<Vec<DeltaBatch>> {
        let mut output = Vec::with_capacity(input.len());
        for delta in input {
            let kept = apply(&self.predicate, delta, errors)?;
            self.counters.rows_emitted += kept.num_rows() as u64;
            if !kept.is_empty() {
                output.push(kept);
            }
        }
        Ok(output)
    }
}

/// The rows of `input` for which `predicate` is true, neither false nor NULL.
pub fn apply(predicate: &Expressions, input: DeltaBatch, errors: &mut ErrorDelta) -> Result<DeltaBatch> {
    let (input, values) = predicate.evaluate(input, errors)?;
    let keep = values.first().and_then(|values| values.as_boolean_opt());
    let Some(keep) = keep else { return Err(Error::internal("a predicate that is not boolean")) };
    if keep.null_count() == 0 && keep.true_count() == keep.len() {
        return Ok(input);
    }
    input.filter(keep)
}

#[cfg(test)]
mod tests;
