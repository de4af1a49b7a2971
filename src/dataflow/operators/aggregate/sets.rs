//! Percentiles and the mode: the values of all groups in one ordered multiset for each argument and direction (packed group key,
//! then the value), and for each call the entries that make its present value, as a column.
//!
//! A changed group's percentile is found by its rank, leaf by leaf; its mode by looking at each of its values.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::accumulator::{Accumulator, Placed, for_each_valid};
use crate::dataflow::state::{Chunk, Column, Keys, OrderedState, OrderedUpdates, StateRef};
use crate::delta::Weights;
use crate::error::{Error, Result};
use crate::functions::{Chosen, SetFunction, SetOrder};

/// What one call keeps beside the values: its order, and the column with the number of its group's values.
#[derive(Debug, Clone, PartialEq)]
pub struct SetColumn {
    pub order: Arc<SetOrder>,
    pub counts: usize,
}

/// All values of all groups, for the calls over one argument in one direction.
#[derive(Debug)]
pub struct Sets {
    /// Each with the column of its present entries.
    calls: Vec<(SetColumn, usize)>,
    arg: usize,
    state: OrderedState,
    updates: OrderedUpdates,
}

impl Sets {
    /// One for each argument and direction among the accumulators.
    pub fn of(accumulators: &[Placed]) -> Vec<Sets> {
        let mut sets: Vec<Sets> = Vec::new();
        for placed in accumulators {
            let (Accumulator::Set(call), [arg]) = (&placed.accumulator, placed.args.as_slice()) else { continue };
            let descending = call.order.is_descending();
            let shares = |set: &&mut Sets| {
                set.arg == *arg && set.calls.iter().all(|(other, _)| other.order.is_descending() == descending)
            };
            let call = (call.clone(), placed.columns.start);
            match sets.iter_mut().find(shares) {
                Some(set) => set.calls.push(call),
                None => sets.push(Sets {
                    calls: vec![call],
                    arg: *arg,
                    state: OrderedState::default(),
                    updates: OrderedUpdates::default(),
                }),
            }
        }
        sets
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
    }

    pub fn state(&mut self) -> StateRef<'_> {
        StateRef::Ordered(&mut self.state)
    }

    /// Notes rows, whose groups have these keys.
    pub fn gather(&mut self, keys: &Keys, args: &[ArrayRef], weights: &Weights) -> Result<()> {
        let Some((call, _)) = self.calls.first() else { return Err(Error::internal("an ordered set of no call")) };
        let values = &args[self.arg];
        let entries = call.order.entries(values)?;
        let rows: Vec<u32> = (0..keys.len() as u32).collect();
        for_each_valid(values, &rows, weights, |row, _, weight| {
            self.updates.push(&[keys.get(row), entries.row(row).data()], weight);
        });
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

    /// Gives the groups at `places` their present entries; returns how many entries it read.
    pub fn refresh(&self, chunk: &mut Chunk, places: &[u32]) -> Result<u64> {
        let mut read = 0;
        for (call, column) in &self.calls {
            for place in places.iter().map(|place| *place as usize) {
                let (key, columns) = chunk.key_and_columns_mut(place);
                let count = columns[call.counts].as_int64()?[place];
                let stored = match call.order.function() {
                    SetFunction::Mode => self.mode(key, &mut read)?,
                    _ => self.percentile(&call.order, key, count, &mut read)?,
                };
                columns[*column].byte_column()?.set(place, &stored);
            }
        }
        Ok(read)
    }

    fn percentile(&self, order: &SetOrder, key: &[u8], count: i64, read: &mut u64) -> Result<Vec<u8>> {
        let Some((first, second, _)) = order.ranks(count) else { return Ok(Vec::new()) };
        let at = |rank: i64| {
            let entry = self.state.at_rank(key, rank)?;
            entry.map(|entry| &entry[key.len()..]).ok_or_else(|| Error::internal("an ordered set with too few values"))
        };
        let first_entry = at(first)?;
        *read += 1;
        if first == second {
            return Ok(stored(first_entry, first_entry));
        }
        *read += 1;
        Ok(stored(first_entry, at(second)?))
    }

    fn mode(&self, key: &[u8], read: &mut u64) -> Result<Vec<u8>> {
        let mut most: Option<(&[u8], i64)> = None;
        self.state.each_with_prefix(key, |entry, weight| {
            *read += 1;
            if most.is_none_or(|(_, most)| weight > most) {
                most = Some((entry, weight));
            }
            Ok(true)
        })?;
        Ok(most.map_or(Vec::new(), |(entry, _)| stored(&entry[key.len()..], &entry[key.len()..])))
    }
}

/// The length of the first entry (4 bytes, little-endian), and both.
fn stored(first: &[u8], second: &[u8]) -> Vec<u8> {
    [&(first.len() as u32).to_le_bytes()[..], first, second].concat()
}

/// The present values of the groups at `places`, which have so many values each.
pub fn finish(order: &SetOrder, column: &Column, counts: &[i64], places: &[u32]) -> Result<ArrayRef> {
    let column = column.as_bytes()?;
    let chosen = |place: &u32| {
        let (length, entries) = column.get(*place as usize).split_first_chunk::<4>()?;
        let (first, second) = entries.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let share = order.ranks(counts[*place as usize]).map_or(0.0, |(_, _, share)| share);
        Some(Chosen { first, second, share })
    };
    order.values(&places.iter().map(chosen).collect::<Vec<_>>())
}
