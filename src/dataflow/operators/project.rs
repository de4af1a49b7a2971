//! `SELECT` expressions: one output row per input row. Linear, so it keeps nothing.

use arrow::datatypes::SchemaRef;

use super::Counters;
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::delta::DeltaBatch;
use crate::error::Result;

#[derive(Debug)]
pub struct Project {
    expressions: Expressions,
    schema: SchemaRef,
    pub counters: Counters,
}

impl Project {
    /// One expression per column of `schema`.
    pub fn new(expressions: Expressions, schema: SchemaRef) -> Self {
        Project { expressions, schema, counters: Counters::default() }
    }

    pub fn step(&mut self, input: Vec<DeltaBatch>, errors: &mut ErrorDelta) -> Result<Vec<DeltaBatch>> {
        let mut output = Vec::with_capacity(input.len());
        for delta in input {
            let projected = apply(&self.expressions, &self.schema, delta, errors)?;
            self.counters.rows_emitted += projected.num_rows() as u64;
            output.push(projected);
        }
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
