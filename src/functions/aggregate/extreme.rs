//! `min` and `max`: DataFusion's, except for floats, where NaN is one value and the greatest, and -0 is 0. Over frames whose start
//! moves, `bool_and` and `bool_or` too, as the least and the greatest of booleans.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::{Result, internal_err};
use datafusion::functions_aggregate::bool_and_or::{bool_and_udaf, bool_or_udaf};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
};

use super::fold::{Fold, FoldAccumulator, FoldGroups, Rows, state_fields};
use crate::functions::floats::canonical_f64;

/// The function in the registry.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    greatest: bool,
    /// DataFusion's, for all types but floats.
    inner: Arc<AggregateUDF>,
}

pub fn functions() -> Vec<Arc<AggregateUDF>> {
    let extreme = |greatest, inner| Arc::new(AggregateUDF::from(Extreme { greatest, inner }));
    vec![
        extreme(false, min_udaf()),
        extreme(true, max_udaf()),
        extreme(false, bool_and_udaf()),
        extreme(true, bool_or_udaf()),
    ]
}

impl Extreme {
    fn fold(&self, result: &DataType) -> Option<ExtremeFold> {
        matches!(result, DataType::Float32 | DataType::Float64)
            .then(|| ExtremeFold { greatest: self.greatest, result: result.clone() })
    }
}

impl AggregateUDFImpl for Extreme {
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
        match self.fold(args.return_field.data_type()) {
            Some(fold) => Ok(FoldAccumulator::boxed(fold)),
            None => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        match self.fold(args.return_field.data_type()) {
            Some(fold) => Ok(state_fields(&fold, args)),
            None => self.inner.state_fields(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.fold(args.return_field.data_type()).is_some() || self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match self.fold(args.return_field.data_type()) {
            Some(fold) => Ok(FoldGroups::boxed(fold)),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.return_field.data_type() {
            result @ (DataType::Boolean | DataType::Float32 | DataType::Float64) => {
                Ok(FoldAccumulator::boxed(CountedFold { greatest: self.greatest, result: result.clone() }))
            }
            _ => self.inner.create_sliding_accumulator(args),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// `real` is kept as its f64, which orders the same.
#[derive(Debug)]
struct ExtremeFold {
    greatest: bool,
    result: DataType,
}

impl ExtremeFold {
    fn take(&self, state: &mut Option<f64>, value: f64) {
        // Canonical floats in their total order are in PostgreSQL's order.
        let better = state.is_none_or(|best| match self.greatest {
            true => value.total_cmp(&best).is_gt(),
            false => value.total_cmp(&best).is_lt(),
        });
        if better {
            *state = Some(value);
        }
    }
}

impl Fold for ExtremeFold {
    type State = Option<f64>;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Float64]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Option<f64>], _: i64) -> Result<()> {
        let Some(values) = values.first() else { return internal_err!("no argument") };
        let values = cast(values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        rows.try_for_each(values, |row, group| {
            self.take(&mut states[group], canonical_f64(values.value(row)));
            Ok(())
        })
    }

    fn merge(&self, into: &mut Option<f64>, from: Option<f64>) {
        if let Some(value) = from {
            self.take(into, value);
        }
    }

    fn save(&self, states: &[Option<f64>]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(states.iter().copied().collect::<Float64Array>())])
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Option<f64>>> {
        let [saved] = columns else { return internal_err!("{} columns of an extreme", columns.len()) };
        Ok(saved.as_primitive::<Float64Type>().iter().collect())
    }

    fn finish(&self, states: &[Option<f64>]) -> Result<ArrayRef> {
        let finished: ArrayRef = Arc::new(states.iter().copied().collect::<Float64Array>());
        Ok(cast(&finished, &self.result)?)
    }
}

/// For frames whose start moves: how many rows have each value. Booleans are 0 and 1.
#[derive(Debug)]
struct CountedFold {
    greatest: bool,
    result: DataType,
}

/// Where a canonical float stands in the order of all; [`f64::total_cmp`]'s.
fn place(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn value_at(place: u64) -> f64 {
    f64::from_bits(if place >> 63 == 1 { place & !(1 << 63) } else { !place })
}

impl Fold for CountedFold {
    type State = BTreeMap<u64, i64>;

    const REMOVES: bool = true;

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Self::State], weight: i64) -> Result<()> {
        let Some(values) = values.first() else { return internal_err!("no argument") };
        let values = cast(values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        rows.try_for_each(values, |row, group| {
            let place = place(canonical_f64(values.value(row)));
            let count = states[group].entry(place).or_default();
            *count += weight;
            if *count == 0 {
                states[group].remove(&place);
            }
            Ok(())
        })
    }

    fn merge(&self, into: &mut Self::State, from: Self::State) {
        from.into_iter().for_each(|(place, count)| *into.entry(place).or_default() += count);
    }

    fn finish(&self, states: &[Self::State]) -> Result<ArrayRef> {
        let extreme = |state: &Self::State| {
            let entry = if self.greatest { state.last_key_value() } else { state.first_key_value() };
            entry.map(|(place, _)| value_at(*place))
        };
        let finished: ArrayRef = Arc::new(states.iter().map(extreme).collect::<Float64Array>());
        Ok(cast(&finished, &self.result)?)
    }

    fn heap_bytes(state: &Self::State) -> usize {
        state.len() * 2 * size_of::<(u64, i64)>()
    }
}
