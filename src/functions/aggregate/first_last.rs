//! `first(value, time)` and `last(value, time)`: the value at the least or greatest time of a group.
//!
//! Among rows of the same time, `first` takes the least value and `last` the greatest, NULL being greatest as in
//! ORDER BY; so the result does not depend on the order of rows. Rows without a time do not count.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, new_null_array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};

use super::fold::{Fold, FoldAccumulator, FoldGroups, Rows, state_fields};
use super::gather::count;
use super::sum::no_such_function;
use crate::functions::floats::canonical_array;

/// The function in the registry.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FirstOrLast {
    last: bool,
    signature: Signature,
}

pub fn functions() -> Vec<Arc<AggregateUDF>> {
    [false, true]
        .map(|last| {
            let signature = Signature::user_defined(Volatility::Immutable);
            Arc::new(AggregateUDF::from(FirstOrLast { last, signature }))
        })
        .to_vec()
}

impl FirstOrLast {
    fn fold(&self, fields: &[FieldRef]) -> Result<EndFold> {
        let [value, time] = fields else { return internal_err!("{} arguments of {}", fields.len(), self.name()) };
        EndFold::new(self.last, value.data_type(), time.data_type())
    }
}

impl AggregateUDFImpl for FirstOrLast {
    fn name(&self) -> &str {
        if self.last { "last" } else { "first" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [_, time] if !time.is_nested() && !time.is_null() => Ok(arg_types.to_vec()),
            _ => Err(no_such_function(self.name(), arg_types)),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [value, _] => Ok(value.clone()),
            _ => Err(no_such_function(self.name(), arg_types)),
        }
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        let types: Vec<DataType> = arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(FoldAccumulator::boxed(self.fold(args.expr_fields)?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&self.fold(args.input_fields)?, args))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(FoldGroups::boxed(self.fold(args.expr_fields)?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(FoldAccumulator::boxed(SlidingEndFold(self.fold(args.expr_fields)?)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The least or greatest (time, value) as comparable bytes.
#[derive(Debug)]
struct EndFold {
    last: bool,
    value: DataType,
    converter: RowConverter,
}

impl EndFold {
    fn new(last: bool, value: &DataType, time: &DataType) -> Result<Self> {
        let nulls_greatest = SortOptions { descending: false, nulls_first: false };
        let field = |data_type: &DataType| SortField::new_with_options(data_type.clone(), nulls_greatest);
        let converter = RowConverter::new(vec![field(time), field(value)])?;
        Ok(EndFold { last, value: value.clone(), converter })
    }

    fn is_better(&self, row: &[u8], best: &[u8]) -> bool {
        if self.last { row > best } else { row < best }
    }
}

impl Fold for EndFold {
    type State = Option<Vec<u8>>;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Self::State], _: i64) -> Result<()> {
        let [value, time] = values else { return internal_err!("{} arguments", values.len()) };
        let converted = self.converter.convert_columns(&[canonical_array(time), canonical_array(value)])?;
        rows.try_for_each(time, |row, group| {
            let row = converted.row(row);
            match &mut states[group] {
                Some(best) if !self.is_better(row.as_ref(), best) => {}
                Some(best) => {
                    best.clear();
                    best.extend_from_slice(row.as_ref());
                }
                none => *none = Some(row.as_ref().to_vec()),
            }
            Ok(())
        })
    }

    fn merge(&self, into: &mut Self::State, from: Self::State) {
        let Some(row) = from else { return };
        if into.as_ref().is_none_or(|best| self.is_better(&row, best)) {
            *into = Some(row);
        }
    }

    fn save(&self, states: &[Self::State]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(states.iter().map(|state| state.as_deref()).collect::<BinaryArray>())])
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>> {
        let [saved] = columns else { return internal_err!("{} columns of an end", columns.len()) };
        Ok(saved.as_binary::<i32>().iter().map(|row| row.map(<[u8]>::to_vec)).collect())
    }

    fn finish(&self, states: &[Self::State]) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let found = states.iter().flatten().map(|row| parser.parse(row));
        let Some(values) = self.converter.convert_rows(found)?.pop() else { return internal_err!("no columns") };
        if values.len() == states.len() {
            return Ok(values);
        }
        // Groups in which no row has a time are NULL.
        let mut next = 0_u32;
        let indices = states.iter().map(|state| {
            state.as_ref().map(|_| {
                next += 1;
                next - 1
            })
        });
        let indices: arrow::array::UInt32Array = indices.collect();
        if values.is_empty() {
            return Ok(new_null_array(&self.value, states.len()));
        }
        Ok(arrow::compute::take(&values, &indices, None)?)
    }

    fn heap_bytes(state: &Self::State) -> usize {
        state.as_ref().map_or(0, Vec::capacity)
    }
}

/// For frames whose start moves: all rows that have a time, in order, each with how often it is there.
#[derive(Debug)]
struct SlidingEndFold(EndFold);

impl Fold for SlidingEndFold {
    type State = BTreeMap<Vec<u8>, i64>;

    const REMOVES: bool = true;

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Self::State], weight: i64) -> Result<()> {
        let [value, time] = values else { return internal_err!("{} arguments", values.len()) };
        let converted = self.0.converter.convert_columns(&[canonical_array(time), canonical_array(value)])?;
        rows.try_for_each(time, |row, group| {
            count(&mut states[group], converted.row(row).data(), weight);
            Ok(())
        })
    }

    fn merge(&self, into: &mut Self::State, from: Self::State) {
        from.into_iter().for_each(|(row, rows)| count(into, &row, rows));
    }

    fn finish(&self, states: &[Self::State]) -> Result<ArrayRef> {
        let end = |state: &Self::State| {
            let row = if self.0.last { state.last_key_value() } else { state.first_key_value() };
            row.map(|(row, _)| row.clone())
        };
        self.0.finish(&states.iter().map(end).collect::<Vec<_>>())
    }

    fn heap_bytes(state: &Self::State) -> usize {
        state.keys().map(|row| row.len() + 56).sum()
    }
}
