//! `UNION ALL`: the rows of all inputs. Linear, so it keeps nothing.

use arrow::datatypes::SchemaRef;

use super::{Counters, Output};
use crate::dataflow::expression::batch;
use crate::delta::DeltaBatch;
use crate::error::Result;

#[derive(Debug)]
pub struct Union {
    schema: SchemaRef,
    pub counters: Counters,
}

impl Union {
    /// Every input has the types of `schema`, under names of its own.
    pub fn new(schema: SchemaRef) -> Self {
        Union { schema, counters: Counters::default() }
    }

    /// `input`: batches of any of the inputs.
    pub fn step(&mut self, input: Vec<DeltaBatch>, output: &mut Output<'_>) -> Result<()> {
        for delta in input {
            let rows = batch(&self.schema, delta.rows().columns().to_vec(), delta.num_rows())?;
            output.put(delta.with_rows(rows)?)?;
        }
        self.counters.rows_emitted += output.rows;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
