//! Rows that an ORDER BY does not tell apart, told apart by the whole row, so that what depends on their order is the same
//! in both executions and after every restart.
//!
//! ```text
//! ORDER BY a LIMIT 3                          ORDER BY a, the row's other columns, its floats again LIMIT 3
//! DISTINCT ON (a) ... ORDER BY a, b           DISTINCT ON (a) ... ORDER BY a, b, the row's other columns
//! row_number() OVER (ORDER BY a)              row_number() OVER (ORDER BY a, the row's other columns)
//! first_value(x) OVER (ORDER BY a)            ... ROWS UNBOUNDED PRECEDING, likewise
//! last_value(x) OVER (ORDER BY a)             last_value(x) OVER (PARTITION BY a ORDER BY the row ROWS ... UNBOUNDED FOLLOWING)
//! nth_value(x, 2) OVER (ORDER BY a)           ordered_nth_value(x, 2, directions, a, the row's other columns) OVER (ORDER BY a)
//! ```
//!
//! Floats as keys are equal where SQL says so (-0 and 0); named again behind all others, they are compared as they came.
//! Ranks and frames of RANGE keep their ORDER BY, because it says which rows are peers; what depends on the order of such a frame's
//! rows is told that order. Finding its own output, changes nothing.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{NullTreatment, Sort as SortExpr, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, Limit, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SubqueryAlias, Window,
    WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};

use crate::functions::floats::is_canonical_form_needed;
use crate::functions::{constant_place, in_frame};

pub fn break_ties(plan: LogicalPlan) -> Result<LogicalPlan> {
    let broken = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(limit) => {
            let (input, changed) = order_below(Arc::unwrap_or_clone(limit.input))?;
            let limit = LogicalPlan::Limit(Limit { input: Arc::new(input), ..limit });
            Ok(if changed { Transformed::yes(limit) } else { Transformed::no(limit) })
        }
        LogicalPlan::Distinct(Distinct::On(distinct)) => distinct_on(distinct),
        LogicalPlan::Window(window) => windows(window),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(broken.data)
}

/// Completes the order that a LIMIT above reads, and tells whether there was something to complete.
fn order_below(plan: LogicalPlan) -> Result<(LogicalPlan, bool)> {
    match plan {
        LogicalPlan::Sort(Sort { mut expr, input, fetch }) => {
            let before = expr.clone();
            complete_to_the_bit(&mut expr, input.schema());
            let changed = expr != before;
            Ok((LogicalPlan::Sort(Sort { expr, input, fetch }), changed))
        }
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let (input, changed) = order_below(Arc::unwrap_or_clone(input))?;
            Ok((LogicalPlan::Projection(Projection::try_new(expr, Arc::new(input))?), changed))
        }
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => {
            let (input, changed) = order_below(Arc::unwrap_or_clone(input))?;
            Ok((LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias)?), changed))
        }
        other => Ok((other, false)),
    }
}

/// Adds the columns of the row that the keys do not name.
fn complete(keys: &mut Vec<SortExpr>, row: &DFSchema) {
    for (column, field) in row.columns().into_iter().zip(row.fields()) {
        let column = Expr::Column(column);
        if !keys.iter().any(|key| key.expr == column) && has_order(field.data_type()) {
            keys.push(SortExpr { expr: column, asc: true, nulls_first: false });
        }
    }
}

/// Values that rows can be put in order by: all but structs and arrays of arrays.
fn has_order(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(element) => !element.data_type().is_nested(),
        other => !other.is_nested(),
    }
}

/// The same, and what a float is beyond its value.
fn complete_to_the_bit(keys: &mut Vec<SortExpr>, row: &DFSchema) {
    let columns = || row.columns().into_iter().zip(row.fields());
    let floats = floats_as_they_came(row);
    let is_named = |keys: &[SortExpr], column: &Expr| keys.iter().any(|key| key.expr == *column);
    let mut named: Vec<SortExpr> = Vec::with_capacity(keys.len());
    if let Some(rest) = keys.strip_suffix(&floats[..])
        && columns().all(|(column, field)| !has_order(field.data_type()) || is_named(rest, &Expr::Column(column)))
    {
        return;
    }
    for key in keys.drain(..) {
        if !is_named(&named, &key.expr) {
            named.push(key);
        }
    }
    complete(&mut named, row);
    named.extend(floats);
    *keys = named;
}

/// Behind all other keys: what a float is beyond its value.
fn floats_as_they_came(row: &DFSchema) -> Vec<SortExpr> {
    let floats = row.columns().into_iter().zip(row.fields());
    let floats = floats.filter(|(_, field)| is_canonical_form_needed(field.data_type()));
    floats.map(|(column, _)| SortExpr { expr: Expr::Column(column), asc: true, nulls_first: false }).collect()
}

fn distinct_on(distinct: DistinctOn) -> Result<Transformed<LogicalPlan>> {
    let ascending = |expr: &Expr| SortExpr { expr: expr.clone(), asc: true, nulls_first: false };
    let own = || distinct.on_expr.iter().map(ascending).collect();
    let named: Vec<SortExpr> = distinct.sort_expr.clone().unwrap_or_else(own);
    // What is named again decides nothing, and DataFusion's first_value does not take it.
    let mut keys: Vec<SortExpr> = Vec::with_capacity(named.len());
    for (place, key) in named.into_iter().enumerate() {
        if place < distinct.on_expr.len() || !keys.iter().any(|known| known.expr == key.expr) {
            keys.push(key);
        }
    }
    complete(&mut keys, distinct.input.schema());
    keys.extend(floats_as_they_came(distinct.input.schema()));
    if distinct.sort_expr.as_ref() == Some(&keys) {
        return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::On(distinct))));
    }
    let distinct = DistinctOn { sort_expr: Some(keys), ..distinct };
    Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::On(distinct))))
}

/// DISTINCT ON that gives its input's rows, and a projection above it: DataFusion prunes columns of its input by their places in its
/// output.
pub fn spread_distinct_on(plan: LogicalPlan) -> Result<LogicalPlan> {
    let spread = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Distinct(Distinct::On(DistinctOn { on_expr, select_expr, sort_expr, input, schema })) => {
            let rows: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
            let named = select_expr.into_iter().zip(schema.iter()).map(|(expr, (relation, field))| {
                let name = field.name();
                match &expr {
                    Expr::Column(column) if column.relation.as_ref() == relation && column.name == *name => expr,
                    _ => expr.alias_qualified(relation.cloned(), name),
                }
            });
            let named: Vec<Expr> = named.collect();
            let first = LogicalPlan::Distinct(Distinct::On(DistinctOn::try_new(on_expr, rows, sort_expr, input)?));
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(named, Arc::new(first))?)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(spread.data)
}

/// Calls with the same partition and order stay one node; nodes with longer orders are below those with shorter ones, so
/// that one sort serves both.
fn windows(window: Window) -> Result<Transformed<LogicalPlan>> {
    let mut changed = false;
    let mut groups: Vec<(Vec<Expr>, Vec<SortExpr>, Vec<Expr>)> = Vec::new();
    for expr in &window.window_expr {
        let (qualifier, name) = expr.qualified_name();
        let Expr::WindowFunction(call) = expr.clone().unalias_nested().data else {
            return Ok(Transformed::no(LogicalPlan::Window(window)));
        };
        let broken = break_call(*call.clone(), window.input.schema())?;
        changed |= broken != *call;
        let (partition, order) = (broken.params.partition_by.clone(), broken.params.order_by.clone());
        let expr = Expr::WindowFunction(Box::new(broken)).alias_qualified(qualifier, name);
        match groups.iter_mut().find(|group| group.0 == partition && group.1 == order) {
            Some((.., exprs)) => exprs.push(expr),
            None => groups.push((partition, order, vec![expr])),
        }
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    groups.sort_by_key(|(partition, order, _)| std::cmp::Reverse(partition.len() + order.len()));
    let columns = window.schema.columns();
    let mut plan = Arc::unwrap_or_clone(window.input);
    for (.., exprs) in groups {
        plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(plan))?);
    }
    if plan.schema().columns() != columns {
        plan = LogicalPlanBuilder::from(plan).project(columns.into_iter().map(Expr::Column))?.build()?;
    }
    Ok(Transformed::yes(plan))
}

fn break_call(mut call: WindowFunction, row: &DFSchema) -> Result<WindowFunction> {
    let name = call.fun.name().to_string();
    let is_function = matches!(call.fun, WindowFunctionDefinition::WindowUDF(_));
    let units = call.params.window_frame.units;
    if is_function && name == "nth_value" {
        constant_place(&call.params.args, row)?;
    }
    match name.as_str() {
        "rank" | "dense_rank" | "percent_rank" | "cume_dist" if is_function => {}
        "row_number" | "ntile" | "lag" | "lead" if is_function => complete(&mut call.params.order_by, row),
        "first_value" | "last_value"
            if is_function
                && units == WindowFrameUnits::Range
                && value_at_end(&mut call.params, name == "first_value", row) => {}
        "first_value" | "last_value" | "nth_value" if is_function && units != WindowFrameUnits::Rows => {
            return in_order(call, row);
        }
        "string_agg" | "array_agg" if !is_function => {
            if units == WindowFrameUnits::Rows {
                complete(&mut call.params.order_by, row);
            }
            return in_order(call, row);
        }
        _ if units == WindowFrameUnits::Rows && (is_function || !is_whole(&call.params.window_frame)) => {
            complete(&mut call.params.order_by, row);
        }
        _ => {}
    }
    Ok(call)
}

/// The call with the order that its frame's rows stand in as arguments: its ORDER BY says which rows are peers, and stays.
fn in_order(call: WindowFunction, row: &DFSchema) -> Result<WindowFunction> {
    let mut keys = call.params.order_by.clone();
    complete(&mut keys, row);
    in_frame(call, keys, row)
}

fn is_whole(frame: &WindowFrame) -> bool {
    frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded()
}

/// A frame of RANGE ends with rows that the order does not tell apart; its first and its last row, where both can be said
/// with a frame of ROWS. Whether they can.
fn value_at_end(params: &mut WindowFunctionParams, is_first: bool, row: &DFSchema) -> bool {
    let frame = &params.window_frame;
    let current = |bound: &WindowFrameBound| matches!(bound, WindowFrameBound::CurrentRow);
    let (start, end) = (&frame.start_bound, &frame.end_bound);
    if params.null_treatment == Some(NullTreatment::IgnoreNulls) {
        return false;
    }
    let (before, after) = (
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::Following(ScalarValue::UInt64(None)),
    );
    if is_first && start.is_unbounded() && (current(end) || end.is_unbounded()) {
        params.window_frame = WindowFrame::new_bounds(WindowFrameUnits::Rows, before, WindowFrameBound::CurrentRow);
    } else if !is_first && end.is_unbounded() && (current(start) || start.is_unbounded()) {
        params.window_frame = WindowFrame::new_bounds(WindowFrameUnits::Rows, WindowFrameBound::CurrentRow, after);
    } else if !is_first && current(end) && (current(start) || start.is_unbounded()) {
        // The last of the current row's peers: those that are equal in partition and order.
        let order = std::mem::take(&mut params.order_by);
        params.partition_by.extend(order.into_iter().map(|key| key.expr));
        params.window_frame = WindowFrame::new_bounds(WindowFrameUnits::Rows, before, after);
    } else {
        return false;
    }
    complete(&mut params.order_by, row);
    true
}
