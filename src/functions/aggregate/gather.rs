//! `string_agg(value, separator [ORDER BY ...])` and `array_agg(value [ORDER BY ...])`, ad hoc and over windows.
//!
//! Plans have in their place `ordered_string_agg(value, separator, directions, keys...)` and `ordered_array_agg(value, taken,
//! directions, keys...)`, which need no ORDER BY of their own: [`ordered`] makes them, for both executions. `taken` is what FILTER
//! says, because array_agg takes NULL too.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, GroupsAccumulator, Signature, Volatility, lit,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use super::fold::{Fold, FoldAccumulator, FoldGroups, Rows, state_fields};
use crate::error::Error;
use crate::functions::gathered::{Entries, Gathered, GatheredForm, null_where_not_taken};

/// Names in the registry and in stored plans.
pub const ORDERED_STRING_AGG: &str = "ordered_string_agg";
pub const ORDERED_ARRAY_AGG: &str = "ordered_array_agg";

pub fn functions() -> Vec<Arc<AggregateUDF>> {
    vec![OrderedAgg::function(false), OrderedAgg::function(true)]
}

/// `string_agg(...)` or `array_agg(...)` as a call of the ordered one; no other aggregate's. `taken`: what FILTER said.
///
/// Errors: 0A000 for a separator that is not constant, for DISTINCT in the order of something else, and for arrays of arrays.
pub fn ordered(call: AggregateFunction, taken: Option<Expr>, value: &DataType) -> Result<AggregateFunction> {
    let is_array = match call.func.name() {
        "string_agg" => false,
        "array_agg" => true,
        _ => return Ok(call),
    };
    let mut params = call.params;
    let keys = std::mem::take(&mut params.order_by);
    let mut args = std::mem::take(&mut params.args).into_iter();
    let Some(first) = args.next() else { return internal_err!("an aggregate of nothing") };
    if params.distinct && keys.iter().any(|key| key.expr != first) {
        let refused = Error::not_built(format!("{}(DISTINCT ...) in the order of something else", call.func.name()));
        return Err(external(refused.with_hint("ORDER BY the value itself.")));
    }
    let second = match (is_array, args.next()) {
        (true, _) if value.is_nested() => return Err(external(Error::not_built("an array of arrays"))),
        (true, _) => taken.unwrap_or_else(|| lit(true)),
        (false, Some(Expr::Literal(separator, _))) if separator.is_null() => lit(""),
        (false, Some(Expr::Literal(separator, _))) => lit(separator.try_as_str().flatten().unwrap_or_default()),
        _ => return Err(external(Error::not_built("string_agg with a separator that is not constant"))),
    };
    let text = |value| Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(value), DataType::Utf8));
    params.args =
        vec![if is_array && !value.is_null() { first } else { text(first) }, second, lit(directions_of(&keys))];
    params.args.extend(keys.into_iter().map(|key| key.expr));
    Ok(AggregateFunction { func: OrderedAgg::function(is_array), params })
}

/// Two letters a key, as [`Gathered::new`] reads them.
pub(super) fn directions_of(keys: &[Sort]) -> String {
    let letters = |key: &Sort| [if key.asc { 'a' } else { 'd' }, if key.nulls_first { 'f' } else { 'l' }];
    keys.iter().flat_map(letters).collect()
}

pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The functions in the registry.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OrderedAgg {
    is_array: bool,
    signature: Signature,
}

impl OrderedAgg {
    fn function(is_array: bool) -> Arc<AggregateUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::from(OrderedAgg { is_array, signature }))
    }

    fn fold(&self, args: &AccumulatorArgs) -> Result<GatherFold> {
        let text = |index: usize| match args.exprs.get(index).and_then(literal) {
            Some(value) => Ok(value.try_as_str().flatten().unwrap_or_default().to_string()),
            None => internal_err!("an argument of {} is missing", self.name()),
        };
        let form = match self.is_array {
            true => GatheredForm::Array { distinct: args.is_distinct },
            false => GatheredForm::Text { separator: text(1)? },
        };
        let types: Vec<DataType> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let (Some(value), keys) = (types.first(), types.get(3..).unwrap_or_default()) else {
            return internal_err!("{} of nothing", self.name());
        };
        let gathered = Gathered::new(form, &text(2)?, value, keys).map_err(external)?;
        Ok(GatherFold { gathered: Some(gathered), distinct: args.is_distinct })
    }
}

pub(super) fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<ScalarValue> {
    Some(expr.downcast_ref::<Literal>()?.value().clone())
}

impl AggregateUDFImpl for OrderedAgg {
    fn name(&self) -> &str {
        if self.is_array { ORDERED_ARRAY_AGG } else { ORDERED_STRING_AGG }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match (self.is_array, arg_types.first()) {
            (true, Some(value)) => Ok(DataType::List(Arc::new(Field::new_list_field(value.clone(), true)))),
            _ => Ok(DataType::Utf8),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(FoldAccumulator::boxed(self.fold(&args)?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&GatherFold { gathered: None, distinct: args.is_distinct }, args))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(FoldGroups::boxed(self.fold(&args)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct GatherFold {
    /// `None` where only the state's types are asked for.
    gathered: Option<Gathered>,
    distinct: bool,
}

impl GatherFold {
    fn gathered(&self) -> Result<&Gathered> {
        match &self.gathered {
            Some(gathered) => Ok(gathered),
            None => internal_err!("values without an order"),
        }
    }
}

impl Fold for GatherFold {
    /// Entries, each with the number of its rows.
    type State = BTreeMap<Vec<u8>, i64>;

    const REMOVES: bool = true;
    const GATHERS: bool = true;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Self::State], weight: i64) -> Result<()> {
        let [value, second, _, keys @ ..] = values else { return internal_err!("{} arguments", values.len()) };
        let gathered = self.gathered()?;
        let (value, taken) = match gathered.form() {
            GatheredForm::Text { .. } => {
                let value = cast(value, &DataType::Utf8)?;
                (value.clone(), value)
            }
            GatheredForm::Array { .. } => (value.clone(), null_where_not_taken(second)),
        };
        let entries = gathered.entries(&value, keys).map_err(external)?;
        rows.try_for_each(&taken, |row, group| {
            count(&mut states[group], entries.row(row).data(), weight);
            Ok(())
        })
    }

    fn merge(&self, into: &mut Self::State, from: Self::State) {
        from.into_iter().for_each(|(entry, rows)| count(into, &entry, rows));
    }

    /// Each entry as its count (8 bytes), its length (4 bytes), little-endian, and its bytes.
    fn save(&self, states: &[Self::State]) -> Result<Vec<ArrayRef>> {
        let save = |state: &Self::State| {
            let mut bytes = Vec::new();
            for (entry, count) in state {
                bytes.extend_from_slice(&count.to_le_bytes());
                bytes.extend_from_slice(&(entry.len() as u32).to_le_bytes());
                bytes.extend_from_slice(entry);
            }
            bytes
        };
        Ok(vec![Arc::new(BinaryArray::from_iter_values(states.iter().map(save)))])
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>> {
        let [saved] = columns else { return internal_err!("{} columns of texts", columns.len()) };
        saved.as_binary::<i32>().iter().map(|bytes| read_entries(bytes.unwrap_or_default())).collect()
    }

    fn finish(&self, states: &[Self::State]) -> Result<ArrayRef> {
        let gathered = self.gathered()?;
        let times = |count: i64| if self.distinct { 1 } else { count };
        let groups: Vec<Entries<'_>> = states
            .iter()
            .map(|state| state.iter().map(|(entry, count)| (entry.as_slice(), times(*count))).collect())
            .collect();
        gathered.gather(&groups).map_err(external)
    }

    fn heap_bytes(state: &Self::State) -> usize {
        state.keys().map(|entry| entry.len() + 56).sum()
    }
}

/// Adds rows to an entry's, or takes them away; an entry without rows goes.
pub(super) fn count(entries: &mut BTreeMap<Vec<u8>, i64>, entry: &[u8], rows: i64) {
    match entries.get_mut(entry) {
        Some(count) => {
            *count += rows;
            if *count == 0 {
                entries.remove(entry);
            }
        }
        None => drop(entries.insert(entry.to_vec(), rows)),
    }
}

fn read_entries(mut bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, i64>> {
    let mut entries = BTreeMap::new();
    while !bytes.is_empty() {
        let entry = bytes.split_first_chunk::<8>().and_then(|(count, rest)| {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            Some((i64::from_le_bytes(*count), rest.split_at_checked(u32::from_le_bytes(*length) as usize)?))
        });
        let Some((count, (entry, rest))) = entry else {
            return Err(external(Error::internal("a list of entries ends early")));
        };
        entries.insert(entry.to_vec(), count);
        bytes = rest;
    }
    Ok(entries)
}

/// A literal's number.
pub fn literal_float(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Literal(ScalarValue::Float64(value), _) => *value,
        _ => None,
    }
}

/// A literal's text, for plans.
pub fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}
