//! `bit_and`, `bit_or` and `bit_xor`: one column with how many values of each group have each bit, empty for no values. All of
//! them over one argument share it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};

use super::accumulator::for_each_valid;
use crate::dataflow::state::Column;
use crate::delta::Weights;
use crate::error::Result;
use crate::functions::{BitCounts, BitOperation};

pub fn add(column: &mut Column, places: &[u32], values: &ArrayRef, weights: &Weights) -> Result<()> {
    let numbers = values.as_primitive::<Int64Type>().values();
    let column = column.byte_column()?;
    let mut changes: Vec<Option<Box<BitCounts>>> = vec![None; column.len()];
    for_each_valid(values, places, weights, |row, place, weight| {
        changes[place].get_or_insert_default().add(numbers[row], weight);
    });
    for (place, change) in changes.into_iter().enumerate() {
        let Some(change) = change else { continue };
        let mut counts = BitCounts::from_bytes(column.get(place))?;
        counts.merge(&change);
        column.set(place, &counts.to_bytes());
    }
    Ok(())
}

pub fn finish(operation: BitOperation, result: &DataType, column: &Column, places: &[u32]) -> Result<ArrayRef> {
    let column = column.as_bytes()?;
    let value = |place: &u32| Ok(BitCounts::from_bytes(column.get(*place as usize))?.value(operation));
    let values: ArrayRef = Arc::new(places.iter().map(value).collect::<Result<Int64Array>>()?);
    Ok(cast(&values, result)?)
}
