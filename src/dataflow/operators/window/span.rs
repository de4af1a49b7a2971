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

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};

use crate::dataflow::operators::ordered_rows::OrderedRows;
use crate::dataflow::state::OrderedState;
use crate::error::{Error, Result};
use crate::plan::Distance;

/// So many rows are looked at, at first, where it is not said how many are wanted.
const ROWS_AT_FIRST: usize = 32;
const DAY_US: i64 = 86_400_000_000;
/// Times in microseconds are computed with up to here, into the year 261,000.
const TIME_MAX_US: i64 = 8_200_000_000_000_000_000;

/// Rows between two places of a partition, which begin with its bytes and need not be entries. `None`: to its end.
#[derive(Debug, Clone)]
pub struct Span<'a> {
    /// Those that are read.
    pub from: Cow<'a, [u8]>,
    pub to: Option<Cow<'a, [u8]>>,
    /// Those whose values are computed, among them.
    pub concerned_from: Cow<'a, [u8]>,
    pub concerned_to: Option<Cow<'a, [u8]>>,
}

impl<'a> Span<'a> {
    pub fn whole(partition: &'a [u8]) -> Self {
        let from = Cow::Borrowed(partition);
        Span { from: from.clone(), to: None, concerned_from: from, concerned_to: None }
    }
}

/// A place in a partition, and the value that the order has there.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    pub bytes: Cow<'a, [u8]>,
    value: OrderValue,
    /// Its bytes are those of an entry, and not what entries begin with.
    is_entry: bool,
}

impl Place<'_> {
    /// Partition and order of the rows here.
    pub fn prefix<'p>(&'p self, rows: &OrderedRows) -> Result<&'p [u8]> {
        if self.is_entry { rows.peer_prefix(&self.bytes) } else { Ok(&self.bytes) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrderValue {
    /// Nobody asks for it.
    Unknown,
    Null,
    At(i64),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    Behind,
}

impl<'a> Partition<'a> {
    /// The rows that changes between two entries concern, with what these look at.
    pub fn around(&mut self, (first, last): (&'a [u8], &'a [u8]), back: Distance, ahead: Distance) -> Result<Span<'a>> {
        let has_values = back.value.max(ahead.value).is_some();
        let concerned_from = self.at(first, has_values)?;
        let concerned_from = self.reach(&concerned_from, ahead, Side::Before)?;
        let from = self.reach(&concerned_from, back, Side::Before)?;
        let concerned_to = self.at(last, has_values)?;
        let concerned_to = self.reach(&concerned_to, back, Side::Behind)?;
        let to = self.reach(&concerned_to, ahead, Side::Behind)?;
        let (concerned_from, concerned_to) = (concerned_from.bytes, Some(concerned_to.bytes));
        Ok(Span { from: from.bytes, to: Some(to.bytes), concerned_from, concerned_to })
    }

    /// Whether the frame of a row may end beyond what can be computed with. DataFusion (55.2) takes the edge of what it is given for such
    /// an end, so that it has to be given the partition.
    pub fn is_near_the_limits(&self, distance: i128) -> Result<bool> {
        let order = self.rows.order_type();
        let null = self.rows.order_prefix(self.key, &new_null_array(order, 1))?;
        let mut first = self.state.first_with_prefix(self.key)?;
        if first.is_some_and(|first| first.starts_with(&null)) {
            first = None;
            let behind = after_all_with(&null).unwrap_or_default();
            self.state.each_from(self.key, &behind, |entry, _| {
                first = Some(entry);
                Ok(false)
            })?;
        }
        let mut last = self.state.last_with_prefix(self.key)?;
        if last.is_some_and(|last| last.starts_with(&null)) {
            last = self.state.before(self.key, &null, 1)?.pop().map(|(entry, _)| entry);
        }
        let (least, greatest) = match order {
            DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
            DataType::Int64 => (i64::MIN, i64::MAX),
            _ => (-TIME_MAX_US, TIME_MAX_US),
        };
        for entry in first.into_iter().chain(last) {
            if let OrderValue::At(value) = self.value_at(entry)? {
                let value = i128::from(value);
                if value - distance < i128::from(least) || value + distance > i128::from(greatest) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The first place whose value a change at `first` may concern, and the first that this looks at.
    pub fn before(&mut self, first: &'a [u8], back: Distance, ahead: Distance) -> Result<(Place<'a>, Place<'a>)> {
        let first = self.at(first, back.value.max(ahead.value).is_some())?;
        let concerned = self.reach(&first, ahead, Side::Before)?;
        let needed = self.reach(&concerned, back, Side::Before)?;
        Ok((concerned, needed))
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
        let from = self.farthest(first, Side::Before, ROWS_AT_FIRST, session)?.unwrap_or(first);
        let to = self.farthest(last, Side::Behind, ROWS_AT_FIRST, session)?.unwrap_or(last);
        let (from, to) = (Cow::Borrowed(from), Some(Cow::Borrowed(to)));
        Ok(Span { from: from.clone(), to: to.clone(), concerned_from: from, concerned_to: to })
    }

    fn at(&self, entry: &'a [u8], has_value: bool) -> Result<Place<'a>> {
        let value = if has_value { self.value_at(entry)? } else { OrderValue::Unknown };
        Ok(Place { bytes: Cow::Borrowed(entry), value, is_entry: true })
    }

    fn value_at(&self, entry: &[u8]) -> Result<OrderValue> {
        let values = Self::values(self.rows, &[entry])?;
        Ok(if values.is_valid(0) { OrderValue::At(values.value(0)) } else { OrderValue::Null })
    }

    /// The farthest place on one side of another that is no farther than this.
    fn reach(&mut self, from: &Place<'a>, distance: Distance, side: Side) -> Result<Place<'a>> {
        let is_farther = |one: &[u8], other: &[u8]| if side == Side::Before { one < other } else { one > other };
        let mut farthest = from.clone();
        if let Some(by) = distance.value {
            let reached = self.at_distance(from, by, side)?;
            if is_farther(&reached.bytes, &farthest.bytes) {
                farthest = reached;
            }
        }
        let wanted = distance.rows.max(if distance.peers { ROWS_AT_FIRST } else { 0 });
        if wanted > 0 {
            let rows = self.rows;
            // Where it is no entry, all peers are passed already.
            let peers = match distance.peers && from.is_entry {
                true => Some(rows.peer_prefix(&from.bytes)?.to_vec()),
                false => None,
            };
            let within = |entries: &Entries<'a>| Ok(Self::within(entries, distance.rows, peers.as_deref()));
            if let Some(entry) = self.farthest(&from.bytes, side, wanted, within)?
                && is_farther(entry, &farthest.bytes)
            {
                farthest = self.at(entry, from.value != OrderValue::Unknown)?;
            }
        }
        Ok(farthest)
    }

    /// Where the order's value differs by so much: before the first row of that value, or behind the last.
    fn at_distance(&self, from: &Place<'a>, by: i128, side: Side) -> Result<Place<'a>> {
        let is_lower = (side == Side::Before) != self.rows.descends();
        let value = match from.value {
            OrderValue::Unknown => return Err(Error::internal("a distance from nowhere")),
            OrderValue::Null => OrderValue::Null,
            OrderValue::At(value) => {
                let reached = i128::from(value) + if is_lower { -by } else { by };
                OrderValue::At(reached.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
            }
        };
        let prefix = self.rows.order_prefix(self.key, &of_type(value, is_lower, self.rows.order_type())?)?;
        let bytes = match side {
            Side::Before => Some(prefix),
            Side::Behind => after_all_with(&prefix),
        };
        let bytes = bytes.ok_or_else(|| Error::internal("a value behind all others"))?;
        Ok(Place { bytes: Cow::Owned(bytes), value, is_entry: false })
    }

    /// The farthest of the entries next to a place that are within; at least `wanted` rows are looked at, as far as there are some.
    fn farthest(
        &mut self,
        from: &[u8],
        side: Side,
        mut wanted: usize,
        within: impl Fn(&Entries<'a>) -> Result<Within>,
    ) -> Result<Option<&'a [u8]>> {
        loop {
            let entries = match side {
                Side::Before => self.state.before(self.key, from, wanted as i64)?,
                Side::Behind => self.behind(from, wanted)?,
            };
            let rows = count(&entries);
            self.rows_read += rows;
            let found = within(&entries)?;
            if !found.is_open || rows < wanted {
                let last = found.entries.checked_sub(1).and_then(|last| entries.get(last));
                return Ok(last.map(|(entry, _)| *entry));
            }
            wanted *= 4;
        }
    }

    fn behind(&self, from: &[u8], wanted: usize) -> Result<Entries<'a>> {
        let (mut entries, mut rows) = (Entries::new(), 0);
        self.state.each_from(self.key, from, |entry, weight| {
            if entry > from {
                entries.push((entry, weight));
                rows += count_of(weight);
            }
            Ok(rows < wanted)
        })?;
        Ok(entries)
    }

    /// How many of these are among so many rows, or begin as their peers do.
    fn within(entries: &Entries<'a>, rows: usize, peers: Option<&[u8]>) -> Within {
        let mut left = rows;
        let by_rows = entries.iter().take_while(|(_, weight)| {
            let is_near = left > 0;
            left = left.saturating_sub(count_of(*weight));
            is_near
        });
        let by_rows = by_rows.count();
        let by_peers = peers.map(|peers| entries.iter().take_while(|(entry, _)| entry.starts_with(peers)).count());
        Within { entries: by_rows.max(by_peers.unwrap_or(0)), is_open: by_peers == Some(entries.len()) }
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

/// As a value of the order's type, or the nearest that it has; `is_lower`: rather below than above.
fn of_type(value: OrderValue, is_lower: bool, order: &DataType) -> Result<ArrayRef> {
    let OrderValue::At(value) = value else { return Ok(new_null_array(order, 1)) };
    let value = match order {
        DataType::Int16 => value.clamp(i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => value.clamp(i32::MIN.into(), i32::MAX.into()),
        DataType::Date32 => {
            let days = value.div_euclid(DAY_US) + i64::from(!is_lower);
            days.clamp(i32::MIN.into(), i32::MAX.into())
        }
        _ => value,
    };
    let value: ArrayRef = Arc::new(Int64Array::from(vec![value]));
    Ok(match order {
        DataType::Date32 => cast(&cast(&value, &DataType::Int32)?, order)?,
        order => cast(&value, order)?,
    })
}

/// The least bytes that are greater than all which begin with these.
pub fn after_all_with(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

fn count(entries: &[(&[u8], i64)]) -> usize {
    entries.iter().map(|(_, weight)| count_of(*weight)).sum()
}

pub fn count_of(weight: i64) -> usize {
    usize::try_from(weight).unwrap_or(0)
}
