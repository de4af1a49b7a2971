//! Inner equi-join, with a residual predicate. Bilinear: each side is kept as an arrangement (its rows in the order of
//! the join key), and a step computes
//!
//! ```text
//! delta(L x R) = delta L x R before  +  L after x delta R
//! ```
//!
//! NULL matches nothing, so rows with a NULL key are not kept. However many pairs a step has, few of them are held at once: they are put
//! out in batches, and a unit of rows that has many is left and taken up again.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};

use super::{Counters, Output, batch_rows, each_batch, filter, threads_for};
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::dataflow::state::{OrderedState, OrderedUpdates, StateRef, in_order};
use crate::delta::{DeltaBatch, batch_bytes};
use crate::error::{Error, Result};
use crate::functions::floats::canonical_array;
use crate::io::{Parallel, parallel};

/// Rows that are paired together at first, fewer where they turn out to have many pairs; and about so many units of that size at a time.
const UNIT_ROWS: usize = 1 << 14;
const ROUND_UNITS: usize = 8;

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

    /// The place behind the last of `rows` that has this one's key.
    fn end_of_key(&self, place: usize) -> usize {
        let key = self.key(place);
        (place..self.rows.len()).find(|place| self.key(*place) != key).unwrap_or(self.rows.len())
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
        output: &mut Output<'_>,
    ) -> Result<()> {
        let threads = &*self.parallel;
        let left = each_batch(threads, left, errors, |delta, errors| self.left.keyed(delta, errors))?;
        let right = each_batch(threads, right, errors, |delta, errors| self.right.keyed(delta, errors))?;
        self.matches(&left, true, errors, output)?;
        self.left.arrange(left, &*self.parallel)?;
        self.matches(&right, false, errors, output)?;
        self.right.arrange(right, &*self.parallel)?;
        self.counters.rows_emitted += output.rows;
        Ok(())
    }

    /// Pairs the rows of one side's deltas with the other side's state. What is found is put in the order of the deltas, and of the keys
    /// within each, so that a pair comes before it goes.
    fn matches(
        &mut self,
        deltas: &[Keyed],
        delta_is_left: bool,
        errors: &mut ErrorDelta,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let mut todo = Todo { deltas, at: 0, row: 0 };
        let mut unit_rows = UNIT_ROWS;
        loop {
            let units = todo.next(unit_rows);
            if units.is_empty() {
                return Ok(());
            }
            let rows = units.iter().map(|unit| unit.rows.len()).sum();
            let bytes_max = (output.bytes_max() / units.len()).max(1);
            let threads = threads_for(&*self.parallel, rows);
            let found = parallel::map(threads, units, |unit| self.pairs_of(unit, delta_is_left, bytes_max));
            let (mut bytes, mut is_cut) = (0, false);
            for found in found {
                let mut found = found?;
                loop {
                    self.counters.rows_read += found.rows_read;
                    errors.append(found.errors);
                    bytes += found.bytes;
                    found.pairs.into_iter().try_for_each(|pairs| output.put(pairs))?;
                    let Some(rest) = found.rest else { break };
                    is_cut = true;
                    found = self.pairs_of(rest, delta_is_left, bytes_max)?;
                }
            }
            unit_rows = match is_cut {
                true => (unit_rows / 4).max(1),
                false if bytes < output.bytes_max() / 4 => (unit_rows * 2).min(UNIT_ROWS),
                false => unit_rows,
            };
        }
    }

    /// As many pairs of the unit as make about `bytes_max`; those that the residual leaves.
    fn pairs_of<'a>(&self, mut unit: Unit<'a>, delta_is_left: bool, bytes_max: usize) -> Result<Found<'a>> {
        let other = if delta_is_left { &self.right } else { &self.left };
        let batch_rows = batch_rows(bytes_max);
        let (delta, mut found, mut pairs) = (unit.delta, Found::default(), Pairs::default());
        let make = |pairs: &mut Pairs<'_>, found: &mut Found<'_>| {
            if pairs.rows.is_empty() {
                return Ok(());
            }
            let made = pairs.flush(delta, other, delta_is_left, &self.schema)?;
            let made = match &self.residual {
                Some(residual) => filter::apply(residual, made, &mut found.errors)?,
                None => made,
            };
            found.bytes += batch_bytes(made.rows());
            found.pairs.push(made);
            Ok::<_, Error>(())
        };
        // Rows of one key stand together, and meet the same entries: each is looked up and read once.
        while !unit.rows.is_empty() {
            let same = unit.first_key();
            let key = delta.key(same.start);
            for (entry, entry_weight) in other.state.with_prefix(key)?.skip(unit.entries) {
                if found.bytes > bytes_max {
                    make(&mut pairs, &mut found)?;
                    found.rest = Some(unit);
                    return Ok(found);
                }
                unit.entries += 1;
                found.rows_read += 1;
                for rows in delta.rows[same.clone()].chunks(batch_rows) {
                    pairs.add(rows, &delta.delta, &entry[key.len()..], entry_weight);
                    if pairs.rows.len() >= batch_rows {
                        make(&mut pairs, &mut found)?;
                    }
                }
            }
            unit = Unit { delta, rows: same.end..unit.rows.end, entries: 0 };
        }
        make(&mut pairs, &mut found)?;
        Ok(found)
    }

    pub fn states(&mut self) -> [StateRef<'_>; 2] {
        [&mut self.left, &mut self.right].map(|side| StateRef::Ordered(&mut side.state))
    }

    pub fn memory_bytes(&self) -> usize {
        self.left.state.memory_bytes() + self.right.state.memory_bytes()
    }
}

/// Rows of a delta that are paired together, those of a key in one unit.
struct Unit<'a> {
    delta: &'a Keyed,
    /// Places in its rows.
    rows: Range<usize>,
    /// How many entries of the first key are paired already.
    entries: usize,
}

impl Unit<'_> {
    /// The rows of the first key.
    fn first_key(&self) -> Range<usize> {
        self.rows.start..self.delta.end_of_key(self.rows.start).min(self.rows.end)
    }
}

/// What is not in any unit yet.
struct Todo<'a> {
    deltas: &'a [Keyed],
    at: usize,
    row: usize,
}

impl<'a> Todo<'a> {
    /// The next units: a few, each of about `unit_rows` at most.
    fn next(&mut self, unit_rows: usize) -> Vec<Unit<'a>> {
        let (mut units, mut rows) = (Vec::new(), 0);
        while let Some(delta) = self.deltas.get(self.at)
            && rows < unit_rows * ROUND_UNITS
        {
            let end = match delta.rows.len() - self.row <= unit_rows {
                true => delta.rows.len(),
                false => delta.end_of_key(self.row + unit_rows - 1),
            };
            if self.row < end {
                units.push(Unit { delta, rows: self.row..end, entries: 0 });
                rows += end - self.row;
            }
            (self.at, self.row) = if end < delta.rows.len() { (self.at, end) } else { (self.at + 1, 0) };
        }
        units
    }
}

/// What was found of a unit.
#[derive(Default)]
struct Found<'a> {
    pairs: Vec<DeltaBatch>,
    bytes: usize,
    errors: ErrorDelta,
    /// Entries.
    rows_read: u64,
    /// What is still to be paired, where it was too much.
    rest: Option<Unit<'a>>,
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
        // Of one row what comes stands before what goes, however a commit has them.
        let (comes, goes): (Vec<u32>, Vec<u32>) =
            (0..delta.num_rows() as u32).filter(is_kept).partition(|row| delta.weight(*row as usize) > 0);
        let kept = [comes, goes].concat();
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
