//! `string_agg`: the entries of all groups in one ordered multiset (packed group key, then the entry), and each group's
//! present text as a column.
//!
//! A changed group's text is put together from all of its entries, so that a step costs as much as the texts it changes
//! are long.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};

use super::accumulator::for_each_valid;
use crate::dataflow::state::{Chunk, Column, Keys, OrderedState, OrderedUpdates, StateRef};
use crate::delta::Weights;
use crate::error::{Error, Result};
use crate::functions::OrderedText;

/// Before a present text, so that an empty one is not NULL.
const PRESENT: u8 = 1;

/// All entries of all groups, for one call.
#[derive(Debug)]
pub struct Texts {
    order: Arc<OrderedText>,
    /// The present text's place in the state; empty: NULL.
    column: usize,
    /// The value, then the keys.
    args: Vec<usize>,
    state: OrderedState,
    updates: OrderedUpdates,
}

impl Texts {
    pub fn new(order: Arc<OrderedText>, column: usize, args: Vec<usize>) -> Self {
        Texts { order, column, args, state: OrderedState::default(), updates: OrderedUpdates::default() }
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
    }

    pub fn state(&mut self) -> StateRef<'_> {
        StateRef::Ordered(&mut self.state)
    }

    /// Notes rows, whose groups have these keys.
    pub fn gather(&mut self, keys: &Keys, args: &[ArrayRef], weights: &Weights) -> Result<()> {
        let own: Vec<ArrayRef> = self.args.iter().map(|arg| args[*arg].clone()).collect();
        let Some((value, order_keys)) = own.split_first() else { return Err(Error::internal("no text")) };
        let entries = self.order.entries(value, order_keys)?;
        let rows: Vec<u32> = (0..keys.len() as u32).collect();
        for_each_valid(value, &rows, weights, |row, _, weight| {
            self.updates.push(&[keys.get(row), entries.row(row).data()], weight);
        });
        Ok(())
    }

    /// Takes out all of the groups with these keys.
    pub fn forget(&mut self, groups: &[Vec<u8>]) -> Result<()> {
        let before = self.state.clone();
        let mut updates = OrderedUpdates::default();
        for key in groups {
            before.each_with_prefix(key, |entry, weight| {
                updates.push(&[entry], -weight);
                Ok(true)
            })?;
        }
        self.state.apply(&updates)
    }

    /// Puts the step's rows in.
    pub fn apply(&mut self) -> Result<()> {
        self.state.apply(&std::mem::take(&mut self.updates))
    }

    /// Gives the groups at `places` their present text; returns how many entries it read.
    pub fn refresh(&self, chunk: &mut Chunk, places: &[u32]) -> Result<u64> {
        let mut read = 0;
        for place in places {
            let (key, columns) = chunk.key_and_columns_mut(*place as usize);
            let entries = self.state.with_prefix(key)?.inspect(|_| read += 1);
            let text = self.order.join(entries.map(|(entry, weight)| (&entry[key.len()..], weight)))?;
            let stored = text.map_or(Vec::new(), |text| [&[PRESENT], text.as_bytes()].concat());
            columns[self.column].byte_column()?.set(*place as usize, &stored);
        }
        Ok(read)
    }
}

/// The present texts of the groups at `places`.
pub fn finish(column: &Column, places: &[u32]) -> Result<ArrayRef> {
    let column = column.as_bytes()?;
    let text = |place: &u32| match column.get(*place as usize).split_first() {
        Some((_, text)) => std::str::from_utf8(text).map(Some).map_err(Error::internal),
        None => Ok(None),
    };
    Ok(Arc::new(places.iter().map(text).collect::<Result<StringArray>>()?))
}
