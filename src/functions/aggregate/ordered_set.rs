//! `percentile_cont`, `percentile_disc` and `mode`, written with `WITHIN GROUP (ORDER BY value)`.
//!
//! [`OrderedSet`] is what they answer, for both executions; the aggregate that plans have in their place is
//! `ordered_set(value, function, fraction)`, which needs no ORDER BY of its own. NULL values are left out. Of several
//! values that are equally frequent, the mode is the first in the order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, UInt32Array};
use arrow::compute::{SortOptions, cast, take};
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use arrow::row::{RowConverter, Rows as RowForm, SortField};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Cast, Expr, GroupsAccumulator, Signature, Volatility, lit,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use super::fold::{Fold, FoldAccumulator, FoldGroups, Rows, state_fields};
use super::string_agg::read_entries;
use super::sum::no_such_function;
use crate::error::{Error, SqlState};
use crate::functions::floats::canonical_array;

/// Name in the registry and in stored plans.
pub const ORDERED_SET: &str = "ordered_set";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Cont,
    Disc,
    Mode,
}

impl Kind {
    const ALL: [(&'static str, Kind); 3] =
        [("percentile_cont", Kind::Cont), ("percentile_disc", Kind::Disc), ("mode", Kind::Mode)];

    fn named(name: &str) -> Option<Kind> {
        Self::ALL.iter().find(|(found, _)| *found == name).map(|(_, kind)| *kind)
    }
}

/// What is answered of a group's values.
#[derive(Debug)]
pub struct OrderedSet {
    kind: Kind,
    descending: bool,
    /// Between 0 and 1; `None`: the answer is NULL.
    fraction: Option<f64>,
    value_type: DataType,
    converter: RowConverter,
}

impl PartialEq for OrderedSet {
    fn eq(&self, other: &Self) -> bool {
        let made_of = |set: &Self| (set.kind, set.descending, set.fraction.map(f64::to_bits), set.value_type.clone());
        made_of(self) == made_of(other)
    }
}

impl OrderedSet {
    /// `function`: its name, and ` desc` behind it for a descending order.
    pub fn new(function: &str, fraction: Option<f64>, value_type: &DataType) -> crate::error::Result<Self> {
        let (name, descending) = match function.strip_suffix(" desc") {
            Some(name) => (name, true),
            None => (function, false),
        };
        let Some(kind) = Kind::named(name) else {
            return Err(Error::internal(format!("no ordered-set aggregate {function}")));
        };
        let options = SortOptions { descending, nulls_first: false };
        Ok(OrderedSet {
            kind,
            descending,
            fraction,
            value_type: value_type.clone(),
            converter: RowConverter::new(vec![SortField::new_with_options(value_type.clone(), options)])?,
        })
    }

    /// Entries whose bytes compare as the values stand; those of NULL are not to be used.
    pub fn entries(&self, values: &ArrayRef) -> crate::error::Result<RowForm> {
        Ok(self.converter.convert_columns(&[canonical_array(values)])?)
    }

    /// The answer as bytes for [`OrderedSet::array`]; the entries are in their order, each as often as it is there.
    pub fn answer<'a>(
        &self,
        entries: impl Iterator<Item = (&'a [u8], i64)>,
    ) -> crate::error::Result<Option<Vec<u8>>> {
        let entries: Vec<(&[u8], i64)> = entries.collect();
        let count: i64 = entries.iter().map(|(_, count)| count).sum();
        if count <= 0 {
            return Ok(None);
        }
        let at = |row: i64| {
            let mut before = 0;
            entries.iter().find(|(_, count)| {
                before += count;
                before > row
            })
        };
        let Some(fraction) = self.fraction else {
            let most = entries.iter().map(|(_, count)| *count).max();
            let mode = entries.iter().find(|(_, count)| Some(*count) == most).filter(|_| self.kind == Kind::Mode);
            return Ok(mode.map(|(entry, _)| entry.to_vec()));
        };
        match self.kind {
            Kind::Disc => {
                let row = ((fraction * count as f64).ceil() as i64 - 1).clamp(0, count - 1);
                Ok(at(row).map(|(entry, _)| entry.to_vec()))
            }
            Kind::Cont => {
                let place = fraction * (count - 1) as f64;
                let (low, high) = (at(place.floor() as i64), at(place.ceil() as i64));
                let (Some((low, _)), Some((high, _))) = (low, high) else { return Ok(None) };
                let (low, high) = (self.float(low)?, self.float(high)?);
                let between = place - place.floor();
                let value = if between == 0.0 { low } else { low + between * (high - low) };
                Ok(Some(value.to_le_bytes().to_vec()))
            }
            Kind::Mode => Ok(None),
        }
    }

    fn float(&self, entry: &[u8]) -> crate::error::Result<f64> {
        let values = self.values(&[entry])?;
        match values.as_primitive_opt::<Float64Type>() {
            Some(values) if !values.is_empty() => Ok(values.value(0)),
            _ => Err(Error::internal("a percentile of values that are no floats")),
        }
    }

    fn values(&self, entries: &[&[u8]]) -> crate::error::Result<ArrayRef> {
        let parser = self.converter.parser();
        let mut columns = self.converter.convert_rows(entries.iter().map(|entry| parser.parse(entry)))?;
        columns.pop().ok_or_else(|| Error::internal("an entry without a value"))
    }

    /// Answers as a column.
    pub fn array(&self, answers: &[Option<&[u8]>]) -> crate::error::Result<ArrayRef> {
        if self.kind == Kind::Cont {
            let float = |answer: &Option<&[u8]>| answer.and_then(|bytes| bytes.try_into().ok().map(f64::from_le_bytes));
            return Ok(Arc::new(answers.iter().map(float).collect::<Float64Array>()));
        }
        let present: Vec<&[u8]> = answers.iter().copied().flatten().collect();
        let mut next = 0;
        let place = |answer: &Option<&[u8]>| {
            answer.map(|_| {
                next += 1;
                next - 1
            })
        };
        let places: UInt32Array = answers.iter().map(place).collect();
        Ok(take(&self.values(&present)?, &places, None)?)
    }
}

/// `percentile_cont(f) WITHIN GROUP (ORDER BY x)` and its kin as calls of the one function; no other aggregate's.
pub fn ordered_set(call: AggregateFunction) -> Result<AggregateFunction> {
    let Some(kind) = Kind::named(call.func.name()) else { return Ok(call) };
    let name = call.func.name().to_string();
    let mut params = call.params;
    let args = std::mem::take(&mut params.args);
    let (value, fraction) = match (kind, args.as_slice()) {
        (Kind::Mode, [value]) => (value.clone(), ScalarValue::Float64(None)),
        (Kind::Cont | Kind::Disc, [value, Expr::Literal(fraction, _)]) => {
            (value.clone(), fraction.cast_to(&DataType::Float64)?)
        }
        (Kind::Cont | Kind::Disc, [_, _]) => {
            return Err(external(Error::not_built(format!("{name} of a fraction that is not constant"))));
        }
        _ => return internal_err!("{name} of {} arguments", args.len()),
    };
    if let ScalarValue::Float64(Some(fraction)) = fraction
        && !(0.0..=1.0).contains(&fraction)
    {
        let message = format!("percentile value {fraction} is not between 0 and 1");
        return Err(external(Error::new(SqlState::NUMERIC_OUT_OF_RANGE, message)));
    }
    let descending = params.order_by.first().is_some_and(|key| !key.asc);
    params.order_by.clear();
    let value = match kind {
        Kind::Cont => Expr::Cast(Cast::new(Box::new(value), DataType::Float64)),
        _ => value,
    };
    params.args = vec![value, lit(format!("{name}{}", if descending { " desc" } else { "" })), lit(fraction)];
    Ok(AggregateFunction { func: Arc::new(AggregateUDF::from(OrderedSetCall::new())), params })
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The functions as they are written: `ordered_set` takes their place before they run.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OrderedSetFunction {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

pub fn functions() -> Vec<Arc<AggregateUDF>> {
    let function = |(name, kind)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::from(OrderedSetFunction { name, kind, signature }))
    };
    let mut functions: Vec<_> = Kind::ALL.into_iter().map(function).collect();
    functions.push(Arc::new(AggregateUDF::from(OrderedSetCall::new())));
    functions
}

impl AggregateUDFImpl for OrderedSetFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |data_type: &DataType| data_type.is_numeric() || data_type.is_null();
        match (self.kind, arg_types) {
            (Kind::Cont, [value, fraction]) if is_number(value) && is_number(fraction) => Ok(arg_types.to_vec()),
            (Kind::Disc, [value, fraction]) if !value.is_nested() && is_number(fraction) => Ok(arg_types.to_vec()),
            (Kind::Mode, [value]) if !value.is_nested() => Ok(arg_types.to_vec()),
            _ => Err(no_such_function(self.name, arg_types)),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match (self.kind, arg_types) {
            (Kind::Cont, _) => Ok(DataType::Float64),
            (_, [value, ..]) => Ok(value.clone()),
            _ => Err(no_such_function(self.name, arg_types)),
        }
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        internal_err!("{} is not run by itself", self.name)
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

/// The function that runs.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OrderedSetCall {
    signature: Signature,
}

impl OrderedSetCall {
    fn new() -> Self {
        OrderedSetCall { signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn fold(args: &AccumulatorArgs) -> Result<SetFold> {
        let literal = |index: usize| args.exprs.get(index).and_then(literal);
        let Some(ScalarValue::Utf8(Some(function))) = literal(1) else {
            return internal_err!("an ordered-set aggregate without its name");
        };
        let fraction = match literal(2) {
            Some(ScalarValue::Float64(fraction)) => fraction,
            _ => return internal_err!("an ordered-set aggregate without its fraction"),
        };
        let Some(value) = args.expr_fields.first() else { return internal_err!("no value") };
        let set = OrderedSet::new(&function, fraction, value.data_type()).map_err(external)?;
        Ok(SetFold { set: Some(set), distinct: args.is_distinct })
    }
}

fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<ScalarValue> {
    Some(expr.downcast_ref::<Literal>()?.value().clone())
}

impl AggregateUDFImpl for OrderedSetCall {
    fn name(&self) -> &str {
        ORDERED_SET
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [value, ..] => Ok(value.clone()),
            [] => internal_err!("no value"),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(FoldAccumulator::boxed(Self::fold(&args)?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&SetFold { set: None, distinct: args.is_distinct }, args))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(FoldGroups::boxed(Self::fold(&args)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct SetFold {
    /// `None` where only the state's types are asked for.
    set: Option<OrderedSet>,
    distinct: bool,
}

impl SetFold {
    fn set(&self) -> Result<&OrderedSet> {
        match &self.set {
            Some(set) => Ok(set),
            None => internal_err!("an ordered-set aggregate without its name"),
        }
    }
}

impl Fold for SetFold {
    /// Entries, each with the number of its rows.
    type State = BTreeMap<Vec<u8>, i64>;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Self::State], weight: i64) -> Result<()> {
        let [value, ..] = values else { return internal_err!("no value") };
        let set = self.set()?;
        let value = if *value.data_type() == set.value_type { Arc::clone(value) } else { cast(value, &set.value_type)? };
        let entries = set.entries(&value).map_err(external)?;
        rows.try_for_each(&value, |row, group| {
            *states[group].entry(entries.row(row).data().to_vec()).or_default() += weight;
            Ok(())
        })
    }

    fn merge(&self, into: &mut Self::State, from: Self::State) {
        for (entry, count) in from {
            *into.entry(entry).or_default() += count;
        }
    }

    /// As `string_agg` does.
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
        let [saved] = columns else { return internal_err!("{} columns of values", columns.len()) };
        saved.as_binary::<i32>().iter().map(|bytes| read_entries(bytes.unwrap_or_default())).collect()
    }

    fn finish(&self, states: &[Self::State]) -> Result<ArrayRef> {
        let set = self.set()?;
        let times = |count: i64| if self.distinct { 1 } else { count };
        let answer = |state: &Self::State| {
            set.answer(state.iter().map(|(entry, count)| (entry.as_slice(), times(*count)))).map_err(external)
        };
        let answers = states.iter().map(answer).collect::<Result<Vec<_>>>()?;
        set.array(&answers.iter().map(Option::as_deref).collect::<Vec<_>>()).map_err(external)
    }

    fn heap_bytes(state: &Self::State) -> usize {
        state.keys().map(|entry| entry.len() + 56).sum()
    }
}
