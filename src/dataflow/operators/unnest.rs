//! One row for each element of a list: the windows of HOP. Linear, so it keeps nothing.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use super::{Counters, threads_for};
use crate::dataflow::expression::batch;
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::io::{Parallel, parallel};

#[derive(Debug)]
pub struct Unnest {
    /// The list's place among the columns.
    column: usize,
    schema: SchemaRef,
    parallel: Arc<dyn Parallel>,
    pub counters: Counters,
}

impl Unnest {
    /// `schema`: the input's, with the element in place of the list.
    pub fn new(column: usize, schema: SchemaRef, parallel: Arc<dyn Parallel>) -> Self {
        Unnest { column, schema, parallel, counters: Counters::default() }
    }

    pub fn step(&mut self, input: Vec<DeltaBatch>) -> Result<Vec<DeltaBatch>> {
        let threads = threads_for(&*self.parallel, input.iter().map(DeltaBatch::num_rows).sum());
        let output = parallel::map(threads, input, |delta| self.unnested(&delta)).into_iter();
        let mut output = output.collect::<Result<Vec<_>>>()?;
        output.retain(|delta| !delta.is_empty());
        self.counters.rows_emitted += output.iter().map(|delta| delta.num_rows() as u64).sum::<u64>();
        Ok(output)
    }

    /// A NULL list has no elements.
    fn unnested(&self, delta: &DeltaBatch) -> Result<DeltaBatch> {
        let lists = delta.rows().column(self.column).as_list_opt::<i32>();
        let Some(lists) = lists else { return Err(Error::internal("unnest of a column that is no list")) };
        let (mut rows, mut elements, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
            let (start, end) = (lists.value_offsets()[row], lists.value_offsets()[row + 1]);
            for element in start..end {
                rows.push(row as u32);
                elements.push(element as u32);
                weights.push(delta.weight(row));
            }
        }
        let (rows, elements) = (UInt32Array::from(rows), UInt32Array::from(elements));
        let columns = delta.rows().columns().iter().enumerate().map(|(index, column)| match index == self.column {
            true => Ok(take(lists.values(), &elements, None)?),
            false => Ok(take(column, &rows, None)?),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        DeltaBatch::new(batch(&self.schema, columns, rows.len())?, weights.into())
    }
}

#[cfg(test)]
mod tests;
