//! `INTERSECT` and `EXCEPT`, also `ALL`: each distinct row with how often it is on the left and on the right. NULL equals
//! NULL, and floats that are equal in SQL are one row.
//!
//! ```text
//!              once              ALL
//! INTERSECT    l > 0 and r > 0   min(l, r)
//! EXCEPT       l > 0 and r = 0   max(l - r, 0)
//! ```

use arrow::datatypes::SchemaRef;

use super::{Counters, Output};
use crate::dataflow::expression::batch;
use crate::dataflow::state::{ColumnType, KeyLayout, KeyedState, StateRef};
use crate::delta::DeltaBatch;
use crate::error::Result;
use crate::plan::SetKind;

/// The columns of the state: how often the row is on each side.
const LEFT: usize = 0;
const RIGHT: usize = 1;

#[derive(Debug)]
pub struct SetOperation {
    kind: SetKind,
    layout: KeyLayout,
    state: KeyedState,
    schema: SchemaRef,
    pub counters: Counters,
}

impl SetOperation {
    /// Both inputs have the types of `schema`. Errors: 0A000 for a type that has no equality.
    pub fn new(kind: SetKind, schema: SchemaRef) -> Result<Self> {
        let layout = KeyLayout::new(schema.fields().iter().map(|field| field.data_type().clone()).collect())?;
        let state = KeyedState::new(layout.column_type(), vec![ColumnType::Int64, ColumnType::Int64]);
        Ok(SetOperation { kind, layout, state, schema, counters: Counters::default() })
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
    }

    pub fn states(&mut self) -> [StateRef<'_>; 1] {
        [StateRef::Keyed(&mut self.state)]
    }

    pub fn step(&mut self, left: Vec<DeltaBatch>, right: Vec<DeltaBatch>, output: &mut Output<'_>) -> Result<()> {
        for (side, deltas) in [(LEFT, left), (RIGHT, right)] {
            for delta in deltas.iter().filter(|delta| !delta.is_empty()) {
                self.apply(side, delta, output)?;
            }
        }
        self.state.rebalance()?;
        self.counters.rows_emitted += output.rows;
        Ok(())
    }

    /// Each batch by itself: what one takes back of another is taken back in the output as well.
    fn apply(&mut self, side: usize, delta: &DeltaBatch, output: &mut Output<'_>) -> Result<()> {
        let packed = self.layout.pack(delta.rows().columns(), delta.num_rows())?;
        let (starts, order) = self.state.rows_by_chunk(&packed);
        let keys = packed.take(&order);
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for index in (0..self.state.chunk_count()).filter(|chunk| starts[*chunk] < starts[chunk + 1]) {
            let mut chunk = self.state.chunk_mut(index)?;
            let own = starts[index]..starts[index + 1];
            let mut places = Vec::with_capacity(own.len());
            chunk.rows_of(&keys, own.clone(), &mut places);
            for (place, row) in places.iter().zip(&order[own]) {
                let columns = chunk.columns_mut();
                let (place, change) = (*place as usize, delta.weight(*row as usize));
                let (left, right) = (columns[LEFT].as_int64()?[place], columns[RIGHT].as_int64()?[place]);
                columns[side].int64()?[place] += change;
                let (left_after, right_after) =
                    if side == LEFT { (left + change, right) } else { (left, right + change) };
                let weight = self.kind.weight(left_after, right_after) - self.kind.weight(left, right);
                if weight != 0 {
                    rows.push(*row);
                    weights.push(weight);
                }
            }
            self.counters.rows_read += places.len() as u64;
            let columns = chunk.columns();
            let (left, right) = (columns[LEFT].as_int64()?, columns[RIGHT].as_int64()?);
            places.retain(|place| left[*place as usize] == 0 && right[*place as usize] == 0);
            // From the highest on: what moves into a gap is then never one of those that are to go.
            places.sort_unstable_by(|left, right| right.cmp(left));
            places.dedup();
            places.into_iter().for_each(|place| chunk.remove(place as usize));
        }
        if rows.is_empty() {
            return Ok(());
        }
        // From the keys, in which floats that are equal in SQL are one value.
        let columns = self.layout.unpack(rows.iter().map(|row| packed.get(*row as usize)))?;
        output.put(DeltaBatch::new(batch(&self.schema, columns, rows.len())?, weights.into())?)
    }
}
