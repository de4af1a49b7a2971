//! One aggregate call: which state columns it has, and which of the kinds of arithmetic it is.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::datatypes::DataType;

use super::extreme::{Extreme, Multiset};
use super::sums::{ExactSums, FloatSums};
use crate::dataflow::state::{Column, ColumnType};
use crate::delta::Weights;
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, AggregateFunction};

#[derive(Debug)]
pub struct Call {
    kind: Kind,
    /// Among the state's columns.
    columns: Range<usize>,
    /// Among the arguments of all calls.
    args: Range<usize>,
}

#[derive(Debug)]
enum Kind {
    /// Weight of rows, all or those with a value.
    CountAll,
    Count,
    ExactSum(ExactSums),
    FloatSum(FloatSums),
    Extreme(Extreme),
}

/// Values of the groups asked for, and for those that cannot be computed their row and error.
pub type Finished = (ArrayRef, Vec<(usize, Error)>);

impl Call {
    /// `types` are the arguments' types, changed to those that the call takes.
    pub fn new(call: &AggregateCall, types: &mut [DataType], first_arg: usize, first_column: usize) -> Result<Self> {
        let kind = match (call.function, &mut *types) {
            (AggregateFunction::CountAll, []) => Kind::CountAll,
            (AggregateFunction::Count, [_]) => Kind::Count,
            (function @ (AggregateFunction::Sum | AggregateFunction::Avg), [input]) => {
                let average = function == AggregateFunction::Avg;
                match input {
                    DataType::Float32 | DataType::Float64 => Kind::FloatSum(FloatSums::new(average, input)),
                    _ => Kind::ExactSum(ExactSums::new(average, input, &call.return_type)?),
                }
            }
            (AggregateFunction::Min, [value]) => Kind::Extreme(Extreme::new(false, value, None)?),
            (AggregateFunction::Max, [value]) => Kind::Extreme(Extreme::new(true, value, None)?),
            (AggregateFunction::First, [value, time]) => Kind::Extreme(Extreme::new(false, value, Some(time))?),
            (AggregateFunction::Last, [value, time]) => Kind::Extreme(Extreme::new(true, value, Some(time))?),
            (function, types) => {
                return Err(Error::internal(format!("{function:?} with {} arguments", types.len())));
            }
        };
        let width = kind.column_types().len();
        let args = first_arg..first_arg + types.len();
        Ok(Call { kind, columns: first_column..first_column + width, args })
    }

    pub fn column_types(&self) -> &'static [ColumnType] {
        self.kind.column_types()
    }

    pub fn multiset(&self) -> Option<Multiset> {
        match &self.kind {
            Kind::Extreme(extreme) => Some(Multiset::new(extreme.clone(), self.columns.start, self.args.clone())),
            _ => None,
        }
    }

    /// Whether a group may have no value because of an error.
    pub fn can_fail(&self) -> bool {
        matches!(self.kind, Kind::ExactSum(_) | Kind::FloatSum(_))
    }

    /// Adds input rows to the rows `places` of the state's columns.
    pub fn accumulate(
        &self,
        columns: &mut [Column],
        places: &[u32],
        args: &[ArrayRef],
        weights: &Weights,
    ) -> Result<()> {
        let columns = &mut columns[self.columns.clone()];
        match (&self.kind, &args[self.args.clone()]) {
            (Kind::Count, [values]) => {
                let counts = columns[0].int64()?;
                for_each_valid(values, places, weights, |_, place, weight| counts[place] += weight);
                Ok(())
            }
            (Kind::ExactSum(sums), [values]) => sums.accumulate(columns, places, values, weights),
            (Kind::FloatSum(sums), [values]) => sums.accumulate(columns, places, values, weights),
            (Kind::Extreme(extreme), args) => extreme.accumulate(columns, places, args, weights),
            _ => Ok(()),
        }
    }

    pub fn merge(&self, into: &mut [Column], places: &[u32], from: &[Column], from_rows: &[u32]) -> Result<()> {
        let (into, from) = (&mut into[self.columns.clone()], &from[self.columns.clone()]);
        match &self.kind {
            Kind::CountAll => Ok(()),
            Kind::Count => add_int64(&mut into[0], places, &from[0], from_rows),
            Kind::ExactSum(sums) => sums.merge(into, places, from, from_rows),
            Kind::FloatSum(sums) => sums.merge(into, places, from, from_rows),
            Kind::Extreme(extreme) => extreme.merge(into, places, from, from_rows),
        }
    }

    /// `columns` are all of the state's; the first is the groups' weight.
    pub fn finish(&self, columns: &[Column], places: &[u32]) -> Result<Finished> {
        let own = &columns[self.columns.clone()];
        match &self.kind {
            Kind::CountAll => Ok((counts(&columns[0], places)?, Vec::new())),
            Kind::Count => Ok((counts(&own[0], places)?, Vec::new())),
            Kind::ExactSum(sums) => sums.finish(own, places),
            Kind::FloatSum(sums) => sums.finish(own, places),
            Kind::Extreme(extreme) => Ok((extreme.finish(own, places)?, Vec::new())),
        }
    }
}

impl Kind {
    fn column_types(&self) -> &'static [ColumnType] {
        match self {
            Kind::CountAll => &[],
            Kind::Count => &[ColumnType::Int64],
            Kind::ExactSum(_) => ExactSums::COLUMNS,
            Kind::FloatSum(_) => FloatSums::COLUMNS,
            Kind::Extreme(_) => Extreme::COLUMNS,
        }
    }
}

fn counts(column: &Column, places: &[u32]) -> Result<ArrayRef> {
    let counts = column.as_int64()?;
    Ok(Arc::new(Int64Array::from_iter_values(places.iter().map(|place| counts[*place as usize]))))
}

pub fn add_int64(into: &mut Column, places: &[u32], from: &Column, from_rows: &[u32]) -> Result<()> {
    let (into, from) = (into.int64()?, from.as_int64()?);
    for (place, row) in places.iter().zip(from_rows) {
        into[*place as usize] += from[*row as usize];
    }
    Ok(())
}

/// Calls `each(row, place, weight)` for rows that are not NULL. The common case, inserts without NULLs, has no branch.
#[inline]
pub fn for_each_valid(values: &dyn Array, places: &[u32], weights: &Weights, mut each: impl FnMut(usize, usize, i64)) {
    let nulls = values.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    match (nulls, weights) {
        (None, Weights::AllOne) => {
            for (row, place) in places.iter().enumerate() {
                each(row, *place as usize, 1);
            }
        }
        (None, Weights::Each(weights)) => {
            for ((row, place), weight) in places.iter().enumerate().zip(weights.values()) {
                each(row, *place as usize, *weight);
            }
        }
        (Some(nulls), weights) => {
            for (row, place) in places.iter().enumerate().filter(|(row, _)| nulls.is_valid(*row)) {
                let weight = match weights {
                    Weights::AllOne => 1,
                    Weights::Each(weights) => weights.value(row),
                };
                each(row, *place as usize, weight);
            }
        }
    }
}
