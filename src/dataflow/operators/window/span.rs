//! Which rows of a partition a step reads, and whose values it computes.
//!
//! ```text
//! partition   . . . [ context | ahead | first changed ... last changed | back | context ] . . .
//!                               `------- rows whose values a change concerns -------'
//! ```
//!
//! Before the first and behind the last changed row a partition is the same before and after a step, so one span is of both.
//!
//! Does not know: what is computed of the rows.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};

use crate::dataflow::operators::ordered_rows::OrderedRows;
use crate::dataflow::state::OrderedState;
use crate::error::{Error, Result};
use crate::plan::Distance;

/// So many rows are looked at, at first, where it is not said how many are wanted.
const ROWS_AT_FIRST: usize = 32;
const DAY_US: i64 = 86_400_000_000;

/// Rows between two places of a partition, which begin with its bytes. `None`: to its end.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// Those that are read.
    pub from: &'a [u8],
    pub to: Option<&'a [u8]>,
    /// Those whose values are computed, among them.
    pub concerned_from: &'a [u8],
    pub concerned_to: Option<&'a [u8]>,
}

impl<'a> Span<'a> {
    pub fn whole(partition: &'a [u8]) -> Self {
        Span { from: partition, to: None, concerned_from: partition, concerned_to: None }
    }
}

/// A partition after a step, and how many of its rows were looked at.
pub struct Partition<'a> {
    pub rows: &'a OrderedRows,
    pub state: &'a OrderedState,
    pub key: &'a [u8],
    pub rows_read: usize,
}

type Entries<'a> = Vec<(&'a [u8], i64)>;

/// How many of the entries next to a place belong to it, and whether those behind them may.
struct Within {
    entries: usize,
    is_open: bool,
}

impl<'a> Partition<'a> {
    /// The rows that changes between two entries concern, with what these look at.
    pub fn around(&mut self, (first, last): (&'a [u8], &'a [u8]), back: Distance, ahead: Distance) -> Result<Span<'a>> {
        let concerned_from = self.before(first, ahead)?;
        let from = self.before(concerned_from, back)?;
        let concerned_to = self.behind(last, back)?;
        let to = self.behind(concerned_to, ahead)?;
        Ok(Span { from, to: Some(to), concerned_from, concerned_to: Some(concerned_to) })
    }

    /// The sessions of the rows next to two entries on both sides, and what is between.
    pub fn sessions(&mut self, (first, last): (&'a [u8], &'a [u8]), gap_us: i64) -> Result<Span<'a>> {
        let rows = self.rows;
        let session = |entries: &Entries<'a>| {
            let values = Self::values(rows, &entries.iter().map(|(entry, _)| *entry).collect::<Vec<_>>())?;
            let near = |row: usize| values.value(row).abs_diff(values.value(row - 1)) <= gap_us.unsigned_abs();
            let is_of_it = |row: &usize| values.is_valid(*row) && (*row == 0 || near(*row));
            let entries = (0..values.len()).take_while(is_of_it).count();
            Ok(Within { entries, is_open: entries == values.len() })
        };
        let from = self.farthest_before(first, ROWS_AT_FIRST, session)?;
        let to = self.farthest_behind(last, ROWS_AT_FIRST, session)?;
        Ok(Span { from, to: Some(to), concerned_from: from, concerned_to: Some(to) })
    }

    /// The farthest entry before `entry` that is no farther than this; itself if there is none.
    pub fn before(&mut self, entry: &'a [u8], distance: Distance) -> Result<&'a [u8]> {
        let rows = self.rows;
        let is_near = distance.peers || distance.value.is_some();
        match distance.rows.max(if is_near { ROWS_AT_FIRST } else { 0 }) {
            0 => Ok(entry),
            wanted => self.farthest_before(entry, wanted, |entries| Self::within(rows, entry, entries, distance)),
        }
    }

    /// The same behind it.
    fn behind(&mut self, entry: &'a [u8], distance: Distance) -> Result<&'a [u8]> {
        let rows = self.rows;
        let is_near = distance.peers || distance.value.is_some();
        match distance.rows.max(if is_near { ROWS_AT_FIRST } else { 0 }) {
            0 => Ok(entry),
            wanted => self.farthest_behind(entry, wanted, |entries| Self::within(rows, entry, entries, distance)),
        }
    }

    fn farthest_before(
        &mut self,
        entry: &'a [u8],
        mut wanted: usize,
        within: impl Fn(&Entries<'a>) -> Result<Within>,
    ) -> Result<&'a [u8]> {
        loop {
            let entries = self.state.before(self.key, entry, wanted as i64)?;
            let is_all = count(&entries) < wanted;
            match self.farthest(entry, &entries, is_all, &within)? {
                Some(farthest) => return Ok(farthest),
                None => wanted *= 4,
            }
        }
    }

    fn farthest_behind(
        &mut self,
        entry: &'a [u8],
        mut wanted: usize,
        within: impl Fn(&Entries<'a>) -> Result<Within>,
    ) -> Result<&'a [u8]> {
        loop {
            let (mut entries, mut rows) = (Entries::new(), 0);
            self.state.each_from(self.key, entry, |other, weight| {
                if other > entry {
                    entries.push((other, weight));
                    rows += count_of(weight);
                }
                Ok(rows < wanted)
            })?;
            match self.farthest(entry, &entries, rows < wanted, &within)? {
                Some(farthest) => return Ok(farthest),
                None => wanted *= 4,
            }
        }
    }

    /// Of entries that follow one another in either direction; `None` where more have to be looked at.
    fn farthest(
        &mut self,
        entry: &'a [u8],
        entries: &Entries<'a>,
        is_all: bool,
        within: impl Fn(&Entries<'a>) -> Result<Within>,
    ) -> Result<Option<&'a [u8]>> {
        self.rows_read += count(entries);
        let within = within(entries)?;
        if within.is_open && !is_all {
            return Ok(None);
        }
        let farthest = within.entries.checked_sub(1).and_then(|last| entries.get(last));
        Ok(Some(farthest.map_or(entry, |(farthest, _)| farthest)))
    }

    /// How many of these are no farther from `entry` than this.
    fn within(rows: &OrderedRows, entry: &[u8], entries: &Entries<'a>, distance: Distance) -> Result<Within> {
        let mut left = distance.rows;
        let by_rows = entries.iter().take_while(|(_, weight)| {
            let is_near = left > 0;
            left = left.saturating_sub(count_of(*weight));
            is_near
        });
        let by_rows = by_rows.count();
        let mut by_order = 0;
        if distance.peers {
            let peers = rows.peer_prefix(entry)?;
            by_order = entries.iter().take_while(|(entry, _)| entry.starts_with(peers)).count();
        }
        if let Some(distance) = distance.value {
            let all: Vec<&[u8]> = std::iter::once(entry).chain(entries.iter().map(|(entry, _)| *entry)).collect();
            let values = Self::values(rows, &all)?;
            let is_near = |place: &usize| match (values.is_valid(0), values.is_valid(*place)) {
                (true, true) => i128::from(values.value(0).abs_diff(values.value(*place))) <= distance,
                (own, other) => own == other,
            };
            by_order = by_order.max((1..all.len()).take_while(is_near).count());
        }
        Ok(Within {
            entries: by_rows.max(by_order),
            is_open: by_order == entries.len() && (distance.peers || distance.value.is_some()),
        })
    }

    /// The first column of the order, as numbers: times in microseconds.
    fn values(rows: &OrderedRows, entries: &[&[u8]]) -> Result<Int64Array> {
        let column = rows.order_column(entries)?;
        let as_integers = |column: &ArrayRef| -> Result<Int64Array> {
            Ok(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        };
        match column.data_type() {
            DataType::Date32 => {
                let days = as_integers(&cast(&column, &DataType::Int32)?)?;
                Ok(days.unary(|days| days.saturating_mul(DAY_US)))
            }
            DataType::Timestamp(..) | DataType::Int16 | DataType::Int32 | DataType::Int64 => as_integers(&column),
            other => Err(Error::internal(format!("distances of {other}"))),
        }
    }
}

fn count(entries: &[(&[u8], i64)]) -> usize {
    entries.iter().map(|(_, weight)| count_of(*weight)).sum()
}

pub fn count_of(weight: i64) -> usize {
    usize::try_from(weight).unwrap_or(0)
}
