//! `SELECT` expressions: one output row per input row. Linear, so it keeps nothing.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::{Counters, each_batch};
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::delta::DeltaBatch;
use crate::error::Result;
use crate::io::Parallel;

#[derive(Debug)]
pub struct Project {
    expressions: Expressions,
    schema: SchemaRef,
    parallel: Arc<dyn Parallel>,
    pub counters: Counters,
}

impl Project {
    /// One expression per column of `schema`.
    pub fn new(expressions: Expressions, schema: SchemaRef, parallel: Arc<dyn Parallel>) -> Self {
        Project { expressions, schema, parallel, counters: Counters::default() }
    }

    pub fn step(&mut self, input: Vec<DeltaBatch>, errors: &mut ErrorDelta) -> Result<Vec<DeltaBatch>> {
        let output = each_batch(&*self.parallel, input, errors, |delta, errors| {
            apply(&self.expressions, &self.schema, delta, errors)
        })?;
        self.counters.rows_emitted += output.iter().map(|delta| delta.num_rows() as u64).sum::<u64>();
        Ok(output)
    }
}

/// The expressions' values with the weights of their rows.
pub fn apply(
    expressions: &Expressions,
    schema: &SchemaRef,
    input: DeltaBatch,
    errors: &mut ErrorDelta,
) -> Result<DeltaBatch> {
    let (input, values) = expressions.evaluate(input, errors)?;
    input.with_rows(batch(schema, values, input.num_rows())?)
}

#[cfg(test)]
mod tests;
