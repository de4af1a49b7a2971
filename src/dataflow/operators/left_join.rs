//! Left outer equi-join, with a residual predicate: the inner join's rows, and each left row that matches nothing once,
//! padded with NULL.
//!
//! ```text
//! output  =  { (l, r) : keys equal, residual true }  +  { (l, NULL) : l matches no r }
//! ```
//!
//! The first part is bilinear, as in [`super::Join`]. For the second, a step must know which left rows matched before it
//! and which do after it:
//!
//! * without a residual all left rows of a key match or none does: a key matches if the right arrangement has an entry of
//!   it. Left rows of a key are looked at only when the key begins or ceases to match.
//! * with one, `matches` keeps for each left row how many right rows it matches; the pairs that a step makes anyway tell
//!   how these numbers change.
//!
//! Rows with a NULL key match nothing and are not kept; a left one comes out padded. A pair whose residual cannot be
//! computed is an error and no match.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use super::Counters;
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch, take_rows};
use crate::dataflow::state::{OrderedState, OrderedUpdates, StateRef};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::functions::floats::canonical_array;

/// Pairs and padded rows are turned into columns in batches of about this many.
const BATCH_ROWS: usize = 8192;

#[derive(Debug)]
pub struct LeftJoin {
    left: Side,
    right: Side,
    residual: Option<Expressions>,
    /// With a residual: each left entry's number of matches, where it has any.
    matches: OrderedState,
    schema: SchemaRef,
    pub counters: Counters,
}

/// One input, arranged by its key: entries are the key's columns, then the row's, in arrow's row format.
#[derive(Debug)]
struct Side {
    keys: Expressions,
    key_converter: RowConverter,
    entry_converter: RowConverter,
    schema: SchemaRef,
    state: OrderedState,
}

/// What a step changes on one side.
struct Changes {
    delta: DeltaBatch,
    keys: Rows,
    entries: Rows,
    /// Distinct entries in their order: a row of `delta` that has it, and what the weights add up to. Never 0.
    distinct: Vec<(u32, i64)>,
    /// Rows with a NULL in their key.
    without_key: DeltaBatch,
}

impl Changes {
    fn key(&self, (row, _): &(u32, i64)) -> &[u8] {
        self.keys.row(*row as usize).data()
    }

    fn entry(&self, (row, _): &(u32, i64)) -> &[u8] {
        self.entries.row(*row as usize).data()
    }

    fn updates(&self) -> OrderedUpdates {
        let mut updates = OrderedUpdates::default();
        self.distinct.iter().for_each(|change| updates.push(&[self.entry(change)], change.1));
        updates
    }

    /// The changes of each key.
    fn by_key(&self) -> impl Iterator<Item = (&[u8], &[(u32, i64)])> {
        let chunks = self.distinct.chunk_by(|left, right| self.key(left) == self.key(right));
        chunks.filter_map(|changes| Some((self.key(changes.first()?), changes)))
    }
}

/// Some pairs of one side's changes with the other side's entries.
#[derive(Default)]
struct Pairs<'a> {
    changes: Vec<(u32, i64)>,
    entries: Vec<&'a [u8]>,
    weights: Vec<i64>,
}

impl LeftJoin {
    /// `schema`: the columns of left, then right. Errors: key columns of different types.
    pub fn new(
        (left_keys, left_schema): (Expressions, SchemaRef),
        (right_keys, right_schema): (Expressions, SchemaRef),
        residual: Option<Expressions>,
        schema: SchemaRef,
    ) -> Result<Self> {
        if left_keys.types() != right_keys.types() {
            return Err(Error::internal("the two sides of a join key have different types"));
        }
        Ok(LeftJoin {
            left: Side::new(left_keys, left_schema)?,
            right: Side::new(right_keys, right_schema)?,
            residual,
            matches: OrderedState::default(),
            schema,
            counters: Counters::default(),
        })
    }

    pub fn states(&mut self) -> [StateRef<'_>; 3] {
        [&mut self.left.state, &mut self.right.state, &mut self.matches].map(StateRef::Ordered)
    }

    pub fn memory_bytes(&self) -> usize {
        self.left.state.memory_bytes() + self.right.state.memory_bytes() + self.matches.memory_bytes()
    }

    pub fn step(
        &mut self,
        left: Vec<DeltaBatch>,
        right: Vec<DeltaBatch>,
        errors: &mut ErrorDelta,
    ) -> Result<Vec<DeltaBatch>> {
        let (left, right) = (self.left.changes(left, errors)?, self.right.changes(right, errors)?);
        let mut output = vec![self.padded(&left.without_key)?];
        match self.residual.clone() {
            None => self.step_by_key(&left, &right, &mut output)?,
            Some(residual) => self.step_by_row(&left, &right, &residual, errors, &mut output)?,
        }
        output.retain(|delta| !delta.is_empty());
        self.counters.rows_emitted += output.iter().map(|delta| delta.num_rows() as u64).sum::<u64>();
        Ok(output)
    }

    /// Without a residual.
    fn step_by_key(&mut self, left: &Changes, right: &Changes, output: &mut Vec<DeltaBatch>) -> Result<()> {
        let read = self.pairs_of_left(left, &mut |_, pairs| {
            output.push(pairs);
            Ok(())
        })?;
        let matched_before: Vec<bool> =
            right.by_key().map(|(key, _)| self.right.has_key(key)).collect::<Result<_>>()?;
        let left_before = self.left.state.clone();
        self.left.state.apply(&left.updates())?;
        let read = read
            + self.pairs_of_right(right, &mut |_, pairs| {
                output.push(pairs);
                Ok(())
            })?;
        self.right.state.apply(&right.updates())?;
        self.counters.rows_read += read;

        let mut padding: Vec<(&[u8], i64)> = Vec::new();
        for ((key, _), matched) in right.by_key().zip(matched_before) {
            let sign = i64::from(matched) - i64::from(self.right.has_key(key)?);
            if sign != 0 {
                padding.extend(left_before.with_prefix(key)?.map(|(entry, weight)| (entry, sign * weight)));
            }
        }
        self.counters.rows_read += padding.len() as u64;
        for (key, changes) in left.by_key() {
            self.counters.rows_read += 1;
            if !self.right.has_key(key)? {
                padding.extend(changes.iter().map(|change| (left.entry(change), change.1)));
            }
        }
        self.pad(&padding, output)
    }

    /// With a residual.
    fn step_by_row(
        &mut self,
        left: &Changes,
        right: &Changes,
        residual: &Expressions,
        errors: &mut ErrorDelta,
        output: &mut Vec<DeltaBatch>,
    ) -> Result<()> {
        // Matches by left entry: of the step's left rows with what was on the right, and of all with the right's changes.
        let (mut with_old, mut with_new) = (OrderedUpdates::default(), OrderedUpdates::default());
        let mut read = self.pairs_of_left(left, &mut |pairs, delta| {
            let matching = matching(residual, &delta, errors)?;
            for pair in (0..delta.num_rows()).filter(|pair| matching.value(*pair)) {
                with_old.push(&[left.entry(&pairs.changes[pair])], pairs.weights[pair]);
            }
            output.push(delta.filter(&matching)?);
            Ok(())
        })?;
        self.left.state.apply(&left.updates())?;
        read += self.pairs_of_right(right, &mut |pairs, delta| {
            let matching = matching(residual, &delta, errors)?;
            for pair in (0..delta.num_rows()).filter(|pair| matching.value(*pair)) {
                with_new.push(&[pairs.entries[pair]], pairs.changes[pair].1);
            }
            output.push(delta.filter(&matching)?);
            Ok(())
        })?;
        self.right.state.apply(&right.updates())?;
        self.counters.rows_read += read;
        let (mut old, mut new) = (OrderedState::default(), OrderedState::default());
        old.apply(&with_old)?;
        new.apply(&with_new)?;
        self.pad_by_matches(left, &old, &new, output)
    }

    /// Pads the rows that lost their last match, and no longer those that have one.
    fn pad_by_matches(
        &mut self,
        left: &Changes,
        old: &OrderedState,
        new: &OrderedState,
        output: &mut Vec<DeltaBatch>,
    ) -> Result<()> {
        let mut touched: Vec<(&[u8], i64)> =
            left.distinct.iter().map(|change| (left.entry(change), change.1)).collect();
        let untouched = |entry: &&[u8]| touched.binary_search_by_key(entry, |(entry, _)| *entry).is_err();
        let only_matches: Vec<&[u8]> = new.iter()?.map(|(entry, _)| entry).filter(untouched).collect();
        touched.extend(only_matches.into_iter().map(|entry| (entry, 0)));
        let mut padding: Vec<(&[u8], i64)> = Vec::new();
        let mut updates = OrderedUpdates::default();
        for (entry, change) in touched {
            self.counters.rows_read += 1;
            let weight = self.left.state.weight(entry)?;
            let weight_before = weight - change;
            let before = if weight_before == 0 { 0 } else { self.matches.weight(entry)? };
            let after = match (weight_before == 0, weight == 0) {
                (_, true) => 0,
                (true, false) => old.weight(entry)? + new.weight(entry)?,
                (false, false) => before + new.weight(entry)?,
            };
            updates.push(&[entry], after - before);
            let unmatched = |weight: i64, matches: i64| if matches == 0 { weight } else { 0 };
            match unmatched(weight, after) - unmatched(weight_before, before) {
                0 => {}
                change => padding.push((entry, change)),
            }
        }
        self.matches.apply(&updates)?;
        self.pad(&padding, output)
    }

    /// The left side's changes with all that the right side has; returns how many entries were read.
    fn pairs_of_left(
        &self,
        changes: &Changes,
        each: &mut dyn FnMut(&Pairs<'_>, DeltaBatch) -> Result<()>,
    ) -> Result<u64> {
        pairs(changes, &self.right.state, &mut |pairs| {
            let columns = [pairs.own_columns(changes)?, self.right.columns(&pairs.entries)?].concat();
            each(pairs, pairs.rows(columns, &self.schema)?)
        })
    }

    /// The right side's changes with all that the left side has.
    fn pairs_of_right(
        &self,
        changes: &Changes,
        each: &mut dyn FnMut(&Pairs<'_>, DeltaBatch) -> Result<()>,
    ) -> Result<u64> {
        pairs(changes, &self.left.state, &mut |pairs| {
            let columns = [self.left.columns(&pairs.entries)?, pairs.own_columns(changes)?].concat();
            each(pairs, pairs.rows(columns, &self.schema)?)
        })
    }

    /// Left entries with NULL for the right side's columns.
    fn pad(&self, padding: &[(&[u8], i64)], output: &mut Vec<DeltaBatch>) -> Result<()> {
        for part in padding.chunks(BATCH_ROWS) {
            let (entries, weights): (Vec<&[u8]>, Vec<i64>) = part.iter().copied().unzip();
            let rows = batch(&self.left.schema, self.left.columns(&entries)?, entries.len())?;
            output.push(self.padded(&DeltaBatch::new(rows, weights.into())?)?);
        }
        Ok(())
    }

    fn padded(&self, left: &DeltaBatch) -> Result<DeltaBatch> {
        let nulls = self.right.schema.fields().iter().map(|field| new_null_array(field.data_type(), left.num_rows()));
        let columns = left.rows().columns().iter().cloned().chain(nulls).collect();
        left.with_rows(batch(&self.schema, columns, left.num_rows())?)
    }
}

/// Pairs each change with the entries of its key, in batches.
fn pairs(changes: &Changes, others: &OrderedState, each: &mut dyn FnMut(&Pairs<'_>) -> Result<()>) -> Result<u64> {
    let (mut pairs, mut read) = (Pairs::default(), 0);
    for (key, of_key) in changes.by_key() {
        for change in of_key {
            for (entry, weight) in others.with_prefix(key)? {
                read += 1;
                pairs.changes.push(*change);
                pairs.entries.push(entry);
                pairs.weights.push(weight);
                if pairs.entries.len() == BATCH_ROWS {
                    each(&pairs)?;
                    pairs = Pairs::default();
                }
            }
        }
    }
    if !pairs.entries.is_empty() {
        each(&pairs)?;
    }
    Ok(read)
}

impl Pairs<'_> {
    fn own_columns(&self, changes: &Changes) -> Result<Vec<ArrayRef>> {
        let rows = UInt32Array::from_iter_values(self.changes.iter().map(|(row, _)| *row));
        changes.delta.rows().columns().iter().map(|column| Ok(take(column, &rows, None)?)).collect()
    }

    fn rows(&self, columns: Vec<ArrayRef>, schema: &SchemaRef) -> Result<DeltaBatch> {
        let weights: Vec<i64> = self.changes.iter().zip(&self.weights).map(|((_, own), other)| own * other).collect();
        DeltaBatch::new(batch(schema, columns, weights.len())?, weights.into())
    }
}

/// For which pairs the residual is true; a pair for which it cannot be computed is an error and no match.
fn matching(residual: &Expressions, pairs: &DeltaBatch, errors: &mut ErrorDelta) -> Result<BooleanArray> {
    // Which pairs err is seen only one by one, so their errors are told then.
    let (evaluated, values) = residual.evaluate(pairs.clone(), &mut ErrorDelta::default())?;
    if evaluated.num_rows() == pairs.num_rows() {
        return is_true(&values);
    }
    let one = |pair: usize| {
        let (evaluated, values) = residual.evaluate(pairs.slice(pair, 1), errors)?;
        Ok(!evaluated.is_empty() && is_true(&values)?.value(0))
    };
    (0..pairs.num_rows()).map(one).collect::<Result<Vec<bool>>>().map(BooleanArray::from)
}

fn is_true(values: &[ArrayRef]) -> Result<BooleanArray> {
    let values = values.first().and_then(|values| values.as_boolean_opt());
    let Some(values) = values else { return Err(Error::internal("a predicate that is not boolean")) };
    Ok((0..values.len()).map(|row| Some(values.is_valid(row) && values.value(row))).collect())
}

impl Side {
    fn new(keys: Expressions, schema: SchemaRef) -> Result<Self> {
        let key_types = keys.types();
        let row_types = schema.fields().iter().map(|field| field.data_type().clone());
        Ok(Side {
            key_converter: converter(key_types.iter().cloned())?,
            entry_converter: converter(key_types.into_iter().chain(row_types))?,
            keys,
            schema,
            state: OrderedState::default(),
        })
    }

    fn has_key(&self, key: &[u8]) -> Result<bool> {
        Ok(self.state.first_with_prefix(key)?.is_some())
    }

    fn changes(&self, input: Vec<DeltaBatch>, errors: &mut ErrorDelta) -> Result<Changes> {
        let (delta, keys) = self.keys.evaluate(DeltaBatch::concat(&self.schema, &input)?, errors)?;
        let has_null = |row: &u32| keys.iter().any(|key| key.is_null(*row as usize));
        let (null, valid): (Vec<u32>, Vec<u32>) = (0..delta.num_rows() as u32).partition(has_null);
        let keys: Vec<ArrayRef> = keys.iter().map(canonical_array).collect();
        let columns: Vec<ArrayRef> = keys.iter().chain(delta.rows().columns()).cloned().collect();
        let entries = self.entry_converter.convert_columns(&columns)?;
        let entry = |row: &u32| entries.row(*row as usize).data();
        let mut distinct: Vec<(u32, i64)> = valid.into_iter().map(|row| (row, delta.weight(row as usize))).collect();
        distinct.sort_unstable_by(|left, right| entry(&left.0).cmp(entry(&right.0)));
        distinct.dedup_by(|next, kept| {
            let equal = entry(&next.0) == entry(&kept.0);
            if equal {
                kept.1 += next.1;
            }
            equal
        });
        distinct.retain(|(_, weight)| *weight != 0);
        let without_key = take_rows(&delta, &UInt32Array::from(null))?;
        Ok(Changes { keys: self.key_converter.convert_columns(&keys)?, entries, delta, distinct, without_key })
    }

    /// The row's columns of some entries.
    fn columns(&self, entries: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let parser = self.entry_converter.parser();
        let mut columns = self.entry_converter.convert_rows(entries.iter().map(|entry| parser.parse(entry)))?;
        Ok(columns.split_off(columns.len() - self.schema.fields().len()))
    }
}

fn converter(types: impl Iterator<Item = DataType>) -> Result<RowConverter> {
    Ok(RowConverter::new(types.map(SortField::new).collect())?)
}

#[cfg(test)]
mod tests;
