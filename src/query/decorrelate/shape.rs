//! A subquery taken apart: what it reads, what it demands of a row, and what it makes of the rows.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, lit};

use crate::functions::single_value;

/// Names the place of an aggregate in [`Shape::value`] until the join names its column.
const AGGREGATE: &str = "__aggregate_";

/// `SELECT value FROM source WHERE predicates`, value over aggregates over the rows.
pub struct Shape {
    /// Reads no outer column.
    pub source: LogicalPlan,
    pub predicates: Vec<Expr>,
    pub aggregates: Vec<Aggregated>,
    /// Its columns of aggregates are named by [`aggregate_position`].
    pub value: Expr,
    wrapped: bool,
}

pub struct Aggregated {
    pub expr: Expr,
}

/// The number behind [`AGGREGATE`], if the name is one of those.
pub fn aggregate_position(name: &str) -> Option<usize> {
    name.strip_prefix(AGGREGATE)?.parse().ok()
}

fn aggregate_column(position: usize) -> Expr {
    Expr::Column(Column::new_unqualified(format!("{AGGREGATE}{position}")))
}

impl Shape {
    /// A subquery in the place of a value. `None`: not of a form that we take.
    pub fn of_scalar(plan: &LogicalPlan) -> Option<Shape> {
        let (first_only, order, plan) = strip_order(plan)?;
        let LogicalPlan::Projection(projection) = plan else { return None };
        let [value] = projection.expr.as_slice() else { return None };
        let value = value.clone().unalias();
        if let LogicalPlan::Aggregate(aggregate) = projection.input.as_ref()
            && aggregate.group_expr.is_empty()
        {
            let (source, predicates) = strip_filters(&aggregate.input)?;
            let value = replace_aggregates(value, aggregate.schema.as_ref())?;
            let aggregates = aggregate.aggr_expr.iter().map(|expr| Aggregated { expr: expr.clone().unalias() });
            return Some(Shape { source, predicates, aggregates: aggregates.collect(), value, wrapped: false });
        }
        let (order, input) = match projection.input.as_ref() {
            LogicalPlan::Sort(sort) => (sort.expr.clone(), sort.input.as_ref()),
            other => (order, other),
        };
        let (source, predicates) = strip_filters(input)?;
        let one = match (first_only, order.is_empty()) {
            (true, false) => first_value(value, order),
            (true, true) => first_value(value, vec![]),
            (false, _) => single_value().call(vec![value]),
        };
        let aggregates = vec![Aggregated { expr: one }];
        Some(Shape { source, predicates, aggregates, value: aggregate_column(0), wrapped: true })
    }

    /// EXISTS as a count of rows.
    pub fn of_exists(plan: &LogicalPlan, negated: bool) -> Option<Shape> {
        let input = match plan {
            LogicalPlan::Projection(projection) => projection.input.as_ref(),
            other => other,
        };
        if matches!(input, LogicalPlan::Aggregate(_) | LogicalPlan::Limit(_)) {
            return None;
        }
        let (source, predicates) = strip_filters(input)?;
        let rows = aggregate_column(0);
        let value = if negated { rows.eq(lit(0i64)) } else { rows.gt(lit(0i64)) };
        Some(Shape {
            source,
            predicates,
            aggregates: vec![Aggregated { expr: count(lit(1i64)) }],
            value,
            wrapped: true,
        })
    }

    /// It aggregates by itself.
    pub fn is_aggregate(&self) -> bool {
        !self.wrapped
    }

    /// An aggregate whose rows are chosen by `inner = outer` alone.
    pub fn datafusion_takes_it(&self) -> bool {
        self.is_aggregate()
            && !self.value.contains_outer()
            && !self.aggregates.iter().any(|aggregate| aggregate.expr.contains_outer())
            && self.predicates.iter().filter(|predicate| predicate.contains_outer()).all(is_key_equality)
    }

    /// Whether every outer column is one of the next query around. Columns of one further out are DataFusion's matter.
    pub fn outer_columns_are_in(&self, schema: &DFSchema) -> Result<bool> {
        let mut all_in = true;
        let aggregates = self.aggregates.iter().map(|aggregate| &aggregate.expr);
        for expr in self.predicates.iter().chain(aggregates).chain([&self.value]) {
            expr.apply(|part| {
                if let Expr::OuterReferenceColumn(_, column) = part {
                    all_in &= schema.has_column(column);
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(all_in)
    }
}

fn is_key_equality(predicate: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = predicate else { return false };
    let is_inner = |side: &Expr| !side.contains_outer() && !side.column_refs().is_empty();
    let is_outer = |side: &Expr| side.contains_outer() && side.column_refs().is_empty();
    (is_inner(left) && is_outer(right)) || (is_outer(left) && is_inner(right))
}

fn first_value(value: Expr, order_by: Vec<Sort>) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(first_value_udaf(), vec![value], false, None, order_by, None))
}

/// Takes `ORDER BY ... LIMIT 1` off. A bare ORDER BY of one value means nothing. `None`: another LIMIT.
fn strip_order(plan: &LogicalPlan) -> Option<(bool, Vec<Sort>, &LogicalPlan)> {
    match plan {
        LogicalPlan::Limit(limit) => {
            let one = matches!(limit.fetch.as_deref(), Some(Expr::Literal(ScalarValue::Int64(Some(1)), _)));
            let (_, order, inner) = strip_order(&limit.input)?;
            (one && limit.skip.is_none()).then_some((true, order, inner))
        }
        LogicalPlan::Sort(sort) => match sort.input.as_ref() {
            LogicalPlan::Projection(projection) => {
                let order = sort.expr.iter().map(|by| behind_projection(by, &projection.expr, &projection.schema));
                Some((false, order.collect::<Option<Vec<_>>>()?, sort.input.as_ref()))
            }
            _ => None,
        },
        LogicalPlan::SubqueryAlias(alias) => strip_order(&alias.input),
        other => Some((false, vec![], other)),
    }
}

/// A sort key over a projection's columns, over its input.
fn behind_projection(by: &Sort, exprs: &[Expr], schema: &DFSchema) -> Option<Sort> {
    let replaced = by.expr.clone().transform_up(|part| match &part {
        Expr::Column(column) => {
            let position = schema.index_of_column(column)?;
            Ok(exprs
                .get(position)
                .map_or_else(|| Transformed::no(part.clone()), |e| Transformed::yes(e.clone().unalias())))
        }
        _ => Ok(Transformed::no(part)),
    });
    Some(Sort { expr: replaced.ok()?.data, ..*by })
}

/// The FROM and the WHERE's conjuncts. `None` if outer columns stand elsewhere.
fn strip_filters(plan: &LogicalPlan) -> Option<(LogicalPlan, Vec<Expr>)> {
    let mut predicates = Vec::new();
    let mut plan = plan;
    while let LogicalPlan::Filter(filter) = plan {
        predicates.extend(split_conjunction_owned(filter.predicate.clone()));
        plan = &filter.input;
    }
    let mut outer = false;
    let outcome = plan.apply_with_subqueries(|node| {
        outer |= node.contains_outer_reference();
        Ok(TreeNodeRecursion::Continue)
    });
    (outcome.is_ok() && !outer).then(|| (plan.clone(), predicates))
}

/// Columns of the aggregate node as [`aggregate_column`]s.
fn replace_aggregates(value: Expr, schema: &DFSchema) -> Option<Expr> {
    let replaced = value.transform_up(|part| match &part {
        Expr::Column(column) => Ok(Transformed::yes(aggregate_column(schema.index_of_column(column)?))),
        _ => Ok(Transformed::no(part)),
    });
    Some(replaced.ok()?.data)
}
