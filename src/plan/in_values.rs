//! `x IN (SELECT y ...)` as a value with three answers, where more depends on it than whether a row is kept.
//!
//! ```text
//! NOT (x IN S) OR p   ->   NOT (CASE WHEN x IN S THEN true
//!                                    WHEN x IS NULL AND EXISTS S OR EXISTS (S WHERE y IS NULL) THEN NULL
//!                                    ELSE false END) OR p
//! x NOT IN S   ->   NOT EXISTS (S WHERE (x = y) IS NOT FALSE)        where S reads the outer row
//! ```
//!
//! Because DataFusion marks each row as matching or not, and NOT would make true of a match that is unknown. A condition
//! of WHERE by itself, and one under nothing but AND and OR, is right as it is.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Case, Exists, InSubquery};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit};

pub fn in_values(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Filter(filter) => {
            let Filter { predicate, input, .. } = filter;
            condition(predicate, true, input.schema())?
                .map_data(|predicate| Ok(LogicalPlan::Filter(Filter::try_new(predicate, input)?)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(rewritten.data)
}

/// An expression of which only matters whether it is true. `is_conjunct`: it is by itself a condition of WHERE.
fn condition(expr: Expr, is_conjunct: bool, row: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let is_conjunct = is_conjunct && op == Operator::And;
            let (left, right) = (condition(*left, is_conjunct, row)?, condition(*right, is_conjunct, row)?);
            let changed = left.transformed || right.transformed;
            let (left, right) = (Box::new(left.data), Box::new(right.data));
            let expr = Expr::BinaryExpr(BinaryExpr { left, op, right });
            Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
        }
        Expr::InSubquery(found) if is_conjunct && found.negated && is_tied(&found) => {
            Ok(Transformed::yes(equals_none(found, row)?))
        }
        Expr::InSubquery(found) if !found.negated || is_conjunct => Ok(Transformed::no(Expr::InSubquery(found))),
        Expr::Not(inner)
            if is_conjunct && matches!(&*inner, Expr::InSubquery(found) if !found.negated && is_tied(found)) =>
        {
            match *inner {
                Expr::InSubquery(found) => Ok(Transformed::yes(equals_none(found, row)?)),
                inner => Ok(Transformed::no(Expr::Not(Box::new(inner)))),
            }
        }
        Expr::Not(inner) if is_conjunct && matches!(*inner, Expr::InSubquery(_)) => {
            Ok(Transformed::no(Expr::Not(inner)))
        }
        other => other.transform_down(|expr| match expr {
            Expr::InSubquery(found) => Ok(Transformed::new(value(found)?, true, TreeNodeRecursion::Jump)),
            other => Ok(Transformed::no(other)),
        }),
    }
}

/// Whether the subquery reads the outer row.
fn is_tied(found: &InSubquery) -> bool {
    !found.subquery.outer_ref_columns.is_empty()
}

/// `NOT EXISTS (SELECT ... WHERE (x = y) IS NOT FALSE)`.
fn equals_none(found: InSubquery, row: &DFSchema) -> Result<Expr> {
    let InSubquery { expr, subquery, .. } = found;
    let mut outer_ref_columns = subquery.outer_ref_columns.clone();
    let outer = expr.transform_up(|expr| match expr {
        Expr::Column(column) => {
            let field = Arc::clone(row.qualified_field_from_column(&column)?.1);
            let outer = Expr::OuterReferenceColumn(field, column);
            outer_ref_columns.push(outer.clone());
            Ok(Transformed::yes(outer))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let inner = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
        .filter(Expr::IsNotFalse(Box::new(outer.data.eq(inner))))?
        .build()?;
    let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans };
    Ok(Expr::Exists(Exists { subquery, negated: true }))
}

fn value(found: InSubquery) -> Result<Expr> {
    let InSubquery { expr, subquery, negated } = found;
    let inner = Column::from(subquery.subquery.schema().qualified_field(0));
    let with_null =
        LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).filter(Expr::Column(inner).is_null())?.build()?;
    let exists = |plan: Arc<LogicalPlan>| {
        let subquery = Subquery {
            subquery: plan,
            outer_ref_columns: subquery.outer_ref_columns.clone(),
            spans: subquery.spans.clone(),
        };
        Expr::Exists(Exists { subquery, negated: false })
    };
    let any = exists(Arc::clone(&subquery.subquery));
    let unknown = expr.clone().is_null().and(any).or(exists(Arc::new(with_null)));
    let is_in = Expr::InSubquery(InSubquery { expr, subquery: subquery.clone(), negated: false });
    let null = Expr::Literal(ScalarValue::Boolean(None), None);
    let answer = |answer: Expr| Box::new(answer);
    let value = Expr::Case(Case {
        expr: None,
        when_then_expr: vec![(answer(is_in), answer(lit(true))), (answer(unknown), answer(null))],
        else_expr: Some(answer(lit(false))),
    });
    Ok(if negated { Expr::Not(Box::new(value)) } else { value })
}
