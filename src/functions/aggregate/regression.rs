//! `covar_pop`, `covar_samp`, `corr` and the `regr_` functions: exact, rounded once, in any order. Pairs with a NULL are left
//! out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};

use super::fold::{Fold, FoldAccumulator, FoldGroups, Rows, state_fields};
use super::sum::no_such_function;
use crate::error::Error;
use crate::functions::comoments::{Comoments, Regression};

/// The function in the registry.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RegressionFunction {
    regression: Regression,
    signature: Signature,
}

pub fn functions() -> Vec<Arc<AggregateUDF>> {
    let function = |(_, regression)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::from(RegressionFunction { regression, signature }))
    };
    Regression::ALL.into_iter().map(function).collect()
}

impl AggregateUDFImpl for RegressionFunction {
    fn name(&self) -> &str {
        self.regression.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |data_type: &DataType| data_type.is_numeric() || data_type.is_null();
        match arg_types {
            [y, x] if is_number(y) && is_number(x) => Ok(vec![DataType::Float64; 2]),
            _ => Err(no_such_function(self.name(), arg_types)),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.regression == Regression::Count { DataType::Int64 } else { DataType::Float64 })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(external(Error::not_built(format!("{}(DISTINCT ...)", self.name()))));
        }
        Ok(FoldAccumulator::boxed(RegressionFold(self.regression)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&RegressionFold(self.regression), args))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(FoldGroups::boxed(RegressionFold(self.regression)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[derive(Debug)]
struct RegressionFold(Regression);

impl Fold for RegressionFold {
    type State = Comoments;
    const REMOVES: bool = true;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Comoments], weight: i64) -> Result<()> {
        let [y, x] = values else { return internal_err!("{} arguments of a regression", values.len()) };
        let (y, x) = (y.as_primitive::<Float64Type>(), x.as_primitive::<Float64Type>());
        rows.try_for_each(y, |row, group| {
            if x.is_valid(row) {
                states[group].add(y.value(row), x.value(row), weight);
            }
            Ok(())
        })
    }

    fn merge(&self, into: &mut Comoments, from: Comoments) {
        into.merge(&from);
    }

    fn save(&self, states: &[Comoments]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(BinaryArray::from_iter_values(states.iter().map(Comoments::to_bytes)))])
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Comoments>> {
        let [saved] = columns else { return internal_err!("{} columns of a regression", columns.len()) };
        let load = |bytes: Option<&[u8]>| Comoments::from_bytes(bytes.unwrap_or_default()).map_err(external);
        saved.as_binary::<i32>().iter().map(load).collect()
    }

    fn finish(&self, states: &[Comoments]) -> Result<ArrayRef> {
        if self.0 == Regression::Count {
            return Ok(Arc::new(Int64Array::from_iter_values(states.iter().map(Comoments::count))));
        }
        let finish = |state: &Comoments| state.value(self.0).map_err(external);
        Ok(Arc::new(states.iter().map(finish).collect::<Result<Float64Array>>()?))
    }

    fn heap_bytes(state: &Comoments) -> usize {
        state.heap_bytes()
    }
}
