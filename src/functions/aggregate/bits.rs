//! `bit_and`, `bit_or` and `bit_xor`: DataFusion's, and over frames whose start moves the counts of bits, which values can be taken
//! out of. (DataFusion's own `bit_xor` is 0 and not NULL once all values have left a frame.)

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Result, internal_err};
use datafusion::functions_aggregate::bit_and_or_xor::{bit_and_udaf, bit_or_udaf, bit_xor_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
};

use super::fold::{Fold, FoldAccumulator, Rows};
use crate::functions::{BitCounts, BitOperation};

/// The function in the registry.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BitAggregate {
    operation: BitOperation,
    /// DataFusion's, for everything but frames whose start moves.
    inner: Arc<AggregateUDF>,
}

pub fn functions() -> Vec<Arc<AggregateUDF>> {
    let function = |operation, inner| Arc::new(AggregateUDF::from(BitAggregate { operation, inner }));
    vec![
        function(BitOperation::And, bit_and_udaf()),
        function(BitOperation::Or, bit_or_udaf()),
        function(BitOperation::Xor, bit_xor_udaf()),
    ]
}

impl AggregateUDFImpl for BitAggregate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let result = args.return_field.data_type().clone();
        Ok(FoldAccumulator::boxed(BitFold { operation: self.operation, result }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct BitFold {
    operation: BitOperation,
    result: DataType,
}

impl Fold for BitFold {
    type State = BitCounts;

    const REMOVES: bool = true;

    fn state_types(&self) -> Vec<DataType> {
        Vec::new()
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [BitCounts], weight: i64) -> Result<()> {
        let Some(values) = values.first() else { return internal_err!("no argument") };
        let values = cast(values, &DataType::Int64)?;
        let values = values.as_primitive::<Int64Type>();
        rows.try_for_each(values, |row, group| {
            states[group].add(values.value(row), weight);
            Ok(())
        })
    }

    fn merge(&self, into: &mut BitCounts, from: BitCounts) {
        into.merge(&from);
    }

    fn save(&self, _: &[BitCounts]) -> Result<Vec<ArrayRef>> {
        internal_err!("a frame's state is not saved")
    }

    fn load(&self, _: &[ArrayRef]) -> Result<Vec<BitCounts>> {
        internal_err!("a frame's state is not saved")
    }

    fn finish(&self, states: &[BitCounts]) -> Result<ArrayRef> {
        let values = states.iter().map(|state| state.value(self.operation));
        let finished: ArrayRef = Arc::new(values.collect::<Int64Array>());
        Ok(cast(&finished, &self.result)?)
    }
}
