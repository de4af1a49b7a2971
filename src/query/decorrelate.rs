//! Scalar subqueries that DataFusion's optimizer cannot decorrelate, as joins.
//!
//! It takes those that aggregate and are tied to the outer row by equalities alone. PostgreSQL's catalog queries (and
//! its users) also write ones without an aggregate, with any predicate, and EXISTS in the select list. For these:
//!
//! ```text
//! outer rows, numbered
//!   LEFT JOIN the subquery's FROM ON its WHERE, outer columns and all
//!   GROUP BY the outer row: its aggregates over the rows that joined, or single_value(its expression)
//! ```
//!
//! so that each outer row stands for itself, also when equal rows exist, and a second value is an error only for an
//! outer row that has one. The inner columns are renamed on the way: `c` inside is not `c` outside.

mod shape;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Filter, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, Subquery, lit};

use self::shape::Shape;
use crate::functions::single_value;

/// The same plan without the subqueries that DataFusion would refuse.
pub fn decorrelate(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut names = Names::default();
    Ok(plan.transform_up_with_subqueries(|node| lower_node(node, &mut names))?.data)
}

/// Makes the names of one plan.
#[derive(Default)]
struct Names {
    subqueries: usize,
}

fn lower_node(node: LogicalPlan, names: &mut Names) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Projection(projection) if projection.expr.iter().any(|expr| has_ours(expr, true)) => {
            let saved: Vec<_> =
                projection.expr.iter().map(|expr| NamePreserver::new_for_projection().save(expr)).collect();
            let mut input = Arc::unwrap_or_clone(projection.input);
            let mut exprs = Vec::with_capacity(projection.expr.len());
            for (expr, name) in projection.expr.into_iter().zip(saved) {
                let (expr, widened) = lower_expr(expr, input, true, names)?;
                input = widened;
                exprs.push(name.restore(expr));
            }
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)))
        }
        LogicalPlan::Filter(filter) if has_ours(&filter.predicate, false) => {
            let columns: Vec<Expr> = columns_of(filter.input.schema());
            let input = Arc::unwrap_or_clone(filter.input);
            let (predicate, input) = lower_expr(filter.predicate, input, false, names)?;
            let filtered = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?);
            Ok(Transformed::yes(LogicalPlanBuilder::from(filtered).project(columns)?.build()?))
        }
        node => Ok(Transformed::no(node)),
    }
}

fn columns_of(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

/// Whether the expression holds a subquery that is ours to lower.
fn has_ours(expr: &Expr, in_projection: bool) -> bool {
    let mut found = false;
    let outcome = expr.apply(|inner| {
        found |= shape_of(inner, in_projection).is_some();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    outcome.is_ok() && found
}

/// The subquery's shape if it is one of ours.
fn shape_of(expr: &Expr, in_projection: bool) -> Option<Shape> {
    match expr {
        Expr::ScalarSubquery(subquery) => {
            let shape = Shape::of_scalar(&subquery.subquery)?;
            let ours = match is_correlated(subquery) {
                true => !shape.datafusion_takes_it(),
                false => !shape.is_aggregate(),
            };
            ours.then_some(shape)
        }
        Expr::Exists(exists) if in_projection => Shape::of_exists(&exists.subquery.subquery, exists.negated),
        _ => None,
    }
}

fn is_correlated(subquery: &Subquery) -> bool {
    !subquery.outer_ref_columns.is_empty()
}

/// Puts a column in the place of each subquery, and widens the input by it.
fn lower_expr(expr: Expr, input: LogicalPlan, in_projection: bool, names: &mut Names) -> Result<(Expr, LogicalPlan)> {
    let mut input = input;
    let expr = expr.transform_down(|inner| {
        let Some(shape) = shape_of(&inner, in_projection) else {
            return Ok(Transformed::no(inner));
        };
        if let Expr::ScalarSubquery(subquery) = &inner
            && !is_correlated(subquery)
        {
            let lowered = Expr::ScalarSubquery(one_value(subquery, shape)?);
            return Ok(Transformed::new(lowered, true, TreeNodeRecursion::Jump));
        }
        if !shape.outer_columns_are_in(input.schema())? {
            return Ok(Transformed::no(inner));
        }
        let (value, widened) = join_shape(shape, input.clone(), names)?;
        input = widened;
        Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
    })?;
    Ok((expr.data, input))
}

/// An uncorrelated subquery needs no join, only the guard against a second row.
fn one_value(subquery: &Subquery, shape: Shape) -> Result<Subquery> {
    let name = subquery.subquery.schema().field(0).name().clone();
    let value = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
    drop(shape);
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
        .aggregate(Vec::<Expr>::new(), vec![single_value().call(vec![value]).alias(name)])?
        .build()?;
    Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns: vec![], spans: subquery.spans.clone() })
}

fn join_shape(shape: Shape, outer: LogicalPlan, names: &mut Names) -> Result<(Expr, LogicalPlan)> {
    names.subqueries += 1;
    let prefix = format!("__subquery_{}", names.subqueries);
    let outer = number_rows(outer, &format!("{prefix}_row"))?;
    let outer_columns = columns_of(outer.schema());
    let hit = format!("{prefix}_hit");
    let renamed = rename_source(&shape.source, &prefix, &hit)?;
    let inside = Inside { schema: shape.source.schema().clone(), prefix: prefix.clone() };
    let on = shape.predicates.into_iter().map(|predicate| inside.rename(predicate)).collect::<Result<Vec<_>>>()?;
    let joined = match on.is_empty() {
        true => LogicalPlanBuilder::from(outer).join_on(renamed, JoinType::Left, vec![lit(true)])?,
        false => LogicalPlanBuilder::from(outer).join_on(renamed, JoinType::Left, on)?,
    };
    let hit = Expr::Column(Column::new_unqualified(hit)).is_true();
    let mut aggregates = Vec::with_capacity(shape.aggregates.len());
    for (position, aggregate) in shape.aggregates.into_iter().enumerate() {
        let aggregate = only_where(inside.rename(aggregate.expr)?, &hit)?;
        aggregates.push(aggregate.alias(format!("{prefix}_aggregate_{position}")));
    }
    let grouped = joined.aggregate(outer_columns, aggregates)?.build()?;
    Ok((inside.rename(shape.value)?, grouped))
}

/// `plan` with a number for each row, by which equal rows stay apart.
fn number_rows(plan: LogicalPlan, name: &str) -> Result<LogicalPlan> {
    let mut columns = columns_of(plan.schema());
    let row_number = WindowFunctionDefinition::WindowUDF(datafusion::functions_window::row_number::row_number_udwf());
    let number = Expr::from(WindowFunction::new(row_number, vec![]));
    let numbered = LogicalPlanBuilder::from(plan).window(vec![number])?.build()?;
    let last = numbered.schema().columns().pop();
    columns.extend(last.map(|column| Expr::Column(column).alias(name)));
    LogicalPlanBuilder::from(numbered).project(columns)?.build()
}

/// The subquery's FROM under names that nothing outside has, and a column that says that a row is there.
fn rename_source(source: &LogicalPlan, prefix: &str, hit: &str) -> Result<LogicalPlan> {
    let columns = source.schema().columns().into_iter().enumerate();
    let mut columns: Vec<Expr> =
        columns.map(|(position, column)| Expr::Column(column).alias(inner_name(prefix, position))).collect();
    columns.push(lit(true).alias(hit));
    LogicalPlanBuilder::from(source.clone()).project(columns)?.build()
}

fn inner_name(prefix: &str, position: usize) -> String {
    format!("{prefix}_column_{position}")
}

/// Inside the subquery: how its columns are called after the renaming.
struct Inside {
    schema: Arc<DFSchema>,
    prefix: String,
}

impl Inside {
    /// Inner columns by their new names, outer ones as plain columns, aggregates as columns of the join's GROUP BY.
    fn rename(&self, expr: Expr) -> Result<Expr> {
        let renamed = expr.transform_up(|part| match part {
            Expr::Column(column) => {
                Ok(match column.relation.is_none().then(|| shape::aggregate_position(&column.name)) {
                    Some(Some(position)) => {
                        let name = format!("{}_aggregate_{position}", self.prefix);
                        Transformed::yes(Expr::Column(Column::new_unqualified(name)))
                    }
                    _ => {
                        let position = self.schema.index_of_column(&column)?;
                        Transformed::yes(Expr::Column(Column::new_unqualified(inner_name(&self.prefix, position))))
                    }
                })
            }
            Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(renamed.data)
    }
}

/// The aggregate over the rows that joined, not over the row of NULLs of an outer row without any.
fn only_where(aggregate: Expr, hit: &Expr) -> Result<Expr> {
    let changed = aggregate.transform_down(|part| match part {
        Expr::AggregateFunction(AggregateFunction { func, mut params }) => {
            let filter = match params.filter.take() {
                Some(own) => own.and(hit.clone()),
                None => hit.clone(),
            };
            params.filter = Some(Box::new(filter));
            let filtered = Expr::AggregateFunction(AggregateFunction { func, params });
            Ok(Transformed::new(filtered, true, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(changed.data)
}

#[cfg(test)]
mod tests;
