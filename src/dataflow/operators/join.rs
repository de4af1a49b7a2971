//! Inner equi-join, with a residual predicate. Bilinear: each side is kept as an arrangement (its rows in the order of
//! the join key), and a step computes
//!
//! ```text
//! delta(L x R) = delta L x R before  +  L after x delta R
//! ```
//!
//! NULL matches nothing, so rows with a NULL key are not kept.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};

use super::{Counters, each_batch, filter, threads_for};
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::dataflow::state::{OrderedState, OrderedUpdates, StateRef, in_order};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::functions::floats::canonical_array;
use crate::io::{Parallel, parallel};

/// Matches are turned into columns in batches of about this many.
const BATCH_ROWS: usize = 8192;

#[derive(Debug)]
pub struct Join {
    left: Side,
    right: Side,
    residual: Option<Expressions>,
    schema: SchemaRef,
    parallel: Arc<dyn Parallel>,
    pub counters: Counters,
}

/// One input, arranged by its key: entries are the key's columns, then the row's, in arrow's row format.
#[derive(Debug)]
struct Side {
    keys: Expressions,
    key_converter: RowConverter,
    row_converter: RowConverter,
    state: OrderedState,
}

/// A delta of one side, and what it brings into the arrangement; rows with a NULL in the key are not among these.
struct Keyed {
    delta: DeltaBatch,
    /// In the order of the entries.
    updates: OrderedUpdates,
    /// For each of them its row and its key's length.
    rows: Vec<(u32, u32)>,
}

impl Keyed {
    /// What the entry of one of `rows` begins with.
    fn key(&self, place: usize) -> &[u8] {
        &self.updates.key(place)[..self.rows[place].1 as usize]
    }
}

impl Join {
    /// `schema`: the columns of left, then right. Errors: key columns of different types.
    pub fn new(
        (left_keys, left_schema): (Expressions, &Schema),
        (right_keys, right_schema): (Expressions, &Schema),
        residual: Option<Expressions>,
        schema: SchemaRef,
        parallel: Arc<dyn Parallel>,
    ) -> Result<Self> {
        if left_keys.types() != right_keys.types() {
            return Err(Error::internal("the two sides of a join key have different types"));
        }
        Ok(Join {
            left: Side::new(left_keys, left_schema)?,
            right: Side::new(right_keys, right_schema)?,
            residual,
            schema,
            parallel,
            counters: Counters::default(),
        })
    }

    pub fn step(
        &mut self,
        left: Vec<DeltaBatch>,
        right: Vec<DeltaBatch>,
        errors: &mut ErrorDelta,
    ) -> Result<Vec<DeltaBatch>> {
        let threads = &*self.parallel;
        let left = each_batch(threads, left, errors, |delta, errors| self.left.keyed(delta, errors))?;
        let right = each_batch(threads, right, errors, |delta, errors| self.right.keyed(delta, errors))?;
        let mut output = Vec::new();
        self.matches(&left, true, &mut output)?;
        self.left.arrange(left, &*self.parallel)?;
        self.matches(&right, false, &mut output)?;
        self.right.arrange(right, &*self.parallel)?;
        if let Some(residual) = &self.residual {
            let apply = |delta, errors: &mut ErrorDelta| filter::apply(residual, delta, errors);
            output = each_batch(&*self.parallel, output, errors, apply)?;
        }
        output.retain(|delta| !delta.is_empty());
        self.counters.rows_emitted += output.iter().map(|delta| delta.num_rows() as u64).sum::<u64>();
        Ok(output)
    }

    /// Pairs the rows of one side's deltas with the other side's state.
    fn matches(&mut self, deltas: &[Keyed], delta_is_left: bool, output: &mut Vec<DeltaBatch>) -> Result<()> {
        let rows = deltas.iter().map(|delta| delta.rows.len()).sum();
        let threads = threads_for(&*self.parallel, rows);
        for found in parallel::map(threads, deltas.iter().collect(), |delta| self.matches_of(delta, delta_is_left)) {
            let (pairs, rows_read) = found?;
            output.extend(pairs);
            self.counters.rows_read += rows_read;
        }
        Ok(())
    }

    /// The pairs, and how many entries were read.
    fn matches_of(&self, delta: &Keyed, delta_is_left: bool) -> Result<(Vec<DeltaBatch>, u64)> {
        let other = if delta_is_left { &self.right } else { &self.left };
        let (mut output, mut rows_read, mut pairs) = (Vec::new(), 0, Pairs::default());
        let mut start = 0;
        // Rows of one key stand together, and meet the same entries: each is looked up and read once.
        while start < delta.rows.len() {
            let key = delta.key(start);
            let behind = (start..delta.rows.len()).find(|place| delta.key(*place) != key);
            let same = &delta.rows[start..behind.unwrap_or(delta.rows.len())];
            start += same.len();
            for (entry, entry_weight) in other.state.with_prefix(key)? {
                rows_read += 1;
                for rows in same.chunks(BATCH_ROWS) {
                    pairs.add(rows, &delta.delta, &entry[key.len()..], entry_weight);
                    if pairs.rows.len() >= BATCH_ROWS {
                        output.push(pairs.flush(delta, other, delta_is_left, &self.schema)?);
                    }
                }
            }
        }
        if !pairs.rows.is_empty() {
            output.push(pairs.flush(delta, other, delta_is_left, &self.schema)?);
        }
        Ok((output, rows_read))
    }

    pub fn states(&mut self) -> [StateRef<'_>; 2] {
        [&mut self.left, &mut self.right].map(|side| StateRef::Ordered(&mut side.state))
    }

    pub fn memory_bytes(&self) -> usize {
        self.left.state.memory_bytes() + self.right.state.memory_bytes()
    }
}

/// Matches on their way to columns.
#[derive(Default)]
struct Pairs<'a> {
    rows: Vec<u32>,
    /// For each of `rows` its place in `entries`.
    entry_of_row: Vec<u32>,
    /// The other side's rows, without the key before them.
    entries: Vec<&'a [u8]>,
    weights: Vec<i64>,
}

impl<'a> Pairs<'a> {
    /// Each of `rows` with one entry.
    fn add(&mut self, rows: &[(u32, u32)], delta: &DeltaBatch, entry: &'a [u8], entry_weight: i64) {
        self.entry_of_row.resize(self.rows.len() + rows.len(), self.entries.len() as u32);
        self.entries.push(entry);
        self.rows.extend(rows.iter().map(|(row, _)| *row));
        self.weights.extend(rows.iter().map(|(row, _)| delta.weight(*row as usize) * entry_weight));
    }

    fn flush(&mut self, delta: &Keyed, other: &Side, delta_is_left: bool, schema: &SchemaRef) -> Result<DeltaBatch> {
        let parser = other.row_converter.parser();
        let found = other.row_converter.convert_rows(self.entries.iter().map(|entry| parser.parse(entry)))?;
        let entry_of_row = UInt32Array::from(std::mem::take(&mut self.entry_of_row));
        let found = found.iter().map(|column| Ok(take(column, &entry_of_row, None)?)).collect::<Result<Vec<_>>>()?;
        let indices = UInt32Array::from(std::mem::take(&mut self.rows));
        let own = delta.delta.rows().columns().iter();
        let own = own.map(|column| Ok(take(column, &indices, None)?)).collect::<Result<Vec<ArrayRef>>>()?;
        let columns = if delta_is_left { [own, found] } else { [found, own] }.concat();
        self.entries.clear();
        let rows = batch(schema, columns, indices.len())?;
        DeltaBatch::new(rows, std::mem::take(&mut self.weights).into())
    }
}

impl Side {
    fn new(keys: Expressions, schema: &Schema) -> Result<Self> {
        let row_types = schema.fields().iter().map(|field| field.data_type().clone());
        Ok(Side {
            key_converter: converter(keys.types().into_iter())?,
            row_converter: converter(row_types)?,
            keys,
            state: OrderedState::default(),
        })
    }

    fn keyed(&self, delta: DeltaBatch, errors: &mut ErrorDelta) -> Result<Keyed> {
        let (delta, keys) = self.keys.evaluate(delta, errors)?;
        let keys: Vec<ArrayRef> = keys.iter().map(canonical_array).collect();
        let nulls =
            keys.iter().fold(None, |nulls, key| NullBuffer::union(nulls.as_ref(), key.logical_nulls().as_ref()));
        let keys = self.key_converter.convert_columns(&keys)?;
        let columns = delta.rows().columns();
        // A join on nothing but keys keeps no column.
        let rows = if columns.is_empty() { None } else { Some(self.row_converter.convert_columns(columns)?) };
        let key = |row: u32| keys.row(row as usize).data();
        let value = |row: u32| rows.as_ref().map_or(&[][..], |rows| rows.row(row as usize).data());
        let is_kept = |row: &u32| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row as usize));
        let mut unordered = OrderedUpdates::default();
        let kept: Vec<u32> = (0..delta.num_rows() as u32).filter(is_kept).collect();
        kept.iter().for_each(|row| unordered.push(&[key(*row), value(*row)], delta.weight(*row as usize)));
        let order = in_order(0..kept.len() as u32, |place| unordered.key(place as usize));
        let mut updates = OrderedUpdates::default();
        let mut ordered = Vec::with_capacity(kept.len());
        for place in order {
            let row = kept[place as usize];
            updates.push(&[unordered.key(place as usize)], delta.weight(row as usize));
            ordered.push((row, key(row).len() as u32));
        }
        Ok(Keyed { delta, updates, rows: ordered })
    }

    fn arrange(&mut self, input: Vec<Keyed>, threads: &dyn Parallel) -> Result<()> {
        let rows = input.iter().map(|delta| delta.rows.len()).sum();
        let updates: Vec<OrderedUpdates> = input.into_iter().map(|delta| delta.updates).collect();
        self.state.apply_all(&updates, threads_for(threads, rows))
    }
}

fn converter(types: impl Iterator<Item = DataType>) -> Result<RowConverter> {
    Ok(RowConverter::new(types.map(SortField::new).collect())?)
}

#[cfg(test)]
mod tests;
