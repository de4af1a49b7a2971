//! Aggregates over frames that begin with the partition, continued from a state: what DataFusion's accumulators give, in columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::filter;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{Accumulator, WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, WindowExpr};

/// A call of an aggregate OVER such a frame, with its FILTER.
#[derive(Debug)]
pub struct ContinuedAggregate {
    call: Arc<dyn WindowExpr>,
    filter: Option<Arc<dyn PhysicalExpr>>,
}

/// Of the aggregate, for some rows.
struct Arguments {
    values: Vec<ArrayRef>,
    kept: Option<BooleanArray>,
}

impl ContinuedAggregate {
    pub fn new(call: Arc<dyn WindowExpr>, filter: Option<Arc<dyn PhysicalExpr>>) -> Self {
        ContinuedAggregate { call, filter }
    }

    /// Of the columns of a state.
    pub fn state_types(&self) -> Result<Vec<DataType>> {
        let fields = self.aggregate()?.get_aggregate_expr().state_fields()?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }

    /// The values for rows of a partition, behind those that `state`, one row of each column or none, is of; `peers`: at which of them the
    /// order's value changes.
    pub fn values(&self, rows: &RecordBatch, peers: &[usize], state: &[ArrayRef]) -> Result<ArrayRef> {
        let arguments = self.arguments(rows)?;
        let mut accumulator = self.accumulator(state)?;
        let mut values: Vec<ScalarValue> = Vec::with_capacity(rows.num_rows());
        let mut taken = 0;
        for end in self.frame_ends(rows.num_rows(), peers)? {
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
        ScalarValue::iter_to_array(values)
    }

    /// The states after so many of the rows, in ascending order: a row for each.
    pub fn states_at(&self, places: &[usize], rows: &RecordBatch, state: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let arguments = self.arguments(rows)?;
        let mut accumulator = self.accumulator(state)?;
        let mut states = vec![Vec::with_capacity(places.len()); self.state_types()?.len()];
        let mut taken = 0;
        for place in places {
            accumulator.update_batch(&arguments.between(taken, *place)?)?;
            // Giving its state may take it from the accumulator.
            let state = accumulator.state()?;
            let columns = state.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
            accumulator = self.accumulator(&columns)?;
            states.iter_mut().zip(state).for_each(|(states, state)| states.push(state));
            taken = *place;
        }
        states.into_iter().map(ScalarValue::iter_to_array).collect()
    }

    fn aggregate(&self) -> Result<&PlainAggregateWindowExpr> {
        match self.call.as_any().downcast_ref::<PlainAggregateWindowExpr>() {
            Some(plain) => Ok(plain),
            None => internal_err!("a frame that begins with the partition, and slides"),
        }
    }

    fn accumulator(&self, state: &[ArrayRef]) -> Result<Box<dyn Accumulator>> {
        let mut accumulator = self.aggregate()?.get_aggregate_expr().create_accumulator()?;
        if !state.is_empty() {
            accumulator.merge_batch(state)?;
        }
        Ok(accumulator)
    }

    fn arguments(&self, rows: &RecordBatch) -> Result<Arguments> {
        let kept = match &self.filter {
            Some(filter) => Some(filter.evaluate(rows)?.into_array(rows.num_rows())?.as_boolean().clone()),
            None => None,
        };
        Ok(Arguments { values: self.call.evaluate_args(rows)?, kept })
    }

    /// For each row the end of its frame.
    fn frame_ends(&self, rows: usize, peers: &[usize]) -> Result<Vec<usize>> {
        let frame = self.call.get_window_frame();
        match (frame.units, &frame.end_bound) {
            (WindowFrameUnits::Rows, WindowFrameBound::CurrentRow) => Ok((1..=rows).collect()),
            (WindowFrameUnits::Rows, WindowFrameBound::Following(ScalarValue::UInt64(Some(ahead)))) => {
                let ahead = usize::try_from(*ahead).unwrap_or(rows);
                Ok((1..=rows).map(|row| row.saturating_add(ahead).min(rows)).collect())
            }
            (WindowFrameUnits::Range, WindowFrameBound::CurrentRow) => {
                let ends = peers.iter().skip(1).copied().chain([rows]);
                let groups = peers.iter().copied().zip(ends);
                Ok(groups.flat_map(|(first, end)| std::iter::repeat_n(end, end - first)).collect())
            }
            _ => internal_err!("a frame that does not run"),
        }
    }
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
