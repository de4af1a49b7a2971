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

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::WindowExpr;

use crate::error::{Error, Result};
use crate::functions::ContinuedAggregate;
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
    kind: Kind,
    /// Of its state, among a mark's values.
    states: Range<usize>,
}

#[derive(Debug)]
enum Kind {
    Aggregate(ContinuedAggregate),
    FirstValue(Arc<dyn WindowExpr>),
    RowNumber,
    Rank,
    DenseRank,
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
            let kind = match running {
                None => None,
                Some(Running::Aggregate) => {
                    let aggregate = ContinuedAggregate::new(call.clone(), filter);
                    types.extend(aggregate.state_types()?);
                    Some(Kind::Aggregate(aggregate))
                }
                Some(Running::FirstValue) => {
                    types.push(call.field()?.data_type().clone());
                    Some(Kind::FirstValue(call.clone()))
                }
                Some(Running::RowNumber) => Some(Kind::RowNumber),
                Some(Running::Rank) => Some(Kind::Rank),
                Some(Running::DenseRank) => Some(Kind::DenseRank),
            };
            let states = start..types.len();
            made.push(kind.map(|kind| RunningCall { kind, states }));
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
        let values = match &call.kind {
            Kind::RowNumber => numbers((1..=count).map(|row| base.rows + row)),
            Kind::Rank => numbers(of.each_peer().map(|(_, first)| base.rows + 1 + first as i64)),
            Kind::DenseRank => numbers(of.each_peer().map(|(group, _)| base.peers + 1 + group as i64)),
            Kind::FirstValue(first) => repeated(&call.first(first, of, base)?, rows)?,
            Kind::Aggregate(aggregate) => aggregate.values(of.rows, of.peers, call.state_of(base))?,
        };
        Ok(Some(values))
    }

    /// Marks among these rows, in their order, behind what `base` is of; `names`: what the entries of each of the `peers` begin with.
    pub fn marks<'a>(
        &self,
        of: &Ordered<'_>,
        base: &Base,
        names: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<Box<[u8]>>> {
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
            match &call.kind {
                Kind::Aggregate(aggregate) => {
                    columns.extend(aggregate.states_at(&rows, of.rows, call.state_of(base))?);
                }
                Kind::FirstValue(first) => columns.push(repeated(&call.first(first, of, base)?, rows.len())?),
                Kind::RowNumber | Kind::Rank | Kind::DenseRank => {}
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
            Box::from([name, values.data(), length.as_slice()].concat())
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

/// A value so many times.
fn repeated(value: &ArrayRef, times: usize) -> Result<ArrayRef> {
    Ok(take(value, &UInt32Array::from(vec![0; times]), None)?)
}

impl Ordered<'_> {
    /// For each row which of the peers it is of, and the first of them.
    fn each_peer(&self) -> impl Iterator<Item = (usize, usize)> {
        let ends = self.peers.iter().skip(1).copied().chain([self.rows.num_rows()]);
        let groups = self.peers.iter().copied().zip(ends).enumerate();
        groups.flat_map(|(group, (first, end))| std::iter::repeat_n((group, first), end - first))
    }
}

impl RunningCall {
    /// Of the partition. There is a row.
    fn first(&self, call: &Arc<dyn WindowExpr>, of: &Ordered<'_>, base: &Base) -> Result<ArrayRef> {
        if let Some(first) = base.values.get(self.states.start) {
            return Ok(first.clone());
        }
        let mut args = call.evaluate_args(&of.rows.slice(0, 1))?.into_iter();
        args.next().ok_or_else(|| Error::internal("a first value of nothing"))
    }

    fn state_of<'b>(&self, base: &'b Base) -> &'b [ArrayRef] {
        base.values.get(self.states.clone()).unwrap_or_default()
    }
}
