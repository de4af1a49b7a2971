//! What DISTINCT aggregates read: each group's values, each once.
//!
//! ```text
//! columns:  keys | plain | distinct
//! output:   every row, with NULL for the distinct columns              passed through
//!           (keys, NULL, value of one distinct column)                 when that pair appears: +1; when it is gone: -1
//! ```
//!
//! How often each pair is there is the state: one ordered multiset for all distinct columns. A pair with a NULL value is
//! not kept, because aggregates leave it out.

use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use super::Counters;
use crate::dataflow::expression::batch;
use crate::dataflow::state::{OrderedState, OrderedUpdates, StateRef};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::functions::floats::canonical_array;

#[derive(Debug)]
pub struct DistinctValues {
    keys: usize,
    first_distinct: usize,
    /// For each distinct column: the keys, then its value.
    converters: Vec<RowConverter>,
    /// Number of the distinct column (2 bytes), then the pair in arrow's row format.
    state: OrderedState,
    schema: SchemaRef,
    pub counters: Counters,
}

/// A batch with the pairs of each distinct column.
struct Pairs {
    /// -0 as 0, every NaN as one.
    columns: Vec<ArrayRef>,
    rows: Vec<Rows>,
}

/// One row's pair.
struct Touched<'a> {
    distinct: usize,
    pair: &'a [u8],
    weight: i64,
    batch: usize,
    row: u32,
}

impl DistinctValues {
    /// `schema`: `keys` columns, then plain ones, then from `first_distinct` on the distinct ones.
    pub fn new(keys: usize, first_distinct: usize, schema: SchemaRef) -> Result<Self> {
        let converters = (first_distinct..schema.fields().len()).map(|distinct| {
            let fields = (0..keys).chain([distinct]).map(|column| sort_field(&schema, column)).collect();
            Ok(RowConverter::new(fields)?)
        });
        Ok(DistinctValues {
            keys,
            first_distinct,
            converters: converters.collect::<Result<_>>()?,
            state: OrderedState::default(),
            schema,
            counters: Counters::default(),
        })
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
    }

    pub fn states(&mut self) -> [StateRef<'_>; 1] {
        [StateRef::Ordered(&mut self.state)]
    }

    pub fn step(&mut self, input: Vec<DeltaBatch>) -> Result<Vec<DeltaBatch>> {
        let pairs = input.iter().map(|delta| self.pairs(delta)).collect::<Result<Vec<_>>>()?;
        let mut touched = touched(&input, &pairs, self.first_distinct);
        touched.sort_by(|left, right| (left.distinct, left.pair).cmp(&(right.distinct, right.pair)));
        let mut output = input.iter().map(|delta| self.passed(delta)).collect::<Result<Vec<_>>>()?;
        // For each batch and distinct column the rows whose pair came or went.
        let mut changed = vec![vec![(Vec::new(), Vec::new()); self.converters.len()]; input.len()];
        let mut updates = OrderedUpdates::default();
        for same in touched.chunk_by(|left, right| left.distinct == right.distinct && left.pair == right.pair) {
            let Some(first) = same.first() else { continue };
            let number = (first.distinct as u16).to_be_bytes();
            let before = self.state.weight(&[&number, first.pair].concat())?;
            let change: i64 = same.iter().map(|touched| touched.weight).sum();
            self.counters.rows_read += 1;
            updates.push(&[&number, first.pair], change);
            let weight = i64::from(before + change > 0) - i64::from(before > 0);
            if weight != 0 {
                let (rows, weights): &mut (Vec<u32>, Vec<i64>) = &mut changed[first.batch][first.distinct];
                rows.push(first.row);
                weights.push(weight);
            }
        }
        self.state.apply(&updates)?;
        for (pairs, changed) in pairs.iter().zip(changed) {
            for (distinct, (rows, weights)) in changed.into_iter().enumerate().filter(|(_, (rows, _))| !rows.is_empty())
            {
                output.push(self.pair_rows(pairs, distinct, rows, weights)?);
            }
        }
        output.retain(|delta| !delta.is_empty());
        self.counters.rows_emitted += output.iter().map(|delta| delta.num_rows() as u64).sum::<u64>();
        Ok(output)
    }

    fn pairs(&self, delta: &DeltaBatch) -> Result<Pairs> {
        let columns: Vec<ArrayRef> = delta.rows().columns().iter().map(canonical_array).collect();
        if columns.len() != self.schema.fields().len() {
            return Err(Error::internal("columns that DISTINCT was not planned for"));
        }
        let convert = |(distinct, converter): (usize, &RowConverter)| {
            let pair: Vec<ArrayRef> =
                columns[..self.keys].iter().chain([&columns[self.first_distinct + distinct]]).cloned().collect();
            Ok(converter.convert_columns(&pair)?)
        };
        let rows = self.converters.iter().enumerate().map(convert).collect::<Result<_>>()?;
        Ok(Pairs { columns, rows })
    }

    fn passed(&self, delta: &DeltaBatch) -> Result<DeltaBatch> {
        let columns =
            delta.rows().columns().iter().enumerate().map(|(index, column)| match index < self.first_distinct {
                true => column.clone(),
                false => new_null_array(column.data_type(), column.len()),
            });
        delta.with_rows(batch(&self.schema, columns.collect(), delta.num_rows())?)
    }

    fn pair_rows(&self, pairs: &Pairs, distinct: usize, rows: Vec<u32>, weights: Vec<i64>) -> Result<DeltaBatch> {
        let rows = UInt32Array::from(rows);
        let columns = pairs.columns.iter().enumerate().map(|(index, column)| {
            if index < self.keys || index == self.first_distinct + distinct {
                Ok(take(column, &rows, None)?)
            } else {
                Ok(new_null_array(column.data_type(), rows.len()))
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        DeltaBatch::new(batch(&self.schema, columns, rows.len())?, weights.into())
    }
}

fn touched<'a>(input: &[DeltaBatch], pairs: &'a [Pairs], first_distinct: usize) -> Vec<Touched<'a>> {
    let mut touched = Vec::new();
    for (number, (delta, pairs)) in input.iter().zip(pairs).enumerate() {
        for (distinct, rows) in pairs.rows.iter().enumerate() {
            let values = &pairs.columns[first_distinct + distinct];
            for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
                let (pair, weight) = (rows.row(row).data(), delta.weight(row));
                touched.push(Touched { distinct, pair, weight, batch: number, row: row as u32 });
            }
        }
    }
    touched
}

fn sort_field(schema: &Schema, column: usize) -> SortField {
    SortField::new(schema.field(column).data_type().clone())
}

#[cfg(test)]
mod tests;
