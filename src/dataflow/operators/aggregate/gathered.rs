//! `string_agg` and `array_agg`: the entries of all groups in one ordered multiset (packed group key, then the entry), and what
//! each group's make at present as a column.
//!
//! What a changed group's entries make is put together from all of them, so that a step costs as much as the texts and arrays it
//! changes are long.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};

use super::accumulator::for_each_valid;
use crate::dataflow::state::{Chunk, Column, KeyLayout, Keys, OrderedState, OrderedUpdates, StateRef};
use crate::delta::Weights;
use crate::error::{Error, Result, SqlState};
use crate::functions::{Entries, Gathered, GatheredForm, null_where_not_taken};

/// Before a present text, so that an empty one is not NULL.
const PRESENT: u8 = 1;

/// All entries of all groups, for one call.
#[derive(Debug)]
pub struct Values {
    gathered: Arc<Gathered>,
    /// The place in the state of what the entries make; empty: NULL.
    column: usize,
    /// The value, which rows are taken where that is told, then the keys.
    args: Vec<usize>,
    state: OrderedState,
    updates: OrderedUpdates,
}

impl Values {
    pub fn new(gathered: Arc<Gathered>, column: usize, args: Vec<usize>) -> Self {
        Values { gathered, column, args, state: OrderedState::default(), updates: OrderedUpdates::default() }
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
        let (value, taken, order_keys) = match (self.gathered.form(), own.as_slice()) {
            (GatheredForm::Text { .. }, [value, keys @ ..]) => (value, value.clone(), keys),
            (GatheredForm::Array { .. }, [value, taken, keys @ ..]) => (value, null_where_not_taken(taken), keys),
            _ => return Err(Error::internal("nothing to gather")),
        };
        let entries = self.gathered.entries(value, order_keys)?;
        let rows: Vec<u32> = (0..keys.len() as u32).collect();
        for_each_valid(&taken, &rows, weights, |row, _, weight| {
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

    /// Gives the groups at `places` what their entries make now; returns how many entries it read. Errors: 53200 where those of a group
    /// are more than `bytes_max` together.
    pub fn refresh(&self, chunk: &mut Chunk, places: &[u32], bytes_max: Option<usize>) -> Result<u64> {
        let mut read = 0;
        let is_distinct = matches!(self.gathered.form(), GatheredForm::Array { distinct: true });
        for place in places {
            let (key, columns) = chunk.key_and_columns_mut(*place as usize);
            let (mut entries, mut bytes) = (Entries::new(), 0_usize);
            for (entry, weight) in self.state.with_prefix(key)? {
                let entry = &entry[key.len()..];
                let times = if is_distinct { 1 } else { usize::try_from(weight).unwrap_or(0) };
                bytes = bytes.saturating_add(entry.len().saturating_mul(times));
                if bytes_max.is_some_and(|bytes_max| bytes > bytes_max) {
                    return Err(too_much_for_a_group());
                }
                entries.push((entry, weight));
            }
            read += entries.len() as u64;
            let stored = store(&self.gathered, &self.gathered.gather(&[entries])?)?;
            columns[self.column].byte_column()?.set(*place as usize, &stored);
        }
        Ok(read)
    }
}

fn too_much_for_a_group() -> Error {
    Error::new(SqlState::OUT_OF_MEMORY, "an aggregate puts more together for one group than fits into memory")
        .with_detail("array_agg, string_agg and their like make a list of all rows of a group.")
        .with_hint("Use more groups or a FILTER, or raise memory.limit_bytes.")
}

/// One value: a text behind [`PRESENT`], an array as a packed key of its own. Nothing for NULL.
fn store(gathered: &Gathered, made: &ArrayRef) -> Result<Vec<u8>> {
    if made.is_null(0) {
        return Ok(Vec::new());
    }
    match gathered.form() {
        GatheredForm::Text { .. } => Ok([&[PRESENT], made.as_string::<i32>().value(0).as_bytes()].concat()),
        GatheredForm::Array { .. } => {
            let packed = KeyLayout::exact(vec![gathered.data_type()])?.pack(std::slice::from_ref(made), 1)?;
            Ok(packed.get(0).to_vec())
        }
    }
}

/// What the groups at `places` have at present.
pub fn finish(gathered: &Gathered, column: &Column, places: &[u32]) -> Result<ArrayRef> {
    let column = column.as_bytes()?;
    match gathered.form() {
        GatheredForm::Text { .. } => {
            let text = |place: &u32| match column.get(*place as usize).split_first() {
                Some((_, text)) => std::str::from_utf8(text).map(Some).map_err(Error::internal),
                None => Ok(None),
            };
            Ok(Arc::new(places.iter().map(text).collect::<Result<StringArray>>()?))
        }
        GatheredForm::Array { .. } => {
            const NULL: &[u8] = &[0];
            let packed = places.iter().map(|place| match column.get(*place as usize) {
                [] => NULL,
                packed => packed,
            });
            let arrays = KeyLayout::exact(vec![gathered.data_type()])?.unpack(packed)?.pop();
            arrays.ok_or_else(|| Error::internal("a key of one column without it"))
        }
    }
}
