//! What DISTINCT aggregates read: each group's values, each once.
//!
//! ```text
//! columns:  keys | plain | distinct
//! output:   every row, with NULL for the distinct columns              passed through
//!           (keys, NULL, value of one distinct column)                 when that pair appears: +1; when it is gone: -1
//! ```
//!
//! How often each pair is there is the state: one ordered multiset for all distinct columns. A pair with a NULL value is
//! not kept, because aggregates leave it out. Under groups that are closed, the pairs of a group go with it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use super::time_bound::TimeBound;
use super::{Counters, threads_for};
use crate::dataflow::expression::batch;
use crate::dataflow::state::{OrderedState, OrderedUpdates, StateRef, in_order};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::functions::floats::canonical_array;
use crate::io::{Parallel, parallel};

#[derive(Debug)]
pub struct DistinctValues {
    keys: usize,
    first_distinct: usize,
    /// For each distinct column: the keys, then its value.
    converters: Vec<RowConverter>,
    /// Number of the distinct column (2 bytes), then the pair in arrow's row format.
    state: OrderedState,
    closing: Option<Closing>,
    schema: SchemaRef,
    parallel: Arc<dyn Parallel>,
    pub counters: Counters,
}

/// Groups are forgotten when their window is closed: that key stands first in the pairs.
#[derive(Debug)]
struct Closing {
    key: usize,
    bound: TimeBound,
    window: RowConverter,
    /// Pairs of windows before this one go in this step.
    due: Option<ArrayRef>,
}

/// A batch with the pairs of each distinct column.
struct Pairs {
    /// -0 as 0, every NaN as one.
    columns: Vec<ArrayRef>,
    rows: Vec<Rows>,
}

/// What a step does to the pairs of one distinct column.
struct Changed {
    updates: OrderedUpdates,
    /// For each batch the rows whose pair came or went, and by how much.
    rows: Vec<(Vec<u32>, Vec<i64>)>,
    rows_read: u64,
}

impl DistinctValues {
    /// `schema`: `keys` columns, then plain ones, then from `first_distinct` on the distinct ones.
    pub fn new(keys: usize, first_distinct: usize, schema: SchemaRef, parallel: Arc<dyn Parallel>) -> Result<Self> {
        let (state, counters) = (OrderedState::default(), Counters::default());
        let values = DistinctValues {
            keys,
            first_distinct,
            converters: Vec::new(),
            state,
            closing: None,
            schema,
            parallel,
            counters,
        };
        values.with_converters()
    }

    /// Forgets the values of a group when `bound` is above its key `key`. No row may come to it after that.
    pub fn closing_by(mut self, key: usize, bound: TimeBound) -> Result<Self> {
        if key >= self.keys {
            return Err(Error::internal("values of groups without a window"));
        }
        let window = RowConverter::new(vec![sort_field(&self.schema, key)])?;
        self.closing = Some(Closing { key, bound, window, due: None });
        self.with_converters()
    }

    fn with_converters(mut self) -> Result<Self> {
        let converters = (self.first_distinct..self.schema.fields().len()).map(|distinct| {
            let fields = self.pair_columns(distinct).map(|column| sort_field(&self.schema, column)).collect();
            Ok(RowConverter::new(fields)?)
        });
        self.converters = converters.collect::<Result<_>>()?;
        Ok(self)
    }

    /// The next step forgets what a watermark has passed that is here now.
    pub fn close_to(&mut self, watermark_us: i64) -> Result<()> {
        if let Some(closing) = &mut self.closing {
            closing.due = Some(closing.bound.at(watermark_us)?);
        }
        Ok(())
    }

    /// The columns of a pair, in the order that it has them in the state.
    fn pair_columns(&self, distinct: usize) -> impl Iterator<Item = usize> + use<> {
        let window = self.closing.as_ref().map(|closing| closing.key);
        let others = (0..self.keys).filter(move |key| Some(*key) != window);
        window.into_iter().chain(others).chain([distinct])
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
    }

    pub fn states(&mut self) -> [StateRef<'_>; 1] {
        [StateRef::Ordered(&mut self.state)]
    }

    pub fn step(&mut self, input: Vec<DeltaBatch>) -> Result<Vec<DeltaBatch>> {
        let threads = threads_for(&*self.parallel, input.iter().map(DeltaBatch::num_rows).sum());
        let pairs = parallel::map(threads, input.iter().collect(), |delta| self.pairs(delta));
        let pairs = pairs.into_iter().collect::<Result<Vec<_>>>()?;
        let columns = (0..self.converters.len()).collect();
        let changed = parallel::map(threads, columns, |distinct| self.changed(&input, &pairs, distinct));
        let changed = changed.into_iter().collect::<Result<Vec<_>>>()?;
        let mut output = input.iter().map(|delta| self.passed(delta)).collect::<Result<Vec<_>>>()?;
        let mut updates = Vec::with_capacity(changed.len());
        for (distinct, changed) in changed.into_iter().enumerate() {
            self.counters.rows_read += changed.rows_read;
            updates.push(changed.updates);
            for (pairs, (rows, weights)) in pairs.iter().zip(changed.rows).filter(|(_, (rows, _))| !rows.is_empty()) {
                output.push(self.pair_rows(pairs, distinct, rows, weights)?);
            }
        }
        self.state.apply_all(&updates, threads)?;
        self.close()?;
        output.retain(|delta| !delta.is_empty());
        self.counters.rows_emitted += output.iter().map(|delta| delta.num_rows() as u64).sum::<u64>();
        Ok(output)
    }

    /// Takes out the pairs of the groups that are closed: they stand in front.
    fn close(&mut self) -> Result<()> {
        let Some(closing) = &mut self.closing else { return Ok(()) };
        let Some(bound) = closing.due.take() else { return Ok(()) };
        let bound = closing.window.convert_columns(&[canonical_array(&bound)])?;
        let before = self.state.clone();
        let mut closed = OrderedUpdates::default();
        for distinct in 0..self.converters.len() {
            let number = (distinct as u16).to_be_bytes();
            let end = [&number, bound.row(0).data()].concat();
            before.each_with_prefix(&number, |entry, weight| {
                let is_closed = entry < end.as_slice();
                if is_closed {
                    closed.push(&[entry], -weight);
                    self.counters.rows_read += 1;
                }
                Ok(is_closed)
            })?;
        }
        self.state.apply(&closed)
    }

    fn changed(&self, input: &[DeltaBatch], pairs: &[Pairs], distinct: usize) -> Result<Changed> {
        let mut places: Vec<(usize, u32)> = Vec::new();
        for (batch, pairs) in pairs.iter().enumerate() {
            let values = &pairs.columns[self.first_distinct + distinct];
            places.extend((0..values.len()).filter(|row| values.is_valid(*row)).map(|row| (batch, row as u32)));
        }
        let pair = |place: u32| {
            let (batch, row) = places[place as usize];
            pairs[batch].rows[distinct].row(row as usize).data()
        };
        let weight = |place: &u32| {
            let (batch, row) = places[*place as usize];
            input[batch].weight(row as usize)
        };
        let number = (distinct as u16).to_be_bytes();
        let mut changed = Changed {
            updates: OrderedUpdates::default(),
            rows: vec![(Vec::new(), Vec::new()); input.len()],
            rows_read: 0,
        };
        let order = in_order(0..places.len() as u32, pair);
        for same in order.chunk_by(|left, right| pair(*left) == pair(*right)) {
            let Some(first) = same.first() else { continue };
            let before = self.state.weight(&[&number, pair(*first)].concat())?;
            let change: i64 = same.iter().map(weight).sum();
            changed.rows_read += 1;
            changed.updates.push(&[&number, pair(*first)], change);
            let weight = i64::from(before + change > 0) - i64::from(before > 0);
            if weight != 0 {
                let (batch, row) = places[*first as usize];
                let (rows, weights) = &mut changed.rows[batch];
                rows.push(row);
                weights.push(weight);
            }
        }
        Ok(changed)
    }

    fn pairs(&self, delta: &DeltaBatch) -> Result<Pairs> {
        let columns: Vec<ArrayRef> = delta.rows().columns().iter().map(canonical_array).collect();
        if columns.len() != self.schema.fields().len() {
            return Err(Error::internal("columns that DISTINCT was not planned for"));
        }
        let convert = |(distinct, converter): (usize, &RowConverter)| {
            let pair: Vec<ArrayRef> =
                self.pair_columns(self.first_distinct + distinct).map(|column| columns[column].clone()).collect();
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

fn sort_field(schema: &Schema, column: usize) -> SortField {
    SortField::new(schema.field(column).data_type().clone())
}

#[cfg(test)]
mod tests;
