//! Covariance, correlation and regression: one column with the exact sums of each group, empty for no rows. All of them over
//! the same pair of arguments share it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::Float64Type;

use super::accumulator::for_each_valid;
use super::call::Finished;
use crate::dataflow::state::Column;
use crate::delta::Weights;
use crate::error::Result;
use crate::functions::{Comoments, Regression};

/// Adds the pairs without a NULL.
pub fn add(
    column: &mut Column,
    places: &[u32],
    (values, others): (&ArrayRef, &ArrayRef),
    weights: &Weights,
) -> Result<()> {
    let (y, x) = (values.as_primitive::<Float64Type>(), others.as_primitive::<Float64Type>());
    let column = column.byte_column()?;
    let mut changes: Vec<Option<Comoments>> = vec![None; column.len()];
    for_each_valid(values, places, weights, |row, place, weight| {
        if x.is_valid(row) {
            changes[place].get_or_insert_default().add(y.value(row), x.value(row), weight);
        }
    });
    // So that a group's sums are read and written once a batch.
    for (place, change) in changes.into_iter().enumerate() {
        let Some(change) = change else { continue };
        let mut sums = Comoments::from_bytes(column.get(place))?;
        sums.merge(&change);
        column.set(place, &sums.to_bytes());
    }
    Ok(())
}

pub fn finish(regression: Regression, column: &Column, places: &[u32]) -> Result<Finished> {
    let column = column.as_bytes()?;
    let sums =
        places.iter().map(|place| Comoments::from_bytes(column.get(*place as usize))).collect::<Result<Vec<_>>>()?;
    if regression == Regression::Count {
        return Ok((Arc::new(Int64Array::from_iter_values(sums.iter().map(Comoments::count))), Vec::new()));
    }
    let mut errors = Vec::new();
    let value = |(index, sums): (usize, &Comoments)| match sums.value(regression) {
        Ok(value) => value,
        Err(error) => {
            errors.push((index, error));
            None
        }
    };
    let values: Float64Array = sums.iter().enumerate().map(value).collect();
    Ok((Arc::new(values), errors))
}
