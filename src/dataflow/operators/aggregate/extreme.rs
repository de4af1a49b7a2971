//! `min`, `max`, `first(value, time)` and `last(value, time)`: the least or greatest entry of a group.
//!
//! Numbers and times, with one of 64 or 128 bits, are kept as integers that are ordered as the values are. For all else,
//! and for `first` and `last`, an entry is the value, or time and value, in arrow's row format: its bytes compare as the
//! values do, NULL greatest. In both, -0 is as 0, and NaN is one value above all numbers; ties of `first` and `last` are
//! broken by the value. Rows without a value (min, max) or without a time do not count.
//!
//! The group's present entry is a column of its state. Where rows can be deleted, all entries are kept beside it, in one
//! ordered multiset for all groups: packed group key, then the entry.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, PrimitiveArray, UInt32Array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::row::{RowConverter, Rows, SortField};

use super::accumulator::{counted, for_each_valid};
use crate::dataflow::state::{ByteColumn, Chunk, Column, ColumnType, Keys, OrderedState, OrderedUpdates, StateRef};
use crate::delta::Weights;
use crate::error::{Error, Result};
use crate::functions::floats::{canonical_array, canonical_f64};

/// Runs `$body` with `$value` a reader of an array's values as ordered integers: compiled for each type, because it stands
/// in the hottest of loops. What lies under a NULL may be anything.
macro_rules! with_ordered {
    ($values:expr, $value:ident => $body:expr) => {{
        macro_rules! of {
            ($type:ty, $ordered:expr) => {{
                let numbers = $values.as_primitive::<$type>().values();
                let $value = |row: usize| $ordered(numbers[row]);
                $body
            }};
        }
        match $values.data_type() {
            DataType::Int16 => of!(Int16Type, i64::from),
            DataType::Int32 => of!(Int32Type, i64::from),
            DataType::Date32 => of!(Date32Type, i64::from),
            DataType::Float32 => of!(Float32Type, |value: f32| ordered_f64(value.into())),
            DataType::Float64 => of!(Float64Type, ordered_f64),
            DataType::Timestamp(..) => of!(TimestampMicrosecondType, i64::from),
            _ => of!(Int64Type, i64::from),
        }
    }};
}

#[derive(Debug, Clone)]
pub struct Extreme {
    greatest: bool,
    types: Vec<DataType>,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Bits64,
    Bits128,
    /// Time and value, or the value alone.
    Rows(Arc<RowConverter>),
}

impl PartialEq for Extreme {
    fn eq(&self, other: &Self) -> bool {
        self.greatest == other.greatest && self.types == other.types
    }
}

impl Extreme {
    pub fn new(greatest: bool, value: &DataType, time: Option<&DataType>) -> Result<Self> {
        let types: Vec<DataType> = time.into_iter().chain([value]).cloned().collect();
        let form = match (time, value) {
            (None, value) if is_ordered_in_64_bits(value) => Form::Bits64,
            (None, DataType::Decimal128(..)) => Form::Bits128,
            _ => {
                let nulls_greatest = SortOptions { descending: false, nulls_first: false };
                let field = |data_type: &DataType| SortField::new_with_options(data_type.clone(), nulls_greatest);
                Form::Rows(Arc::new(RowConverter::new(types.iter().map(field).collect())?))
            }
        };
        Ok(Extreme { greatest, types, form })
    }

    /// The present entry. A group without one has a count of 0 beside it.
    pub fn column_type(&self) -> ColumnType {
        match self.form {
            Form::Bits64 => ColumnType::Int64,
            Form::Bits128 => ColumnType::Int128,
            Form::Rows(_) => ColumnType::Bytes,
        }
    }

    /// New rows hold what every entry is better than.
    pub fn start(&self, column: &mut Column, from: usize) -> Result<()> {
        match (&self.form, self.greatest) {
            (Form::Bits64, true) => column.int64()?[from..].fill(i64::MIN),
            (Form::Bits64, false) => column.int64()?[from..].fill(i64::MAX),
            (Form::Bits128, true) => column.int128()?[from..].fill(i128::MIN),
            (Form::Bits128, false) => column.int128()?[from..].fill(i128::MAX),
            (Form::Rows(_), _) => {}
        }
        Ok(())
    }

    /// Rows that are deleted do not change the entry; [`Multiset::refresh`] does.
    pub fn accumulate(&self, column: &mut Column, places: &[u32], args: &[&ArrayRef], weights: &Weights) -> Result<()> {
        match (&self.form, args) {
            (Form::Bits64, [values]) => {
                let best = column.int64()?;
                match self.greatest {
                    true => with_ordered!(values, value => {
                        for_each_valid(values, places, weights, |row, place, weight| {
                            if weight > 0 {
                                best[place] = best[place].max(value(row));
                            }
                        });
                    }),
                    false => with_ordered!(values, value => {
                        for_each_valid(values, places, weights, |row, place, weight| {
                            if weight > 0 {
                                best[place] = best[place].min(value(row));
                            }
                        });
                    }),
                }
            }
            (Form::Bits128, [values]) => {
                let best = column.int128()?;
                let numbers = values.as_primitive::<Decimal128Type>().values();
                for_each_valid(values, places, weights, |row, place, weight| {
                    if weight > 0 && (numbers[row] > best[place]) == self.greatest {
                        best[place] = numbers[row];
                    }
                });
            }
            (Form::Rows(converter), args) => {
                let (entries, counted) = entries(converter, args)?;
                let best = column.byte_column()?;
                for_each_valid(counted, places, weights, |row, place, weight| {
                    if weight > 0 {
                        self.take_better(best, place, entries.row(row).data());
                    }
                });
            }
            _ => return Err(Error::internal("arguments of an extreme")),
        }
        Ok(())
    }

    fn take_better(&self, column: &mut ByteColumn, place: usize, entry: &[u8]) {
        let best = column.get(place);
        if best.is_empty() || if self.greatest { entry > best } else { entry < best } {
            column.set(place, entry);
        }
    }

    /// The entries at `places`; NULL where `counts` has no row with a value.
    pub fn finish(&self, column: &Column, counts: &[i64], places: &[u32]) -> Result<ArrayRef> {
        let data_type = &self.types[self.types.len() - 1];
        let nulls = || counted(counts, places);
        match &self.form {
            Form::Bits64 => {
                let best = column.as_int64()?;
                Ok(from_ordered(places.iter().map(|place| best[*place as usize]), nulls(), data_type))
            }
            Form::Bits128 => {
                let best = column.as_int128()?;
                let values = places.iter().map(|place| best[*place as usize]).collect();
                Ok(Arc::new(Decimal128Array::new(values, nulls()).with_data_type(data_type.clone())))
            }
            Form::Rows(converter) => finish_rows(converter, column.as_bytes()?, places),
        }
    }
}

/// Entries of the rows, and the column whose NULLs do not count.
fn entries<'a>(converter: &RowConverter, args: &[&'a ArrayRef]) -> Result<(Rows, &'a ArrayRef)> {
    match args {
        [value] => Ok((converter.convert_columns(&[canonical_array(value)])?, value)),
        [value, time] => Ok((converter.convert_columns(&[canonical_array(time), canonical_array(value)])?, time)),
        _ => Err(Error::internal("arguments of an extreme")),
    }
}

fn finish_rows(converter: &RowConverter, best: &ByteColumn, places: &[u32]) -> Result<ArrayRef> {
    let parser = converter.parser();
    let found = places.iter().map(|place| best.get(*place as usize)).filter(|entry| !entry.is_empty());
    let values = converter.convert_rows(found.map(|entry| parser.parse(entry)))?.pop();
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

fn is_ordered_in_64_bits(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Float32
            | DataType::Float64
    )
}

/// Integers that are ordered as the floats are, one NaN above all numbers.
#[inline]
fn ordered_f64(value: f64) -> i64 {
    let bits = canonical_f64(value).to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

#[inline]
fn f64_of_ordered(ordered: i64) -> f64 {
    f64::from_bits((ordered ^ ((ordered >> 63) as u64 >> 1) as i64) as u64)
}

fn from_ordered(
    ordered: impl ExactSizeIterator<Item = i64>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> ArrayRef {
    fn array<T: ArrowPrimitiveType>(
        ordered: impl Iterator<Item = i64>,
        nulls: Option<NullBuffer>,
        data_type: &DataType,
        native: impl Fn(i64) -> T::Native,
    ) -> ArrayRef {
        let values = ordered.map(native).collect();
        Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(data_type.clone()))
    }
    match data_type {
        DataType::Int16 => array::<Int16Type>(ordered, nulls, data_type, |value| value as i16),
        DataType::Int32 => array::<Int32Type>(ordered, nulls, data_type, |value| value as i32),
        DataType::Int64 => array::<Int64Type>(ordered, nulls, data_type, |value| value),
        DataType::Date32 => array::<Date32Type>(ordered, nulls, data_type, |value| value as i32),
        DataType::Float32 => array::<Float32Type>(ordered, nulls, data_type, |value| f64_of_ordered(value) as f32),
        DataType::Float64 => array::<Float64Type>(ordered, nulls, data_type, f64_of_ordered),
        DataType::Timestamp(..) => array::<TimestampMicrosecondType>(ordered, nulls, data_type, |value| value),
        other => new_null_array(other, ordered.len()),
    }
}

/// All entries of all groups, for one extreme over an input with deletes.
#[derive(Debug)]
pub struct Multiset {
    extreme: Extreme,
    /// The extreme's place in the state.
    column: usize,
    args: Vec<usize>,
    state: OrderedState,
    updates: OrderedUpdates,
}

impl Multiset {
    pub fn new(extreme: Extreme, column: usize, args: Vec<usize>) -> Self {
        Multiset { extreme, column, args, state: OrderedState::default(), updates: OrderedUpdates::default() }
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
    }

    pub fn state(&mut self) -> StateRef<'_> {
        StateRef::Ordered(&mut self.state)
    }

    /// Notes rows, whose groups have these keys.
    pub fn gather(&mut self, keys: &Keys, args: &[ArrayRef], weights: &Weights) -> Result<()> {
        let args: Vec<&ArrayRef> = self.args.iter().map(|arg| &args[*arg]).collect();
        let rows: Vec<u32> = (0..keys.len() as u32).collect();
        let updates = &mut self.updates;
        match (&self.extreme.form, &args[..]) {
            (Form::Bits64, [values]) => with_ordered!(values, value => {
                for_each_valid(values, &rows, weights, |row, _, weight| {
                    updates.push(&[keys.get(row), &memcomparable_64(value(row))], weight);
                });
            }),
            (Form::Bits128, [values]) => {
                let numbers = values.as_primitive::<Decimal128Type>().values();
                for_each_valid(values, &rows, weights, |row, _, weight| {
                    updates.push(&[keys.get(row), &memcomparable_128(numbers[row])], weight);
                });
            }
            (Form::Rows(converter), args) => {
                let (entries, counted) = entries(converter, args)?;
                for_each_valid(counted, &rows, weights, |row, _, weight| {
                    updates.push(&[keys.get(row), entries.row(row).data()], weight);
                });
            }
            _ => return Err(Error::internal("arguments of an extreme")),
        }
        Ok(())
    }

    /// Takes out all of the groups with these keys.
    pub fn forget(&mut self, groups: &[Vec<u8>]) -> Result<()> {
        self.state.forget(groups)
    }

    /// Puts the step's rows in.
    pub fn apply(&mut self) -> Result<()> {
        self.state.apply(&std::mem::take(&mut self.updates))
    }

    /// Gives the groups at `places` their present entry; returns how many entries it read.
    pub fn refresh(&self, chunk: &mut Chunk, places: &[u32]) -> Result<u64> {
        for place in places.iter().map(|place| *place as usize) {
            let (key, columns) = chunk.key_and_columns_mut(place);
            let found = match self.extreme.greatest {
                true => self.state.last_with_prefix(key)?,
                false => self.state.first_with_prefix(key)?,
            };
            let entry = found.map(|entry| &entry[key.len()..]);
            let column = &mut columns[self.column];
            let damaged = || Error::internal("an entry of a multiset does not read back");
            match (&self.extreme.form, entry) {
                (Form::Rows(_), entry) => column.byte_column()?.set(place, entry.unwrap_or_default()),
                (Form::Bits64, Some(entry)) => {
                    let bytes = entry.try_into().map_err(|_| damaged())?;
                    column.int64()?[place] = (u64::from_be_bytes(bytes) ^ 1 << 63) as i64;
                }
                (Form::Bits128, Some(entry)) => {
                    let bytes = entry.try_into().map_err(|_| damaged())?;
                    column.int128()?[place] = (u128::from_be_bytes(bytes) ^ 1 << 127) as i128;
                }
                // The count beside it is 0; what is added later is better than this.
                (Form::Bits64, None) => {
                    column.int64()?[place] = if self.extreme.greatest { i64::MIN } else { i64::MAX }
                }
                (Form::Bits128, None) => {
                    column.int128()?[place] = if self.extreme.greatest { i128::MIN } else { i128::MAX };
                }
            }
        }
        Ok(places.len() as u64)
    }
}

/// Bytes that compare as the integers do.
fn memcomparable_64(ordered: i64) -> [u8; 8] {
    (ordered as u64 ^ 1 << 63).to_be_bytes()
}

fn memcomparable_128(ordered: i128) -> [u8; 16] {
    (ordered as u128 ^ 1 << 127).to_be_bytes()
}
