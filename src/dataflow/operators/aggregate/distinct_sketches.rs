//! `approx_count_distinct`: one column with a sketch of each group's values, empty for no values. Nothing can be taken back from it, so
//! that the planner lets it stand over rows that only come.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::accumulator::for_each_valid;
use crate::dataflow::state::Column;
use crate::delta::{Weights, hash_value};
use crate::error::{Error, Result};
use crate::functions::DistinctSketch;

/// Errors: XX000 for a row that goes.
pub fn add(column: &mut Column, places: &[u32], values: &ArrayRef, weights: &Weights) -> Result<()> {
    let column = column.byte_column()?;
    let mut hashes: Vec<Vec<u64>> = vec![Vec::new(); column.len()];
    let (mut bytes, mut failed) = (Vec::new(), None);
    for_each_valid(values, places, weights, |row, place, weight| {
        let hash = match weight {
            1.. => hash_value(values, row, &mut bytes),
            _ => Err(Error::internal("a row goes from a sketch")),
        };
        match hash {
            Ok(hash) => hashes[place].push(hash),
            Err(error) => failed = Some(error),
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    for (place, hashes) in hashes.into_iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()) {
        let mut sketch = DistinctSketch::from_bytes(column.get(place))?;
        // All of them are added, also behind one that changed it.
        let changes = hashes.into_iter().filter(|hash| sketch.add(*hash)).count();
        if changes > 0 {
            column.set(place, &sketch.to_bytes());
        }
    }
    Ok(())
}

pub fn finish(column: &Column, places: &[u32]) -> Result<ArrayRef> {
    let column = column.as_bytes()?;
    let count = |place: &u32| Ok(DistinctSketch::from_bytes(column.get(*place as usize))?.count());
    Ok(Arc::new(Int64Array::from(places.iter().map(count).collect::<Result<Vec<i64>>>()?)))
}
