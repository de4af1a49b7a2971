//! `WHERE`: rows for which the predicate is true. Linear, so it keeps nothing.

use std::sync::Arc;

use arrow::array::{Array, AsArray};

use super::{Counters, each_batch};
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::Expressions;
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::io::Parallel;

#[derive(Debug)]
pub struct Filter {
    predicate: Expressions,
    parallel: Arc<dyn Parallel>,
    pub counters: Counters,
}

impl Filter {
    /// `predicate` is one boolean expression.
    pub fn new(predicate: Expressions, parallel: Arc<dyn Parallel>) -> Self {
        Filter { predicate, parallel, counters: Counters::default() }
    }

    pub fn step(&mut self, input: Vec<DeltaBatch>, errors: &mut ErrorDelta) -> Result<Vec<DeltaBatch>> {
        let mut output =
            each_batch(&*self.parallel, input, errors, |delta, errors| apply(&self.predicate, delta, errors))?;
        output.retain(|delta| !delta.is_empty());
        self.counters.rows_emitted += output.iter().map(|delta| delta.num_rows() as u64).sum::<u64>();
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
