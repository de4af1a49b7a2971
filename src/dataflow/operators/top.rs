//! The first rows of each partition in an order: `ORDER BY ... LIMIT`, `DISTINCT ON`, and `ROW_NUMBER`, `RANK` or
//! `DENSE_RANK` with a bound.
//!
//! ```text
//! state    partition | order | whole row  ->  weight         in this order, so that equal rows of an order have one place
//! output   the rows that are among the first, with their rank where it is asked for
//! ```
//!
//! A step reads the first rows of the partitions that it changes before it and after it, and emits the difference. Of ranks to 1, of which
//! there may be any number of rows, it reads what changes.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};

use super::Counters;
use super::ordered_rows::{Nearest, OrderedRows};
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::dataflow::state::{OrderedState, OrderedUpdates, StateRef};
use crate::delta::DeltaBatch;
use crate::error::Result;
use crate::plan::{RankKind, SortDirection};

#[derive(Debug)]
pub struct Top {
    rows: OrderedRows,
    bound: Bound,
    keeps: Keeps,
    schema: SchemaRef,
    pub counters: Counters,
}

/// What is kept of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    All,
    /// Those up to the bound: no row has a negative weight, so that one behind it never comes before it again.
    First,
    /// The same: rows are replaced, but never by one that is behind them, and one that is behind the bound stays there until it is
    /// replaced itself.
    Best,
    /// All rows of a partition come in one step.
    Nothing,
}

/// Which rows are among the first.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    pub kind: RankKind,
    /// Ranks up to this one are left out.
    pub skip: u64,
    /// Ranks from `skip` + 1 on, so many.
    pub fetch: u64,
    /// Whether the output has the rank behind the row's columns.
    pub shows_rank: bool,
}

impl Bound {
    /// The last rank that is wanted.
    fn end(&self) -> u64 {
        self.skip.saturating_add(self.fetch)
    }

    /// Whether the first rows are those that nothing is before.
    fn is_of_peers(&self) -> bool {
        self.kind != RankKind::RowNumber && self.skip == 0 && self.fetch == 1
    }
}

/// A partition before a step and after it.
struct Leaders<'a> {
    before: &'a OrderedState,
    after: &'a OrderedState,
    partition: &'a [u8],
}

/// An entry of the state with its rank, 0 where it is not shown, and its weight.
type Ranked<'a> = (&'a [u8], u64, i64);

impl Top {
    /// `keys`: the partition's expressions, then one per direction. `input`: the columns of the rows.
    pub fn new(
        keys: Expressions,
        directions: &[SortDirection],
        bound: Bound,
        keeps: Keeps,
        input: SchemaRef,
        schema: SchemaRef,
    ) -> Result<Self> {
        let rows = OrderedRows::new(keys, directions, input)?;
        Ok(Top { rows, bound, keeps, schema, counters: Counters::default() })
    }

    pub fn memory_bytes(&self) -> usize {
        self.rows.state.memory_bytes()
    }

    pub fn states(&mut self) -> [StateRef<'_>; 1] {
        [StateRef::Ordered(&mut self.rows.state)]
    }

    pub fn step(&mut self, input: Vec<DeltaBatch>, errors: &mut ErrorDelta) -> Result<Vec<DeltaBatch>> {
        let is_first = self.keeps != Keeps::All;
        let nearest = is_first.then(|| Nearest { end: self.bound.end(), by_rows: !self.is_dense() });
        let mut change = self.rows.change(input, nearest, errors)?;
        let before = self.rows.state.clone();
        if self.keeps == Keeps::Best {
            // What goes from behind the bound was not kept.
            change.retain(|entry, weight| Ok(weight > 0 || before.weight(entry)? > 0))?;
        }
        let mut after = before.clone();
        after.apply(&change.updates())?;
        let (mut changed, mut surplus) = (Vec::new(), OrderedUpdates::default());
        let drops_surplus = matches!(self.keeps, Keeps::First | Keeps::Best);
        for (partition, changes) in change.by_partition() {
            if self.bound.is_of_peers() {
                let surplus = drops_surplus.then_some(&mut surplus);
                let of_partition = Leaders { before: &before, after: &after, partition };
                self.counters.rows_read += self.change_leaders(of_partition, changes, &mut changed, surplus)?;
                continue;
            }
            let (old, new) = (self.first(&before, partition)?, self.first(&after, partition)?);
            self.counters.rows_read += (old.len() + new.len()) as u64;
            difference(&old, &new, &mut changed);
            if drops_surplus {
                self.add_surplus(&after, partition, &mut surplus)?;
            }
        }
        let output = self.output(&changed)?;
        self.counters.rows_emitted += changed.len() as u64;
        if self.keeps != Keeps::Nothing {
            after.apply(&surplus)?;
            self.rows.state = after;
        }
        Ok(output)
    }

    fn is_dense(&self) -> bool {
        self.bound.kind == RankKind::DenseRank
    }

    /// The entries of a partition that are among the first.
    fn first<'a>(&self, state: &'a OrderedState, partition: &[u8]) -> Result<Vec<Ranked<'a>>> {
        let Bound { kind, skip, shows_rank, .. } = self.bound;
        let end = self.bound.end();
        let mut found: Vec<Ranked<'a>> = Vec::new();
        self.each_ranked(state, partition, |entry, weight, rows, rank| {
            if kind == RankKind::RowNumber {
                let (first, last) = (rows.start.max(skip), rows.end.min(end));
                match shows_rank {
                    true => found.extend((first..last).map(|row| (entry, row + 1, 1))),
                    false if first < last => found.push((entry, 0, (last - first) as i64)),
                    false => {}
                }
                return rows.end < end;
            }
            if rank > skip && rank <= end {
                found.push((entry, if shows_rank { rank } else { 0 }, weight));
            }
            rank <= end
        })?;
        Ok(found)
    }

    /// How the rows of a partition change that nothing is before, of which there may be many: those that stay are not looked at.
    /// Returns how many entries it read.
    fn change_leaders<'a>(
        &self,
        Leaders { before, after, partition }: Leaders<'a>,
        changes: impl Iterator<Item = (&'a [u8], i64)>,
        changed: &mut Vec<Ranked<'a>>,
        mut surplus: Option<&mut OrderedUpdates>,
    ) -> Result<u64> {
        let lead = |state: &'a OrderedState| -> Result<Option<&'a [u8]>> {
            state.first_with_prefix(partition)?.map(|first| self.rows.peer_prefix(first)).transpose()
        };
        let (old, new) = (lead(before)?, lead(after)?);
        let rank = u64::from(self.bound.shows_rank);
        let leads = |entry: &[u8], lead: Option<&[u8]>| lead.is_some_and(|lead| entry.starts_with(lead));
        let mut rows_read = 2;
        if old != new {
            for (state, lead, sign) in [(before, old, -1), (after, new, 1)] {
                let Some(lead) = lead else { continue };
                state.each_with_prefix(lead, |entry, weight| {
                    rows_read += 1;
                    changed.push((entry, rank, weight * sign));
                    Ok(true)
                })?;
            }
            if let Some(surplus) = &mut surplus {
                before.each_with_prefix(partition, |entry, _| {
                    rows_read += 1;
                    let left = after.weight(entry)?;
                    if left > 0 && !leads(entry, new) {
                        surplus.push(&[entry], -left);
                    }
                    Ok(true)
                })?;
            }
        }
        for (entry, weight) in changes {
            if old == new && leads(entry, new) {
                changed.push((entry, rank, weight));
            }
            if let Some(surplus) = &mut surplus
                && !leads(entry, new)
                && before.weight(entry)? == 0
            {
                surplus.push(&[entry], -weight);
            }
        }
        Ok(rows_read)
    }

    /// What takes away the rows of a partition that are behind the bound.
    fn add_surplus(&self, state: &OrderedState, partition: &[u8], surplus: &mut OrderedUpdates) -> Result<()> {
        let end = self.bound.end();
        self.each_ranked(state, partition, |entry, weight, rows, rank| {
            let behind = match self.bound.kind {
                RankKind::RowNumber => (rows.end - rows.end.min(end.max(rows.start))) as i64,
                _ if rank > end => weight,
                _ => 0,
            };
            if behind > 0 {
                surplus.push(&[entry], -behind);
            }
            true
        })
    }

    /// Calls `each` with the entries of a partition in order, until it has enough: entry, weight, places of its rows from
    /// 0, rank (of row numbers: 0).
    fn each_ranked<'a>(
        &self,
        state: &'a OrderedState,
        partition: &[u8],
        mut each: impl FnMut(&'a [u8], i64, Range<u64>, u64) -> bool,
    ) -> Result<()> {
        let (mut rows, mut rank, mut peers): (u64, u64, Option<&[u8]>) = (0, 0, None);
        state.each_with_prefix(partition, |entry, weight| {
            let count = u64::try_from(weight).unwrap_or(0);
            if self.bound.kind != RankKind::RowNumber && !peers.is_some_and(|peers| entry.starts_with(peers)) {
                rank = if self.is_dense() { rank + 1 } else { rows + 1 };
                peers = Some(self.rows.peer_prefix(entry)?);
            }
            rows += count;
            Ok(each(entry, weight, rows - count..rows, rank))
        })
    }

    fn output(&self, changed: &[Ranked<'_>]) -> Result<Vec<DeltaBatch>> {
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let entries: Vec<&[u8]> = changed.iter().map(|(entry, ..)| *entry).collect();
        let mut columns = self.rows.columns(&entries)?;
        if self.bound.shows_rank {
            columns.push(self.ranks(changed)?);
        }
        let weights: Vec<i64> = changed.iter().map(|(.., weight)| *weight).collect();
        Ok(vec![DeltaBatch::new(batch(&self.schema, columns, weights.len())?, weights.into())?])
    }

    fn ranks(&self, changed: &[Ranked<'_>]) -> Result<ArrayRef> {
        let ranks = UInt64Array::from_iter_values(changed.iter().map(|(_, rank, _)| *rank));
        let wanted = self.schema.fields().last().map_or(DataType::UInt64, |field| field.data_type().clone());
        Ok(cast(&ranks, &wanted)?)
    }
}

/// What is in `new` and not in `old`, and the reverse with weights below 0. Both are in the order of entries and ranks.
fn difference<'a>(old: &[Ranked<'a>], new: &[Ranked<'a>], changed: &mut Vec<Ranked<'a>>) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => (left.0, left.1).cmp(&(right.0, right.1)),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        let weight = after.map_or(0, |ranked| ranked.2) - before.map_or(0, |ranked| ranked.2);
        if let Some((entry, rank, _)) = after.or(before).filter(|_| weight != 0) {
            changed.push((entry, *rank, weight));
        }
    }
}
