//! `percentile_cont`, `percentile_disc` and `mode` WITHIN GROUP, `median`, and `approx_percentile`, ad hoc.
//!
//! What is written `percentile_cont(0.9) WITHIN GROUP (ORDER BY x DESC)` comes from the planner as the arguments (x, 0.9) with
//! an order; [`ordered_set`] makes of it the arguments (x, 0.9, 'd') without, in both executions.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Float64Array, new_null_array};
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, GroupsAccumulator, Signature, Volatility, lit,
};
use datafusion::physical_expr::PhysicalExpr;

use super::fold::{Fold, FoldAccumulator, FoldGroups, Rows, state_fields};
use super::gather::{count, external, literal};
use super::sum::no_such_function;
use crate::error::{Error, SqlState};
use crate::functions::buckets::Buckets;
use crate::functions::set_order::{Chosen, SetFunction, SetOrder, checked_fraction};

/// The function in the registry.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SetAggregate {
    function: SetFunction,
    signature: Signature,
}

pub fn functions() -> Vec<Arc<AggregateUDF>> {
    let function = |function| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::from(SetAggregate { function, signature }))
    };
    SetFunction::ALL.into_iter().map(function).collect()
}

/// The call with its order and fraction as literals; no other aggregate's.
///
/// Errors: 42601 with DISTINCT, 22003 for a fraction outside of 0 and 1, 0A000 for one that is not
/// constant.
pub fn ordered_set(call: AggregateFunction) -> Result<AggregateFunction> {
    let Some(function) = SetFunction::named(call.func.name()) else { return Ok(call) };
    let AggregateFunction { func, mut params } = call;
    let name = function.name();
    if params.distinct {
        let error = Error::new(SqlState::SYNTAX_ERROR, format!("cannot use DISTINCT with {name}"));
        return Err(external(error));
    }
    let with_direction = if function.has_fraction() { 3 } else { 2 };
    let is_done = params.order_by.is_empty()
        && params.args.len() == with_direction
        && matches!(params.args.last(), Some(Expr::Literal(ScalarValue::Utf8(Some(_)), _)));
    if function.is_within_group() && !is_done {
        // That WITHIN GROUP is written was seen in the text.
        let Some(key) = params.order_by.pop() else { return internal_err!("{name} without an order") };
        params.args.push(lit(if key.asc { "a" } else { "d" }));
    }
    if function.has_fraction()
        && let Some(fraction) = params.args.get_mut(1)
    {
        *fraction = lit(constant(fraction).map_err(external)?);
    }
    Ok(AggregateFunction { func, params })
}

/// The arguments of a window function that is one of these, its fraction as a literal. Errors: as [`ordered_set`].
pub fn set_arguments(func: &AggregateUDF, args: &[Expr]) -> Result<Option<Vec<Expr>>> {
    let Some(function) = SetFunction::named(func.name()) else { return Ok(None) };
    let mut args = args.to_vec();
    if function.has_fraction()
        && let Some(fraction) = args.get_mut(1)
    {
        *fraction = lit(constant(fraction).map_err(external)?);
    }
    Ok(Some(args))
}

/// A fraction's value; NULL stays.
fn constant(expr: &Expr) -> crate::error::Result<ScalarValue> {
    let value = match expr {
        Expr::Cast(cast) => return constant(&cast.expr),
        Expr::Literal(value, _) => value.cast_to(&DataType::Float64)?,
        _ => {
            return Err(Error::not_built("a percentile with a fraction that is not constant")
                .with_hint("Write the fraction as a number, such as 0.95."));
        }
    };
    match value {
        ScalarValue::Float64(Some(fraction)) => Ok(ScalarValue::Float64(Some(checked_fraction(fraction)?))),
        null => Ok(null),
    }
}

impl SetAggregate {
    fn fold(&self, args: &AccumulatorArgs) -> Result<SetFold> {
        let literal = |index: usize| args.exprs.get(index).and_then(literal);
        let fraction = match literal(1) {
            Some(ScalarValue::Float64(fraction)) => fraction,
            _ => None,
        };
        let direction = args.exprs.last().and_then(literal_text);
        let Some(value) = args.expr_fields.first() else { return internal_err!("{} of nothing", self.name()) };
        let order =
            SetOrder::new(self.function, fraction, direction.as_deref(), value.data_type()).map_err(external)?;
        Ok(SetFold(Some(order)))
    }
}

fn literal_text(expr: &Arc<dyn PhysicalExpr>) -> Option<String> {
    literal(expr)?.try_as_str().flatten().map(str::to_owned)
}

impl AggregateUDFImpl for SetAggregate {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |data_type: &DataType| data_type.is_numeric() || data_type.is_null();
        let (Some(value), rest) = (arg_types.first(), arg_types.get(1..).unwrap_or_default()) else {
            return Err(no_such_function(self.name(), arg_types));
        };
        let fits = match rest {
            [] => !self.function.has_fraction(),
            [direction] if !self.function.has_fraction() => *direction == DataType::Utf8,
            [fraction] => is_number(fraction),
            [fraction, DataType::Utf8] => self.function.has_fraction() && is_number(fraction),
            _ => false,
        };
        if !fits || value.is_nested() || self.function.is_of_floats() && !is_number(value) {
            return Err(no_such_function(self.name(), arg_types));
        }
        let mut types = arg_types.to_vec();
        if self.function.is_of_floats() {
            types[0] = DataType::Float64;
        }
        if self.function.has_fraction() {
            types[1] = DataType::Float64;
        }
        Ok(types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [value, ..] => Ok(value.clone()),
            [] => Err(no_such_function(self.name(), arg_types)),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match self.function {
            SetFunction::ApproxPercentile => Ok(FoldAccumulator::boxed(self.approximate(&args))),
            _ => Ok(FoldAccumulator::boxed(self.fold(&args)?)),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&SetFold(None), args))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match self.function {
            SetFunction::ApproxPercentile => Ok(FoldGroups::boxed(self.approximate(&args))),
            _ => Ok(FoldGroups::boxed(self.fold(&args)?)),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match self.function {
            SetFunction::ApproxPercentile => Ok(FoldAccumulator::boxed(self.approximate(&args))),
            _ => Ok(FoldAccumulator::boxed(SlidingSetFold(self.fold(&args)?))),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_within_group_clause(&self) -> bool {
        self.function.is_within_group()
    }
}

impl SetAggregate {
    fn approximate(&self, args: &AccumulatorArgs) -> BucketFold {
        match args.exprs.get(1).and_then(literal) {
            Some(ScalarValue::Float64(fraction)) => BucketFold(fraction),
            _ => BucketFold(None),
        }
    }
}

/// The entries of a group, one after the other.
#[derive(Debug, Clone, Default)]
struct Entries {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Entries {
    fn push(&mut self, entry: &[u8]) {
        self.bytes.extend_from_slice(entry);
        self.ends.push(self.bytes.len());
    }

    fn sorted(&self) -> Vec<&[u8]> {
        let start = |index: usize| if index == 0 { 0 } else { self.ends[index - 1] };
        let mut entries: Vec<&[u8]> =
            self.ends.iter().enumerate().map(|(index, end)| &self.bytes[start(index)..*end]).collect();
        entries.sort_unstable();
        entries
    }
}

/// `None` where only the state's types are asked for.
#[derive(Debug)]
struct SetFold(Option<SetOrder>);

impl SetFold {
    fn order(&self) -> Result<&SetOrder> {
        match &self.0 {
            Some(order) => Ok(order),
            None => internal_err!("an ordered set without its order"),
        }
    }
}

impl Fold for SetFold {
    type State = Entries;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Entries], _: i64) -> Result<()> {
        let [values, ..] = values else { return internal_err!("an ordered set without values") };
        let entries = self.order()?.entries(values).map_err(external)?;
        rows.try_for_each(values, |row, group| {
            states[group].push(entries.row(row).data());
            Ok(())
        })
    }

    fn merge(&self, into: &mut Entries, from: Entries) {
        let start = into.bytes.len();
        into.bytes.extend(from.bytes);
        into.ends.extend(from.ends.into_iter().map(|end| start + end));
    }

    /// Each entry as its length (4 bytes, little-endian) and its bytes.
    fn save(&self, states: &[Entries]) -> Result<Vec<ArrayRef>> {
        let save = |state: &Entries| {
            let mut saved = Vec::with_capacity(state.bytes.len() + state.ends.len() * 4);
            let mut start = 0;
            for end in &state.ends {
                saved.extend_from_slice(&((end - start) as u32).to_le_bytes());
                saved.extend_from_slice(&state.bytes[start..*end]);
                start = *end;
            }
            saved
        };
        Ok(vec![Arc::new(BinaryArray::from_iter_values(states.iter().map(save)))])
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Entries>> {
        let [saved] = columns else { return internal_err!("{} columns of an ordered set", columns.len()) };
        saved.as_binary::<i32>().iter().map(|bytes| read_entries(bytes.unwrap_or_default())).collect()
    }

    fn finish(&self, states: &[Entries]) -> Result<ArrayRef> {
        let order = self.order()?;
        let sorted: Vec<Vec<&[u8]>> = states.iter().map(Entries::sorted).collect();
        let chosen: Vec<Option<Chosen<'_>>> = sorted.iter().map(|entries| choose(order, entries)).collect();
        order.values(&chosen).map_err(external)
    }

    fn heap_bytes(state: &Entries) -> usize {
        state.bytes.capacity() + state.ends.capacity() * size_of::<usize>()
    }
}

/// For frames whose start moves: how many rows have each value.
#[derive(Debug)]
struct SlidingSetFold(SetFold);

impl Fold for SlidingSetFold {
    type State = BTreeMap<Vec<u8>, i64>;

    const REMOVES: bool = true;

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Self::State], weight: i64) -> Result<()> {
        let [values, ..] = values else { return internal_err!("an ordered set without values") };
        let entries = self.0.order()?.entries(values).map_err(external)?;
        rows.try_for_each(values, |row, group| {
            count(&mut states[group], entries.row(row).data(), weight);
            Ok(())
        })
    }

    fn merge(&self, into: &mut Self::State, from: Self::State) {
        from.into_iter().for_each(|(entry, rows)| count(into, &entry, rows));
    }

    fn finish(&self, states: &[Self::State]) -> Result<ArrayRef> {
        let order = self.0.order()?;
        let sorted: Vec<Vec<&[u8]>> = states.iter().map(repeated).collect();
        let chosen: Vec<Option<Chosen<'_>>> = sorted.iter().map(|entries| choose(order, entries)).collect();
        order.values(&chosen).map_err(external)
    }

    fn heap_bytes(state: &Self::State) -> usize {
        state.keys().map(|entry| entry.len() + 56).sum()
    }
}

/// Each entry as often as it is there.
fn repeated(entries: &BTreeMap<Vec<u8>, i64>) -> Vec<&[u8]> {
    let times = |count: &i64| usize::try_from(*count).unwrap_or(0);
    entries.iter().flat_map(|(entry, count)| std::iter::repeat_n(entry.as_slice(), times(count))).collect()
}

fn choose<'a>(order: &SetOrder, sorted: &[&'a [u8]]) -> Option<Chosen<'a>> {
    if order.function() == SetFunction::Mode {
        let mut runs = sorted.chunk_by(|left, right| left == right).map(|run| (run.len(), run[0]));
        let first = runs.next()?;
        let (_, most) = runs.fold(first, |most, run| if run.0 > most.0 { run } else { most });
        return Some(Chosen { first: most, second: most, share: 0.0 });
    }
    let (first, second, share) = order.ranks(sorted.len() as i64)?;
    Some(Chosen { first: sorted.get(first as usize)?, second: sorted.get(second as usize)?, share })
}

fn read_entries(mut bytes: &[u8]) -> Result<Entries> {
    let mut entries = Entries::default();
    while !bytes.is_empty() {
        let entry = bytes
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        let Some((entry, rest)) = entry else { return internal_err!("a list of values ends early") };
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

/// `approx_percentile` of this fraction.
#[derive(Debug)]
struct BucketFold(Option<f64>);

impl Fold for BucketFold {
    type State = Buckets;
    const REMOVES: bool = true;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Buckets], weight: i64) -> Result<()> {
        let [values, ..] = values else { return internal_err!("a percentile without values") };
        let values = values.as_primitive::<Float64Type>();
        rows.try_for_each(values, |row, group| {
            states[group].add(values.value(row), weight);
            Ok(())
        })
    }

    fn merge(&self, into: &mut Buckets, from: Buckets) {
        into.merge(&from);
    }

    fn save(&self, states: &[Buckets]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(BinaryArray::from_iter_values(states.iter().map(Buckets::to_bytes)))])
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Buckets>> {
        let [saved] = columns else { return internal_err!("{} columns of buckets", columns.len()) };
        let load = |bytes: Option<&[u8]>| Buckets::from_bytes(bytes.unwrap_or_default()).map_err(external);
        saved.as_binary::<i32>().iter().map(load).collect()
    }

    fn finish(&self, states: &[Buckets]) -> Result<ArrayRef> {
        let Some(fraction) = self.0 else { return Ok(new_null_array(&DataType::Float64, states.len())) };
        Ok(Arc::new(states.iter().map(|state| state.percentile(fraction)).collect::<Float64Array>()))
    }

    fn heap_bytes(state: &Buckets) -> usize {
        state.heap_bytes()
    }
}
