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
    // By group, so that each sketch is read and written once.
    let mut hashes: Vec<(usize, u64)> = Vec::with_capacity(places.len());
    let (mut bytes, mut failed) = (Vec::new(), None);
    for_each_valid(values, places, weights, |row, place, weight| {
        let hash = match weight {
            1.. => hash_value(values, row, &mut bytes),
            _ => Err(Error::internal("a row goes from a sketch")),
        };
        match hash {
            Ok(hash) => hashes.push((place, hash)),
            Err(error) => failed = Some(error),
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    hashes.sort_unstable();
    for group in hashes.chunk_by(|one, other| one.0 == other.0) {
        let place = group[0].0;
        let mut sketch = DistinctSketch::from_bytes(column.get(place))?;
        // All of them are added, also behind one that changed it.
        let changes = group.iter().filter(|(_, hash)| sketch.add(*hash)).count();
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
