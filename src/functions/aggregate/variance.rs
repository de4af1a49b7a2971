//! `variance`, `stddev` and their names for samples and populations: exact, rounded once, in any order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, FieldRef, Float64Type};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};

use super::distinct::Distinct;
use super::fold::{Fold, FoldAccumulator, FoldGroups, Rows, state_fields};
use super::result_type::average_type;
use super::sum::{no_such_function, out_of_range};
use crate::error::Error;
use crate::functions::moments::{Moments, Spread};

/// The function in the registry.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Variance {
    name: &'static str,
    aliases: Vec<String>,
    spread: Spread,
    signature: Signature,
}

pub fn functions() -> Vec<Arc<AggregateUDF>> {
    let function = |name: &'static str, aliases: &[&str], population: bool, deviation: bool| {
        Arc::new(AggregateUDF::from(Variance {
            name,
            aliases: aliases.iter().map(|alias| alias.to_string()).collect(),
            spread: Spread { population, deviation },
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    };
    vec![
        function("var_samp", &["variance", "var", "var_sample"], false, false),
        function("var_pop", &["var_population"], true, false),
        function("stddev_samp", &["stddev"], false, true),
        function("stddev_pop", &[], true, true),
    ]
}

impl Variance {
    fn fold(&self, fields: &[FieldRef]) -> Result<MomentsFold> {
        match fields.first() {
            Some(field) => MomentsFold::new(self.spread, field.data_type()),
            None => internal_err!("an aggregate without arguments"),
        }
    }
}

impl AggregateUDFImpl for Variance {
    fn name(&self) -> &str {
        self.name
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
            [DataType::Float32] => Ok(vec![DataType::Float64]),
            [DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale)] => {
                Ok(vec![DataType::Decimal128(*precision, *scale)])
            }
            [input] if average_type(input).is_some() => Ok(vec![input.clone()]),
            _ => Err(no_such_function(self.name, arg_types)),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        arg_types.first().and_then(average_type).ok_or_else(|| no_such_function(self.name, arg_types))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let fold = self.fold(args.expr_fields)?;
        match args.is_distinct {
            true => Ok(FoldAccumulator::boxed(Distinct::new(args.expr_fields[0].data_type(), fold)?)),
            false => Ok(FoldAccumulator::boxed(fold)),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let fold = self.fold(args.input_fields)?;
        match args.is_distinct {
            true => Ok(state_fields(&Distinct::new(args.input_fields[0].data_type(), fold)?, args)),
            false => Ok(state_fields(&fold, args)),
        }
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let fold = self.fold(args.expr_fields)?;
        match args.is_distinct {
            true => Ok(FoldGroups::boxed(Distinct::new(args.expr_fields[0].data_type(), fold)?)),
            false => Ok(FoldGroups::boxed(fold)),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct MomentsFold {
    spread: Spread,
    /// Of the values, where they are numerics or integers.
    scale: u32,
    result: DataType,
}

impl MomentsFold {
    fn new(spread: Spread, input: &DataType) -> Result<Self> {
        let scale = if let DataType::Decimal128(_, scale) = input { u32::from(scale.unsigned_abs()) } else { 0 };
        match average_type(input) {
            Some(result) => Ok(MomentsFold { spread, scale, result }),
            None => internal_err!("no variance of {input}"),
        }
    }
}

impl Fold for MomentsFold {
    type State = Moments;
    const REMOVES: bool = true;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Moments], weight: i64) -> Result<()> {
        let Some(values) = values.first() else { return internal_err!("no argument") };
        if self.result == DataType::Float64 {
            let values = cast(values, &DataType::Float64)?;
            let values = values.as_primitive::<Float64Type>();
            return rows.try_for_each(values, |row, group| {
                states[group].add_float(values.value(row), weight);
                Ok(())
            });
        }
        let values = match values.data_type() {
            DataType::Decimal128(..) => Arc::clone(values),
            _ => cast(values, &DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0))?,
        };
        let values = values.as_primitive::<Decimal128Type>();
        rows.try_for_each(values, |row, group| {
            states[group].add_integer(values.value(row), weight);
            Ok(())
        })
    }

    fn merge(&self, into: &mut Moments, from: Moments) {
        into.merge(&from);
    }

    fn save(&self, states: &[Moments]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(BinaryArray::from_iter_values(states.iter().map(Moments::to_bytes)))])
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Moments>> {
        let [saved] = columns else { return internal_err!("{} columns of a variance", columns.len()) };
        let external = |error: Error| DataFusionError::External(Box::new(error));
        let load = |bytes: Option<&[u8]>| Moments::from_bytes(bytes.unwrap_or_default()).map_err(external);
        saved.as_binary::<i32>().iter().map(load).collect()
    }

    fn finish(&self, states: &[Moments]) -> Result<ArrayRef> {
        let defined = |state: &Moments| state.is_defined(self.spread);
        if let DataType::Decimal128(precision, digits) = self.result {
            let finish = |state: &Moments| {
                let value = || state.numeric(self.spread, self.scale, u32::from(digits.unsigned_abs()));
                defined(state).then(|| value().ok_or_else(|| out_of_range("numeric"))).transpose()
            };
            let values = states.iter().map(finish).collect::<Result<Decimal128Array>>()?;
            return Ok(Arc::new(values.with_precision_and_scale(precision, digits)?));
        }
        let finish = |state: &Moments| {
            let value = || state.float(self.spread).ok_or_else(|| out_of_range("value"));
            defined(state).then(value).transpose()
        };
        Ok(Arc::new(states.iter().map(finish).collect::<Result<Float64Array>>()?))
    }

    fn heap_bytes(state: &Moments) -> usize {
        state.heap_bytes()
    }
}
