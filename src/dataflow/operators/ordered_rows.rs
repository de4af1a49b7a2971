//! Rows kept in the order of a partition and of an ORDER BY within it, for [`super::Top`], [`super::Window`] and
//! [`super::Temporal`].
//!
//! ```text
//! entry    partition | order | whole row | floats     each part in arrow's row format, so that entries compare as rows stand
//! ```
//!
//! Rows that the ORDER BY does not tell apart stand in the order of the whole row: NULL last, ascending. Floats that are
//! equal in SQL are one value in all of these; as they came, they stand behind.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_empty_array};
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use std::sync::Arc;

use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, take_rows};
use crate::dataflow::state::{AtRank, OrderedState, OrderedUpdates, in_order};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::functions::floats::{canonical_array, is_canonical_form_needed};
use crate::plan::SortDirection;

/// Of the columns that follow the ORDER BY.
const TIES: SortOptions = SortOptions { descending: false, nulls_first: false };

#[derive(Debug)]
pub struct OrderedRows {
    /// The partition's expressions, then the order's.
    keys: Expressions,
    partition_count: usize,
    /// `None` without PARTITION BY.
    partition_converter: Option<RowConverter>,
    key_converter: Option<RowConverter>,
    /// Of the first column of the order, which may descend.
    order_converter: Option<RowConverter>,
    order_type: DataType,
    descends: bool,
    entry_converter: RowConverter,
    /// There is no column at all, so that a constant one stands in the entries.
    is_padded: bool,
    /// Which columns of the rows are floats.
    floats: Vec<usize>,
    pub schema: SchemaRef,
    pub state: OrderedState,
}

/// Which rows of a step can be among the first of their partition, whatever else is in it: of rows that are equal in the
/// order either all or none.
#[derive(Debug, Clone, Copy)]
pub struct Nearest {
    /// Those with fewer before them than this.
    pub end: u64,
    /// Counted in rows, or in rows that the order tells apart.
    pub by_rows: bool,
}

/// What a step changes.
pub struct Change {
    /// Of each row of the step.
    partitions: Option<Rows>,
    entries: Rows,
    /// Distinct entries in their order: a row that has it, and what the weights add up to. Never 0.
    distinct: Vec<(u32, i64)>,
}

impl OrderedRows {
    /// `keys`: the partition's expressions, then one per direction. `schema`: the columns of the rows.
    pub fn new(keys: Expressions, directions: &[SortDirection], schema: SchemaRef) -> Result<Self> {
        let types = keys.types();
        let Some(partition_count) = types.len().checked_sub(directions.len()) else {
            return Err(Error::internal("an order without its keys"));
        };
        let options = |direction: &SortDirection| SortOptions {
            descending: direction.descending,
            nulls_first: direction.nulls_first,
        };
        let (partition, order) = types.split_at(partition_count);
        let partition: Vec<SortField> = partition.iter().cloned().map(SortField::new).collect();
        let order = order.iter().zip(directions);
        let order = order.map(|(order, direction)| SortField::new_with_options(order.clone(), options(direction)));
        let order: Vec<SortField> = order.collect();
        let first_of_order = order.first().cloned().into_iter().collect();
        let keys_fields: Vec<SortField> = partition.iter().cloned().chain(order).collect();
        let in_several_forms = |column: &usize| is_canonical_form_needed(schema.field(*column).data_type());
        let floats: Vec<usize> = (0..schema.fields().len()).filter(in_several_forms).collect();
        let tie = |column: usize| SortField::new_with_options(schema.field(column).data_type().clone(), TIES);
        let ties = (0..schema.fields().len()).chain(floats.iter().copied()).map(tie);
        let mut entry: Vec<SortField> = keys_fields.iter().cloned().chain(ties).collect();
        let is_padded = entry.is_empty();
        if is_padded {
            entry.push(SortField::new(DataType::Boolean));
        }
        let converter = |fields: Vec<SortField>| match fields.is_empty() {
            true => Ok(None),
            false => RowConverter::new(fields).map(Some),
        };
        Ok(OrderedRows {
            keys,
            partition_count,
            partition_converter: converter(partition)?,
            key_converter: converter(keys_fields)?,
            order_converter: converter(first_of_order)?,
            order_type: types.get(partition_count).cloned().unwrap_or(DataType::Null),
            descends: directions.first().is_some_and(|first| first.descending),
            entry_converter: RowConverter::new(entry)?,
            is_padded,
            floats,
            schema,
            state: OrderedState::default(),
        })
    }

    /// What the entries of rows with these keys begin with, one value of each.
    pub fn key_of(&self, keys: &[ArrayRef]) -> Result<Vec<u8>> {
        let Some(converter) = &self.key_converter else { return Ok(Vec::new()) };
        let keys: Vec<ArrayRef> = keys.iter().map(canonical_array).collect();
        Ok(converter.convert_columns(&keys)?.row(0).data().to_vec())
    }

    /// A step's changes, of which only the nearest matter if so given; rows whose keys cannot be computed are errors.
    pub fn change(&self, input: Vec<DeltaBatch>, nearest: Option<Nearest>, errors: &mut ErrorDelta) -> Result<Change> {
        let mut parts = Vec::with_capacity(input.len());
        for delta in input {
            let (mut delta, keys) = self.keys.evaluate(delta, errors)?;
            let mut keys: Vec<ArrayRef> = keys.iter().map(canonical_array).collect();
            if let (Some(nearest), Some(converter)) = (nearest, &self.key_converter) {
                let kept = self.nearest(&delta, converter.convert_columns(&keys)?, &keys, nearest)?;
                delta = take_rows(&delta, &kept)?;
                keys = keys.iter().map(|key| Ok(take(key, &kept, None)?)).collect::<Result<_>>()?;
            }
            parts.push((delta, keys));
        }
        let (deltas, keys): (Vec<DeltaBatch>, Vec<_>) = parts.into_iter().unzip();
        let delta = DeltaBatch::concat(&self.schema, &deltas)?;
        let column = |(index, data_type): (usize, DataType)| -> Result<ArrayRef> {
            let parts: Vec<&dyn Array> = keys.iter().map(|keys| keys[index].as_ref()).collect();
            Ok(if parts.is_empty() { new_empty_array(&data_type) } else { concat(&parts)? })
        };
        let keys = self.keys.types().into_iter().enumerate().map(column).collect::<Result<Vec<_>>>()?;
        let row = delta.rows().columns();
        let mut columns: Vec<ArrayRef> = keys.iter().cloned().chain(row.iter().map(canonical_array)).collect();
        columns.extend(self.floats.iter().map(|column| row[*column].clone()));
        if self.is_padded {
            columns.push(Arc::new(BooleanArray::from(vec![true; delta.num_rows()])));
        }
        let entries = self.entry_converter.convert_columns(&columns)?;
        let partition = keys.get(..self.partition_count).unwrap_or_default();
        let partitions = match &self.partition_converter {
            Some(converter) => Some(converter.convert_columns(partition)?),
            None => None,
        };
        let entry = |row: &u32| entries.row(*row as usize).data();
        let order = in_order(0..delta.num_rows() as u32, |row| entry(&row));
        let mut distinct: Vec<(u32, i64)> = order.into_iter().map(|row| (row, delta.weight(row as usize))).collect();
        distinct.dedup_by(|next, kept| {
            let equal = entry(&next.0) == entry(&kept.0);
            if equal {
                kept.1 += next.1;
            }
            equal
        });
        distinct.retain(|(_, weight)| *weight != 0);
        Ok(Change { partitions, entries, distinct })
    }

    /// The rows of a delta that come and may be the first of their partitions, and those that go and may have been; `order`: their keys.
    fn nearest(&self, delta: &DeltaBatch, order: Rows, keys: &[ArrayRef], nearest: Nearest) -> Result<UInt32Array> {
        let partitions = match &self.partition_converter {
            Some(converter) => Some(converter.convert_columns(keys.get(..self.partition_count).unwrap_or_default())?),
            None => None,
        };
        let key = |row: u32| order.row(row as usize).data();
        let partition = |row: u32| partitions.as_ref().map_or(&[][..], |rows| rows.row(row as usize).data());
        // What is behind the last of the first entries, if there are enough of them, does not become one of them.
        let last = nearest.end.checked_sub(1).filter(|_| nearest.by_rows).and_then(|last| i64::try_from(last).ok());
        let mut bounds = last.map(|last| AtRank::new(&self.state, last));
        let mut candidates = Vec::new();
        for row in 0..delta.num_rows() as u32 {
            let bound = match &mut bounds {
                Some(bounds) => bounds.of(partition(row))?,
                None => None,
            };
            // What an entry begins with is before it.
            if bound.is_none_or(|bound| key(row) <= bound) {
                candidates.push(row);
            }
        }
        let mut kept = Vec::new();
        let (mut rows, mut peers, mut before, mut last): (u64, u64, u64, Option<u32>) = (0, 0, 0, None);
        for row in in_order(candidates.into_iter(), key) {
            let is_new = last.is_none_or(|last| partition(last) != partition(row));
            if is_new {
                (rows, peers, before) = (0, 0, 0);
            } else if last.is_some_and(|last| key(last) != key(row)) {
                peers += 1;
                before = if nearest.by_rows { rows } else { peers };
            }
            rows += u64::try_from(delta.weight(row as usize)).unwrap_or(0);
            last = Some(row);
            if before < nearest.end || delta.weight(row as usize) < 0 {
                kept.push(row);
            }
        }
        Ok(kept.into())
    }

    /// The row's columns of some entries.
    pub fn columns(&self, entries: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        Ok(self.keys_and_columns(entries)?.1)
    }

    /// The columns of partition and order, and the row's.
    pub fn keys_and_columns(&self, entries: &[&[u8]]) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let mut columns = self.all_columns(entries)?;
        if self.is_padded {
            return Ok((Vec::new(), Vec::new()));
        }
        let as_they_came = columns.split_off(columns.len() - self.floats.len());
        let mut row = columns.split_off(columns.len() - self.schema.fields().len());
        for (column, floats) in self.floats.iter().zip(as_they_came) {
            row[*column] = floats;
        }
        Ok((columns, row))
    }

    /// What the entries of rows with these keys begin with; `None` where there is neither a partition nor an order.
    pub fn peer_prefixes(&self, keys: &[ArrayRef]) -> Result<Option<Rows>> {
        match &self.key_converter {
            Some(converter) => Ok(Some(converter.convert_columns(keys)?)),
            None => Ok(None),
        }
    }

    /// The partition's columns of some entries.
    pub fn partition_columns(&self, entries: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let mut columns = self.all_columns(entries)?;
        columns.truncate(self.partition_count);
        Ok(columns)
    }

    /// Of the first column of the order; NULL's without one.
    pub fn order_type(&self) -> &DataType {
        &self.order_type
    }

    /// Whether the first column of the order descends.
    pub fn descends(&self) -> bool {
        self.descends
    }

    /// What the entries of a partition begin with that have this value, one of it, in the first column of the order.
    pub fn order_prefix(&self, partition: &[u8], value: &ArrayRef) -> Result<Vec<u8>> {
        let Some(converter) = &self.order_converter else { return Err(Error::internal("rows without an order")) };
        let value = converter.convert_columns(std::slice::from_ref(value))?;
        Ok([partition, value.row(0).data()].concat())
    }

    /// The first column of the order of some entries.
    pub fn order_column(&self, entries: &[&[u8]]) -> Result<ArrayRef> {
        let mut columns = self.all_columns(entries)?;
        match self.partition_count < self.keys.types().len() {
            true => Ok(columns.swap_remove(self.partition_count)),
            false => Err(Error::internal("rows without an order")),
        }
    }

    /// Partition and order of an entry: what its peers begin with.
    pub fn peer_prefix<'a>(&self, entry: &'a [u8]) -> Result<&'a [u8]> {
        let Some(converter) = &self.key_converter else { return Ok(&[]) };
        let mut columns = self.all_columns(&[entry])?;
        columns.truncate(self.keys.types().len());
        let length = converter.convert_columns(&columns)?.row(0).data().len();
        entry.get(..length).ok_or_else(|| Error::internal("an entry without its order"))
    }

    fn all_columns(&self, entries: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let parser = self.entry_converter.parser();
        Ok(self.entry_converter.convert_rows(entries.iter().map(|entry| parser.parse(entry)))?)
    }
}

impl Change {
    pub fn updates(&self) -> OrderedUpdates {
        let mut updates = OrderedUpdates::default();
        self.distinct.iter().for_each(|(row, weight)| updates.push(&[self.entry(*row)], *weight));
        updates
    }

    /// What changes, in order, each entry once.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], i64)> {
        self.distinct.iter().map(|(row, weight)| (self.entry(*row), *weight))
    }

    fn entry(&self, row: u32) -> &[u8] {
        self.entries.row(row as usize).data()
    }

    fn partition(&self, row: u32) -> &[u8] {
        self.partitions.as_ref().map_or(&[], |partitions| partitions.row(row as usize).data())
    }

    /// Leaves out what `keep` is false for.
    pub fn retain(&mut self, keep: impl Fn(&[u8], i64) -> Result<bool>) -> Result<()> {
        let mut kept = Vec::with_capacity(self.distinct.len());
        for (row, weight) in &self.distinct {
            if keep(self.entry(*row), *weight)? {
                kept.push((*row, *weight));
            }
        }
        self.distinct = kept;
        Ok(())
    }

    /// The partitions that change, each with what changes, in order.
    pub fn by_partition(&self) -> impl Iterator<Item = (&[u8], impl Iterator<Item = (&[u8], i64)>)> {
        let same = |left: &(u32, i64), right: &(u32, i64)| self.partition(left.0) == self.partition(right.0);
        self.distinct.chunk_by(same).filter_map(|changes| {
            let (first, _) = changes.first()?;
            Some((self.partition(*first), changes.iter().map(|(row, weight)| (self.entry(*row), *weight))))
        })
    }

    /// The partitions that change, each with its first and its last changed entry.
    pub fn partitions(&self) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
        self.by_partition().filter_map(|(partition, mut changes)| {
            let (first, _) = changes.next()?;
            Some((partition, first, changes.last().map_or(first, |(last, _)| last)))
        })
    }
}

/// Repeats each row of `columns` as often as `counts` says.
pub fn repeated(columns: &[ArrayRef], counts: &[usize]) -> Result<Vec<ArrayRef>> {
    if counts.iter().all(|count| *count == 1) {
        return Ok(columns.to_vec());
    }
    let rows = counts.iter().enumerate().flat_map(|(row, count)| std::iter::repeat_n(row as u32, *count));
    let rows = UInt32Array::from_iter_values(rows);
    columns.iter().map(|column| Ok(take(column, &rows, None)?)).collect()
}
