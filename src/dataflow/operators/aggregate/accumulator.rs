//! What is kept of a group's rows, in columns of the state. Calls that need the same thing of the same argument share
//! it: `avg(x)`, `sum(x)`, `count(x)` and `min(x)` keep one count of values between them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::extreme::Extreme;
use super::sets::SetColumn;
use super::{bits, distinct_sketches, pairs, sketches, spreads, sums};
use crate::dataflow::state::{Column, ColumnType};
use crate::delta::Weights;
use crate::error::Result;
use crate::functions::Gathered;

#[derive(Debug, Clone, PartialEq)]
pub enum Accumulator {
    /// Weight of the rows that have a value.
    Count,
    /// Sum of counts that another aggregate gave.
    CountSum,
    /// Sum of integers, of 64 bits at most each: in 128 bits it cannot overflow.
    IntegerSum,
    /// Sum of numerics, in 192 bits.
    NumericSum,
    FloatSum,
    /// Sums of sums that another aggregate gave with [`sums::partial_integers`] and [`sums::partial_floats`].
    MergedIntegerSum,
    MergedFloatSum,
    Extreme(Extreme),
    /// Exact moments of floats, or of numerics.
    FloatMoments,
    NumericMoments,
    /// Exact sums of pairs of floats.
    Comoments,
    /// Of integers, how many have each bit.
    BitCounts,
    /// What the group's entries make at present; they stand in [`super::gathered::Values`].
    Gathered(Arc<Gathered>),
    /// The entries that make a percentile or mode; all values stand in [`super::sets::Sets`].
    Set(SetColumn),
    /// Floats in buckets.
    Buckets,
    /// How many distinct values there are, about.
    DistinctSketch,
}

impl Accumulator {
    pub fn column_types(&self) -> Vec<ColumnType> {
        match self {
            Accumulator::Count | Accumulator::CountSum => vec![ColumnType::Int64],
            Accumulator::IntegerSum | Accumulator::MergedIntegerSum => vec![ColumnType::Int128],
            Accumulator::NumericSum => vec![ColumnType::Int128, ColumnType::Int64],
            Accumulator::FloatSum | Accumulator::MergedFloatSum => {
                vec![ColumnType::Int128, ColumnType::Int16, ColumnType::Rare]
            }
            Accumulator::Extreme(extreme) => vec![extreme.column_type()],
            Accumulator::FloatMoments
            | Accumulator::NumericMoments
            | Accumulator::Comoments
            | Accumulator::BitCounts
            | Accumulator::Gathered(_)
            | Accumulator::Set(_)
            | Accumulator::Buckets
            | Accumulator::DistinctSketch => vec![ColumnType::Bytes],
        }
    }

    /// Rows `from..` are new: zeros become what nothing was added to.
    fn start(&self, columns: &mut [Column], from: usize) -> Result<()> {
        match self {
            Accumulator::Extreme(extreme) => extreme.start(&mut columns[0], from),
            _ => Ok(()),
        }
    }

    /// Adds input rows to the rows `places` of the columns.
    fn accumulate(&self, columns: &mut [Column], places: &[u32], args: &[&ArrayRef], weights: &Weights) -> Result<()> {
        match (self, args) {
            (Accumulator::Count, [values]) => {
                let counts = columns[0].int64()?;
                for_each_valid(values, places, weights, |_, place, weight| counts[place] += weight);
                Ok(())
            }
            (Accumulator::CountSum, [counts]) => sums::add_counts(columns, places, counts, weights),
            (Accumulator::IntegerSum, [values]) => sums::add_integers(columns, places, values, weights),
            (Accumulator::NumericSum, [values]) => sums::add_numerics(columns, places, values, weights),
            (Accumulator::FloatSum, [values]) => sums::add_floats(columns, places, values, weights),
            (Accumulator::MergedIntegerSum, [sums]) => sums::merge_integers(columns, places, sums, weights),
            (Accumulator::MergedFloatSum, [sums]) => sums::merge_floats(columns, places, sums, weights),
            (Accumulator::FloatMoments, [values]) => spreads::add_floats(&mut columns[0], places, values, weights),
            (Accumulator::NumericMoments, [values]) => spreads::add_numerics(&mut columns[0], places, values, weights),
            (Accumulator::Comoments, [y, x]) => pairs::add(&mut columns[0], places, (y, x), weights),
            (Accumulator::Buckets, [values]) => sketches::add(&mut columns[0], places, values, weights),
            (Accumulator::DistinctSketch, [values]) => distinct_sketches::add(&mut columns[0], places, values, weights),
            (Accumulator::BitCounts, [values]) => bits::add(&mut columns[0], places, values, weights),
            (Accumulator::Extreme(extreme), args) => extreme.accumulate(&mut columns[0], places, args, weights),
            _ => Ok(()),
        }
    }
}

/// An accumulator with its places: among the aggregate's arguments, and among the state's columns.
#[derive(Debug)]
pub struct Placed {
    pub accumulator: Accumulator,
    pub args: Vec<usize>,
    pub columns: Range<usize>,
}

impl Placed {
    pub fn start(&self, columns: &mut [Column], from: usize) -> Result<()> {
        self.accumulator.start(&mut columns[self.columns.clone()], from)
    }

    /// `args` are the aggregate's, all of them.
    pub fn accumulate(
        &self,
        columns: &mut [Column],
        places: &[u32],
        args: &[ArrayRef],
        weights: &Weights,
    ) -> Result<()> {
        let own: Vec<&ArrayRef> = self.args.iter().map(|arg| &args[*arg]).collect();
        self.accumulator.accumulate(&mut columns[self.columns.clone()], places, &own, weights)
    }
}

/// The arguments and accumulators of an aggregate while its calls are laid out.
#[derive(Debug)]
pub struct Layout {
    /// An input expression, and the type that it is cast to.
    pub arguments: Vec<(usize, DataType)>,
    pub accumulators: Vec<Placed>,
    next_column: usize,
}

impl Layout {
    /// The first `columns` of the state are taken.
    pub fn behind(columns: usize) -> Self {
        Layout { arguments: Vec::new(), accumulators: Vec::new(), next_column: columns }
    }

    /// The argument's place.
    pub fn argument(&mut self, input: usize, data_type: DataType) -> usize {
        let wanted = (input, data_type);
        self.arguments.iter().position(|argument| *argument == wanted).unwrap_or_else(|| {
            self.arguments.push(wanted);
            self.arguments.len() - 1
        })
    }

    /// The accumulator's first column.
    pub fn column(&mut self, accumulator: Accumulator, args: &[usize]) -> usize {
        let same = |placed: &&Placed| placed.accumulator == accumulator && placed.args == args;
        if let Some(placed) = self.accumulators.iter().find(same) {
            return placed.columns.start;
        }
        let columns = self.next_column..self.next_column + accumulator.column_types().len();
        self.next_column = columns.end;
        self.accumulators.push(Placed { accumulator, args: args.to_vec(), columns: columns.clone() });
        columns.start
    }
}

/// Where `counts` has rows; `None` if it has everywhere, which is the common case.
pub fn counted(counts: &[i64], places: &[u32]) -> Option<NullBuffer> {
    let is_counted = |place: &u32| counts[*place as usize] != 0;
    let all = places.iter().all(is_counted);
    (!all).then(|| NullBuffer::from_iter(places.iter().map(is_counted)))
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
