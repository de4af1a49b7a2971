//! What depends on an order of rows: LIMIT, DISTINCT ON, window functions, and ranks with a bound.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, DistinctOn, Expr, FetchType, Limit, LogicalPlan, Operator, Projection, SkipType, Window,
    WindowFrameUnits, WindowFunctionDefinition,
};

use super::{lower_node, lower_projection_over, plain, pure, refuse, requalify};
use crate::error::{Error, Result};
use crate::functions::{ORDERED_ARRAY_AGG, ORDERED_NTH_VALUE, ORDERED_STRING_AGG, Regression};
use crate::plan::view_plan::{Node, RankKind, SortDirection, SortKey};

/// `ORDER BY ... LIMIT n OFFSET m`.
pub fn lower_limit(limit: &Limit) -> Result<Node> {
    let SkipType::Literal(skip) = limit.get_skip_type()? else {
        return Err(refuse("OFFSET that is not constant"));
    };
    match limit.get_fetch_type()? {
        FetchType::Literal(Some(fetch)) => first_rows(&limit.input, skip as u64, fetch as u64),
        FetchType::Literal(None) if skip == 0 => lower_node(&limit.input),
        FetchType::Literal(None) => Err(refuse("OFFSET without LIMIT")),
        FetchType::UnsupportedExpr => Err(refuse("LIMIT that is not constant")),
    }
}

/// The rows of a plan whose order a Sort decides, perhaps below projections.
fn first_rows(plan: &LogicalPlan, skip: u64, fetch: u64) -> Result<Node> {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
            let input = lower_node(&sort.input)?;
            let order = sort_keys(&sort.expr, input.schema())?;
            let schema = Arc::clone(input.schema());
            Ok(Node::Top {
                id: 0,
                input: Box::new(input),
                partition: Vec::new(),
                order,
                kind: RankKind::RowNumber,
                skip,
                fetch,
                shows_rank: false,
                schema,
            })
        }
        LogicalPlan::Projection(projection) => {
            lower_projection_over(projection, first_rows(&projection.input, skip, fetch)?)
        }
        LogicalPlan::SubqueryAlias(alias) => requalify(first_rows(&alias.input, skip, fetch)?, &alias.schema),
        _ => Err(refuse("LIMIT without ORDER BY")),
    }
}

/// Keys of an order. Those at its end that are the row's columns in their order say what holds anyway: rows that the order
/// does not tell apart are in the order of the whole row.
fn sort_keys(sort: &[SortExpr], input: &DFSchema) -> Result<Vec<SortKey>> {
    let mut keys = Vec::with_capacity(sort.len());
    for key in sort {
        pure(&key.expr)?;
        let direction = SortDirection { descending: !key.asc, nulls_first: key.nulls_first };
        keys.push(SortKey { expr: key.expr.clone().unalias_nested().data, direction });
    }
    // Floats as they came, behind all else: so stand the rows anyway.
    while let Some((last, before)) = keys.split_last()
        && let Some(column) = named_column(&last.expr, input)
        && before.iter().any(|key| named_column(&key.expr, input) == Some(column))
    {
        keys.pop();
    }
    let place = |key: &SortKey| {
        let is_a_tie = !key.direction.descending && !key.direction.nulls_first;
        named_column(&key.expr, input).filter(|_| is_a_tie)
    };
    let mut tail = keys.len();
    while tail > 0 && place(&keys[tail - 1]).is_some_and(|at| tail == keys.len() || place(&keys[tail]) > Some(at)) {
        tail -= 1;
    }
    // Only if every column is named: in the tail, or before it, where its rows are told apart already.
    let named: Vec<usize> = keys.iter().filter_map(|key| named_column(&key.expr, input)).collect();
    if (0..input.fields().len()).all(|column| named.contains(&column)) {
        keys.truncate(tail);
    }
    Ok(keys)
}

/// The column that an expression is, floats that are equal in SQL made one value.
fn named_column(expr: &Expr, input: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(column) => input.maybe_index_of_column(column),
        Expr::ScalarFunction(call) if call.name() == crate::functions::floats::CANONICAL_FLOAT => {
            named_column(call.args.first()?, input)
        }
        _ => None,
    }
}

/// `SELECT DISTINCT ON (partition) ... ORDER BY partition, order`.
pub fn lower_distinct_on(distinct: &DistinctOn) -> Result<Node> {
    let input = lower_node(&distinct.input)?;
    let sort = distinct.sort_expr.as_deref().unwrap_or_default();
    let order = sort_keys(sort.get(distinct.on_expr.len()..).unwrap_or_default(), input.schema())?;
    for expr in distinct.on_expr.iter().chain(&distinct.select_expr) {
        pure(expr)?;
    }
    let unaliased = |expr: &Expr| expr.clone().unalias_nested().data;
    let schema = Arc::clone(input.schema());
    let top = Node::Top {
        id: 0,
        input: Box::new(input),
        partition: distinct.on_expr.iter().map(unaliased).collect(),
        order,
        kind: RankKind::RowNumber,
        skip: 0,
        fetch: 1,
        shows_rank: false,
        schema,
    };
    let exprs: Vec<Expr> = distinct.select_expr.iter().map(unaliased).collect();
    match exprs.iter().eq(&top.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>()) {
        true => Ok(top),
        false => Ok(Node::Project { id: 0, input: Box::new(top), exprs, schema: plain(&distinct.schema)? }),
    }
}

/// Window functions; those over another partition or order are another operator below.
pub fn lower_window(window: &Window) -> Result<Node> {
    let input = lower_node(&window.input)?;
    let schema = plain(&window.schema)?;
    let own = window.schema.fields().len() - window.window_expr.len();
    let mut calls = Vec::with_capacity(window.window_expr.len());
    for expr in &window.window_expr {
        let call = expr.clone().unalias_nested().data;
        check_window(&call)?;
        calls.push(call);
    }
    let Some(first) = calls.first() else { return Ok(input) };
    let over = |call: &Expr| match call {
        Expr::WindowFunction(call) => Some((call.params.partition_by.clone(), call.params.order_by.clone())),
        _ => None,
    };
    let wanted = over(first);
    if calls.iter().all(|call| over(call) == wanted) {
        return Ok(Node::Window { id: 0, input: Box::new(input), calls, schema });
    }
    // One operator for each call, over the one before.
    let fields: Vec<_> = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
    let mut node = input;
    for (i, call) in calls.into_iter().enumerate() {
        let schema = DFSchema::new_with_metadata(fields[..own + i + 1].to_vec(), Default::default())?;
        node = Node::Window { id: 0, input: Box::new(node), calls: vec![call], schema: Arc::new(schema) };
    }
    Ok(node)
}

/// Those whose value does not depend on the order of a frame's rows, or that are told it.
const WINDOW_AGGREGATES: [&str; 21] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "bool_and",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
    "var_samp",
    "var_pop",
    "stddev_samp",
    "stddev_pop",
    "first",
    "last",
    "median",
    "approx_percentile",
    ORDERED_NTH_VALUE,
    ORDERED_STRING_AGG,
    ORDERED_ARRAY_AGG,
];

fn check_window(call: &Expr) -> Result<()> {
    let Expr::WindowFunction(function) = call else {
        return Err(Error::internal("a window function that is not a call"));
    };
    let params = &function.params;
    for expr in params.args.iter().chain(&params.partition_by).chain(params.filter.iter().map(|filter| &**filter)) {
        pure(expr)?;
    }
    params.order_by.iter().try_for_each(|key| pure(&key.expr))?;
    let name = function.fun.name();
    if params.window_frame.units == WindowFrameUnits::Groups {
        return Err(refuse("a window frame of GROUPS"));
    }
    if params.distinct {
        return Err(refuse(&format!("{name}(DISTINCT ...) OVER")));
    }
    let is_aggregate = !matches!(function.fun, WindowFunctionDefinition::WindowUDF(_));
    if is_aggregate && !WINDOW_AGGREGATES.contains(&name) && Regression::named(name).is_none() {
        return Err(refuse(&format!("{name} as a window function")));
    }
    Ok(())
}

/// A window below a predicate, perhaps with a projection between them: where the predicate bounds a rank, only the first
/// rows of each partition are looked at.
pub fn lower_ranked(window: &Window, predicate: &Expr, between: Option<&Projection>) -> Result<Node> {
    let [expr] = window.window_expr.as_slice() else { return lower_window(window) };
    let (Expr::WindowFunction(call), Some(kind)) = (expr.clone().unalias_nested().data, rank_kind(expr)) else {
        return lower_window(window);
    };
    let rank = window.schema.fields().len() - 1;
    let is_rank = |expr: &Expr| match expr {
        Expr::Column(column) => window.schema.maybe_index_of_column(column) == Some(rank),
        _ => false,
    };
    let (schema, rank) = match between {
        None => (&window.schema, Some(rank)),
        Some(projection) => {
            let shown = projection.expr.iter().position(|expr| is_rank(&expr.clone().unalias_nested().data));
            (&projection.schema, shown)
        }
    };
    let Some(rank) = rank else { return lower_window(window) };
    let bounds = split_conjunction(predicate).into_iter().filter_map(|part| bound_of(part, schema, rank));
    let Some(fetch) = bounds.min() else { return lower_window(window) };
    check_window(&Expr::WindowFunction(call.clone()))?;
    let WindowFunction { params, .. } = *call;
    let input = lower_node(&window.input)?;
    let order = match kind {
        RankKind::RowNumber => sort_keys(&params.order_by, input.schema())?,
        // The keys are what makes rows peers.
        RankKind::Rank | RankKind::DenseRank => plain_keys(&params.order_by),
    };
    Ok(Node::Top {
        id: 0,
        input: Box::new(input),
        partition: params.partition_by.into_iter().map(|expr| expr.unalias_nested().data).collect(),
        order,
        kind,
        skip: 0,
        fetch,
        shows_rank: true,
        schema: plain(&window.schema)?,
    })
}

fn plain_keys(sort: &[SortExpr]) -> Vec<SortKey> {
    let key = |key: &SortExpr| SortKey {
        expr: key.expr.clone().unalias_nested().data,
        direction: SortDirection { descending: !key.asc, nulls_first: key.nulls_first },
    };
    sort.iter().map(key).collect()
}

fn rank_kind(expr: &Expr) -> Option<RankKind> {
    match expr {
        Expr::Alias(alias) => rank_kind(&alias.expr),
        Expr::WindowFunction(call) if matches!(call.fun, WindowFunctionDefinition::WindowUDF(_)) => {
            match call.fun.name() {
                "row_number" => Some(RankKind::RowNumber),
                "rank" => Some(RankKind::Rank),
                "dense_rank" => Some(RankKind::DenseRank),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The greatest rank that `predicate` lets through, if it bounds the column `rank`.
fn bound_of(predicate: &Expr, schema: &DFSchema, rank: usize) -> Option<u64> {
    let is_rank = |expr: &Expr| match expr {
        Expr::Column(column) => schema.maybe_index_of_column(column) == Some(rank),
        Expr::Cast(cast) if cast.field.data_type().is_integer() => {
            matches!(&*cast.expr, Expr::Column(column) if schema.maybe_index_of_column(column) == Some(rank))
        }
        _ => false,
    };
    let (op, bound) = match predicate {
        Expr::Between(between) if !between.negated && is_rank(&between.expr) => (Operator::LtEq, &*between.high),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_rank(left) => (*op, &**right),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_rank(right) => (op.swap()?, &**left),
        _ => return None,
    };
    let bound = match op {
        Operator::LtEq | Operator::Eq => integer(bound)?,
        Operator::Lt => integer(bound)?.checked_sub(1)?,
        _ => return None,
    };
    Some(u64::try_from(bound.max(0)).unwrap_or(u64::MAX))
}

fn integer(expr: &Expr) -> Option<i128> {
    let Expr::Literal(value, _) = expr else { return None };
    match value.cast_to(&DataType::Decimal128(38, 0)).ok()? {
        ScalarValue::Decimal128(value, ..) if value_is_integer(expr) => value,
        _ => None,
    }
}

/// 2.5 cast to an integer would be another bound.
fn value_is_integer(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.data_type().is_integer())
}
