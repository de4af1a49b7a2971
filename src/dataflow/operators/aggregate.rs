//! `GROUP BY`: one row of state per group, which is also the row that the view shows.
//!
//! ```text
//! delta -> keys packed, hashed; arguments evaluated; rows put in the order of the state's chunks   (per batch)
//!       -> each chunk: its rows find their groups, accumulators add them column by column          (per chunk)
//!       -> old row -1, new row +1, nothing where they are equal                                    (if someone consumes it)
//! ```
//!
//! Batches, and then chunks, share nothing, so that each is work for one thread; a chunk and the rows that change it fit
//! a core's cache. Without GROUP BY there is one group over nothing, which never goes away.

mod accumulator;
mod bits;
mod call;
mod distinct_sketches;
mod expiring;
mod extreme;
mod gathered;
mod groups;
mod leaving;
mod pairs;
mod sets;
mod sketches;
mod spreads;
mod sums;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array, make_comparator};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, SchemaRef};

use self::expiring::Expiry;
use self::extreme::Multiset;
use self::gathered::Values;
use self::groups::{GroupRows, Groups};
use self::sets::Sets;
use super::time_bound::TimeBound;
use super::{Counters, Output, each_batch, threads_for};
use crate::catalog::Cutoff;
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch, take_rows};
use crate::dataflow::state::{CHUNK_BYTES, Chunk, KeyedState, Keys, StateRef};
use crate::delta::{DeltaBatch, Weights};
use crate::error::{Error, Result, SqlState};
use crate::io::{Parallel, parallel};
use crate::plan::{AggregateCall, OperatorId};

pub use self::expiring::Expiring;
pub use self::groups::AggregateScan;

/// Chunks that are merged together at least, before what they give may be handed on.
const ROUND_CHUNKS_MIN: usize = 8;

#[derive(Debug)]
pub struct Aggregate {
    groups: Arc<Groups>,
    /// The group's expressions, then the calls' arguments.
    inputs: Expressions,
    state: KeyedState,
    /// One per min, max, first and last over an input with deletes.
    multisets: Vec<Multiset>,
    /// One per string_agg and array_agg.
    gathered: Vec<Values>,
    /// One per argument and direction of percentiles and modes.
    sets: Vec<Sets>,
    closing: Option<Closing>,
    expiry: Expiry,
    parallel: Arc<dyn Parallel>,
    pub counters: Counters,
}

/// What an aggregate is of.
pub struct AggregateInputs<'a> {
    /// The group's expressions, then the calls' arguments, each once.
    pub expressions: Expressions,
    /// How many of them are the group's.
    pub group_count: usize,
    /// The calls, with the places of their arguments among the expressions.
    pub calls: Vec<(&'a AggregateCall, Vec<usize>)>,
    /// No row has a negative weight, so that min, max, first and last need only their present value.
    pub append_only: bool,
}

/// Groups come when their window is closed, and are forgotten.
#[derive(Debug)]
struct Closing {
    /// Which of the group's expressions is the window.
    key: usize,
    bound: TimeBound,
    /// The bound that groups were closed by last.
    reached: Option<ArrayRef>,
    /// The one to close by in this step.
    due: Option<ArrayRef>,
}

/// A batch of a step's input, its rows in the order of the state's chunks.
struct Part {
    keys: Keys,
    args: Vec<ArrayRef>,
    weights: Weights,
    /// Where each chunk's rows begin, and the end of the last.
    starts: Vec<usize>,
}

/// What a step did to one chunk.
#[derive(Default)]
struct ChunkChange {
    output: Vec<DeltaBatch>,
    errors: ErrorDelta,
    rows_read: u64,
}

impl Aggregate {
    /// Errors: 0A000 for types that cannot be grouped by or aggregated.
    pub fn new(
        operator: OperatorId,
        inputs: AggregateInputs<'_>,
        schema: SchemaRef,
        parallel: Arc<dyn Parallel>,
    ) -> Result<Self> {
        let AggregateInputs { expressions, group_count, calls, append_only } = inputs;
        let types = expressions.types();
        let key_types = types.get(..group_count).ok_or_else(|| Error::internal("an aggregate without its keys"))?;
        let (groups, arguments) = Groups::new(operator, key_types, &calls, &types, schema)?;
        let keys = key_types.iter().cloned().enumerate();
        let (places, types): (Vec<usize>, Vec<DataType>) = keys.chain(arguments).unzip();
        Ok(Aggregate {
            inputs: expressions.select(&places).cast_to(&types),
            state: groups.empty_state(),
            multisets: if append_only { Vec::new() } else { groups.multisets() },
            gathered: groups.gathered(),
            sets: groups.sets(),
            groups: Arc::new(groups),
            closing: None,
            expiry: Expiry::default(),
            parallel,
            counters: Counters::default(),
        })
    }

    /// Gives each group once, when `bound` is above its expression `key`, and forgets it. No row may come to it after that, and
    /// none may be taken back.
    pub fn closing_by(mut self, key: usize, bound: TimeBound) -> Self {
        self.closing = Some(Closing { key, bound, reached: None, due: None });
        self
    }

    /// Groups can be forgotten by these columns of the view.
    pub fn expiring_by(mut self, columns: Vec<Expiring>) -> Self {
        self.expiry = Expiry::by(columns);
        self
    }

    /// Nothing is shown of groups before the cutoff, of which there are none: rows that would come to them are left out.
    pub fn begin_at(&mut self, cutoff: Option<Cutoff>) {
        self.expiry.begin_at(cutoff);
    }

    /// The next step closes what a watermark has passed that is here now.
    pub fn close_to(&mut self, watermark_us: i64) -> Result<()> {
        if let Some(closing) = &mut self.closing {
            let bound = closing.bound.at(watermark_us)?;
            let is_new = closing.reached.as_ref().is_none_or(|reached| **reached != *bound);
            closing.due = is_new.then_some(bound);
        }
        Ok(())
    }

    /// The present groups, sharing the state's chunks.
    pub fn scan(&self) -> AggregateScan {
        AggregateScan { groups: self.groups.clone(), state: self.state.clone() }
    }

    /// Groups, those with errors included.
    pub fn rows(&self) -> usize {
        self.state.rows()
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
            + self.multisets.iter().map(Multiset::memory_bytes).sum::<usize>()
            + self.gathered.iter().map(Values::memory_bytes).sum::<usize>()
            + self.sets.iter().map(Sets::memory_bytes).sum::<usize>()
    }

    pub fn states(&mut self) -> impl Iterator<Item = StateRef<'_>> {
        let multisets = self.multisets.iter_mut().map(Multiset::state);
        let gathered = self.gathered.iter_mut().map(Values::state);
        let sets = self.sets.iter_mut().map(Sets::state);
        [StateRef::Keyed(&mut self.state)].into_iter().chain(multisets).chain(gathered).chain(sets)
    }

    /// For VERIFY's own test: one group is lost.
    pub fn lose_a_group(&mut self) -> Result<()> {
        for index in 0..self.state.chunk_count() {
            let mut chunk = self.state.chunk_mut(index)?;
            if !chunk.is_empty() {
                chunk.remove(0);
                return Ok(());
            }
        }
        Err(Error::new(SqlState::OBJECT_NOT_IN_STATE, "the view has no group to lose"))
    }

    /// `emit` is false where nothing consumes the output: it is then empty, while errors are still told. Errors: 53200 where a call puts
    /// more than `gather_bytes_max` together for one group.
    pub fn step(
        &mut self,
        input: Vec<DeltaBatch>,
        (emit, gather_bytes_max): (bool, Option<usize>),
        errors: &mut ErrorDelta,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let emit = emit && self.closing.is_none();
        let rows = input.iter().map(DeltaBatch::num_rows).sum();
        let parts = each_batch(&*self.parallel, input, errors, |delta, errors| self.part(delta, errors))?;
        for multiset in &mut self.multisets {
            parts.iter().try_for_each(|part| multiset.gather(&part.keys, &part.args, &part.weights))?;
            multiset.apply()?;
        }
        for values in &mut self.gathered {
            parts.iter().try_for_each(|part| values.gather(&part.keys, &part.args, &part.weights))?;
            values.apply()?;
        }
        for sets in &mut self.sets {
            parts.iter().try_for_each(|part| sets.gather(&part.keys, &part.args, &part.weights))?;
            sets.apply()?;
        }
        let first_group = self.groups.is_global() && self.state.rows() == 0;
        let has_rows = |chunk: usize| parts.iter().any(|part| part.starts[chunk] < part.starts[chunk + 1]);
        let writers = self.state.writers().enumerate();
        let touched: Vec<_> = writers.filter(|(chunk, _)| first_group || has_rows(*chunk)).collect();
        let (groups, kept) = (&*self.groups, (&self.multisets[..], &self.gathered[..], &self.sets[..]));
        let threads = threads_for(&*self.parallel, rows);
        let round_chunks = if emit { (output.bytes_max() / CHUNK_BYTES).max(ROUND_CHUNKS_MIN) } else { usize::MAX };
        let mut touched = touched.into_iter();
        while touched.len() > 0 {
            let round = touched.by_ref().take(round_chunks).collect();
            let changes = parallel::map(threads, round, |(chunk, writer)| {
                writer.write(|state| merge_chunk(groups, kept, (chunk, state), &parts, (emit, gather_bytes_max)))
            });
            for change in changes {
                let change = change?;
                errors.append(change.errors);
                self.counters.rows_read += change.rows_read;
                change.output.into_iter().try_for_each(|delta| output.put(delta))?;
            }
        }
        self.state.rebalance()?;
        self.close(output)?;
        self.counters.rows_emitted += output.rows;
        Ok(())
    }

    fn part(&self, delta: DeltaBatch, errors: &mut ErrorDelta) -> Result<Part> {
        let (mut delta, mut args) = self.inputs.evaluate(delta, errors)?;
        let keys = args.get(..self.groups.group_count()).unwrap_or_default();
        if let Some(expired) = self.expiry.expired(keys, delta.num_rows())? {
            let kept: UInt32Array =
                (0..delta.num_rows() as u32).filter(|row| !expired.value(*row as usize)).collect::<Vec<_>>().into();
            delta = take_rows(&delta, &kept)?;
            args = args.iter().map(|arg| Ok(take(arg, &kept, None)?)).collect::<Result<_>>()?;
        }
        let rows = delta.num_rows();
        let key_columns: Vec<ArrayRef> = args.drain(..self.groups.group_count()).collect();
        let keys = self.groups.pack(&key_columns, rows)?;
        if self.state.chunk_count() == 1 {
            return Ok(Part { keys, args, weights: delta.weights().clone(), starts: vec![0, rows] });
        }
        let (starts, order) = self.state.rows_by_chunk(&keys);
        let keys = keys.take(&order);
        let order = UInt32Array::from(order);
        let args = args.iter().map(|arg| Ok(take(arg, &order, None)?)).collect::<Result<_>>()?;
        let weights = delta.weights().take(&order)?;
        Ok(Part { keys, args, weights, starts })
    }
}

/// Adds a step's rows to one chunk, and tells what changed.
fn merge_chunk(
    groups: &Groups,
    (multisets, gathered, sets): (&[Multiset], &[Values], &[Sets]),
    (index, chunk): (usize, &mut Chunk),
    parts: &[Part],
    (emit, gather_bytes_max): (bool, Option<usize>),
) -> Result<ChunkChange> {
    let rows_before = chunk.len();
    let mut places = Vec::new();
    for part in parts {
        chunk.rows_of(&part.keys, part.starts[index]..part.starts[index + 1], &mut places);
    }
    let mut touched = distinct(&places, chunk.len());
    if groups.is_global() && chunk.is_empty() {
        touched.push(chunk.find_or_insert(&[]) as u32);
    }
    groups.start(chunk, rows_before)?;
    let keys = emit.then(|| groups.group_columns(chunk, &touched)).transpose()?;
    let (existing, existing_keys) = those(&touched, keys.as_deref(), |place| (place as usize) < rows_before)?;
    let mut change = ChunkChange { rows_read: existing.len() as u64, ..ChunkChange::default() };

    let before = groups.output(chunk, existing, existing_keys)?;
    let mut rest = &places[..];
    for part in parts {
        let (start, end) = (part.starts[index], part.starts[index + 1]);
        let (own, after) = rest.split_at(end - start);
        rest = after;
        let args: Vec<ArrayRef> = part.args.iter().map(|arg| arg.slice(start, end - start)).collect();
        groups.accumulate(chunk.columns_mut(), own, &args, &part.weights.slice(start, end - start))?;
    }
    for multiset in multisets {
        change.rows_read += multiset.refresh(chunk, &touched)?;
    }
    for values in gathered {
        change.rows_read += values.refresh(chunk, &touched, gather_bytes_max)?;
    }
    for sets in sets {
        change.rows_read += sets.refresh(chunk, &touched)?;
    }
    let weights = groups.weights(chunk)?;
    let is_alive = |place: u32| weights[place as usize] != 0 || groups.is_global();
    let (alive, alive_keys) = those(&touched, keys.as_deref(), is_alive)?;
    let mut gone: Vec<u32> = touched.into_iter().filter(|place| !is_alive(*place)).collect();
    let after = groups.output(chunk, alive, alive_keys)?;
    before.tell_errors(groups, chunk, -1, &mut change.errors)?;
    after.tell_errors(groups, chunk, 1, &mut change.errors)?;
    if emit {
        emit_changes(groups, &before, &after, &mut change.output)?;
    }
    // From the highest on: what moves into a gap is then never one of those that are to go.
    gone.sort_unstable_by(|left, right| right.cmp(left));
    gone.into_iter().for_each(|place| chunk.remove(place as usize));
    Ok(change)
}

/// Some of the places, with their keys: mostly all of them.
fn those(
    places: &[u32],
    keys: Option<&[ArrayRef]>,
    is_one: impl Fn(u32) -> bool,
) -> Result<(Vec<u32>, Option<Vec<ArrayRef>>)> {
    if places.iter().all(|place| is_one(*place)) {
        return Ok((places.to_vec(), keys.map(<[ArrayRef]>::to_vec)));
    }
    let rows: UInt32Array = (0..places.len() as u32).filter(|row| is_one(places[*row as usize])).collect();
    let keys = keys.map(|keys| keys.iter().map(|key| Ok(take(key, &rows, None)?)).collect::<Result<_>>());
    Ok((rows.values().iter().map(|row| places[*row as usize]).collect(), keys.transpose()?))
}

/// The rows that are named, each once, in the order of their first naming.
fn distinct(rows: &[u32], count: usize) -> Vec<u32> {
    let mut seen = vec![false; count];
    let is_new = |row: &&u32| !std::mem::replace(&mut seen[**row as usize], true);
    rows.iter().filter(is_new).copied().collect()
}

/// Old rows -1 and new rows +1, but for groups whose row is the same.
fn emit_changes(groups: &Groups, before: &GroupRows, after: &GroupRows, output: &mut Vec<DeltaBatch>) -> Result<()> {
    let (before_same, after_same) = same_rows(groups, before, after)?;
    for (side, same, weight) in [(before, before_same, -1), (after, after_same, 1)] {
        let kept = (0..side.places.len()).filter(|row| !same[*row] && !side.errs(*row));
        let kept: UInt32Array = kept.map(|row| row as u32).collect();
        if kept.is_empty() {
            continue;
        }
        let columns = match kept.len() == side.places.len() {
            true => side.columns.clone(),
            false => side.columns.iter().map(|column| Ok(take(column, &kept, None)?)).collect::<Result<_>>()?,
        };
        let rows = batch(groups.schema(), columns, kept.len())?;
        output.push(DeltaBatch::new(rows, vec![weight; kept.len()].into())?);
    }
    Ok(())
}

/// Which rows of both sides are the same row of the same group.
fn same_rows(groups: &Groups, before: &GroupRows, after: &GroupRows) -> Result<(Vec<bool>, Vec<bool>)> {
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    // A group keeps its place in the chunk while the step merges.
    let row_of_place = before.row_of_place();
    for (row, place) in after.places.iter().enumerate() {
        let Some(old) = row_of_place.get(*place as usize).copied().filter(|old| *old != u32::MAX) else { continue };
        if !before.errs(old as usize) && !after.errs(row) {
            pairs.push((old, row as u32));
        }
    }
    // Column by column, and only rows that are the same so far: a count, where there is one, tells most of them apart.
    for index in groups.group_count()..before.columns.len() {
        if pairs.is_empty() {
            break;
        }
        let (old_rows, new_rows): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
        let old = take(&before.columns[index], &UInt32Array::from(old_rows), None)?;
        let new = take(&after.columns[index], &UInt32Array::from(new_rows), None)?;
        let mut equal = same_values(&old, &new)?.into_iter();
        pairs.retain(|_| equal.next().unwrap_or_default());
    }
    let mut same = (vec![false; before.places.len()], vec![false; after.places.len()]);
    for (old, new) in pairs {
        same.0[old as usize] = true;
        same.1[new as usize] = true;
    }
    Ok(same)
}

/// Whether values are the same, row by row; NULL is as NULL.
fn same_values(old: &ArrayRef, new: &ArrayRef) -> Result<Vec<bool>> {
    if !old.data_type().is_nested() {
        return Ok(not_distinct(old, new)?.values().iter().collect());
    }
    let compare = make_comparator(old, new, SortOptions::default())?;
    Ok((0..old.len()).map(|row| compare(row, row).is_eq()).collect())
}

#[cfg(test)]
mod tests;
