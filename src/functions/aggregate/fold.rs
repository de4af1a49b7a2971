//! A fold: an aggregate as columns in, one state per group; and DataFusion's accumulators made of it.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::StateFieldsArgs;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use crate::functions::gather_budget;

/// Invariant: merging states, and updating in any order, gives the same result.
pub trait Fold: Debug + Send + Sync + 'static {
    type State: Default + Clone + Debug + Send + Sync + 'static;

    /// Columns of a saved state; none for those that are computed over frames of windows alone.
    fn state_types(&self) -> Vec<DataType> {
        Vec::new()
    }
    /// Takes each row into its group's state, `weight` times; -1 takes it out, where [`Fold::REMOVES`].
    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Self::State], weight: i64) -> Result<()>;
    fn merge(&self, into: &mut Self::State, from: Self::State);
    fn save(&self, _: &[Self::State]) -> Result<Vec<ArrayRef>> {
        internal_err!("a frame's state is not saved")
    }
    /// What [`Fold::save`] wrote.
    fn load(&self, _: &[ArrayRef]) -> Result<Vec<Self::State>> {
        internal_err!("a frame's state is not saved")
    }
    /// One row per state.
    fn finish(&self, states: &[Self::State]) -> Result<ArrayRef>;

    /// Whether rows can be taken out again, as sliding window frames need.
    const REMOVES: bool = false;

    /// Whether a result may be large beside the rows that it is of, and is counted where there is a budget.
    const GATHERS: bool = false;

    /// Memory of a state beyond its own size.
    fn heap_bytes(_: &Self::State) -> usize {
        0
    }
}

/// Which group each row of a batch belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    count: usize,
    /// `None`: all rows belong to group 0.
    groups: Option<&'a [usize]>,
    filter: Option<&'a BooleanArray>,
}

impl<'a> Rows<'a> {
    pub fn one_group(count: usize) -> Self {
        Rows { count, groups: None, filter: None }
    }

    /// Calls `each(row, group)` for rows that are not NULL in `nulls_of` and pass the filter.
    pub fn try_for_each(&self, nulls_of: &dyn Array, mut each: impl FnMut(usize, usize) -> Result<()>) -> Result<()> {
        for row in 0..self.count {
            let kept = self.filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if kept && nulls_of.is_valid(row) {
                each(row, self.groups.and_then(|groups| groups.get(row).copied()).unwrap_or(0))?;
            }
        }
        Ok(())
    }
}

pub fn state_fields<F: Fold>(fold: &F, args: StateFieldsArgs) -> Vec<FieldRef> {
    let types = fold.state_types().into_iter().enumerate();
    types
        .map(|(i, data_type)| Arc::new(Field::new(format_state_name(args.name, &format!("state{i}")), data_type, true)))
        .collect()
}

/// One group: aggregates without GROUP BY, and windows.
#[derive(Debug)]
pub struct FoldAccumulator<F: Fold> {
    fold: F,
    state: F::State,
    /// Rows that came before the first result. Where a frame is all of its partition there is but one, which DataFusion repeats for each
    /// row of it.
    rows_at_first: usize,
    has_result: bool,
}

impl<F: Fold> FoldAccumulator<F> {
    pub fn boxed(fold: F) -> Box<dyn Accumulator> {
        Box::new(FoldAccumulator { fold, state: F::State::default(), rows_at_first: 0, has_result: false })
    }

    fn step(&mut self, values: &[ArrayRef], weight: i64) -> Result<()> {
        let rows = Rows::one_group(values.first().map_or(0, |values| values.len()));
        if !self.has_result {
            self.rows_at_first += rows.count;
        }
        self.fold.update(values, &rows, std::slice::from_mut(&mut self.state), weight)
    }
}

impl<F: Fold> Accumulator for FoldAccumulator<F> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.step(values, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let finished = self.fold.finish(std::slice::from_ref(&self.state))?;
        if F::GATHERS {
            let times = if self.has_result { 1 } else { self.rows_at_first.max(1) };
            gather_budget::count(finished.get_array_memory_size().saturating_mul(times))?;
        }
        self.has_result = true;
        ScalarValue::try_from_array(&finished, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + F::heap_bytes(&self.state)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = self.fold.save(std::slice::from_ref(&self.state))?;
        columns.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for state in self.fold.load(states)? {
            self.fold.merge(&mut self.state, state);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.step(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        F::REMOVES
    }
}

/// Many groups.
#[derive(Debug)]
pub struct FoldGroups<F: Fold> {
    fold: F,
    states: Vec<F::State>,
}

impl<F: Fold> FoldGroups<F> {
    pub fn boxed(fold: F) -> Box<dyn GroupsAccumulator> {
        Box::new(FoldGroups { fold, states: Vec::new() })
    }
}

impl<F: Fold> GroupsAccumulator for FoldGroups<F> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.states.resize_with(total_num_groups, F::State::default);
        let rows = Rows { count: group_indices.len(), groups: Some(group_indices), filter: opt_filter };
        self.fold.update(values, &rows, &mut self.states, 1)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let emitted = emit_to.take_needed(&mut self.states);
        self.fold.finish(&emitted)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let emitted = emit_to.take_needed(&mut self.states);
        self.fold.save(&emitted)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.states.resize_with(total_num_groups, F::State::default);
        for (state, group) in self.fold.load(values)?.into_iter().zip(group_indices) {
            if let Some(into) = self.states.get_mut(*group) {
                self.fold.merge(into, state);
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let count = values.first().map_or(0, |values| values.len());
        let groups: Vec<usize> = (0..count).collect();
        let mut states = vec![F::State::default(); count];
        let rows = Rows { count, groups: Some(&groups), filter: opt_filter };
        self.fold.update(values, &rows, &mut states, 1)?;
        self.fold.save(&states)
    }

    fn size(&self) -> usize {
        let heap: usize = self.states.iter().map(F::heap_bytes).sum();
        self.states.capacity() * size_of::<F::State>() + heap
    }
}
