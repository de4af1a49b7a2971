//! One side of a join as its arrangement: entries are the key's columns, then the row's, in arrow's row format, in order
//! and each with its weight; and what a step changes of it.

use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch, take_rows};
use crate::dataflow::state::{OrderedState, OrderedUpdates, in_order};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::functions::floats::canonical_array;

#[derive(Debug)]
pub struct Side {
    keys: Expressions,
    key_converter: RowConverter,
    entry_converter: RowConverter,
    /// Rows with a NULL key are kept, under this key.
    keeps_null: bool,
    pub null_key: Vec<u8>,
    pub schema: SchemaRef,
    pub state: OrderedState,
}

/// What a step changes on one side.
pub struct Changes {
    delta: DeltaBatch,
    keys: Rows,
    entries: Rows,
    /// Distinct entries in their order: a row of `delta` that has it, and what the weights add up to. Never 0.
    pub distinct: Vec<(u32, i64)>,
    /// Rows with a NULL in their key, where they are not kept.
    pub without_key: DeltaBatch,
}

/// Some pairs of one side's changes with the other side's entries.
#[derive(Default)]
pub struct Pairs<'a> {
    pub changes: Vec<(u32, i64)>,
    pub entries: Vec<&'a [u8]>,
    pub weights: Vec<i64>,
}

impl Side {
    pub fn new(keys: Expressions, schema: SchemaRef, keeps_null: bool) -> Result<Self> {
        let key_types = keys.types();
        let row_types = schema.fields().iter().map(|field| field.data_type().clone());
        let key_converter = converter(key_types.iter().cloned())?;
        let nulls: Vec<ArrayRef> = key_types.iter().map(|key_type| new_null_array(key_type, 1)).collect();
        let null_key = key_converter.convert_columns(&nulls)?.row(0).data().to_vec();
        Ok(Side {
            key_converter,
            null_key,
            entry_converter: converter(key_types.into_iter().chain(row_types))?,
            keys,
            keeps_null,
            schema,
            state: OrderedState::default(),
        })
    }

    pub fn changes(&self, input: Vec<DeltaBatch>, errors: &mut ErrorDelta) -> Result<Changes> {
        let (delta, keys) = self.keys.evaluate(DeltaBatch::concat(&self.schema, &input)?, errors)?;
        let has_null = |row: &u32| !self.keeps_null && keys.iter().any(|key| key.is_null(*row as usize));
        let (null, valid): (Vec<u32>, Vec<u32>) = (0..delta.num_rows() as u32).partition(has_null);
        let keys: Vec<ArrayRef> = keys.iter().map(canonical_array).collect();
        let columns: Vec<ArrayRef> = keys.iter().chain(delta.rows().columns()).cloned().collect();
        let entries = self.entry_converter.convert_columns(&columns)?;
        let entry = |row: &u32| entries.row(*row as usize).data();
        let order = in_order(valid.into_iter(), |row| entry(&row));
        let mut distinct: Vec<(u32, i64)> = order.into_iter().map(|row| (row, delta.weight(row as usize))).collect();
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
    pub fn columns(&self, entries: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let mut columns = self.all_columns(entries)?;
        Ok(columns.split_off(columns.len() - self.schema.fields().len()))
    }

    /// Of a key with one column.
    pub fn key_of<'a>(&self, entry: &'a [u8]) -> Result<&'a [u8]> {
        if entry.starts_with(&self.null_key) {
            return entry.get(..self.null_key.len()).ok_or_else(|| Error::internal("an entry without its key"));
        }
        let mut columns = self.all_columns(&[entry])?;
        columns.truncate(1);
        let length = self.key_converter.convert_columns(&columns)?.row(0).data().len();
        entry.get(..length).ok_or_else(|| Error::internal("an entry without its key"))
    }

    fn all_columns(&self, entries: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let parser = self.entry_converter.parser();
        Ok(self.entry_converter.convert_rows(entries.iter().map(|entry| parser.parse(entry)))?)
    }
}

impl Changes {
    fn key(&self, (row, _): &(u32, i64)) -> &[u8] {
        self.keys.row(*row as usize).data()
    }

    pub fn entry(&self, (row, _): &(u32, i64)) -> &[u8] {
        self.entries.row(*row as usize).data()
    }

    pub fn updates(&self) -> OrderedUpdates {
        let mut updates = OrderedUpdates::default();
        self.distinct.iter().for_each(|change| updates.push(&[self.entry(change)], change.1));
        updates
    }

    /// The changes of each key.
    pub fn by_key(&self) -> impl Iterator<Item = (&[u8], &[(u32, i64)])> {
        let chunks = self.distinct.chunk_by(|left, right| self.key(left) == self.key(right));
        chunks.filter_map(|changes| Some((self.key(changes.first()?), changes)))
    }
}

/// Pairs each change with the entries of its key, in batches of so many; returns how many entries were read.
pub fn pairs(
    changes: &Changes,
    others: &OrderedState,
    batch_rows: usize,
    each: &mut dyn FnMut(&Pairs<'_>) -> Result<()>,
) -> Result<u64> {
    let (mut pairs, mut read) = (Pairs::default(), 0);
    for (key, of_key) in changes.by_key() {
        for change in of_key {
            for (entry, weight) in others.with_prefix(key)? {
                read += 1;
                pairs.changes.push(*change);
                pairs.entries.push(entry);
                pairs.weights.push(weight);
                if pairs.entries.len() == batch_rows {
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
    pub fn own_columns(&self, changes: &Changes) -> Result<Vec<ArrayRef>> {
        let rows = UInt32Array::from_iter_values(self.changes.iter().map(|(row, _)| *row));
        changes.delta.rows().columns().iter().map(|column| Ok(take(column, &rows, None)?)).collect()
    }

    pub fn rows(&self, columns: Vec<ArrayRef>, schema: &SchemaRef) -> Result<DeltaBatch> {
        let weights: Vec<i64> = self.changes.iter().zip(&self.weights).map(|((_, own), other)| own * other).collect();
        DeltaBatch::new(batch(schema, columns, weights.len())?, weights.into())
    }
}

fn converter(types: impl Iterator<Item = DataType>) -> Result<RowConverter> {
    Ok(RowConverter::new(types.map(SortField::new).collect())?)
}
