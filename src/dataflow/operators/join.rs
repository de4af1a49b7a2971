//! Inner equi-join, with a residual predicate. Bilinear: each side is kept as an arrangement (its rows in the order of
//! the join key), and a step computes
//!
//! ```text
//! delta(L x R) = delta L x R before  +  L after x delta R
//! ```
//!
//! NULL matches nothing, so rows with a NULL key are not kept.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use super::{Counters, filter};
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::dataflow::state::{OrderedState, OrderedUpdates, StateRef};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::functions::floats::canonical_array;

/// Matches are turned into columns in batches of about this many.
const BATCH_ROWS: usize = 8192;

#[derive(Debug)]
pub struct Join {
    left: Side,
    right: Side,
    residual: Option<Expressions>,
    schema: SchemaRef,
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

/// A delta of one side with its keys; rows with a NULL in the key are not among them.
struct Keyed {
    delta: DeltaBatch,
    keys: Rows,
    /// Rows in the order of their keys.
    order: Vec<u32>,
}

impl Join {
    /// `schema`: the columns of left, then right. Errors: key columns of different types.
    pub fn new(
        (left_keys, left_schema): (Expressions, &Schema),
        (right_keys, right_schema): (Expressions, &Schema),
        residual: Option<Expressions>,
        schema: SchemaRef,
    ) -> Result<Self> {
        if left_keys.types() != right_keys.types() {
            return Err(Error::internal("the two sides of a join key have different types"));
        }
        Ok(Join {
            left: Side::new(left_keys, left_schema)?,
            right: Side::new(right_keys, right_schema)?,
            residual,
            schema,
            counters: Counters::default(),
        })
    }

    pub fn step(
        &mut self,
        left: Vec<DeltaBatch>,
        right: Vec<DeltaBatch>,
        errors: &mut ErrorDelta,
    ) -> Result<Vec<DeltaBatch>> {
        let mut output = Vec::new();
        let left = self.left.keyed(left, errors)?;
        for delta in &left {
            self.matches(delta, true, &mut output)?;
        }
        self.left.arrange(&left)?;
        let right = self.right.keyed(right, errors)?;
        for delta in &right {
            self.matches(delta, false, &mut output)?;
        }
        self.right.arrange(&right)?;
        if let Some(residual) = &self.residual {
            output =
                output.into_iter().map(|delta| filter::apply(residual, delta, errors)).collect::<Result<Vec<_>>>()?;
        }
        output.retain(|delta| !delta.is_empty());
        self.counters.rows_emitted += output.iter().map(|delta| delta.num_rows() as u64).sum::<u64>();
        Ok(output)
    }

    /// Pairs the rows of one side's delta with the other side's state.
    fn matches(&mut self, delta: &Keyed, delta_is_left: bool, output: &mut Vec<DeltaBatch>) -> Result<()> {
        let other = if delta_is_left { &self.right } else { &self.left };
        let mut pairs = Pairs::default();
        // Rows of one key stand together, and meet the same entries: each is looked up and read once.
        let same_key = |left: &u32, right: &u32| delta.keys.row(*left as usize) == delta.keys.row(*right as usize);
        for rows in delta.order.chunk_by(same_key) {
            let Some(first) = rows.first() else { continue };
            let key = delta.keys.row(*first as usize);
            for (entry, entry_weight) in other.state.with_prefix(key.data())? {
                self.counters.rows_read += 1;
                for rows in rows.chunks(BATCH_ROWS) {
                    pairs.add(rows, &delta.delta, &entry[key.data().len()..], entry_weight);
                    if pairs.rows.len() >= BATCH_ROWS {
                        output.push(pairs.flush(delta, other, delta_is_left, &self.schema)?);
                    }
                }
            }
        }
        if !pairs.rows.is_empty() {
            output.push(pairs.flush(delta, other, delta_is_left, &self.schema)?);
        }
        Ok(())
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
    fn add(&mut self, rows: &[u32], delta: &DeltaBatch, entry: &'a [u8], entry_weight: i64) {
        self.entry_of_row.resize(self.rows.len() + rows.len(), self.entries.len() as u32);
        self.entries.push(entry);
        self.rows.extend_from_slice(rows);
        self.weights.extend(rows.iter().map(|row| delta.weight(*row as usize) * entry_weight));
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

    fn keyed(&self, input: Vec<DeltaBatch>, errors: &mut ErrorDelta) -> Result<Vec<Keyed>> {
        let mut keyed = Vec::with_capacity(input.len());
        for delta in input {
            let (delta, keys) = self.keys.evaluate(delta, errors)?;
            let keys: Vec<ArrayRef> = keys.iter().map(canonical_array).collect();
            let has_null = |row: usize| keys.iter().any(|key| key.is_null(row));
            let mut order: Vec<u32> =
                (0..delta.num_rows()).filter(|row| !has_null(*row)).map(|row| row as u32).collect();
            let keys = self.key_converter.convert_columns(&keys)?;
            order.sort_by(|left, right| keys.row(*left as usize).cmp(&keys.row(*right as usize)));
            keyed.push(Keyed { delta, keys, order });
        }
        Ok(keyed)
    }

    fn arrange(&mut self, input: &[Keyed]) -> Result<()> {
        let mut updates = OrderedUpdates::default();
        for Keyed { delta, keys, order } in input {
            if delta.rows().num_columns() == 0 {
                for row in order {
                    updates.push(&[keys.row(*row as usize).data()], delta.weight(*row as usize));
                }
                continue;
            }
            let rows = self.row_converter.convert_columns(delta.rows().columns())?;
            for row in order {
                let row = *row as usize;
                updates.push(&[keys.row(row).data(), rows.row(row).data()], delta.weight(row));
            }
        }
        self.state.apply(&updates)
    }
}

fn converter(types: impl Iterator<Item = DataType>) -> Result<RowConverter> {
    Ok(RowConverter::new(types.map(SortField::new).collect())?)
}

#[cfg(test)]
mod tests;
