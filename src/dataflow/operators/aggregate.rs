//! `GROUP BY`: one row of state per group, which is also the row that the view shows.
//!
//! ```text
//! delta -> keys packed, hashed -> scratch chunk: one row per group of the step     (vectorised, per input row)
//!       -> merged into the state's chunks, one after the other                     (once per group and step)
//!       -> old row -1, new row +1, nothing where they are equal                    (only if someone consumes it)
//! ```
//!
//! The scratch chunk has the layout of the state, so that a step's changes merge column by column. Without GROUP BY there
//! is one group over nothing, which never goes away.

mod call;
mod extreme;
mod groups;
mod sums;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, take};
use arrow::datatypes::SchemaRef;

use self::call::Call;
use self::extreme::Multiset;
use self::groups::{Groups, Output};
use super::Counters;
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::dataflow::state::{Chunk, KeyedState};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result, SqlState};
use crate::plan::{AggregateCall, OperatorId};

pub use self::groups::AggregateScan;

#[derive(Debug)]
pub struct Aggregate {
    groups: Arc<Groups>,
    /// The group's expressions, then the calls' arguments.
    inputs: Expressions,
    state: KeyedState,
    /// One per min, max, first and last over an input with deletes.
    multisets: Vec<Multiset>,
    pub counters: Counters,
}

impl Aggregate {
    /// `inputs`: `group_count` group expressions, then the arguments of `calls` in their order. `append_only`: the input
    /// never has a negative weight, so that min, max, first and last need only their present value.
    ///
    /// Errors: 0A000 for types that cannot be grouped by or aggregated.
    pub fn new(
        operator: OperatorId,
        inputs: Expressions,
        group_count: usize,
        calls: &[AggregateCall],
        schema: SchemaRef,
        append_only: bool,
    ) -> Result<Self> {
        let mut types = inputs.types();
        let groups = Groups::new(operator, &mut types, group_count, calls, schema)?;
        let inputs = inputs.cast_to(&types);
        let multisets = if append_only { Vec::new() } else { groups.multisets() };
        let state = groups.empty_state();
        Ok(Aggregate { groups: Arc::new(groups), inputs, state, multisets, counters: Counters::default() })
    }

    /// The present groups, sharing the state's chunks.
    pub fn scan(&self) -> AggregateScan {
        AggregateScan { groups: self.groups.clone(), state: self.state.clone() }
    }

    /// Groups, those with errors included.
    pub fn rows(&self) -> Result<usize> {
        self.state.rows()
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes() + self.multisets.iter().map(Multiset::memory_bytes).sum::<usize>()
    }

    /// For VERIFY's own test: one group is lost.
    pub fn lose_a_group(&mut self) -> Result<()> {
        for index in 0..self.state.chunk_count() {
            let chunk = self.state.chunk_mut(index)?;
            if !chunk.is_empty() {
                let (hash, key) = (chunk.hash(0), chunk.key(0).to_vec());
                chunk.remove(hash, &key);
                return Ok(());
            }
        }
        Err(Error::new(SqlState::OBJECT_NOT_IN_STATE, "the view has no group to lose"))
    }

    /// `emit` is false where nothing consumes the output: it is then empty, while errors are still told.
    pub fn step(&mut self, input: Vec<DeltaBatch>, emit: bool, errors: &mut ErrorDelta) -> Result<Vec<DeltaBatch>> {
        let mut scratch = self.state.scratch();
        for delta in input {
            let (delta, values) = self.inputs.evaluate(delta, errors)?;
            self.gather(&mut scratch, &delta, &values)?;
        }
        if self.groups.is_global() && self.state.rows()? == 0 {
            scratch.find_or_insert(self.groups.global_hash()?, &[]);
        }
        self.multisets.iter_mut().for_each(Multiset::apply);
        let mut output = Vec::new();
        for (index, rows) in rows_by_chunk(&scratch, &self.state) {
            self.merge_chunk(index, &scratch, &rows, emit, errors, &mut output)?;
        }
        self.state.rebalance()?;
        self.counters.rows_emitted += output.iter().map(|delta: &DeltaBatch| delta.num_rows() as u64).sum::<u64>();
        Ok(output)
    }

    /// Adds one batch to the step's groups.
    fn gather(&mut self, scratch: &mut Chunk, delta: &DeltaBatch, values: &[ArrayRef]) -> Result<()> {
        let groups = &self.groups;
        let (keys, args) = values.split_at(groups.group_count());
        let places = groups.places(scratch, keys, delta.num_rows())?;
        groups.accumulate(scratch.columns_mut(), &places, args, delta.weights())?;
        for multiset in &mut self.multisets {
            multiset.gather(scratch, &places, args, delta)?;
        }
        Ok(())
    }

    /// Merges the scratch rows that belong to one chunk of the state, and tells what changed.
    fn merge_chunk(
        &mut self,
        index: usize,
        scratch: &Chunk,
        rows: &[u32],
        emit: bool,
        errors: &mut ErrorDelta,
        output: &mut Vec<DeltaBatch>,
    ) -> Result<()> {
        let groups = self.groups.clone();
        let chunk = self.state.chunk_mut(index)?;
        let rows_before = chunk.len() as u32;
        let find = |row: &u32| chunk.find_or_insert(scratch.hash(*row as usize), scratch.key(*row as usize)) as u32;
        let places: Vec<u32> = rows.iter().map(find).collect();
        let existing: Vec<u32> = places.iter().copied().filter(|place| *place < rows_before).collect();
        self.counters.rows_read += existing.len() as u64;

        let before = groups.output(chunk, &existing, emit)?;
        groups.merge(chunk.columns_mut(), &places, scratch.columns(), rows)?;
        for multiset in &self.multisets {
            self.counters.rows_read += multiset.refresh(chunk, &places)?;
        }
        let weights = groups.weights(chunk)?;
        let alive: Vec<u32> =
            places.iter().copied().filter(|place| weights[*place as usize] != 0 || groups.is_global()).collect();
        let after = groups.output(chunk, &alive, emit)?;
        before.tell_errors(&groups, chunk, -1, errors)?;
        after.tell_errors(&groups, chunk, 1, errors)?;
        if emit {
            emit_changes(&groups, &before, &after, output)?;
        }
        if alive.len() < places.len() {
            remove_empty(chunk, scratch, rows)?;
        }
        Ok(())
    }
}

/// Groups whose weight came to zero.
fn remove_empty(chunk: &mut Chunk, scratch: &Chunk, rows: &[u32]) -> Result<()> {
    for row in rows {
        let (hash, key) = (scratch.hash(*row as usize), scratch.key(*row as usize));
        if let Some(place) = chunk.find(hash, key)
            && chunk.columns()[0].as_int64()?[place] == 0
        {
            chunk.remove(hash, key);
        }
    }
    Ok(())
}

/// The scratch rows of each chunk of the state, by counting sort.
fn rows_by_chunk(scratch: &Chunk, state: &KeyedState) -> Vec<(usize, Vec<u32>)> {
    let mut starts = vec![0_u32; state.chunk_count() + 1];
    let chunks: Vec<u32> = (0..scratch.len()).map(|row| state.chunk_of(scratch.hash(row)) as u32).collect();
    chunks.iter().for_each(|chunk| starts[*chunk as usize + 1] += 1);
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let mut next = starts.clone();
    let mut rows = vec![0_u32; scratch.len()];
    for (row, chunk) in chunks.iter().enumerate() {
        rows[next[*chunk as usize] as usize] = row as u32;
        next[*chunk as usize] += 1;
    }
    starts
        .windows(2)
        .enumerate()
        .filter(|(_, ends)| ends[0] < ends[1])
        .map(|(index, ends)| (index, rows[ends[0] as usize..ends[1] as usize].to_vec()))
        .collect()
}

/// Old rows -1 and new rows +1, but for groups whose row is the same.
fn emit_changes(groups: &Groups, before: &Output, after: &Output, output: &mut Vec<DeltaBatch>) -> Result<()> {
    let (before_same, after_same) = same_rows(groups, before, after)?;
    for (side, same, weight) in [(before, before_same, -1), (after, after_same, 1)] {
        let kept = (0..side.places.len()).filter(|row| !same[*row] && !side.errs(*row));
        let kept: UInt32Array = kept.map(|row| row as u32).collect();
        if kept.is_empty() {
            continue;
        }
        let columns = side.columns.iter().map(|column| Ok(take(column, &kept, None)?)).collect::<Result<_>>()?;
        let rows = batch(groups.schema(), columns, kept.len())?;
        output.push(DeltaBatch::new(rows, vec![weight; kept.len()].into())?);
    }
    Ok(())
}

/// Which rows of both sides are the same row of the same group.
fn same_rows(groups: &Groups, before: &Output, after: &Output) -> Result<(Vec<bool>, Vec<bool>)> {
    let (mut before_rows, mut after_rows) = (Vec::new(), Vec::new());
    // A group keeps its place in the chunk while the step merges.
    let row_of_place = before.row_of_place();
    for (row, place) in after.places.iter().enumerate() {
        let Some(old) = row_of_place.get(*place as usize).copied().filter(|old| *old != u32::MAX) else { continue };
        if !before.errs(old as usize) && !after.errs(row) {
            before_rows.push(old);
            after_rows.push(row as u32);
        }
    }
    let mut equal = BooleanArray::from(vec![true; before_rows.len()]);
    let (before_rows, after_rows) = (UInt32Array::from(before_rows), UInt32Array::from(after_rows));
    for index in groups.group_count()..before.columns.len() {
        let old = take(&before.columns[index], &before_rows, None)?;
        let new = take(&after.columns[index], &after_rows, None)?;
        equal = and(&equal, &not_distinct(&old, &new)?)?;
    }
    let mut same = (vec![false; before.places.len()], vec![false; after.places.len()]);
    for pair in (0..equal.len()).filter(|pair| equal.value(*pair)) {
        same.0[before_rows.value(pair) as usize] = true;
        same.1[after_rows.value(pair) as usize] = true;
    }
    Ok(same)
}

#[cfg(test)]
mod tests;
