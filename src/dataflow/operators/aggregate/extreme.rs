//! `min`, `max`, `first(value, time)` and `last(value, time)`: the least or greatest entry of a group.
//!
//! An entry is the value, or time and value, in arrow's row format: its bytes compare as the values do, NULL greatest,
//! -0 as 0, NaN as one value above all numbers. So ties of `first` and `last` are broken by the value. Rows without a
//! value (min, max) or without a time do not count.
//!
//! The group's present entry is a column of its state. Where rows can be deleted, all entries are kept beside it, in one
//! ordered multiset for all groups: packed group key, then the entry.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use super::call::for_each_valid;
use crate::dataflow::state::{ByteColumn, Chunk, Column, ColumnType, OrderedState, OrderedUpdates};
use crate::delta::{DeltaBatch, Weights};
use crate::error::{Error, Result};
use crate::functions::floats::canonical_array;

#[derive(Debug, Clone)]
pub struct Extreme {
    greatest: bool,
    has_time: bool,
    converter: Arc<RowConverter>,
}

impl Extreme {
    /// The present entry; empty: none.
    pub const COLUMNS: &'static [ColumnType] = &[ColumnType::Bytes];

    pub fn new(greatest: bool, value: &DataType, time: Option<&DataType>) -> Result<Self> {
        let nulls_greatest = SortOptions { descending: false, nulls_first: false };
        let field = |data_type: &DataType| SortField::new_with_options(data_type.clone(), nulls_greatest);
        let fields = time.into_iter().chain([value]).map(field).collect();
        Ok(Extreme { greatest, has_time: time.is_some(), converter: Arc::new(RowConverter::new(fields)?) })
    }

    /// Entries of the rows, and the column whose NULLs do not count.
    fn entries<'a>(&self, args: &'a [ArrayRef]) -> Result<(Rows, &'a ArrayRef)> {
        match (self.has_time, args) {
            (false, [value]) => Ok((self.converter.convert_columns(&[canonical_array(value)])?, value)),
            (true, [value, time]) => {
                Ok((self.converter.convert_columns(&[canonical_array(time), canonical_array(value)])?, time))
            }
            _ => Err(Error::internal("arguments of an extreme")),
        }
    }

    fn is_better(&self, entry: &[u8], best: &[u8]) -> bool {
        best.is_empty() || if self.greatest { entry > best } else { entry < best }
    }

    fn take_better(&self, column: &mut ByteColumn, place: usize, entry: &[u8]) {
        if self.is_better(entry, column.get(place)) {
            column.set(place, entry);
        }
    }

    /// Rows that are deleted do not change the entry; [`Multiset::refresh`] does.
    pub fn accumulate(
        &self,
        columns: &mut [Column],
        places: &[u32],
        args: &[ArrayRef],
        weights: &Weights,
    ) -> Result<()> {
        let (entries, counted) = self.entries(args)?;
        let best = columns[0].byte_column()?;
        for_each_valid(counted, places, weights, |row, place, weight| {
            if weight > 0 {
                self.take_better(best, place, entries.row(row).data());
            }
        });
        Ok(())
    }

    pub fn merge(&self, into: &mut [Column], places: &[u32], from: &[Column], from_rows: &[u32]) -> Result<()> {
        let (into, from) = (into[0].byte_column()?, from[0].as_bytes()?);
        for (place, row) in places.iter().zip(from_rows) {
            let entry = from.get(*row as usize);
            if !entry.is_empty() {
                self.take_better(into, *place as usize, entry);
            }
        }
        Ok(())
    }

    pub fn finish(&self, columns: &[Column], places: &[u32]) -> Result<ArrayRef> {
        let best = columns[0].as_bytes()?;
        let parser = self.converter.parser();
        let found = places.iter().map(|place| best.get(*place as usize)).filter(|entry| !entry.is_empty());
        let values = self.converter.convert_rows(found.map(|entry| parser.parse(entry)))?.pop();
        let Some(values) = values else { return Err(Error::internal("an extreme without a value")) };
        if values.len() == places.len() {
            return Ok(values);
        }
        let mut next = 0;
        let indices: UInt32Array = places
            .iter()
            .map(|place| {
                let present = !best.get(*place as usize).is_empty();
                next += u32::from(present);
                present.then(|| next - 1)
            })
            .collect();
        Ok(take(&values, &indices, None)?)
    }
}

/// All entries of all groups, for one call over an input with deletes.
#[derive(Debug)]
pub struct Multiset {
    extreme: Extreme,
    /// The call's place in the state.
    column: usize,
    args: Range<usize>,
    state: OrderedState,
    updates: OrderedUpdates,
}

impl Multiset {
    pub fn new(extreme: Extreme, column: usize, args: Range<usize>) -> Self {
        Multiset { extreme, column, args, state: OrderedState::default(), updates: OrderedUpdates::default() }
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
    }

    /// Notes a batch's rows, whose groups are rows `places` of `scratch`.
    pub fn gather(&mut self, scratch: &Chunk, places: &[u32], args: &[ArrayRef], delta: &DeltaBatch) -> Result<()> {
        let (entries, counted) = self.extreme.entries(&args[self.args.clone()])?;
        for (row, place) in places.iter().enumerate().filter(|(row, _)| !counted.is_null(*row)) {
            self.updates.push(&[scratch.key(*place as usize), entries.row(row).data()], delta.weight(row));
        }
        Ok(())
    }

    /// Puts the step's rows in.
    pub fn apply(&mut self) {
        self.state.apply(&std::mem::take(&mut self.updates));
    }

    /// Gives the groups at `places` their present entry; returns how many entries it read.
    pub fn refresh(&self, chunk: &mut Chunk, places: &[u32]) -> Result<u64> {
        for place in places {
            let (key, columns) = chunk.key_and_columns_mut(*place as usize);
            let found = match self.extreme.greatest {
                true => self.state.last_with_prefix(key),
                false => self.state.with_prefix(key).next().map(|(entry, _)| entry),
            };
            let entry = found.map_or(&[][..], |entry| &entry[key.len()..]);
            columns[self.column].byte_column()?.set(*place as usize, entry);
        }
        Ok(places.len() as u64)
    }
}
