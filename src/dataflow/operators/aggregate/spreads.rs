//! `variance`, `stddev` and their kin: one column with the exact moments of each group, empty for no rows. All of them
//! over one argument share it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Float64Type};

use super::accumulator::{Accumulator, for_each_valid};
use super::call::Finished;
use crate::dataflow::state::Column;
use crate::delta::Weights;
use crate::error::{Error, Result, SqlState};
use crate::functions::{Moments, Spread};

pub fn add_floats(column: &mut Column, places: &[u32], values: &ArrayRef, weights: &Weights) -> Result<()> {
    let numbers = values.as_primitive::<Float64Type>().values();
    let mut changes = Changes::new(column.as_bytes()?.len());
    for_each_valid(values, places, weights, |row, place, weight| {
        changes.of(place).add_float(numbers[row], weight);
    });
    changes.write(column)
}

pub fn add_numerics(column: &mut Column, places: &[u32], values: &ArrayRef, weights: &Weights) -> Result<()> {
    let numbers = values.as_primitive::<Decimal128Type>().values();
    let mut changes = Changes::new(column.as_bytes()?.len());
    for_each_valid(values, places, weights, |row, place, weight| {
        changes.of(place).add_integer(numbers[row], weight);
    });
    changes.write(column)
}

/// What a batch adds to each group, so that a group's moments are read and written once a batch.
struct Changes(Vec<Option<Moments>>);

impl Changes {
    fn new(groups: usize) -> Self {
        Changes(vec![None; groups])
    }

    fn of(&mut self, place: usize) -> &mut Moments {
        self.0[place].get_or_insert_default()
    }

    fn write(self, column: &mut Column) -> Result<()> {
        let column = column.byte_column()?;
        for (place, change) in self.0.into_iter().enumerate() {
            let Some(change) = change else { continue };
            let mut moments = Moments::from_bytes(column.get(place))?;
            moments.merge(&change);
            column.set(place, &moments.to_bytes());
        }
        Ok(())
    }
}

/// How moments become a value.
#[derive(Debug)]
pub struct SpreadResult {
    spread: Spread,
    /// Digits after the point of the values and of the result; `None`: floats.
    digits: Option<(u32, i8)>,
}

impl SpreadResult {
    /// Also gives what is kept, and the type that the argument is cast to.
    pub fn new(spread: Spread, input: &DataType, result: &DataType) -> Result<(Self, Accumulator, DataType)> {
        match (result, input) {
            (DataType::Float64, _) => {
                Ok((SpreadResult { spread, digits: None }, Accumulator::FloatMoments, DataType::Float64))
            }
            (DataType::Decimal128(_, digits), DataType::Decimal128(_, scale)) => {
                let digits = Some((u32::from(scale.unsigned_abs()), *digits));
                Ok((SpreadResult { spread, digits }, Accumulator::NumericMoments, input.clone()))
            }
            (DataType::Decimal128(_, digits), _) => {
                let as_numeric = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);
                let digits = Some((0, *digits));
                Ok((SpreadResult { spread, digits }, Accumulator::NumericMoments, as_numeric))
            }
            (other, _) => Err(Error::internal(format!("a variance of type {other}"))),
        }
    }

    pub fn finish(&self, column: &Column, places: &[u32]) -> Result<Finished> {
        let column = column.as_bytes()?;
        let states =
            places.iter().map(|place| Moments::from_bytes(column.get(*place as usize))).collect::<Result<Vec<_>>>()?;
        let mut errors = Vec::new();
        let mut note = |index: usize, missing: bool, what: &str| {
            if missing {
                errors.push((index, Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("{what} out of range"))));
            }
        };
        let defined = states.iter().map(|state| Some(state).filter(|state| state.is_defined(self.spread))).enumerate();
        let values: ArrayRef = match self.digits {
            Some((scale, digits)) => {
                let values = defined.map(|(index, state)| {
                    let value = state?.numeric(self.spread, scale, u32::from(digits.unsigned_abs()));
                    note(index, value.is_none(), "numeric");
                    value
                });
                let values = values.collect::<Decimal128Array>();
                Arc::new(values.with_precision_and_scale(DECIMAL128_MAX_PRECISION, digits)?)
            }
            None => {
                let values = defined.map(|(index, state)| {
                    let value = state?.float(self.spread);
                    note(index, value.is_none(), "value");
                    value
                });
                Arc::new(values.collect::<Float64Array>())
            }
        };
        Ok((values, errors))
    }
}
