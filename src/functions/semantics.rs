//! The analyzer rule that gives operators PostgreSQL's meaning, after types are known.
//!
//! ```text
//! a + b            -> checked_add(a, b)            integers and floats: 22003, 22012
//! f = g            -> canonical_float(f) = canonical_float(g)
//! GROUP BY f       -> GROUP BY canonical_float(f)  the same for ORDER BY, DISTINCT and join keys
//! CAST(f AS int)   -> integer_from(f)              rounds, and raises 22003
//! CAST(ts AS date) -> clock_cast(ts, ..., zone)    in the session's zone, where that is not UTC
//! sum(x) FILTER (WHERE p)      -> sum(CASE WHEN p THEN x END)
//! string_agg(x, s ORDER BY y)  -> ordered_string_agg(x, s, directions, y)
//! array_agg(x ORDER BY y)      -> ordered_array_agg(x, true, directions, y)
//! mode() WITHIN GROUP (ORDER BY y DESC)  -> mode(y, 'd')
//! ```
//!
//! Runs for queries and views alike. Keeps every column's name and qualifier; finding its own output, changes nothing.

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{
    AggregateFunction, GroupingSet, InList, ScalarFunction, Sort as SortExpr, WindowFunction,
};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF,
    WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;

use super::aggregate::{APPROX_COUNT_DISTINCT, filter_arguments, ordered, ordered_set, set_arguments};
use super::arithmetic::{Arithmetic, CheckedArithmetic};
use super::casts::{IntegerCast, integer_cast_applies};
use super::clock::{self, interval_length};
use super::comoments::Regression;
use super::floats::{CANONICAL_FLOAT, CanonicalFloat, canonical_scalar, is_canonical_form_needed};
use super::identity::is_identity;
use super::peer_frames;
use super::set_order::SetFunction;

#[derive(Debug)]
pub struct PostgresSemantics;

impl AnalyzerRule for PostgresSemantics {
    fn name(&self) -> &str {
        "postgres_semantics"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = config.execution.time_zone.as_deref().filter(|zone| *zone != "UTC");
        let changed = Cell::new(false);
        Ok(plan.transform_up_with_subqueries(|plan| rewrite_plan(plan, zone, &changed))?.data)
    }
}

/// `changed`: a node so far, perhaps below, so that types may have changed.
fn rewrite_plan(plan: LogicalPlan, zone: Option<&str>, changed: &Cell<bool>) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&scan.projected_schema);
    }
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(expr.transform_up(|expr| rewrite_expr(expr, &schema, zone))?.update_data(|expr| name.restore(expr)))
    })?;
    let keyed = rewritten.transform_data(canonical_keys)?;
    changed.set(changed.get() || keyed.transformed);
    if changed.get() { Ok(Transformed::yes(keyed.data.recompute_schema()?)) } else { Ok(keyed) }
}

fn rewrite_expr(expr: Expr, schema: &DFSchema, zone: Option<&str>) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(binary) => match clock::rewrite_sum(&binary, schema, zone) {
            Some(sum) => Ok(Transformed::yes(sum)),
            None => rewrite_binary(binary, schema),
        },
        Expr::ScalarFunction(mut call) if is_identity(call.name()) && !call.args.is_empty() => {
            Ok(Transformed::yes(call.args.remove(0)))
        }
        Expr::ScalarFunction(call) => Ok(match clock::rewrite_call(&call, schema, zone) {
            Some(rewritten) => Transformed::yes(rewritten),
            None => Transformed::no(Expr::ScalarFunction(call)),
        }),
        Expr::Negative(inner) if type_is(&inner, schema, |data_type| data_type.is_integer()) => {
            Ok(Transformed::yes(call(CheckedArithmetic::function(Arithmetic::Negate), vec![*inner])))
        }
        Expr::Cast(cast) => {
            let target = cast.field.data_type().clone();
            match cast.expr.get_type(schema) {
                Ok(source) if integer_cast_applies(&source, &target) => {
                    Ok(Transformed::yes(call(IntegerCast::function(&target)?, vec![*cast.expr])))
                }
                _ => Ok(match clock::rewrite_cast(cast, schema, zone) {
                    Ok(rewritten) => Transformed::yes(rewritten),
                    Err(cast) => Transformed::no(Expr::Cast(cast)),
                }),
            }
        }
        Expr::Between(mut between) if type_is(&between.expr, schema, is_canonical_form_needed) => {
            between.expr = Box::new(canonical(*between.expr));
            between.low = Box::new(canonical(*between.low));
            between.high = Box::new(canonical(*between.high));
            Ok(Transformed::yes(Expr::Between(between)))
        }
        Expr::InList(list) if type_is(&list.expr, schema, is_canonical_form_needed) => {
            Ok(Transformed::yes(Expr::InList(InList {
                expr: Box::new(canonical(*list.expr)),
                list: list.list.into_iter().map(canonical).collect(),
                negated: list.negated,
            })))
        }
        Expr::AggregateFunction(call) => rewrite_aggregate(call, schema),
        Expr::WindowFunction(call) => rewrite_window(call, schema),
        other => Ok(Transformed::no(other)),
    }
}

fn rewrite_aggregate(call: AggregateFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_set = SetFunction::named(call.func.name()).is_some();
    let call = ordered_set(call)?;
    let filtered = call.params.filter.is_some() && leaves_null_out(call.func.name());
    if is_set && !filtered {
        return Ok(Transformed::yes(Expr::AggregateFunction(call)));
    }
    let is_array = call.func.name() == "array_agg";
    if !filtered && !call.params.distinct && !is_array && call.func.name() != "string_agg" {
        return Ok(Transformed::no(Expr::AggregateFunction(call)));
    }
    let AggregateFunction { func, mut params } = call;
    let mut taken = None;
    if (filtered || is_array)
        && let Some(filter) = params.filter.take()
    {
        let filter = filter_arguments(&mut params.args, *filter, schema);
        if is_array {
            params.order_by.iter_mut().for_each(|key| {
                filter_arguments(std::slice::from_mut(&mut key.expr), filter.clone(), schema);
            });
            taken = Some(filter);
        }
    }
    if params.distinct {
        for arg in params.args.iter_mut().chain(params.order_by.iter_mut().map(|key| &mut key.expr)) {
            if type_is(arg, schema, is_canonical_form_needed) {
                *arg = canonical(std::mem::take(arg));
            }
        }
    }
    let value = params.args.first().map_or(Ok(DataType::Null), |value| value.get_type(schema))?;
    Ok(Transformed::yes(Expr::AggregateFunction(ordered(AggregateFunction { func, params }, taken, &value)?)))
}

/// Floats that are equal in SQL are one partition, and peers.
fn rewrite_window(mut call: Box<WindowFunction>, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let keys = call.params.partition_by.iter_mut().chain(call.params.order_by.iter_mut().map(|key| &mut key.expr));
    let mut changed = canonical_all(keys, schema);
    changed |= peer_frames::to_range(&mut call, schema);
    if let WindowFunctionDefinition::AggregateUDF(func) = &call.fun {
        if leaves_null_out(func.name())
            && let Some(filter) = call.params.filter.take()
        {
            filter_arguments(&mut call.params.args, *filter, schema);
            changed = true;
        }
        if let Some(args) = set_arguments(func, &call.params.args)? {
            changed |= args != call.params.args;
            call.params.args = args;
        }
    }
    let expr = Expr::WindowFunction(call);
    Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
}

/// Aggregates for which a row without a value is as no row.
fn leaves_null_out(name: &str) -> bool {
    matches!(
        name,
        "count"
            | "sum"
            | "avg"
            | "min"
            | "max"
            | "first"
            | "last"
            | "var_samp"
            | "var_pop"
            | "stddev_samp"
            | "stddev_pop"
            | "bool_and"
            | "bool_or"
            | "bit_and"
            | "bit_or"
            | "bit_xor"
            | "string_agg"
            | APPROX_COUNT_DISTINCT
    ) || Regression::named(name).is_some()
        || SetFunction::named(name).is_some()
}

fn rewrite_binary(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let BinaryExpr { left, op, right } = binary;
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
    };
    if let Some(operator) = Arithmetic::of(op)
        && operator.return_type(&left_type, &right_type).is_some()
    {
        return Ok(Transformed::yes(call(CheckedArithmetic::function(operator), vec![*left, *right])));
    }
    if is_comparison(op) && is_interval(&left_type) && is_interval(&right_type) {
        let (left, right) = (interval_length().call(vec![*left]), interval_length().call(vec![*right]));
        let compared = Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) });
        return Ok(Transformed::yes(compared));
    }
    if is_comparison(op) && is_canonical_form_needed(&left_type) && left_type == right_type {
        let (left, right) = comparable(*left, op, *right);
        let compared = Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) });
        return Ok(Transformed::yes(compared));
    }
    Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
}

/// Operands whose total order is PostgreSQL's order. A plain column against a number stays bare, because files are
/// pruned by such predicates; an inequality with zero stays bare too, with the sign of the zero that makes it right.
fn comparable(left: Expr, op: Operator, right: Expr) -> (Expr, Expr) {
    match (&left, &right) {
        (bare, Expr::Literal(literal, _)) if is_bare(bare) => {
            if let Some(literal) = bare_literal(literal, op) {
                return (left, Expr::Literal(literal, None));
            }
        }
        (Expr::Literal(literal, _), bare) if is_bare(bare) => {
            if let Some(literal) = op.swap().and_then(|swapped| bare_literal(literal, swapped)) {
                return (Expr::Literal(literal, None), right);
            }
        }
        _ => {}
    }
    (canonical(left), canonical(right))
}

/// A column, or one widened from `real`.
fn is_bare(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Cast(cast) => matches!(*cast.expr, Expr::Column(_)),
        _ => false,
    }
}

/// The literal to which a column may be compared bare, `column op literal`.
fn bare_literal(literal: &ScalarValue, op: Operator) -> Option<ScalarValue> {
    let (value, is_f32) = match literal {
        ScalarValue::Float64(Some(value)) => (*value, false),
        ScalarValue::Float32(Some(value)) => (f64::from(*value), true),
        _ => return None,
    };
    if value.is_nan() {
        return None;
    }
    if value != 0.0 {
        return Some(literal.clone());
    }
    // In the total order -0 is just below 0: `x >= -0.0` and `x < -0.0` count both zeros as zero, as do > and <= with 0.
    let zero = match op {
        Operator::GtEq | Operator::Lt => -0.0,
        Operator::Gt | Operator::LtEq => 0.0,
        _ => return None,
    };
    Some(if is_f32 { ScalarValue::Float32(Some(zero as f32)) } else { ScalarValue::Float64(Some(zero)) })
}

fn canonical_keys(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => canonical_groups(aggregate),
        LogicalPlan::Join(join) => canonical_join_keys(join),
        LogicalPlan::Sort(mut sort) => {
            let changed = canonical_order(&mut sort.expr, sort.input.schema());
            let sort = LogicalPlan::Sort(sort);
            Ok(if changed { Transformed::yes(sort) } else { Transformed::no(sort) })
        }
        LogicalPlan::Distinct(Distinct::On(mut distinct)) => {
            let schema = Arc::clone(distinct.input.schema());
            let mut changed = canonical_all(distinct.on_expr.iter_mut(), &schema);
            if let Some(order) = &mut distinct.sort_expr {
                changed |= canonical_order(order, &schema);
            }
            let distinct = LogicalPlan::Distinct(Distinct::On(distinct));
            Ok(if changed { Transformed::yes(distinct) } else { Transformed::no(distinct) })
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let canonical_already = |input: &LogicalPlan| match input {
                LogicalPlan::Projection(projection) => projection.expr.iter().any(is_canonical),
                _ => false,
            };
            let floats = input.schema().fields().iter().any(|field| is_canonical_form_needed(field.data_type()));
            if !floats || canonical_already(&input) {
                return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
            }
            let columns = input.schema().columns().into_iter().map(|column| {
                let expr = Expr::Column(column.clone());
                match input.schema().data_type(&column) {
                    Ok(data_type) if is_canonical_form_needed(data_type) => {
                        canonical(expr).alias_qualified(column.relation, column.name)
                    }
                    _ => expr,
                }
            });
            let columns: Vec<Expr> = columns.collect();
            let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input)).project(columns)?.build()?;
            Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::All(Arc::new(input)))))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Makes the floats among keys canonical, and tells whether there were some.
fn canonical_all<'a>(keys: impl Iterator<Item = &'a mut Expr>, schema: &DFSchema) -> bool {
    let mut changed = false;
    for key in keys.filter(|key| type_is(key, schema, is_canonical_form_needed) && !is_canonical(key)) {
        *key = canonical(std::mem::take(key));
        changed = true;
    }
    changed
}

/// The same of an ORDER BY. A float that is named again is left: what it is beyond its value, where all else is equal.
fn canonical_order(keys: &mut [SortExpr], schema: &DFSchema) -> bool {
    let mut changed = false;
    for place in 0..keys.len() {
        let (before, rest) = keys.split_at_mut(place);
        let Some(SortExpr { expr, .. }) = rest.first_mut() else { continue };
        if !type_is(expr, schema, is_canonical_form_needed) || is_canonical(expr) {
            continue;
        }
        let made = canonical(expr.clone());
        if before.iter().all(|key| key.expr != made) {
            *expr = made;
            changed = true;
        }
    }
    changed
}

fn canonical_groups(mut aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let schema = Arc::clone(aggregate.input.schema());
    let mut changed = false;
    for group in &mut aggregate.group_expr {
        let keys: Vec<&mut Expr> = match group {
            Expr::GroupingSet(GroupingSet::Rollup(keys) | GroupingSet::Cube(keys)) => keys.iter_mut().collect(),
            Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => sets.iter_mut().flatten().collect(),
            key => vec![key],
        };
        for key in keys {
            if type_is(key, &schema, is_canonical_form_needed) && !is_canonical(key) {
                let (relation, name) = key.qualified_name();
                *key = canonical(std::mem::take(key).unalias()).alias_qualified(relation, name);
                changed = true;
            }
        }
    }
    let plan = LogicalPlan::Aggregate(aggregate);
    Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) })
}

fn canonical_join_keys(mut join: Join) -> Result<Transformed<LogicalPlan>> {
    let mut changed = false;
    for (left, right) in &mut join.on {
        if type_is(left, join.left.schema(), is_canonical_form_needed) && !is_canonical(left) {
            *left = canonical(std::mem::take(left));
            *right = canonical(std::mem::take(right));
            changed = true;
        }
    }
    let plan = LogicalPlan::Join(join);
    Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) })
}

fn canonical(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(value, metadata) => Expr::Literal(canonical_scalar(value), metadata),
        expr if is_canonical(&expr) => expr,
        expr => call(CanonicalFloat::function(), vec![expr]),
    }
}

fn is_canonical(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(function) => function.name() == CANONICAL_FLOAT,
        Expr::Alias(alias) => is_canonical(&alias.expr),
        _ => false,
    }
}

fn call(function: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function, args))
}

fn type_is(expr: &Expr, schema: &DFSchema, test: impl Fn(&DataType) -> bool) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| test(&data_type))
}

fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_))
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

#[cfg(test)]
mod tests;
