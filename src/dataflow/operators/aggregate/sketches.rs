//! `approx_percentile`: one column with each group's values in buckets, empty for no values. All fractions of one argument share
//! it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;

use super::accumulator::for_each_valid;
use crate::dataflow::state::Column;
use crate::delta::Weights;
use crate::error::Result;
use crate::functions::Buckets;

pub fn add(column: &mut Column, places: &[u32], values: &ArrayRef, weights: &Weights) -> Result<()> {
    let numbers = values.as_primitive::<Float64Type>().values();
    let column = column.byte_column()?;
    let mut changes: Vec<Option<Buckets>> = vec![None; column.len()];
    for_each_valid(values, places, weights, |row, place, weight| {
        changes[place].get_or_insert_default().add(numbers[row], weight);
    });
    // So that a group's buckets are read and written once a batch.
    for (place, change) in changes.into_iter().enumerate() {
        let Some(change) = change else { continue };
        let mut buckets = Buckets::from_bytes(column.get(place))?;
        buckets.merge(&change);
        column.set(place, &buckets.to_bytes());
    }
    Ok(())
}

pub fn finish(fraction: Option<f64>, column: &Column, places: &[u32]) -> Result<ArrayRef> {
    let column = column.as_bytes()?;
    let value = |place: &u32| {
        let Some(fraction) = fraction else { return Ok(None) };
        Ok(Buckets::from_bytes(column.get(*place as usize))?.percentile(fraction))
    };
    Ok(Arc::new(places.iter().map(value).collect::<Result<Float64Array>>()?))
}
