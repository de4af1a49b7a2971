//! `sum` and `avg`: exact for integers and numerics, correctly rounded for floats, in any order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, Float32Array, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, FieldRef, Float64Type, Int64Type};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};

use super::distinct::Distinct;
use super::fold::{Fold, FoldAccumulator, FoldGroups, Rows, state_fields};
use super::result_type::{average_type, sum_type};
use crate::error::{Error, SqlState};
use crate::functions::exact_sum::ExactSum;
use crate::functions::numeric::WideSum;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    Average,
}

/// The function in the registry.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SumOrAverage {
    kind: Kind,
    aliases: Vec<String>,
    signature: Signature,
}

pub fn functions() -> Vec<Arc<AggregateUDF>> {
    let function = |kind: Kind, aliases: &[&str]| {
        Arc::new(AggregateUDF::from(SumOrAverage {
            kind,
            aliases: aliases.iter().map(|alias| alias.to_string()).collect(),
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    };
    vec![function(Kind::Sum, &[]), function(Kind::Average, &["mean"])]
}

impl SumOrAverage {
    fn result_type(&self, input: &DataType) -> Option<DataType> {
        match self.kind {
            Kind::Sum => sum_type(input),
            Kind::Average => average_type(input),
        }
    }
}

/// Runs `$body` with `$fold` bound to the fold for the argument's type.
macro_rules! with_fold {
    ($self:expr, $input:expr, $distinct:expr, $fold:ident => $body:expr) => {{
        let kind = $self.kind;
        match ($input, $distinct) {
            (DataType::Float32 | DataType::Float64, false) => {
                let $fold = FloatFold { kind, input: $input.clone() };
                $body
            }
            (DataType::Float32 | DataType::Float64, true) => {
                let $fold = Distinct::new($input, FloatFold { kind, input: $input.clone() })?;
                $body
            }
            (input, false) => {
                let $fold = ExactFold::new(kind, input)?;
                $body
            }
            (input, true) => {
                let $fold = Distinct::new(input, ExactFold::new(kind, input)?)?;
                $body
            }
        }
    }};
}

impl AggregateUDFImpl for SumOrAverage {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Sum => "sum",
            Kind::Average => "avg",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [DataType::Null] => Ok(vec![DataType::Int64]),
            [DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale)] => {
                Ok(vec![DataType::Decimal128(*precision, *scale)])
            }
            [input] if self.result_type(input).is_some() => Ok(vec![input.clone()]),
            _ => Err(no_such_function(self.name(), arg_types)),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let result = arg_types.first().and_then(|input| self.result_type(input));
        result.ok_or_else(|| no_such_function(self.name(), arg_types))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        with_fold!(self, input_type(args.expr_fields)?, args.is_distinct, fold => Ok(FoldAccumulator::boxed(fold)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        with_fold!(self, input_type(args.input_fields)?, args.is_distinct, fold => Ok(state_fields(&fold, args)))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        with_fold!(self, input_type(args.expr_fields)?, args.is_distinct, fold => Ok(FoldGroups::boxed(fold)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// 42883, naming the types as PostgreSQL does.
pub fn no_such_function(name: &str, arg_types: &[DataType]) -> DataFusionError {
    let types: Vec<String> = arg_types.iter().map(crate::functions::type_name).collect();
    let error =
        Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name}({}) does not exist", types.join(", ")))
            .with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            );
    DataFusionError::External(Box::new(error))
}

fn input_type(fields: &[FieldRef]) -> Result<&DataType> {
    match fields.first() {
        Some(field) => Ok(field.data_type()),
        None => internal_err!("an aggregate without arguments"),
    }
}

pub fn out_of_range(what: &str) -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("{what} out of range"))))
}

/// Sums of integers and numerics.
#[derive(Debug)]
struct ExactFold {
    kind: Kind,
    scale: i8,
    result: DataType,
}

#[derive(Debug, Clone, Default)]
struct ExactState {
    sum: WideSum,
    rows: i64,
}

impl ExactFold {
    fn new(kind: Kind, input: &DataType) -> Result<Self> {
        let scale = match input {
            DataType::Decimal128(_, scale) => *scale,
            _ => 0,
        };
        let result = match kind {
            Kind::Sum => sum_type(input),
            Kind::Average => average_type(input),
        };
        match result {
            Some(result) => Ok(ExactFold { kind, scale, result }),
            None => internal_err!("no sum of {input}"),
        }
    }

    fn finish_one(&self, state: &ExactState) -> Result<Option<i128>> {
        if state.rows == 0 {
            return Ok(None);
        }
        let finished = match (self.kind, &self.result) {
            (Kind::Average, DataType::Decimal128(_, scale)) => {
                state.sum.mean(state.rows, (*scale - self.scale).unsigned_abs())
            }
            _ => state.sum.total(),
        };
        finished.map(Some).ok_or_else(|| out_of_range("numeric"))
    }
}

impl Fold for ExactFold {
    type State = ExactState;
    const REMOVES: bool = true;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0), DataType::Int64, DataType::Int64]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [ExactState], weight: i64) -> Result<()> {
        let Some(values) = values.first() else { return internal_err!("no argument") };
        let values = match values.data_type() {
            DataType::Decimal128(..) => Arc::clone(values),
            _ => cast(values, &DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0))?,
        };
        let values = values.as_primitive::<Decimal128Type>();
        rows.try_for_each(values, |row, group| {
            let state = &mut states[group];
            state.sum.add(values.value(row), weight);
            state.rows += weight;
            Ok(())
        })
    }

    fn merge(&self, into: &mut ExactState, from: ExactState) {
        into.sum.merge(from.sum);
        into.rows += from.rows;
    }

    fn save(&self, states: &[ExactState]) -> Result<Vec<ArrayRef>> {
        let low = Decimal128Array::from_iter_values(states.iter().map(|state| state.sum.low))
            .with_precision_and_scale(DECIMAL128_MAX_PRECISION, 0)?;
        let high = Int64Array::from_iter_values(states.iter().map(|state| state.sum.high));
        let rows = Int64Array::from_iter_values(states.iter().map(|state| state.rows));
        Ok(vec![Arc::new(low), Arc::new(high), Arc::new(rows)])
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<ExactState>> {
        let [low, high, rows] = columns else { return internal_err!("{} columns of a sum", columns.len()) };
        let low = low.as_primitive::<Decimal128Type>().values();
        let high = high.as_primitive::<Int64Type>().values();
        let rows = rows.as_primitive::<Int64Type>().values();
        let states = low.iter().zip(high).zip(rows);
        Ok(states
            .map(|((low, high), rows)| ExactState { sum: WideSum { low: *low, high: *high }, rows: *rows })
            .collect())
    }

    fn finish(&self, states: &[ExactState]) -> Result<ArrayRef> {
        let finished = states.iter().map(|state| self.finish_one(state));
        match &self.result {
            DataType::Decimal128(precision, scale) => {
                let sums = finished.collect::<Result<Decimal128Array>>()?;
                Ok(Arc::new(sums.with_precision_and_scale(*precision, *scale)?))
            }
            _ => {
                let to_bigint =
                    |sum: Option<i128>| sum.map(i64::try_from).transpose().map_err(|_| out_of_range("bigint"));
                Ok(Arc::new(finished.map(|sum| to_bigint(sum?)).collect::<Result<Int64Array>>()?))
            }
        }
    }
}

/// Sums of floats.
#[derive(Debug)]
struct FloatFold {
    kind: Kind,
    input: DataType,
}

#[derive(Debug, Clone, Default)]
struct FloatState {
    sum: ExactSum,
    rows: i64,
}

impl FloatFold {
    fn overflow() -> DataFusionError {
        out_of_range("value")
    }
}

impl Fold for FloatFold {
    type State = FloatState;
    const REMOVES: bool = true;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary, DataType::Int64]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [FloatState], weight: i64) -> Result<()> {
        let Some(values) = values.first() else { return internal_err!("no argument") };
        let values = cast(values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        rows.try_for_each(values, |row, group| {
            let state = &mut states[group];
            state.sum.add(values.value(row), weight);
            state.rows += weight;
            Ok(())
        })
    }

    fn merge(&self, into: &mut FloatState, from: FloatState) {
        into.sum.merge(&from.sum);
        into.rows += from.rows;
    }

    fn save(&self, states: &[FloatState]) -> Result<Vec<ArrayRef>> {
        let sums = BinaryArray::from_iter_values(states.iter().map(|state| state.sum.to_bytes()));
        let rows = Int64Array::from_iter_values(states.iter().map(|state| state.rows));
        Ok(vec![Arc::new(sums), Arc::new(rows)])
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<FloatState>> {
        let [sums, rows] = columns else { return internal_err!("{} columns of a sum", columns.len()) };
        let rows = rows.as_primitive::<Int64Type>().values();
        let states = sums.as_binary::<i32>().iter().zip(rows);
        let load = |(sum, rows): (Option<&[u8]>, &i64)| match sum {
            Some(sum) => ExactSum::from_bytes(sum)
                .map(|sum| FloatState { sum, rows: *rows })
                .map_err(|error| DataFusionError::External(Box::new(error))),
            None => Ok(FloatState::default()),
        };
        states.map(load).collect()
    }

    fn finish(&self, states: &[FloatState]) -> Result<ArrayRef> {
        let finish = |state: &FloatState| -> Result<Option<f64>> {
            match (state.rows, self.kind) {
                (0, _) => Ok(None),
                (_, Kind::Sum) => state.sum.sum().map(Some).ok_or_else(Self::overflow),
                (rows, Kind::Average) => state.sum.mean(rows).map(Some).ok_or_else(Self::overflow),
            }
        };
        if self.kind == Kind::Sum && self.input == DataType::Float32 {
            let finish = |state: &FloatState| -> Result<Option<f32>> {
                if state.rows == 0 { Ok(None) } else { state.sum.sum_f32().map(Some).ok_or_else(Self::overflow) }
            };
            return Ok(Arc::new(states.iter().map(finish).collect::<Result<Float32Array>>()?));
        }
        Ok(Arc::new(states.iter().map(finish).collect::<Result<Float64Array>>()?))
    }

    fn heap_bytes(state: &FloatState) -> usize {
        if state.sum.has_rest() { 320 } else { 0 }
    }
}
