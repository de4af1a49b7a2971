//! `sum` and `avg`: integers and numerics in 192 bits, floats exactly. Both add and remove in any order.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Float32Array, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};

use super::call::{Finished, add_int64, for_each_valid};
use crate::dataflow::state::{Column, ColumnType};
use crate::delta::Weights;
use crate::error::{Error, Result, SqlState};
use crate::functions::exact_sum::ExactSum;
use crate::functions::numeric::WideSum;

fn out_of_range(what: &str) -> Error {
    Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("{what} out of range"))
}

/// Sums of integers and numerics.
#[derive(Debug)]
pub struct ExactSums {
    average: bool,
    result: DataType,
    /// Digits after the point that the average has more than the input.
    shift: u8,
}

impl ExactSums {
    /// Low and high part of the sum, and how many rows have a value.
    pub const COLUMNS: &'static [ColumnType] = &[ColumnType::Int128, ColumnType::Int64, ColumnType::Int64];

    /// `input` is changed to one of the types that are summed without conversion.
    pub fn new(average: bool, input: &mut DataType, result: &DataType) -> Result<Self> {
        *input = match input {
            DataType::Int8 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
            DataType::UInt32 | DataType::Null => DataType::Int64,
            DataType::UInt64 => DataType::Decimal128(20, 0),
            DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) => input.clone(),
            other => return Err(Error::not_built(format!("sum or avg of {other} in a materialized view"))),
        };
        let input_scale = if let DataType::Decimal128(_, scale) = input { *scale } else { 0 };
        let shift = match result {
            DataType::Decimal128(_, scale) if average => u8::try_from(*scale - input_scale).ok(),
            DataType::Decimal128(_, scale) => (*scale == input_scale).then_some(0),
            DataType::Int64 => (!average && input_scale == 0).then_some(0),
            _ => None,
        };
        let shift = shift.ok_or_else(|| Error::internal(format!("a sum of {input} as {result}")))?;
        Ok(ExactSums { average, result: result.clone(), shift })
    }

    pub fn accumulate(
        &self,
        columns: &mut [Column],
        places: &[u32],
        values: &ArrayRef,
        weights: &Weights,
    ) -> Result<()> {
        match values.data_type() {
            DataType::Int16 => add_integers::<Int16Type>(columns, places, values, weights),
            DataType::Int32 => add_integers::<Int32Type>(columns, places, values, weights),
            DataType::Int64 => add_integers::<Int64Type>(columns, places, values, weights),
            _ => add_numerics(columns, places, values, weights),
        }
    }

    pub fn merge(&self, into: &mut [Column], places: &[u32], from: &[Column], from_rows: &[u32]) -> Result<()> {
        add_int64(&mut into[2], places, &from[2], from_rows)?;
        let [low, high, ..] = into else { return Err(Error::internal("columns of a sum")) };
        let (low, high) = (low.int128()?, high.int64()?);
        let (from_low, from_high) = (from[0].as_int128()?, from[1].as_int64()?);
        for (place, row) in places.iter().zip(from_rows) {
            let (place, row) = (*place as usize, *row as usize);
            let mut sum = WideSum { low: low[place], high: high[place] };
            sum.merge(WideSum { low: from_low[row], high: from_high[row] });
            (low[place], high[place]) = (sum.low, sum.high);
        }
        Ok(())
    }

    pub fn finish(&self, columns: &[Column], places: &[u32]) -> Result<Finished> {
        let (low, high, rows) = (columns[0].as_int128()?, columns[1].as_int64()?, columns[2].as_int64()?);
        let mut errors = Vec::new();
        let mut finished = Vec::with_capacity(places.len());
        for (index, place) in places.iter().map(|place| *place as usize).enumerate() {
            let sum = WideSum { low: low[place], high: high[place] };
            let value = match rows[place] {
                0 => Ok(None),
                count if self.average => sum.mean(count, self.shift).ok_or("numeric").map(Some),
                _ => self.total(sum).map(Some),
            };
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

    fn total(&self, sum: WideSum) -> Result<i128, &'static str> {
        let total = sum.total().ok_or("numeric")?;
        match self.result {
            DataType::Int64 if i64::try_from(total).is_err() => Err("bigint"),
            _ => Ok(total),
        }
    }
}

/// 64 bits times 64 bits of weight fit 128, and only the running sum may carry.
fn add_integers<T>(columns: &mut [Column], places: &[u32], values: &ArrayRef, weights: &Weights) -> Result<()>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    let [low, high, rows] = columns else { return Err(Error::internal("columns of a sum")) };
    let (low, high, rows) = (low.int128()?, high.int64()?, rows.int64()?);
    let numbers = values.as_primitive::<T>().values();
    for_each_valid(values, places, weights, |row, place, weight| {
        let number: i64 = numbers[row].into();
        let product = i128::from(number) * i128::from(weight);
        let (sum, overflowed) = low[place].overflowing_add(product);
        low[place] = sum;
        if overflowed {
            high[place] += product.signum() as i64;
        }
        rows[place] += weight;
    });
    Ok(())
}

fn add_numerics(columns: &mut [Column], places: &[u32], values: &ArrayRef, weights: &Weights) -> Result<()> {
    let [low, high, rows] = columns else { return Err(Error::internal("columns of a sum")) };
    let (low, high, rows) = (low.int128()?, high.int64()?, rows.int64()?);
    let numbers = values.as_primitive::<Decimal128Type>().values();
    for_each_valid(values, places, weights, |row, place, weight| {
        let mut sum = WideSum { low: low[place], high: high[place] };
        sum.add(numbers[row], weight);
        (low[place], high[place]) = (sum.low, sum.high);
        rows[place] += weight;
    });
    Ok(())
}

/// Sums of floats.
#[derive(Debug)]
pub struct FloatSums {
    average: bool,
    /// Input is `real`; so is its sum, but not its average.
    single: bool,
}

impl FloatSums {
    /// Window, base and rest of an [`ExactSum`], and how many rows have a value.
    pub const COLUMNS: &'static [ColumnType] =
        &[ColumnType::Int128, ColumnType::Int16, ColumnType::Bytes, ColumnType::Int64];

    pub fn new(average: bool, input: &DataType) -> Self {
        FloatSums { average, single: *input == DataType::Float32 }
    }

    pub fn accumulate(
        &self,
        columns: &mut [Column],
        places: &[u32],
        values: &ArrayRef,
        weights: &Weights,
    ) -> Result<()> {
        let mut sums = SumColumns::new(columns)?;
        if self.single {
            let numbers = values.as_primitive::<Float32Type>().values();
            for_each_valid(values, places, weights, |row, place, weight| {
                sums.add(place, f64::from(numbers[row]), weight);
            });
        } else {
            let numbers = values.as_primitive::<Float64Type>().values();
            for_each_valid(values, places, weights, |row, place, weight| sums.add(place, numbers[row], weight));
        }
        sums.failure.map_or(Ok(()), Err)
    }

    pub fn merge(&self, into: &mut [Column], places: &[u32], from: &[Column], from_rows: &[u32]) -> Result<()> {
        let rows = from[3].as_int64()?;
        let mut sums = SumColumns::new(into)?;
        for (place, row) in places.iter().zip(from_rows) {
            let (place, row) = (*place as usize, *row as usize);
            sums.rows[place] += rows[row];
            let change = load(from, row)?;
            sums.change(place, |sum| sum.merge(&change));
        }
        sums.failure.map_or(Ok(()), Err)
    }

    pub fn finish(&self, columns: &[Column], places: &[u32]) -> Result<Finished> {
        let rows = columns[3].as_int64()?;
        let mut errors = Vec::new();
        let mut doubles = Vec::with_capacity(places.len());
        for (index, place) in places.iter().map(|place| *place as usize).enumerate() {
            let sum = load(columns, place)?;
            let value = match rows[place] {
                0 => {
                    doubles.push(None);
                    continue;
                }
                count if self.average => sum.mean(count),
                _ if self.single => sum.sum_f32().map(f64::from),
                _ => sum.sum(),
            };
            if value.is_none() {
                errors.push((index, out_of_range("value")));
            }
            doubles.push(value);
        }
        let values: ArrayRef = if self.single && !self.average {
            Arc::new(doubles.into_iter().map(|value| value.map(|value| value as f32)).collect::<Float32Array>())
        } else {
            Arc::new(Float64Array::from(doubles))
        };
        Ok((values, errors))
    }
}

fn load(columns: &[Column], row: usize) -> Result<ExactSum> {
    ExactSum::from_parts(columns[0].as_int128()?[row], columns[1].as_int16()?[row], columns[2].as_bytes()?.get(row))
}

/// The columns of float sums, borrowed for a loop.
struct SumColumns<'a> {
    windows: &'a mut Vec<i128>,
    bases: &'a mut Vec<i16>,
    rests: &'a mut crate::dataflow::state::ByteColumn,
    rows: &'a mut Vec<i64>,
    failure: Option<Error>,
}

impl<'a> SumColumns<'a> {
    fn new(columns: &'a mut [Column]) -> Result<Self> {
        let [windows, bases, rests, rows] = columns else { return Err(Error::internal("columns of a float sum")) };
        Ok(SumColumns {
            windows: windows.int128()?,
            bases: bases.int16()?,
            rests: rests.byte_column()?,
            rows: rows.int64()?,
            failure: None,
        })
    }

    #[inline]
    fn add(&mut self, place: usize, value: f64, weight: i64) {
        self.rows[place] += weight;
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
