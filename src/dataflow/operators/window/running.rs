//! Calls that look at all rows before a row, continued from a mark: what they need of the rows before it.
//!
//! ```text
//! partition   . . . . | . . . . | . . . . | . . changed . .
//!                   mark      mark      mark               a step computes from the last mark before its first change
//!
//! mark        partition | order | rows, order's values, each call's state | length of that     what is before the first row with this order
//! ```
//!
//! A partition has marks only while none of its calls raises.
//!
//! Does not know: which rows a step concerns, what other calls there are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::{cast, filter};
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Accumulator, WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, WindowExpr};

use crate::error::{Error, Result};
use crate::plan::Running;

/// Rows between two marks, at least.
const MARK_ROWS: usize = 32;
const LENGTH_BYTES: usize = 4;

#[derive(Debug)]
pub struct RunningCalls {
    /// One for each call of the window.
    calls: Vec<Option<RunningCall>>,
    /// Of a mark's values.
    types: Vec<DataType>,
    values: RowConverter,
}

#[derive(Debug)]
struct RunningCall {
    running: Running,
    call: Arc<dyn WindowExpr>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    /// Of its state, among a mark's values.
    states: std::ops::Range<usize>,
}

/// What is before some rows.
#[derive(Debug, Clone, Default)]
pub struct Base {
    rows: i64,
    /// That the order tells apart.
    peers: i64,
    /// A mark's values, each with one row; none where nothing is before.
    values: Vec<ArrayRef>,
}

/// Rows of one partition with the places at which the order's value changes, beginning with the first.
pub struct Ordered<'a> {
    pub rows: &'a RecordBatch,
    pub peers: &'a [usize],
}

impl RunningCalls {
    /// `running` and `filters` of each of the calls.
    pub fn new(
        calls: &[Arc<dyn WindowExpr>],
        running: &[Option<Running>],
        filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    ) -> Result<Self> {
        let mut types = vec![DataType::Int64, DataType::Int64];
        let mut made = Vec::with_capacity(calls.len());
        for ((call, running), filter) in calls.iter().zip(running).zip(filters) {
            let start = types.len();
            match running {
                Some(Running::Aggregate) => {
                    let fields = aggregate(call.as_ref())?.get_aggregate_expr().state_fields()?;
                    types.extend(fields.iter().map(|field| field.data_type().clone()));
                }
                Some(Running::FirstValue) => types.push(call.field()?.data_type().clone()),
                _ => {}
            }
            let states = start..types.len();
            made.push(running.map(|running| RunningCall { running, call: call.clone(), filter, states }));
        }
        let values = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        Ok(RunningCalls { calls: made, types, values })
    }

    /// What a mark says.
    pub fn base(&self, mark: &[u8]) -> Result<Base> {
        let values = mark.get(name_of(mark)?.len()..mark.len() - LENGTH_BYTES).unwrap_or_default();
        let values = self.values.convert_rows([self.values.parser().parse(values)])?;
        let [rows, peers, ..] = values.as_slice() else { return Err(no_mark()) };
        let number = |values: &ArrayRef| values.as_primitive::<Int64Type>().value(0);
        Ok(Base { rows: number(rows), peers: number(peers), values })
    }

    /// The values of the call at a place, for rows behind what `base` is of; `None` if it does not run.
    pub fn evaluate(&self, call: usize, of: &Ordered<'_>, base: &Base) -> Result<Option<ArrayRef>> {
        let Some(call) = self.calls.get(call).and_then(Option::as_ref) else { return Ok(None) };
        let rows = of.rows.num_rows();
        let count = rows as i64;
        let values = match call.running {
            Running::RowNumber => numbers((1..=count).map(|row| base.rows + row)),
            Running::Rank => numbers(of.each_peer().map(|(_, first)| base.rows + 1 + first as i64)),
            Running::DenseRank => numbers(of.each_peer().map(|(group, _)| base.peers + 1 + group as i64)),
            Running::FirstValue => call.first(of, base)?.to_array_of_size(rows)?,
            Running::Aggregate => call.aggregated(of, base)?,
        };
        Ok(Some(values))
    }

    /// Marks among these rows, in their order, behind what `base` is of; `names`: what the entries of each of the `peers` begin with.
    pub fn marks<'a>(
        &self,
        of: &Ordered<'_>,
        base: &Base,
        names: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<Vec<u8>>> {
        let mut places = Vec::new();
        let mut last = 0;
        for ((group, place), name) in of.peers.iter().enumerate().zip(names) {
            if place - last >= MARK_ROWS {
                places.push((group, *place, name));
                last = *place;
            }
        }
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<usize> = places.iter().map(|(_, place, _)| *place).collect();
        let mut columns: Vec<ArrayRef> = vec![
            numbers(places.iter().map(|(_, place, _)| base.rows + *place as i64)),
            numbers(places.iter().map(|(group, ..)| base.peers + *group as i64)),
        ];
        for call in self.calls.iter().flatten() {
            match call.running {
                Running::Aggregate => columns.extend(call.states_at(&rows, of, base)?),
                Running::FirstValue => columns.push(call.first(of, base)?.to_array_of_size(rows.len())?),
                Running::RowNumber | Running::Rank | Running::DenseRank => {}
            }
        }
        let as_promised = columns.iter().zip(&self.types);
        let columns: Vec<ArrayRef> = as_promised
            .map(|(column, data_type)| {
                Ok(if column.data_type() == data_type { column.clone() } else { cast(column, data_type)? })
            })
            .collect::<Result<_>>()?;
        let values = self.values.convert_columns(&columns)?;
        let mark = |((.., name), values): (&(usize, usize, &[u8]), arrow::row::Row<'_>)| {
            let length = (values.data().len() as u32).to_le_bytes();
            [name, values.data(), length.as_slice()].concat()
        };
        Ok(places.iter().zip(values.iter()).map(mark).collect())
    }
}

/// What a mark's rows begin with, those at which it stands.
pub fn name_of(mark: &[u8]) -> Result<&[u8]> {
    let (rest, length) = mark.split_last_chunk::<LENGTH_BYTES>().ok_or_else(no_mark)?;
    let length = u32::from_le_bytes(*length) as usize;
    rest.len().checked_sub(length).and_then(|length| rest.get(..length)).ok_or_else(no_mark)
}

fn no_mark() -> Error {
    Error::internal("a mark that says nothing")
}

fn numbers(numbers: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(numbers.collect::<Int64Array>())
}

fn aggregate(call: &dyn WindowExpr) -> Result<&PlainAggregateWindowExpr> {
    let plain = call.as_any().downcast_ref::<PlainAggregateWindowExpr>();
    plain.ok_or_else(|| Error::internal("a frame that begins with the partition, and slides"))
}

impl Ordered<'_> {
    /// For each row which of the peers it is of, and the first of them.
    fn each_peer(&self) -> impl Iterator<Item = (usize, usize)> {
        let ends = self.peers.iter().skip(1).copied().chain([self.rows.num_rows()]);
        let groups = self.peers.iter().copied().zip(ends).enumerate();
        groups.flat_map(|(group, (first, end))| std::iter::repeat_n((group, first), end - first))
    }

    /// For each row the end of its frame.
    fn frame_ends(&self, call: &dyn WindowExpr) -> Result<Vec<usize>> {
        let (frame, rows) = (call.get_window_frame(), self.rows.num_rows());
        match (frame.units, &frame.end_bound) {
            (WindowFrameUnits::Rows, WindowFrameBound::CurrentRow) => Ok((1..=rows).collect()),
            (WindowFrameUnits::Rows, WindowFrameBound::Following(ScalarValue::UInt64(Some(ahead)))) => {
                let ahead = usize::try_from(*ahead).unwrap_or(rows);
                Ok((1..=rows).map(|row| row.saturating_add(ahead).min(rows)).collect())
            }
            (WindowFrameUnits::Range, WindowFrameBound::CurrentRow) => {
                let ends = self.peers.iter().skip(1).copied().chain([rows]);
                let groups = self.peers.iter().copied().zip(ends);
                Ok(groups.flat_map(|(first, end)| std::iter::repeat_n(end, end - first)).collect())
            }
            _ => Err(Error::internal("a frame that does not run")),
        }
    }
}

impl RunningCall {
    /// Of the partition. There is a row.
    fn first(&self, of: &Ordered<'_>, base: &Base) -> Result<ScalarValue> {
        match base.values.get(self.states.start) {
            Some(first) => Ok(ScalarValue::try_from_array(first, 0)?),
            None => {
                let args = self.call.evaluate_args(&of.rows.slice(0, 1))?;
                let value = args.first().ok_or_else(|| Error::internal("a first value of nothing"))?;
                Ok(ScalarValue::try_from_array(value, 0)?)
            }
        }
    }

    fn accumulator(&self, state: &[ArrayRef]) -> Result<Box<dyn Accumulator>> {
        let mut accumulator = aggregate(self.call.as_ref())?.get_aggregate_expr().create_accumulator()?;
        if !state.is_empty() {
            accumulator.merge_batch(state)?;
        }
        Ok(accumulator)
    }

    fn state_of<'b>(&self, base: &'b Base) -> &'b [ArrayRef] {
        base.values.get(self.states.clone()).unwrap_or_default()
    }

    fn arguments(&self, of: &Ordered<'_>) -> Result<Arguments> {
        let kept = match &self.filter {
            Some(filter) => Some(filter.evaluate(of.rows)?.into_array(of.rows.num_rows())?.as_boolean().clone()),
            None => None,
        };
        Ok(Arguments { values: self.call.evaluate_args(of.rows)?, kept })
    }

    fn aggregated(&self, of: &Ordered<'_>, base: &Base) -> Result<ArrayRef> {
        let arguments = self.arguments(of)?;
        let mut accumulator = self.accumulator(self.state_of(base))?;
        let mut values: Vec<ScalarValue> = Vec::with_capacity(of.rows.num_rows());
        let mut taken = 0;
        for end in of.frame_ends(self.call.as_ref())? {
            let value = match values.last() {
                Some(same) if end == taken => same.clone(),
                _ => {
                    accumulator.update_batch(&arguments.between(taken, end)?)?;
                    accumulator.evaluate()?
                }
            };
            values.push(value);
            taken = end;
        }
        Ok(ScalarValue::iter_to_array(values)?)
    }

    /// After so many of the rows, in ascending order.
    fn states_at(&self, places: &[usize], of: &Ordered<'_>, base: &Base) -> Result<Vec<ArrayRef>> {
        let arguments = self.arguments(of)?;
        let mut accumulator = self.accumulator(self.state_of(base))?;
        let mut states: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(places.len()); self.states.len()];
        let mut taken = 0;
        for place in places {
            accumulator.update_batch(&arguments.between(taken, *place)?)?;
            // Giving its state may take it from the accumulator.
            let state = accumulator.state()?;
            let columns = state.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>, _>>()?;
            accumulator = self.accumulator(&columns)?;
            states.iter_mut().zip(state).for_each(|(states, state)| states.push(state));
            taken = *place;
        }
        Ok(states.into_iter().map(ScalarValue::iter_to_array).collect::<Result<_, _>>()?)
    }
}

/// Of an aggregate, for some rows.
struct Arguments {
    values: Vec<ArrayRef>,
    kept: Option<BooleanArray>,
}

impl Arguments {
    fn between(&self, start: usize, end: usize) -> Result<Vec<ArrayRef>> {
        let slice = |values: &ArrayRef| -> Result<ArrayRef> {
            let slice = values.slice(start, end - start);
            Ok(match &self.kept {
                Some(kept) => filter(&slice, &kept.slice(start, end - start))?,
                None => slice,
            })
        };
        self.values.iter().map(slice).collect()
    }
}
