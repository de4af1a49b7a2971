//! Window calls whose value depends on the order of a frame's rows, as calls that are told that order: a frame of RANGE ends with
//! rows that its ORDER BY does not tell apart, and whoever sorts may give those in any order.
//!
//! ```text
//! nth_value(x, 2) OVER (ORDER BY a)   -> ordered_nth_value(x, 2, directions, a, the row) OVER (ORDER BY a)
//! string_agg(x, s) OVER (ORDER BY a)  -> ordered_string_agg(x, s, directions, a, the row) OVER (ORDER BY a)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, Sort, WindowFunction, WindowFunctionParams,
};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, ExprSchemable, Signature, Volatility, WindowFunctionDefinition,
    lit,
};

use super::filter::filter_arguments;
use super::fold::{Fold, FoldAccumulator, Rows};
use super::gather::{count, directions_of, external, literal, ordered};
use super::sum::no_such_function;
use crate::error::{Error, SqlState};
use crate::functions::gathered::{Gathered, GatheredForm};

/// Name in the registry and in stored plans.
pub const ORDERED_NTH_VALUE: &str = "ordered_nth_value";

pub fn functions() -> Vec<Arc<AggregateUDF>> {
    vec![OrderedNth::function()]
}

/// The call over the rows of its frame in the order of `keys`: `nth_value`, `first_value`, `last_value`, `string_agg` or `array_agg`.
///
/// Errors: as [`ordered`]; 0A000 for a place that is not constant.
pub fn in_frame(call: WindowFunction, keys: Vec<Sort>, schema: &DFSchema) -> Result<WindowFunction> {
    match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => {
            let function = Arc::clone(function);
            gathered(function, call.params, keys, schema)
        }
        WindowFunctionDefinition::WindowUDF(_) => nth(call, keys, schema),
    }
}

fn gathered(
    func: Arc<AggregateUDF>,
    params: WindowFunctionParams,
    keys: Vec<Sort>,
    schema: &DFSchema,
) -> Result<WindowFunction> {
    let mut args = params.args;
    let taken = params.filter.map(|filter| filter_arguments(&mut args, *filter, schema));
    let value = args.first().map_or(Ok(DataType::Null), |value| value.get_type(schema))?;
    let own = AggregateFunctionParams { args, distinct: false, filter: None, order_by: keys, null_treatment: None };
    let AggregateFunction { func, params: own } = ordered(AggregateFunction { func, params: own }, taken, &value)?;
    let params = WindowFunctionParams { args: own.args, filter: None, ..params };
    Ok(WindowFunction { fun: WindowFunctionDefinition::AggregateUDF(func), params })
}

fn nth(call: WindowFunction, mut keys: Vec<Sort>, schema: &DFSchema) -> Result<WindowFunction> {
    let mut params = call.params;
    let place = match call.fun.name() {
        "nth_value" => constant_place(&params.args, schema)?,
        "last_value" => {
            keys.iter_mut().for_each(|key| (key.asc, key.nulls_first) = (!key.asc, !key.nulls_first));
            lit(1_i64)
        }
        _ => lit(1_i64),
    };
    params.args.truncate(1);
    params.args.extend([place, lit(directions_of(&keys))]);
    params.args.extend(keys.into_iter().map(|key| key.expr));
    Ok(WindowFunction { fun: WindowFunctionDefinition::AggregateUDF(OrderedNth::function()), params })
}

/// The second argument of `nth_value` as a literal, or the parameter that it is.
///
/// Errors: 42883 for one that is no integer, 22016 for one that is not above 0, 0A000 for one that is not constant.
pub fn constant_place(args: &[Expr], schema: &DFSchema) -> Result<Expr> {
    let [_, place] = args else { return Err(no_such(args, schema)) };
    match bare(place) {
        parameter @ Expr::Placeholder(_) => Ok(parameter.clone()),
        Expr::Literal(value, _) if value.is_null() || value.data_type().is_integer() => {
            Ok(lit(ScalarValue::Int64(checked_place(value)?)))
        }
        Expr::Literal(..) => Err(no_such(args, schema)),
        _ => {
            let refused = Error::not_built("nth_value with a place that is not constant");
            Err(external(refused.with_hint("Write it as a number, such as 2.")))
        }
    }
}

fn bare(expr: &Expr) -> &Expr {
    if let Expr::Cast(cast) = expr { bare(&cast.expr) } else { expr }
}

fn no_such(args: &[Expr], schema: &DFSchema) -> DataFusionError {
    let types = args.iter().map(|arg| arg.get_type(schema).unwrap_or(DataType::Null));
    no_such_function("nth_value", &types.collect::<Vec<_>>())
}

/// `None` for NULL.
fn checked_place(value: &ScalarValue) -> Result<Option<i64>> {
    match value.cast_to(&DataType::Int64)? {
        ScalarValue::Int64(Some(place)) if place <= 0 => {
            let message = "argument of nth_value must be greater than zero";
            Err(external(Error::new(SqlState::INVALID_ARGUMENT_FOR_NTH_VALUE, message)))
        }
        ScalarValue::Int64(place) => Ok(place),
        _ => internal_err!("a place that is no number"),
    }
}

/// Value, place, directions, keys.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OrderedNth {
    signature: Signature,
}

impl OrderedNth {
    fn function() -> Arc<AggregateUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::from(OrderedNth { signature }))
    }
}

impl AggregateUDFImpl for OrderedNth {
    fn name(&self) -> &str {
        ORDERED_NTH_VALUE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.first() {
            Some(value) => Ok(value.clone()),
            None => internal_err!("{ORDERED_NTH_VALUE} of nothing"),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let types: Vec<DataType> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let (Some(value), keys) = (types.first(), types.get(3..).unwrap_or_default()) else {
            return internal_err!("{ORDERED_NTH_VALUE} of nothing");
        };
        let Some(place) = args.exprs.get(1).and_then(literal) else {
            return internal_err!("{ORDERED_NTH_VALUE} without a place");
        };
        let place = checked_place(&place)?;
        let Some(ScalarValue::Utf8(Some(directions))) = args.exprs.get(2).and_then(literal) else {
            return internal_err!("{ORDERED_NTH_VALUE} without an order");
        };
        let form = GatheredForm::Array { distinct: false };
        let rows = Gathered::new(form, &directions, value, keys).map_err(external)?;
        Ok(FoldAccumulator::boxed(NthFold { rows, place, ignore_nulls: args.ignore_nulls }))
    }

    fn state_fields(&self, _: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        internal_err!("a frame's state is not saved")
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct NthFold {
    rows: Gathered,
    place: Option<i64>,
    ignore_nulls: bool,
}

impl NthFold {
    fn find<'a>(&self, entries: &'a BTreeMap<Vec<u8>, i64>) -> Option<&'a [u8]> {
        let mut left = self.place?;
        let is_it = |(_, rows): &(&Vec<u8>, &i64)| {
            left -= **rows;
            left <= 0
        };
        entries.iter().find(is_it).map(|(entry, _)| entry.as_slice())
    }
}

impl Fold for NthFold {
    /// The frame's rows as entries, each with how often it is there.
    type State = BTreeMap<Vec<u8>, i64>;

    const REMOVES: bool = true;

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Self::State], weight: i64) -> Result<()> {
        let [value, _, directions, keys @ ..] = values else { return internal_err!("{} arguments", values.len()) };
        let entries = self.rows.entries(value, keys).map_err(external)?;
        // The directions are never NULL.
        let nulls_of = if self.ignore_nulls { value } else { directions };
        rows.try_for_each(nulls_of, |row, group| {
            count(&mut states[group], entries.row(row).data(), weight);
            Ok(())
        })
    }

    fn merge(&self, into: &mut Self::State, from: Self::State) {
        from.into_iter().for_each(|(entry, rows)| count(into, &entry, rows));
    }

    fn finish(&self, states: &[Self::State]) -> Result<ArrayRef> {
        let found: Vec<Option<&[u8]>> = states.iter().map(|state| self.find(state)).collect();
        self.rows.values_of(&found).map_err(external)
    }

    fn heap_bytes(state: &Self::State) -> usize {
        state.keys().map(|entry| entry.len() + 56).sum()
    }
}
