//! `sum` and `avg`: integers in 128 bits, numerics in 192, floats exactly. All add and remove in any order.
//!
//! A sum can also be handed on as bytes, unrounded, and be merged with others by an aggregate above.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, Decimal128Array, Float32Array, Float64Array,
    Int64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};

use super::accumulator::{counted, for_each_valid};
use super::call::Finished;
use crate::dataflow::state::{Column, RareColumn};
use crate::delta::Weights;
use crate::error::{Error, Result, SqlState};
use crate::functions::exact_sum::ExactSum;
use crate::functions::numeric::WideSum;

fn out_of_range(what: &str) -> Error {
    Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("{what} out of range"))
}

/// Counts of rows: their sum is one too, and no database has more than a bigint counts.
pub fn add_counts(columns: &mut [Column], places: &[u32], counts: &ArrayRef, weights: &Weights) -> Result<()> {
    let sums = columns[0].int64()?;
    let counts = counts.as_primitive::<Int64Type>();
    for_each_valid(counts, places, weights, |row, place, weight| {
        sums[place] = sums[place].wrapping_add(counts.value(row).wrapping_mul(weight));
    });
    Ok(())
}

pub fn add_integers(columns: &mut [Column], places: &[u32], values: &ArrayRef, weights: &Weights) -> Result<()> {
    let sums = columns[0].int128()?;
    match values.data_type() {
        DataType::Int16 => add_integers_of::<Int16Type>(sums, places, values, weights),
        DataType::Int32 => add_integers_of::<Int32Type>(sums, places, values, weights),
        _ => add_integers_of::<Int64Type>(sums, places, values, weights),
    }
    Ok(())
}

/// 64 bits times a weight of 64 fit 128, and so does any sum of them whose weights together fit 64.
fn add_integers_of<T>(sums: &mut [i128], places: &[u32], values: &ArrayRef, weights: &Weights)
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    let numbers = values.as_primitive::<T>().values();
    for_each_valid(values, places, weights, |row, place, weight| {
        let number: i64 = numbers[row].into();
        sums[place] = sums[place].wrapping_add(i128::from(number) * i128::from(weight));
    });
}

pub fn add_numerics(columns: &mut [Column], places: &[u32], values: &ArrayRef, weights: &Weights) -> Result<()> {
    let [low, high] = columns else { return Err(Error::internal("columns of a sum")) };
    let (low, high) = (low.int128()?, high.int64()?);
    let numbers = values.as_primitive::<Decimal128Type>().values();
    for_each_valid(values, places, weights, |row, place, weight| {
        let mut sum = WideSum { low: low[place], high: high[place] };
        sum.add(numbers[row], weight);
        (low[place], high[place]) = (sum.low, sum.high);
    });
    Ok(())
}

pub fn add_floats(columns: &mut [Column], places: &[u32], values: &ArrayRef, weights: &Weights) -> Result<()> {
    let mut sums = FloatColumns::new(columns)?;
    if *values.data_type() == DataType::Float32 {
        let numbers = values.as_primitive::<Float32Type>().values();
        for_each_valid(values, places, weights, |row, place, weight| sums.add(place, numbers[row].into(), weight));
    } else {
        let numbers = values.as_primitive::<Float64Type>().values();
        for_each_valid(values, places, weights, |row, place, weight| sums.add(place, numbers[row], weight));
    }
    sums.failure.map_or(Ok(()), Err)
}

pub fn merge_integers(columns: &mut [Column], places: &[u32], partial: &ArrayRef, weights: &Weights) -> Result<()> {
    let sums = columns[0].int128()?;
    let partial = partial.as_binary::<i32>();
    let mut failure = None;
    for_each_valid(partial, places, weights, |row, place, weight| match partial.value(row).try_into() {
        Ok(bytes) => {
            let product = i128::from_le_bytes(bytes).wrapping_mul(i128::from(weight));
            sums[place] = sums[place].wrapping_add(product);
        }
        Err(_) => failure = Some(Error::internal("a partial sum of integers does not read back")),
    });
    failure.map_or(Ok(()), Err)
}

pub fn merge_floats(columns: &mut [Column], places: &[u32], partial: &ArrayRef, weights: &Weights) -> Result<()> {
    let mut sums = FloatColumns::new(columns)?;
    let partial = partial.as_binary::<i32>();
    for_each_valid(partial, places, weights, |row, place, weight| match ExactSum::from_bytes(partial.value(row)) {
        Ok(other) => sums.change(place, |sum| sum.merge_weighted(&other, weight)),
        Err(error) => sums.failure = Some(error),
    });
    sums.failure.map_or(Ok(()), Err)
}

/// The sums as they are, for [`merge_integers`]; NULL where there was no value.
pub fn partial_integers(sums: &[i128], counts: &[i64], places: &[u32]) -> ArrayRef {
    let mut partial = BinaryBuilder::with_capacity(places.len(), places.len() * size_of::<i128>());
    for place in places.iter().map(|place| *place as usize) {
        partial.append_option((counts[place] != 0).then(|| sums[place].to_le_bytes()));
    }
    Arc::new(partial.finish())
}

/// The sums as they are, for [`merge_floats`]; NULL where there was no value.
pub fn partial_floats(columns: &[Column], counts: &[i64], places: &[u32]) -> Result<ArrayRef> {
    let mut partial = BinaryBuilder::with_capacity(places.len(), places.len() * 24);
    let sums = FloatSums::new(columns)?;
    for place in places.iter().map(|place| *place as usize) {
        match counts[place] {
            0 => partial.append_null(),
            _ => partial.append_value(sums.load(place)?.to_bytes()),
        }
    }
    Ok(Arc::new(partial.finish()))
}

/// How a sum of integers or numerics becomes a value.
#[derive(Debug)]
pub struct ExactResult {
    average: bool,
    result: DataType,
    /// Digits after the point that the result has more than the input.
    shift: u8,
}

impl ExactResult {
    pub fn new(average: bool, input: &DataType, result: &DataType) -> Result<Self> {
        let input_scale = if let DataType::Decimal128(_, scale) = input { *scale } else { 0 };
        let shift = match result {
            DataType::Decimal128(_, scale) if average => u8::try_from(*scale - input_scale).ok(),
            DataType::Decimal128(_, scale) => (*scale == input_scale).then_some(0),
            DataType::Int64 => (!average && input_scale == 0).then_some(0),
            _ => None,
        };
        let shift = shift.ok_or_else(|| Error::internal(format!("a sum of {input} as {result}")))?;
        Ok(ExactResult { average, result: result.clone(), shift })
    }

    /// `sum` gives the sum at a place, `counts` how many rows have a value.
    pub fn finish(&self, sum: impl Fn(usize) -> WideSum, counts: &[i64], places: &[u32]) -> Result<Finished> {
        let mut errors = Vec::new();
        let mut finished = Vec::with_capacity(places.len());
        for (index, place) in places.iter().map(|place| *place as usize).enumerate() {
            let value = self.value(sum(place), counts[place]);
            finished.push(value.unwrap_or_else(|what| {
                errors.push((index, out_of_range(what)));
                None
            }));
        }
        let values: ArrayRef = match &self.result {
            DataType::Decimal128(precision, scale) => {
                let values = Decimal128Array::from_iter(finished);
                Arc::new(values.with_precision_and_scale(*precision, *scale)?)
            }
            _ => Arc::new(finished.into_iter().map(|value| value.map(|value| value as i64)).collect::<Int64Array>()),
        };
        Ok((values, errors))
    }

    /// The errors that [`ExactResult::finish`] would give.
    pub fn failures(&self, sum: impl Fn(usize) -> WideSum, counts: &[i64], places: &[u32]) -> Vec<(usize, Error)> {
        // No result of fewer digits than 2^62 and the shift has can be out of range.
        let harmless = |sum: WideSum| sum.high == 0 && sum.low.unsigned_abs() < 1 << 62 && self.shift <= 18;
        let places = places.iter().map(|place| *place as usize).enumerate();
        let failed = places.filter_map(|(index, place)| {
            let sum = sum(place);
            if harmless(sum) {
                return None;
            }
            self.value(sum, counts[place]).err().map(|what| (index, out_of_range(what)))
        });
        failed.collect()
    }

    fn value(&self, sum: WideSum, count: i64) -> Result<Option<i128>, &'static str> {
        match count {
            0 => Ok(None),
            count if self.average => sum.mean(count, self.shift).ok_or("numeric").map(Some),
            _ => {
                let total = sum.total().ok_or("numeric")?;
                match self.result {
                    DataType::Int64 if i64::try_from(total).is_err() => Err("bigint"),
                    _ => Ok(Some(total)),
                }
            }
        }
    }
}

/// How a sum of floats becomes a value.
#[derive(Debug)]
pub struct FloatResult {
    average: bool,
    result: DataType,
}

impl FloatResult {
    pub fn new(average: bool, result: &DataType) -> Self {
        FloatResult { average, result: result.clone() }
    }

    /// `columns` are those of a float sum, `counts` says how many rows have a value.
    pub fn finish(&self, columns: &[Column], counts: &[i64], places: &[u32]) -> Result<Finished> {
        let sums = FloatSums::new(columns)?;
        let mut errors = Vec::new();
        let mut doubles = Vec::with_capacity(places.len());
        for (index, place) in places.iter().map(|place| *place as usize).enumerate() {
            let value = match counts[place] {
                0 => Some(0.0),
                count => self.value(&sums.load(place)?, count),
            };
            if value.is_none() {
                errors.push((index, out_of_range("value")));
            }
            doubles.push(value.unwrap_or_default());
        }
        // What is out of range has no row, so that it does not matter what stands there.
        let nulls = counted(counts, places);
        let values: ArrayRef = match self.result {
            DataType::Float32 => {
                let singles = doubles.into_iter().map(|value| value as f32).collect();
                Arc::new(Float32Array::new(singles, nulls))
            }
            _ => Arc::new(Float64Array::new(doubles.into(), nulls)),
        };
        Ok((values, errors))
    }

    /// The errors that [`FloatResult::finish`] would give.
    pub fn failures(&self, columns: &[Column], counts: &[i64], places: &[u32]) -> Result<Vec<(usize, Error)>> {
        let sums = FloatSums::new(columns)?;
        let mut errors = Vec::new();
        for (index, place) in places.iter().map(|place| *place as usize).enumerate() {
            let harmless = sums.bases[place] < self.base_of_overflow() && sums.rests.get(place).is_empty();
            if !harmless && counts[place] != 0 && self.value(&sums.load(place)?, counts[place]).is_none() {
                errors.push((index, out_of_range("value")));
            }
        }
        Ok(errors)
    }

    /// 128 bits from a lower base cannot reach beyond the type's largest number.
    fn base_of_overflow(&self) -> i16 {
        if self.result == DataType::Float32 { 0 } else { 1024 - 128 }
    }

    fn value(&self, sum: &ExactSum, count: i64) -> Option<f64> {
        match (self.average, &self.result) {
            (true, _) => sum.mean(count),
            (false, DataType::Float32) => sum.sum_f32().map(f64::from),
            (false, _) => sum.sum(),
        }
    }
}

/// The columns of float sums, to be read in a loop.
struct FloatSums<'a> {
    windows: &'a [i128],
    bases: &'a [i16],
    rests: &'a RareColumn,
}

impl<'a> FloatSums<'a> {
    fn new(columns: &'a [Column]) -> Result<Self> {
        let [windows, bases, rests, ..] = columns else { return Err(Error::internal("columns of a float sum")) };
        Ok(FloatSums { windows: windows.as_int128()?, bases: bases.as_int16()?, rests: rests.as_rare()? })
    }

    #[inline]
    fn load(&self, place: usize) -> Result<ExactSum> {
        ExactSum::from_parts(self.windows[place], self.bases[place], self.rests.get(place))
    }
}

/// The columns of float sums, to be changed in a loop.
struct FloatColumns<'a> {
    windows: &'a mut [i128],
    bases: &'a mut [i16],
    rests: &'a mut RareColumn,
    failure: Option<Error>,
}

impl<'a> FloatColumns<'a> {
    fn new(columns: &'a mut [Column]) -> Result<Self> {
        let [windows, bases, rests] = columns else { return Err(Error::internal("columns of a float sum")) };
        Ok(FloatColumns {
            windows: windows.int128()?,
            bases: bases.int16()?,
            rests: rests.rare_column()?,
            failure: None,
        })
    }

    #[inline]
    fn add(&mut self, place: usize, value: f64, weight: i64) {
        if !ExactSum::add_to_window(&mut self.windows[place], self.bases[place], value, weight) {
            self.change(place, |sum| sum.add(value, weight));
        }
    }

    /// The way for sums that do not stay within their window, and for the first value of one.
    fn change(&mut self, place: usize, change: impl FnOnce(&mut ExactSum)) {
        let rest = self.rests.get(place);
        let had_rest = !rest.is_empty();
        match ExactSum::from_parts(self.windows[place], self.bases[place], rest) {
            Ok(mut sum) => {
                change(&mut sum);
                (self.windows[place], self.bases[place]) = sum.window();
                if had_rest || sum.has_rest() {
                    self.rests.set(place, &sum.rest_bytes());
                }
            }
            Err(error) => self.failure = Some(error),
        }
    }
}
