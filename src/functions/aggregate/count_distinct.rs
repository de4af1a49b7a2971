//! `approx_count_distinct`: the number of distinct values by a sketch. NULL does not count.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};

use super::fold::{Fold, FoldAccumulator, FoldGroups, Rows, state_fields};
use super::sum::no_such_function;
use crate::delta::hash_value;
use crate::error::Error;
use crate::functions::distinct_sketch::DistinctSketch;
use crate::types::SqlType;

/// Name in the registry and in stored plans.
pub const APPROX_COUNT_DISTINCT: &str = "approx_count_distinct";

/// The function in the registry. With DISTINCT it is the same.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ApproxCountDistinct {
    signature: Signature,
}

pub fn functions() -> Vec<Arc<AggregateUDF>> {
    let signature = Signature::user_defined(Volatility::Immutable);
    vec![Arc::new(AggregateUDF::from(ApproxCountDistinct { signature }))]
}

impl AggregateUDFImpl for ApproxCountDistinct {
    fn name(&self) -> &str {
        APPROX_COUNT_DISTINCT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [value] = arg_types else { return Err(no_such_function(self.name(), arg_types)) };
        let coerced = match value {
            DataType::Null | DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
            DataType::Int8 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
            DataType::UInt32 => DataType::Int64,
            DataType::UInt64 => DataType::Decimal128(20, 0),
            other if SqlType::from_arrow(other).is_some() => other.clone(),
            _ => return Err(no_such_function(self.name(), arg_types)),
        };
        Ok(vec![coerced])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(FoldAccumulator::boxed(SketchFold))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&SketchFold, args))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(FoldGroups::boxed(SketchFold))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[derive(Debug)]
struct SketchFold;

impl Fold for SketchFold {
    type State = DistinctSketch;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [DistinctSketch], _: i64) -> Result<()> {
        let [values, ..] = values else { return internal_err!("a sketch of nothing") };
        let mut bytes = Vec::new();
        rows.try_for_each(values, |row, group| {
            states[group].add(hash_value(values, row, &mut bytes).map_err(external)?);
            Ok(())
        })
    }

    fn merge(&self, into: &mut DistinctSketch, from: DistinctSketch) {
        into.merge(&from);
    }

    fn save(&self, states: &[DistinctSketch]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(BinaryArray::from_iter_values(states.iter().map(DistinctSketch::to_bytes)))])
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<DistinctSketch>> {
        let [saved] = columns else { return internal_err!("{} columns of a sketch", columns.len()) };
        let load = |bytes: Option<&[u8]>| DistinctSketch::from_bytes(bytes.unwrap_or_default()).map_err(external);
        saved.as_binary::<i32>().iter().map(load).collect()
    }

    fn finish(&self, states: &[DistinctSketch]) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(states.iter().map(DistinctSketch::count))))
    }

    fn heap_bytes(state: &DistinctSketch) -> usize {
        state.heap_bytes()
    }
}
