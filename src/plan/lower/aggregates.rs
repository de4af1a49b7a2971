//! GROUP BY, its aggregates, and DISTINCT.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction as AggregateExpr;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, GroupingSet, LogicalPlan, lit, when};

use super::{lower_node, plain, pure, refuse, with_types};
use crate::error::{Error, Result};
use crate::functions::{
    APPROX_COUNT_DISTINCT, BitOperation, ORDERED_ARRAY_AGG, ORDERED_STRING_AGG, Regression, SINGLE_VALUE, SetFunction,
};
use crate::plan::view_plan::{AggregateCall, AggregateFunction, Node};

/// More would be more groupings than a row should be multiplied by.
const GROUPING_KEYS_MAX: usize = 12;

/// Names of columns that grouping sets add; nobody can write them without quotes.
const SET: &str = "__set";
const KEY: &str = "__key";

pub fn lower_aggregate(aggregate: &Aggregate) -> Result<Node> {
    for expr in aggregate.group_expr.iter().chain(&aggregate.aggr_expr) {
        pure(expr)?;
    }
    let schema = plain(&aggregate.schema)?;
    let groups = schema.fields().len() - aggregate.aggr_expr.len();
    let calls = aggregate.aggr_expr.iter().enumerate().map(|(i, expr)| {
        let return_type = schema.field(groups + i).data_type().clone();
        match expr.clone().unalias_nested().data {
            Expr::AggregateFunction(call) => lower_call(call, return_type),
            _ => Err(Error::internal("an aggregate that is not a call")),
        }
    });
    let calls: Vec<(AggregateCall, bool)> = calls.collect::<Result<_>>()?;
    let input = lower_node(&aggregate.input)?;
    if let [Expr::GroupingSet(sets)] = aggregate.group_expr.as_slice() {
        return grouping_sets(input, sets, calls, schema);
    }
    // The schema has a key once that GROUP BY names twice.
    let keys = aggregate.group_expr.iter().enumerate();
    let first = |(i, expr): &(usize, &Expr)| !aggregate.group_expr[..*i].contains(expr);
    let group = keys.filter(first).map(|(_, expr)| expr.clone().unalias_nested().data).collect();
    grouped(input, group, calls, schema)
}

fn grouped(input: Node, group: Vec<Expr>, calls: Vec<(AggregateCall, bool)>, schema: DFSchemaRef) -> Result<Node> {
    if calls.iter().any(|(_, distinct)| *distinct) {
        return distinct_aggregate(input, group, calls, schema);
    }
    let aggregates = calls.into_iter().map(|(call, _)| call).collect();
    Ok(Node::Aggregate { id: 0, aggregates, input: Box::new(input), group, schema })
}

/// Several groupings at once: each row once for each of them, with NULL for the keys that are not part of it.
///
/// ```text
/// Aggregate by key0, key1, id [calls]
///   Project ..., CASE WHEN set IN (0, 1) THEN a END AS key0, ..., CASE set WHEN 0 THEN 0 ... END AS id
///     Unnest set
///       Project ..., [0, 1, 2] AS set
/// ```
///
/// The grouping of no key has a row even over nothing, so that it is an aggregate by itself.
fn grouping_sets(
    input: Node,
    sets: &GroupingSet,
    calls: Vec<(AggregateCall, bool)>,
    schema: DFSchemaRef,
) -> Result<Node> {
    let keys: Vec<Expr> = sets.distinct_expr().into_iter().cloned().collect();
    let masks = masks_of(sets, &keys)?;
    let whole = (1_u64 << keys.len()) - 1;
    let (total, parts): (Vec<u64>, Vec<u64>) = masks.into_iter().partition(|mask| *mask == whole);
    let total = match total.is_empty() {
        true => None,
        false => Some(total_of(input.clone(), keys.len(), calls.clone(), &schema)?),
    };
    if parts.is_empty() {
        return total.ok_or_else(|| Error::internal("no grouping set"));
    }
    let by_parts = by_parts(input, &keys, &parts, calls, &schema)?;
    Ok(match total {
        Some(total) => Node::Union { id: 0, inputs: vec![by_parts, total], schema },
        None => by_parts,
    })
}

/// For each grouping the keys that it leaves out, as DataFusion counts it: the first key is the highest bit.
fn masks_of(sets: &GroupingSet, keys: &[Expr]) -> Result<Vec<u64>> {
    if keys.len() > GROUPING_KEYS_MAX {
        return Err(refuse(&format!("GROUPING SETS of more than {GROUPING_KEYS_MAX} keys")));
    }
    let groupings: Vec<Vec<&Expr>> = match sets {
        GroupingSet::Rollup(keys) => (0..=keys.len()).map(|count| keys[..count].iter().collect()).collect(),
        GroupingSet::Cube(keys) => (0..1_usize << keys.len())
            .map(|set| keys.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, key)| key).collect())
            .collect(),
        GroupingSet::GroupingSets(sets) => sets.iter().map(|set| set.iter().collect()).collect(),
    };
    let mask =
        |grouping: &Vec<&Expr>| keys.iter().fold(0_u64, |mask, key| mask << 1 | u64::from(!grouping.contains(&key)));
    let masks: Vec<u64> = groupings.iter().map(mask).collect();
    let repeated = masks.iter().enumerate().any(|(i, mask)| masks[..i].contains(mask));
    if repeated { Err(refuse("GROUPING SETS that name one grouping twice")) } else { Ok(masks) }
}

/// The aggregates over everything, with NULL for every key.
fn total_of(input: Node, keys: usize, calls: Vec<(AggregateCall, bool)>, schema: &DFSchemaRef) -> Result<Node> {
    let fields: Vec<_> = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
    let values = Arc::new(DFSchema::new_with_metadata(fields[keys + 1..].to_vec(), Default::default())?);
    let whole = (1_u64 << keys) - 1;
    let nulls = fields[..keys].iter().map(|(_, field)| Ok(lit(ScalarValue::try_from(field.data_type())?)));
    let mut exprs: Vec<Expr> = nulls.collect::<Result<_>>()?;
    exprs.push(lit(ScalarValue::UInt64(Some(whole)).cast_to(fields[keys].1.data_type())?));
    exprs.extend(values.columns().into_iter().map(Expr::Column));
    let total = grouped(input, Vec::new(), calls, values)?;
    Ok(Node::Project { id: 0, input: Box::new(total), exprs, schema: Arc::clone(schema) })
}

fn by_parts(
    input: Node,
    keys: &[Expr],
    masks: &[u64],
    calls: Vec<(AggregateCall, bool)>,
    schema: &DFSchemaRef,
) -> Result<Node> {
    let own: Vec<_> = input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let with = |name: &str, data_type: DataType| -> Result<DFSchemaRef> {
        let added = (None, Arc::new(Field::new(name, data_type, true)));
        Ok(Arc::new(DFSchema::new_with_metadata([&own[..], &[added]].concat(), Default::default())?))
    };
    let sets: Vec<ScalarValue> = masks.iter().map(|mask| ScalarValue::Int64(Some(*mask as i64))).collect();
    let list = ScalarValue::List(ScalarValue::new_list_nullable(&sets, &DataType::Int64));
    let listed = Node::Project {
        id: 0,
        input: Box::new(input),
        schema: with(SET, list.data_type())?,
        exprs: [&columns[..], &[lit(list)]].concat(),
    };
    let each =
        Node::Unnest { id: 0, input: Box::new(listed), column: columns.len(), schema: with(SET, DataType::Int64)? };
    let set = || Expr::Column(Column::new_unqualified(SET));
    let (mut exprs, mut fields) = (columns, own);
    for (i, key) in keys.iter().enumerate() {
        let bit = 1_u64 << (keys.len() - 1 - i);
        let holding = masks.iter().filter(|mask| *mask & bit == 0).map(|mask| lit(*mask as i64)).collect();
        let key = key.clone().unalias_nested().data;
        let key_type = key.get_type(each.schema())?;
        exprs.push(when(set().in_list(holding, false), key).end()?);
        fields.push((None, Arc::new(Field::new(format!("{KEY}{i}"), key_type, true))));
    }
    exprs.push(set());
    fields.push((None, Arc::new(Field::new(SET, DataType::Int64, true))));
    let below: DFSchemaRef = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
    let keyed = Node::Project { id: 0, input: Box::new(each), exprs, schema: Arc::clone(&below) };
    let group: Vec<Expr> =
        below.columns().into_iter().skip(below.fields().len() - keys.len() - 1).map(Expr::Column).collect();
    let output: Vec<_> = schema
        .iter()
        .enumerate()
        .map(|(i, (qualifier, field))| match i == keys.len() {
            true => (qualifier.cloned(), Arc::new(Field::new(field.name(), DataType::Int64, true))),
            false => (qualifier.cloned(), Arc::clone(field)),
        })
        .collect();
    let output = Arc::new(DFSchema::new_with_metadata(output, Default::default())?);
    with_types(grouped(keyed, group, calls, output)?, schema)
}

/// The call, and whether each group's values count once.
fn lower_call(call: AggregateExpr, return_type: DataType) -> Result<(AggregateCall, bool)> {
    let name = call.func.name().to_string();
    let params = call.params;
    if params.filter.is_some() {
        return Err(refuse(&format!("{name}(...) FILTER")));
    }
    if !params.order_by.is_empty() {
        return Err(refuse(&format!("{name}(... ORDER BY)")));
    }
    let function = match (name.as_str(), params.args.as_slice()) {
        ("count", [Expr::Literal(value, _)]) if !value.is_null() && !params.distinct => AggregateFunction::CountAll,
        ("count", [_]) => AggregateFunction::Count,
        ("sum", [_]) => AggregateFunction::Sum,
        ("avg", [_]) => AggregateFunction::Avg,
        ("min", [_]) => AggregateFunction::Min,
        ("max", [_]) => AggregateFunction::Max,
        ("first", [_, _]) => AggregateFunction::First,
        // False before true: the least is whether all are, the greatest whether any is.
        ("bool_and", [_]) => AggregateFunction::Min,
        ("bool_or", [_]) => AggregateFunction::Max,
        ("var_samp", [_]) => AggregateFunction::VarSamp,
        ("var_pop", [_]) => AggregateFunction::VarPop,
        ("stddev_samp", [_]) => AggregateFunction::StddevSamp,
        ("stddev_pop", [_]) => AggregateFunction::StddevPop,
        ("bit_and", [_]) => AggregateFunction::Bits(BitOperation::And),
        ("bit_or", [_]) => AggregateFunction::Bits(BitOperation::Or),
        ("bit_xor", [_]) => AggregateFunction::Bits(BitOperation::Xor),
        (APPROX_COUNT_DISTINCT, [_]) => AggregateFunction::ApproxCountDistinct,
        (SINGLE_VALUE, [_]) => AggregateFunction::SingleValue,
        (ORDERED_STRING_AGG, [_, _, _, ..]) => AggregateFunction::StringAgg,
        (ORDERED_ARRAY_AGG, [_, _, _, ..]) => AggregateFunction::ArrayAgg { distinct: params.distinct },
        ("last", [_, _]) => AggregateFunction::Last,
        (name, [_, _]) if let Some(regression) = Regression::named(name) => AggregateFunction::Regression(regression),
        (name, [_, ..]) if let Some(function) = SetFunction::named(name) => AggregateFunction::Set(function),
        _ => return Err(refuse(&format!("aggregate {name}"))),
    };
    // Of these each value counts once anyway, or they see to it themselves.
    let sees_to_it = matches!(
        function,
        AggregateFunction::Min
            | AggregateFunction::Max
            | AggregateFunction::ArrayAgg { .. }
            | AggregateFunction::ApproxCountDistinct
    );
    if params.distinct
        && !sees_to_it
        && params.args.iter().filter(|arg| !matches!(arg, Expr::Literal(..))).count() > 1
        && function != AggregateFunction::StringAgg
    {
        return Err(refuse(&format!("{name}(DISTINCT ...)")));
    }
    let args = if function == AggregateFunction::CountAll { Vec::new() } else { params.args };
    Ok((AggregateCall { function, args, return_type }, params.distinct && !sees_to_it))
}

/// Aggregates of which some see each value of a group once:
///
/// ```text
/// Aggregate by key0 [count(value0), sum(value1), count(distinct0)]
///   DistinctValues                     rows with NULL for distinct0, and each (key0, distinct0) once with NULL elsewhere
///     Project key0, value0, value1, distinct0
/// ```
///
/// Every aggregate leaves NULL out, or rows that are not taken, so that each call sees its own rows alone.
fn distinct_aggregate(
    input: Node,
    group: Vec<Expr>,
    calls: Vec<(AggregateCall, bool)>,
    schema: DFSchemaRef,
) -> Result<Node> {
    let mut plain_args: Vec<Expr> = Vec::new();
    let mut distinct_args: Vec<Expr> = Vec::new();
    let mut aggregates = Vec::with_capacity(calls.len());
    let column = |args: &mut Vec<Expr>, prefix: &str, expr: Expr| {
        let position = args.iter().position(|other| *other == expr).unwrap_or_else(|| {
            args.push(expr);
            args.len() - 1
        });
        Expr::Column(Column::new_unqualified(format!("{prefix}{position}")))
    };
    for (mut call, distinct) in calls {
        if call.function == AggregateFunction::CountAll {
            call.function = AggregateFunction::Count;
            call.args = vec![lit(1_i64)];
        }
        let (args, prefix) = if distinct { (&mut distinct_args, "distinct") } else { (&mut plain_args, "value") };
        let several = call.args.len() > 1;
        // Which rows are taken is told for each row: those that stand for a distinct value have NULL there.
        let taken = matches!(call.function, AggregateFunction::ArrayAgg { .. }).then_some(1);
        call.args = std::mem::take(&mut call.args)
            .into_iter()
            .enumerate()
            .map(|(i, arg)| match arg {
                // A separator is read where the operator is built.
                literal @ Expr::Literal(..) if several && taken != Some(i) => literal,
                arg => column(args, prefix, arg),
            })
            .collect();
        aggregates.push(call);
    }
    let named = |prefix: &str, exprs: &[Expr]| -> Result<Vec<_>> {
        let field = |(i, expr): (usize, &Expr)| {
            Ok((None, Arc::new(Field::new(format!("{prefix}{i}"), expr.get_type(input.schema())?, true))))
        };
        exprs.iter().enumerate().map(field).collect()
    };
    let (keys, first_distinct) = (group.len(), group.len() + plain_args.len());
    let fields = [named("key", &group)?, named("value", &plain_args)?, named("distinct", &distinct_args)?].concat();
    let below: DFSchemaRef = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
    let exprs = [group, plain_args, distinct_args].concat();
    let project = Node::Project { id: 0, input: Box::new(input), exprs, schema: Arc::clone(&below) };
    let group = below.columns().into_iter().take(keys).map(Expr::Column).collect();
    let values = Node::DistinctValues { id: 0, input: Box::new(project), keys, first_distinct, schema: below };
    Ok(Node::Aggregate { id: 0, input: Box::new(values), group, aggregates, schema })
}

/// DISTINCT is grouping by all columns.
pub fn lower_distinct(input: &LogicalPlan) -> Result<Node> {
    let schema = plain(input.schema())?;
    Ok(Node::Aggregate {
        id: 0,
        group: schema.columns().into_iter().map(Expr::Column).collect(),
        aggregates: Vec::new(),
        input: Box::new(lower_node(input)?),
        schema,
    })
}
