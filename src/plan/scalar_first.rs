//! Scalar subqueries that are tied to the outer row by equalities, and do not aggregate:
//! `SELECT t.name, (SELECT r.speed FROM readings r WHERE r.truck = t.id ORDER BY at DESC LIMIT 1) FROM trucks t`.
//!
//! ```text
//! Projection: name, subquery            Projection: name, value
//!   t                            ->       Left Join: t.id = key
//!                                           t
//!                                           value, key: the first row of each group, as in lateral_first
//! ```
//!
//! In every clause but the ON of outer joins. A second row is an error of the outer rows that ask for the value. What is tied otherwise stays
//! as it is.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, TableReference};
use datafusion::logical_expr::expr::SetQuantifier;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Sort, Subquery,
    Window, not,
};

use super::filters::is_infallible;
use super::lateral_first::{Known, first_value, has_rows, has_subquery, is_among};

/// A node with such subqueries as one over joins; `None` where it has none. `names`: counts, so that each join has names of its own.
pub(super) fn lower_scalars(node: &LogicalPlan, known: &Known<'_>, names: &mut usize) -> Result<Option<LogicalPlan>> {
    match node {
        // One row that reads those of an outer query becomes steps over these (`lateral`).
        LogicalPlan::Projection(Projection { expr, input, .. })
            if matches!(input.as_ref(), LogicalPlan::EmptyRelation(_)) && expr.iter().any(Expr::contains_outer) =>
        {
            Ok(None)
        }
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let mut lowering = Lowering::over(input, known, names);
            let exprs = lowering.named(expr)?;
            lowering.changed(|input| Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?)))
        }
        LogicalPlan::Filter(Filter { predicate, input, .. }) => {
            let mut lowering = Lowering::over(input, known, names);
            let predicate = lowering.lower(predicate)?;
            let columns = columns_of(input);
            lowering.changed(|input| LogicalPlanBuilder::from(input).filter(predicate)?.project(columns)?.build())
        }
        LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, .. }) => {
            let mut lowering = Lowering::over(input, known, names);
            let (group, aggregates) = (lowering.named(group_expr)?, lowering.named(aggr_expr)?);
            lowering.changed(|input| Ok(LogicalPlan::Aggregate(Aggregate::try_new(input, group, aggregates)?)))
        }
        LogicalPlan::Window(Window { input, window_expr, .. }) => {
            let mut lowering = Lowering::over(input, known, names);
            let calls = lowering.named(window_expr)?;
            let kept = columns_of(input)
                .into_iter()
                .chain(node.schema().columns().into_iter().skip(input.schema().fields().len()).map(Expr::Column));
            let kept: Vec<Expr> = kept.collect();
            lowering.changed(|input| LogicalPlanBuilder::from(input).window(calls)?.project(kept)?.build())
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() && sort.expr.iter().any(|key| has_subquery(&key.expr)) => {
            by_scalars(sort, known, names)
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            let conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
            let (above, within): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(has_correlated_scalar);
            let Some(above) = conjunction(above) else { return Ok(None) };
            let joined = Arc::new(LogicalPlan::Join(Join { filter: conjunction(within), ..join.clone() }));
            let mut lowering = Lowering::over(&joined, known, names);
            let predicate = lowering.lower(&above)?;
            let columns = columns_of(&joined);
            lowering.changed(|input| LogicalPlanBuilder::from(input).filter(predicate)?.project(columns)?.build())
        }
        _ => Ok(None),
    }
}

/// Rows in the order of such subqueries, which may read columns of the rows that the select list does not show: each is a column behind it.
fn by_scalars(sort: &Sort, known: &Known<'_>, names: &mut usize) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Projection(list) = sort.input.as_ref() else { return Ok(None) };
    let qualifier = TableReference::bare(format!("__order_{names}"));
    let mut lowering = Lowering::over(&list.input, known, names);
    let (mut exprs, mut keys) = (list.expr.clone(), Vec::with_capacity(sort.expr.len()));
    for key in &sort.expr {
        let mut key = key.clone();
        if has_subquery(&key.expr) {
            let shown = key.expr.transform(|expr| match &expr {
                Expr::Column(column) => match list.schema.maybe_index_of_column(column) {
                    Some(place) => Ok(Transformed::yes(list.expr[place].clone().unalias())),
                    None => Ok(Transformed::no(expr)),
                },
                _ => Ok(Transformed::no(expr)),
            })?;
            let name = format!("key_{}", exprs.len());
            exprs.push(lowering.lower_all(&shown.data)?.alias_qualified(Some(qualifier.clone()), &name));
            key.expr = Expr::Column(Column::new(Some(qualifier.clone()), name));
        }
        keys.push(key);
    }
    let columns = columns_of(&sort.input);
    lowering.changed(|input| LogicalPlanBuilder::from(input).project(exprs)?.sort(keys)?.project(columns)?.build())
}

fn columns_of(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

/// Whether parts of an expression are not evaluated for all rows.
fn is_conditional(expr: &Expr) -> bool {
    let decides = |expr: &Expr| {
        Ok(match expr {
            Expr::Case(_) => true,
            Expr::BinaryExpr(binary) => matches!(binary.op, Operator::And | Operator::Or),
            Expr::ScalarFunction(call) => call.name() == "coalesce",
            _ => false,
        })
    };
    expr.exists(decides).unwrap_or(true)
}

fn has_correlated_scalar(expr: &Expr) -> bool {
    let is_one = |expr: &Expr| {
        let is_one = matches!(expr, Expr::ScalarSubquery(subquery) if !subquery.outer_ref_columns.is_empty());
        Ok(is_one)
    };
    expr.exists(is_one).unwrap_or(false)
}

struct Lowering<'a> {
    /// The rows, with a column for each subquery so far.
    input: LogicalPlan,
    known: &'a Known<'a>,
    names: &'a mut usize,
    is_changed: bool,
}

impl<'a> Lowering<'a> {
    fn over(input: &LogicalPlan, known: &'a Known<'a>, names: &'a mut usize) -> Self {
        Lowering { input: input.clone(), known, names, is_changed: false }
    }

    /// What `make` makes of the rows, if a subquery has become a column of them.
    fn changed(self, make: impl FnOnce(Arc<LogicalPlan>) -> Result<LogicalPlan>) -> Result<Option<LogicalPlan>> {
        self.is_changed.then(|| make(Arc::new(self.input))).transpose()
    }

    /// Expressions under the names that they had.
    fn named(&mut self, exprs: &[Expr]) -> Result<Vec<Expr>> {
        let lowered = exprs.iter().map(|expr| {
            let name = NamePreserver::new_for_projection().save(expr);
            Ok(name.restore(self.lower_all(expr)?))
        });
        lowered.collect()
    }

    /// Also IN and EXISTS, which a filter has joins of its own for.
    fn lower_all(&mut self, expr: &Expr) -> Result<Expr> {
        let is_conditional = is_conditional(expr);
        let lowered = expr.clone().transform_up(|expr| {
            let (lowered, negated) = match &expr {
                Expr::InSubquery(within) => {
                    (self.is_among(&within.expr, &within.subquery, is_conditional)?, within.negated)
                }
                Expr::SetComparison(set) => {
                    // `= ANY` is IN, and `<> ALL` NOT IN.
                    let negated = match (&set.op, &set.quantifier) {
                        (Operator::Eq, SetQuantifier::Any) => false,
                        (Operator::NotEq, SetQuantifier::All) => true,
                        _ => return Ok(Transformed::no(expr)),
                    };
                    (self.is_among(&set.expr, &set.subquery, is_conditional)?, negated)
                }
                Expr::Exists(exists) => {
                    *self.names += 1;
                    (has_rows(&self.input, &exists.subquery, self.known, *self.names)?, exists.negated)
                }
                _ => return Ok(Transformed::no(expr)),
            };
            let Some((joined, found)) = lowered else { return Ok(Transformed::no(expr)) };
            (self.input, self.is_changed) = (joined, true);
            Ok(Transformed::yes(if negated { not(found) } else { found }))
        })?;
        self.lower(&lowered.data)
    }

    /// A value that may raise is not computed for rows that do not ask for it.
    fn is_among(
        &mut self,
        value: &Expr,
        subquery: &Subquery,
        is_conditional: bool,
    ) -> Result<Option<(LogicalPlan, Expr)>> {
        let value = self.lower(value)?;
        if value.is_volatile() || (is_conditional && !is_infallible(&value, self.input.schema())) {
            return Ok(None);
        }
        *self.names += 1;
        is_among(&self.input, &value, subquery, self.known, *self.names)
    }

    fn lower(&mut self, expr: &Expr) -> Result<Expr> {
        let is_conditional = is_conditional(expr);
        let lowered = expr.clone().transform_down(|expr| {
            let Expr::ScalarSubquery(subquery) = &expr else { return Ok(Transformed::no(expr)) };
            if subquery.outer_ref_columns.is_empty() {
                return Ok(Transformed::no(expr));
            }
            *self.names += 1;
            match first_value(&self.input, subquery, self.known, *self.names, is_conditional)? {
                Some((joined, value)) => {
                    (self.input, self.is_changed) = (joined, true);
                    Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
                }
                None => Ok(Transformed::no(expr)),
            }
        })?;
        Ok(lowered.data)
    }
}
