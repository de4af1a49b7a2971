//! One aggregate call: what it keeps of its argument, and how that becomes a value.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;

use super::accumulator::{Accumulator, Layout};
use super::extreme::Extreme;
use super::sets::{self, SetColumn};
use super::spreads::SpreadResult;
use super::sums::{self, ExactResult, FloatResult};
use super::{bits, distinct_sketches, gathered, pairs, sketches};
use crate::dataflow::state::Column;
use crate::error::{Error, Result};
use crate::functions::numeric::WideSum;
use crate::functions::{
    BitOperation, Gathered, GatheredForm, Regression, SetFunction, SetOrder, Spread, literal_float, literal_text,
    more_than_one_row,
};
use crate::plan::{AggregateCall, AggregateFunction};

/// The state column that holds the groups' weight.
pub const WEIGHT_COLUMN: usize = 0;

#[derive(Debug)]
pub struct Call {
    kind: Kind,
    /// First column of what the kind finishes.
    column: usize,
    /// The column that tells how many rows have a value.
    counts: usize,
}

#[derive(Debug)]
enum Kind {
    /// A column of numbers as they are: weights, or counts.
    Count,
    IntegerSum(ExactResult),
    NumericSum(ExactResult),
    FloatSum(FloatResult),
    PartialIntegers,
    PartialFloats,
    Extreme(Extreme),
    Single(Extreme),
    Spread(SpreadResult),
    Pairs(Regression),
    Bits(BitOperation, DataType),
    Gathered(Arc<Gathered>),
    Set(Arc<SetOrder>),
    /// The percentile at this fraction; `None` gives NULL.
    Approximate(Option<f64>),
    DistinctSketch,
}

/// Values of the groups asked for, and for those that cannot be computed their row and error.
pub type Finished = (ArrayRef, Vec<(usize, Error)>);

impl Call {
    /// `inputs` are the arguments: where they stand among the aggregate's inputs, and their types.
    ///
    /// Errors: 0A000 for a type that cannot be aggregated.
    pub fn new(call: &AggregateCall, inputs: &[(usize, DataType)], layout: &mut Layout) -> Result<Self> {
        use AggregateFunction as F;
        let average = matches!(call.function, F::Avg | F::MergeAvg);
        match (call.function, inputs) {
            (F::CountAll, []) => Ok(Call { kind: Kind::Count, column: WEIGHT_COLUMN, counts: WEIGHT_COLUMN }),
            (F::Count, [(input, input_type)]) => {
                let counts = counts(layout, *input, input_type);
                Ok(Call { kind: Kind::Count, column: counts, counts })
            }
            (F::Sum | F::Avg | F::PartialSum, [(input, input_type)]) => {
                let input_type = summable(input_type)?;
                let arg = layout.argument(*input, input_type.clone());
                let counts = layout.column(Accumulator::Count, &[arg]);
                let (accumulator, kind) = match (&input_type, call.function) {
                    (DataType::Float32 | DataType::Float64, F::PartialSum) => {
                        (Accumulator::FloatSum, Kind::PartialFloats)
                    }
                    (DataType::Float32 | DataType::Float64, _) => {
                        (Accumulator::FloatSum, Kind::FloatSum(FloatResult::new(average, &call.return_type)))
                    }
                    (DataType::Decimal128(..), F::PartialSum) => {
                        return Err(Error::internal("a partial sum of numerics"));
                    }
                    (DataType::Decimal128(..), _) => {
                        let result = ExactResult::new(average, &input_type, &call.return_type)?;
                        (Accumulator::NumericSum, Kind::NumericSum(result))
                    }
                    (_, F::PartialSum) => (Accumulator::IntegerSum, Kind::PartialIntegers),
                    _ => {
                        let result = ExactResult::new(average, &input_type, &call.return_type)?;
                        (Accumulator::IntegerSum, Kind::IntegerSum(result))
                    }
                };
                Ok(Call { kind, column: layout.column(accumulator, &[arg]), counts })
            }
            (F::MergeCount, [(input, DataType::Int64)]) => {
                let arg = layout.argument(*input, DataType::Int64);
                let column = layout.column(Accumulator::CountSum, &[arg]);
                Ok(Call { kind: Kind::Count, column, counts: column })
            }
            (F::MergeSum, [(sum, DataType::Binary)]) => {
                let arg = layout.argument(*sum, DataType::Binary);
                let counts = layout.column(Accumulator::Count, &[arg]);
                merged(call, average, arg, counts, layout)
            }
            (F::MergeAvg, [(sum, DataType::Binary), (count, DataType::Int64)]) => {
                let arg = layout.argument(*sum, DataType::Binary);
                let count = layout.argument(*count, DataType::Int64);
                let counts = layout.column(Accumulator::CountSum, &[count]);
                merged(call, average, arg, counts, layout)
            }
            (F::Min | F::Max, [(input, input_type)]) => {
                let extreme = Extreme::new(call.function == F::Max, input_type, None)?;
                let arg = layout.argument(*input, input_type.clone());
                let counts = layout.column(Accumulator::Count, &[arg]);
                let column = layout.column(Accumulator::Extreme(extreme.clone()), &[arg]);
                Ok(Call { kind: Kind::Extreme(extreme), column, counts })
            }
            (F::Bits(operation), [(input, DataType::Int16 | DataType::Int32 | DataType::Int64)]) => {
                let arg = layout.argument(*input, DataType::Int64);
                let column = layout.column(Accumulator::BitCounts, &[arg]);
                let kind = Kind::Bits(operation, call.return_type.clone());
                Ok(Call { kind, column, counts: WEIGHT_COLUMN })
            }
            (F::Bits(_), [(_, other)]) => {
                Err(Error::not_built(format!("a bitwise aggregate of {other} in a materialized view")))
            }
            (F::Regression(regression), [(y, _), (x, _)]) => {
                let args = [layout.argument(*y, DataType::Float64), layout.argument(*x, DataType::Float64)];
                let column = layout.column(Accumulator::Comoments, &args);
                Ok(Call { kind: Kind::Pairs(regression), column, counts: WEIGHT_COLUMN })
            }
            (F::ApproxCountDistinct, [(input, input_type)]) => {
                let arg = layout.argument(*input, input_type.clone());
                let column = layout.column(Accumulator::DistinctSketch, &[arg]);
                Ok(Call { kind: Kind::DistinctSketch, column, counts: WEIGHT_COLUMN })
            }
            (F::SingleValue, [(input, input_type)]) => {
                // Of one row, the least value is the value.
                let extreme = Extreme::new(false, input_type, None)?;
                let arg = layout.argument(*input, input_type.clone());
                let counts = layout.column(Accumulator::Count, &[arg]);
                let column = layout.column(Accumulator::Extreme(extreme.clone()), &[arg]);
                Ok(Call { kind: Kind::Single(extreme), column, counts })
            }
            (F::First | F::Last, [(value, value_type), (time, time_type)]) => {
                let extreme = Extreme::new(call.function == F::Last, value_type, Some(time_type))?;
                let args = [layout.argument(*value, value_type.clone()), layout.argument(*time, time_type.clone())];
                let counts = layout.column(Accumulator::Count, &args[1..]);
                let column = layout.column(Accumulator::Extreme(extreme.clone()), &args);
                Ok(Call { kind: Kind::Extreme(extreme), column, counts })
            }
            (F::StringAgg, [(value, _), _, _, keys @ ..]) => {
                let text = |arg: usize| call.args.get(arg).and_then(literal_text).unwrap_or_default();
                let key_types: Vec<DataType> = keys.iter().map(|(_, key_type)| key_type.clone()).collect();
                let form = GatheredForm::Text { separator: text(1).to_owned() };
                let gathered = Arc::new(Gathered::new(form, text(2), &DataType::Utf8, &key_types)?);
                let mut args = vec![layout.argument(*value, DataType::Utf8)];
                args.extend(keys.iter().map(|(key, key_type)| layout.argument(*key, key_type.clone())));
                Ok(Call::gathered(gathered, &args, layout))
            }
            (F::ArrayAgg { distinct }, [value, taken, _, keys @ ..]) => {
                let directions = call.args.get(2).and_then(literal_text).unwrap_or_default();
                let key_types: Vec<DataType> = keys.iter().map(|(_, key_type)| key_type.clone()).collect();
                let form = GatheredForm::Array { distinct };
                let gathered = Arc::new(Gathered::new(form, directions, &value.1, &key_types)?);
                let args = [value, taken].into_iter().chain(keys);
                let args: Vec<usize> = args.map(|(arg, arg_type)| layout.argument(*arg, arg_type.clone())).collect();
                Ok(Call::gathered(gathered, &args, layout))
            }
            (F::Set(function), [(input, input_type), ..]) => {
                let fraction = call.args.get(1).filter(|_| function.has_fraction()).and_then(literal_float);
                let direction = call.args.last().and_then(literal_text);
                let value = if function.is_of_floats() { &DataType::Float64 } else { input_type };
                let arg = layout.argument(*input, value.clone());
                if function == SetFunction::ApproxPercentile {
                    let column = layout.column(Accumulator::Buckets, &[arg]);
                    return Ok(Call { kind: Kind::Approximate(fraction), column, counts: WEIGHT_COLUMN });
                }
                let order = Arc::new(SetOrder::new(function, fraction, direction, value)?);
                let counts = layout.column(Accumulator::Count, &[arg]);
                let column = layout.column(Accumulator::Set(SetColumn { order: order.clone(), counts }), &[arg]);
                Ok(Call { kind: Kind::Set(order), column, counts })
            }
            (function, [(input, input_type)]) if let Some(spread) = spread(function) => {
                let (result, accumulator, input_type) = SpreadResult::new(spread, input_type, &call.return_type)?;
                let arg = layout.argument(*input, input_type);
                let column = layout.column(accumulator, &[arg]);
                Ok(Call { kind: Kind::Spread(result), column, counts: WEIGHT_COLUMN })
            }
            (function, inputs) => Err(Error::internal(format!("{function:?} of {inputs:?}"))),
        }
    }

    fn gathered(gathered: Arc<Gathered>, args: &[usize], layout: &mut Layout) -> Self {
        let column = layout.column(Accumulator::Gathered(gathered.clone()), args);
        Call { kind: Kind::Gathered(gathered), column, counts: WEIGHT_COLUMN }
    }

    /// Values of the groups at `places`; `columns` are all of the state's.
    pub fn finish(&self, columns: &[Column], places: &[u32]) -> Result<Finished> {
        let own = &columns[self.column..];
        let counts = columns[self.counts].as_int64()?;
        match &self.kind {
            Kind::Count => {
                let counts = own[0].as_int64()?;
                let values = Int64Array::from_iter_values(places.iter().map(|place| counts[*place as usize]));
                Ok((Arc::new(values), Vec::new()))
            }
            Kind::IntegerSum(result) => {
                let sums = own[0].as_int128()?;
                result.finish(|place| WideSum { low: sums[place], high: 0 }, counts, places)
            }
            Kind::NumericSum(result) => {
                let (low, high) = (own[0].as_int128()?, own[1].as_int64()?);
                result.finish(|place| WideSum { low: low[place], high: high[place] }, counts, places)
            }
            Kind::FloatSum(result) => result.finish(own, counts, places),
            Kind::PartialIntegers => Ok((sums::partial_integers(own[0].as_int128()?, counts, places), Vec::new())),
            Kind::PartialFloats => Ok((sums::partial_floats(own, counts, places)?, Vec::new())),
            Kind::Extreme(extreme) => Ok((extreme.finish(&own[0], counts, places)?, Vec::new())),
            Kind::Single(extreme) => {
                let rows = columns[WEIGHT_COLUMN].as_int64()?;
                Ok((extreme.finish(&own[0], counts, places)?, second_rows(rows, places)))
            }
            Kind::Spread(result) => result.finish(&own[0], places),
            Kind::Pairs(regression) => pairs::finish(*regression, &own[0], places),
            Kind::Bits(operation, result) => Ok((bits::finish(*operation, result, &own[0], places)?, Vec::new())),
            Kind::Gathered(gathered) => Ok((gathered::finish(gathered, &own[0], places)?, Vec::new())),
            Kind::Set(order) => Ok((sets::finish(order, &own[0], counts, places)?, Vec::new())),
            Kind::DistinctSketch => Ok((distinct_sketches::finish(&own[0], places)?, Vec::new())),
            Kind::Approximate(fraction) => Ok((sketches::finish(*fraction, &own[0], places)?, Vec::new())),
        }
    }

    /// The errors that [`Call::finish`] would give, without the values.
    pub fn failures(&self, columns: &[Column], places: &[u32]) -> Result<Vec<(usize, Error)>> {
        let own = &columns[self.column..];
        let counts = columns[self.counts].as_int64()?;
        match &self.kind {
            Kind::IntegerSum(result) => {
                let sums = own[0].as_int128()?;
                Ok(result.failures(|place| WideSum { low: sums[place], high: 0 }, counts, places))
            }
            Kind::NumericSum(result) => {
                let (low, high) = (own[0].as_int128()?, own[1].as_int64()?);
                Ok(result.failures(|place| WideSum { low: low[place], high: high[place] }, counts, places))
            }
            Kind::FloatSum(result) => result.failures(own, counts, places),
            Kind::Spread(result) => Ok(result.finish(&own[0], places)?.1),
            Kind::Pairs(regression) => Ok(pairs::finish(*regression, &own[0], places)?.1),
            Kind::Single(_) => Ok(second_rows(columns[WEIGHT_COLUMN].as_int64()?, places)),
            Kind::Count
            | Kind::PartialIntegers
            | Kind::PartialFloats
            | Kind::Extreme(_)
            | Kind::Bits(..)
            | Kind::Gathered(_)
            | Kind::Set(_)
            | Kind::Approximate(_)
            | Kind::DistinctSketch => Ok(Vec::new()),
        }
    }
}

fn spread(function: AggregateFunction) -> Option<Spread> {
    match function {
        AggregateFunction::VarSamp => Some(Spread { population: false, deviation: false }),
        AggregateFunction::VarPop => Some(Spread { population: true, deviation: false }),
        AggregateFunction::StddevSamp => Some(Spread { population: false, deviation: true }),
        AggregateFunction::StddevPop => Some(Spread { population: true, deviation: true }),
        _ => None,
    }
}

/// Groups of more than one row where one is allowed.
fn second_rows(rows: &[i64], places: &[u32]) -> Vec<(usize, Error)> {
    let several = places.iter().enumerate().filter(|(_, place)| rows[**place as usize] > 1);
    several.map(|(index, _)| (index, more_than_one_row())).collect()
}

fn counts(layout: &mut Layout, input: usize, input_type: &DataType) -> usize {
    let arg = layout.argument(input, input_type.clone());
    layout.column(Accumulator::Count, &[arg])
}

/// A sum or average of partial sums, whose kind the result's type tells.
fn merged(call: &AggregateCall, average: bool, arg: usize, counts: usize, layout: &mut Layout) -> Result<Call> {
    let (accumulator, kind) = match &call.return_type {
        DataType::Float32 | DataType::Float64 => {
            (Accumulator::MergedFloatSum, Kind::FloatSum(FloatResult::new(average, &call.return_type)))
        }
        result => {
            let result = ExactResult::new(average, &DataType::Int64, result)?;
            (Accumulator::MergedIntegerSum, Kind::IntegerSum(result))
        }
    };
    Ok(Call { kind, column: layout.column(accumulator, &[arg]), counts })
}

/// One of the types that are summed without conversion.
fn summable(input: &DataType) -> Result<DataType> {
    Ok(match input {
        DataType::Int8 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::Null => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) => input.clone(),
        DataType::Float32 | DataType::Float64 => input.clone(),
        other => return Err(Error::not_built(format!("sum or avg of {other} in a materialized view"))),
    })
}
