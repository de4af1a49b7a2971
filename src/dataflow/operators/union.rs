//! `UNION ALL`: the rows of all inputs. Linear, so it keeps nothing.

use arrow::datatypes::SchemaRef;

use super::Counters;
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

    /// `inputs`: the batches of all inputs.
    pub fn step(&mut self, inputs: Vec<DeltaBatch>) -> Result<Vec<DeltaBatch>> {
        let mut output = Vec::new();
        for delta in inputs.into_iter().filter(|delta| !delta.is_empty()) {
            self.counters.rows_emitted += delta.num_rows() as u64;
            let rows = batch(&self.schema, delta.rows().columns().to_vec(), delta.num_rows())?;
            output.push(delta.with_rows(rows)?);
        }
        Ok(output)
    }
}

#[cfg(test)]
mod tests;
