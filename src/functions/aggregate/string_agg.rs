//! `string_agg(value, separator [ORDER BY ...])`: texts in an order that does not depend on the order of rows.
//!
//! Rows stand in the order of the ORDER BY, and among equals in that of the value; without ORDER BY in that of the value.
//! A NULL value is left out. [`OrderedText`] is this order, for both executions; the aggregate that plans have in place of
//! string_agg is `ordered_string_agg(value, separator, directions, keys...)`, which needs no ORDER BY of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, LargeStringArray};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, FieldRef};
use arrow::row::{RowConverter, Rows as RowForm, SortField};
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
use crate::functions::floats::canonical_array;

/// Name in the registry and in stored plans.
pub const ORDERED_STRING_AGG: &str = "ordered_string_agg";

/// How values are put in order, and what stands between them.
#[derive(Debug)]
pub struct OrderedText {
    separator: String,
    directions: String,
    keys: Vec<DataType>,
    /// The keys, then the value.
    converter: RowConverter,
}

impl PartialEq for OrderedText {
    fn eq(&self, other: &Self) -> bool {
        let made_of = |text: &Self| (text.separator.clone(), text.directions.clone(), text.keys.clone());
        made_of(self) == made_of(other)
    }
}

impl OrderedText {
    /// `directions`: two letters a key, `a` or `d` for the direction, `f` or `l` for NULL first or last.
    pub fn new(separator: &str, directions: &str, keys: &[DataType]) -> crate::error::Result<Self> {
        let mut letters = directions.chars();
        let mut fields = Vec::with_capacity(keys.len() + 1);
        for key in keys {
            let (direction, nulls) = (letters.next(), letters.next());
            let options = SortOptions { descending: direction == Some('d'), nulls_first: nulls == Some('f') };
            fields.push(SortField::new_with_options(key.clone(), options));
        }
        fields.push(SortField::new(DataType::Utf8));
        Ok(OrderedText {
            separator: separator.to_string(),
            directions: directions.to_string(),
            keys: keys.to_vec(),
            converter: RowConverter::new(fields)?,
        })
    }

    /// Entries whose bytes compare as the rows stand; those of NULL values are not to be used.
    pub fn entries(&self, value: &ArrayRef, keys: &[ArrayRef]) -> crate::error::Result<RowForm> {
        let columns: Vec<ArrayRef> = keys.iter().map(canonical_array).chain([Arc::clone(value)]).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    /// The entries' values, each as often as it is there; `None` for no entries.
    pub fn join<'a>(&self, entries: impl Iterator<Item = (&'a [u8], i64)>) -> crate::error::Result<Option<String>> {
        let (entries, weights): (Vec<&[u8]>, Vec<i64>) = entries.unzip();
        if entries.is_empty() {
            return Ok(None);
        }
        let parser = self.converter.parser();
        let values = self.converter.convert_rows(entries.iter().map(|entry| parser.parse(entry)))?.pop();
        let values = values.ok_or_else(|| Error::internal("an entry without a value"))?;
        let values = values.as_string::<i32>();
        let repeated = weights
            .iter()
            .enumerate()
            .flat_map(|(row, weight)| std::iter::repeat_n(values.value(row), usize::try_from(*weight).unwrap_or(0)));
        Ok(Some(repeated.collect::<Vec<_>>().join(&self.separator)))
    }
}

/// `string_agg(...)` as a call of the ordered one; no other aggregate's.
pub fn ordered(call: AggregateFunction) -> Result<AggregateFunction> {
    if call.func.name() != "string_agg" {
        return Ok(call);
    }
    let mut params = call.params;
    let [value, separator] = <[Expr; 2]>::try_from(std::mem::take(&mut params.args))
        .or_else(|args| internal_err!("string_agg of {} arguments", args.len()))?;
    let separator = match &separator {
        Expr::Literal(separator, _) if separator.is_null() => String::new(),
        Expr::Literal(separator, _) => separator.try_as_str().flatten().unwrap_or_default().to_string(),
        _ => return Err(external(Error::not_built("string_agg with a separator that is not constant"))),
    };
    let keys = std::mem::take(&mut params.order_by);
    if params.distinct && keys.iter().any(|key| key.expr != value) {
        let refused = Error::not_built("string_agg(DISTINCT ...) in the order of something else");
        return Err(external(refused.with_hint("ORDER BY the value itself.")));
    }
    let letters = |key: &Sort| [if key.asc { 'a' } else { 'd' }, if key.nulls_first { 'f' } else { 'l' }];
    let directions: String = keys.iter().flat_map(letters).collect();
    params.args = vec![Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(value), DataType::Utf8))];
    params.args.extend([lit(separator), lit(directions)]);
    params.args.extend(keys.into_iter().map(|key| key.expr));
    Ok(AggregateFunction { func: OrderedStringAgg::function(), params })
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The function in the registry.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct OrderedStringAgg {
    signature: Signature,
}

impl OrderedStringAgg {
    pub fn function() -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::from(OrderedStringAgg { signature: Signature::user_defined(Volatility::Immutable) }))
    }

    fn fold(args: &AccumulatorArgs) -> Result<TextFold> {
        let text = |index: usize| match args.exprs.get(index).and_then(literal) {
            Some(text) => Ok(text),
            None => internal_err!("an argument of string_agg is missing"),
        };
        let keys: Vec<DataType> = args.expr_fields.iter().skip(3).map(|field| field.data_type().clone()).collect();
        let order = OrderedText::new(&text(1)?, &text(2)?, &keys).map_err(external)?;
        Ok(TextFold { order: Some(order), distinct: args.is_distinct })
    }
}

fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<String> {
    let literal = expr.downcast_ref::<Literal>()?;
    Some(literal.value().try_as_str().flatten().unwrap_or_default().to_string())
}

impl AggregateUDFImpl for OrderedStringAgg {
    fn name(&self) -> &str {
        ORDERED_STRING_AGG
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        // DataFusion's type of string_agg, in whose place this stands.
        Ok(DataType::LargeUtf8)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(FoldAccumulator::boxed(Self::fold(&args)?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&TextFold { order: None, distinct: args.is_distinct }, args))
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
struct TextFold {
    /// `None` where only the state's types are asked for.
    order: Option<OrderedText>,
    distinct: bool,
}

impl TextFold {
    fn order(&self) -> Result<&OrderedText> {
        match &self.order {
            Some(order) => Ok(order),
            None => internal_err!("string_agg without an order"),
        }
    }
}

impl Fold for TextFold {
    /// Entries, each with the number of its rows.
    type State = BTreeMap<Vec<u8>, i64>;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Self::State], weight: i64) -> Result<()> {
        let [value, _, _, keys @ ..] = values else { return internal_err!("{} arguments", values.len()) };
        let value = cast(value, &DataType::Utf8)?;
        let entries = self.order()?.entries(&value, keys).map_err(external)?;
        rows.try_for_each(&value, |row, group| {
            match states[group].get_mut(entries.row(row).data()) {
                Some(count) => *count += weight,
                None => drop(states[group].insert(entries.row(row).data().to_vec(), weight)),
            }
            Ok(())
        })
    }

    fn merge(&self, into: &mut Self::State, from: Self::State) {
        for (entry, count) in from {
            *into.entry(entry).or_default() += count;
        }
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
        let order = self.order()?;
        let join = |state: &Self::State| {
            let times = |count: i64| if self.distinct { 1 } else { count };
            order.join(state.iter().map(|(entry, count)| (entry.as_slice(), times(*count)))).map_err(external)
        };
        Ok(Arc::new(states.iter().map(join).collect::<Result<LargeStringArray>>()?))
    }

    fn heap_bytes(state: &Self::State) -> usize {
        state.keys().map(|entry| entry.len() + 56).sum()
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
            return Err(external(Error::internal("a list of texts ends early")));
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
