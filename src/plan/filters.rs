//! Filters moved below joins, where they cannot err.
//!
//! A predicate that may raise (a division, a cast) stays where the user wrote it: below a join it would see rows that
//! the join drops, and the view would have errors that its query does not have.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, NullEquality, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, JoinType, LogicalPlan, Operator};

use crate::functions::floats::CANONICAL_FLOAT;

pub fn push_filters(plan: LogicalPlan) -> Result<LogicalPlan> {
    sink(plan, Vec::new())
}

/// `plan` filtered by all of `predicates`, each as far down as it may go.
fn sink(plan: LogicalPlan, mut predicates: Vec<Expr>) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Filter(filter) => {
            let schema = Arc::clone(filter.input.schema());
            predicates.extend(split_conjunction_owned(filter.predicate));
            let (sinking, staying) = partition(predicates, |expr| is_infallible(expr, &schema));
            filtered(sink(Arc::unwrap_or_clone(filter.input), sinking)?, staying)
        }
        LogicalPlan::Join(mut join) if join.join_type == JoinType::Inner => {
            let schema = Arc::clone(&join.schema);
            let (from_on, residual) =
                partition(join.filter.take().map(split_conjunction_owned).unwrap_or_default(), |expr| {
                    is_infallible(expr, &schema)
                });
            predicates.extend(from_on);
            let (left, rest) = partition(predicates, |expr| reads_only(expr, join.left.schema()));
            let (right, rest) = partition(rest, |expr| reads_only(expr, join.right.schema()));
            join.left = Arc::new(sink(Arc::unwrap_or_clone(join.left), left)?);
            join.right = Arc::new(sink(Arc::unwrap_or_clone(join.right), right)?);
            join.filter = conjunction(residual);
            filtered(LogicalPlan::Join(join), rest)
        }
        // What is above a left join may decide about left rows alone; what is in its ON, about right rows alone.
        LogicalPlan::Join(mut join) if join.join_type == JoinType::Left => {
            let (left, above) = partition(predicates, |expr| reads_only(expr, join.left.schema()));
            let schema = Arc::clone(&join.schema);
            let (right, residual) =
                partition(join.filter.take().map(split_conjunction_owned).unwrap_or_default(), |expr| {
                    is_infallible(expr, &schema) && reads_only(expr, join.right.schema())
                });
            join.left = Arc::new(sink(Arc::unwrap_or_clone(join.left), left)?);
            join.right = Arc::new(sink(Arc::unwrap_or_clone(join.right), right)?);
            join.filter = conjunction(residual);
            filtered(LogicalPlan::Join(join), above)
        }
        // These give left rows as they are. A condition of the join about right rows alone decides which there are.
        LogicalPlan::Join(mut join)
            if matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark)
                && join.null_equality == NullEquality::NullEqualsNothing =>
        {
            let (left, above) = partition(predicates, |expr| reads_only(expr, join.left.schema()));
            let schema = join.left.schema().join(join.right.schema())?;
            // In NOT IN, what is about right rows alone is about those that may be NULL as well.
            let (right, residual) =
                partition(join.filter.take().map(split_conjunction_owned).unwrap_or_default(), |expr| {
                    !join.null_aware && is_infallible(expr, &schema) && reads_only(expr, join.right.schema())
                });
            join.left = Arc::new(sink(Arc::unwrap_or_clone(join.left), left)?);
            join.right = Arc::new(sink(Arc::unwrap_or_clone(join.right), right)?);
            join.filter = conjunction(residual);
            filtered(LogicalPlan::Join(join), above)
        }
        LogicalPlan::Projection(mut projection) => {
            let exprs = projection.expr.clone();
            let renamed = |expr: &Expr| through(expr, &projection.schema, |i| plain_column(exprs.get(i)?));
            let (below, staying) = translate(predicates, renamed)?;
            projection.input = Arc::new(sink(Arc::unwrap_or_clone(projection.input), below)?);
            filtered(LogicalPlan::Projection(projection), staying)
        }
        LogicalPlan::SubqueryAlias(mut alias) => {
            let columns = alias.input.schema().columns();
            let renamed = |expr: &Expr| through(expr, &alias.schema, |i| columns.get(i).cloned().map(Expr::Column));
            let (below, staying) = translate(predicates, renamed)?;
            alias.input = Arc::new(sink(Arc::unwrap_or_clone(alias.input), below)?);
            filtered(LogicalPlan::SubqueryAlias(alias), staying)
        }
        other => {
            let children = other.map_children(|child| Ok(Transformed::yes(sink(child, Vec::new())?)))?;
            filtered(children.data, predicates)
        }
    }
}

fn filtered(plan: LogicalPlan, predicates: Vec<Expr>) -> Result<LogicalPlan> {
    match conjunction(predicates) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?)),
        None => Ok(plan),
    }
}

fn partition(exprs: Vec<Expr>, test: impl Fn(&Expr) -> bool) -> (Vec<Expr>, Vec<Expr>) {
    exprs.into_iter().partition(test)
}

/// The predicates in the input's columns, and those that have no such form.
fn translate(predicates: Vec<Expr>, renamed: impl Fn(&Expr) -> Result<Option<Expr>>) -> Result<(Vec<Expr>, Vec<Expr>)> {
    let (mut below, mut staying) = (Vec::new(), Vec::new());
    for predicate in predicates {
        match renamed(&predicate)? {
            Some(translated) => below.push(translated),
            None => staying.push(predicate),
        }
    }
    Ok((below, staying))
}

/// `expr` with each column of `schema` replaced by what `column` gives for its position.
fn through(expr: &Expr, schema: &DFSchema, column: impl Fn(usize) -> Option<Expr>) -> Result<Option<Expr>> {
    let mut complete = true;
    let replaced = expr.clone().transform_up(|expr| match &expr {
        Expr::Column(name) => match schema.maybe_index_of_column(name).and_then(&column) {
            Some(replacement) => Ok(Transformed::yes(replacement)),
            None => {
                complete = false;
                Ok(Transformed::no(expr))
            }
        },
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(complete.then_some(replaced.data))
}

fn plain_column(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Alias(alias) => plain_column(&alias.expr),
        Expr::Column(_) => Some(expr.clone()),
        _ => None,
    }
}

fn reads_only(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.iter().all(|column| schema.has_column(column))
}

/// Whether evaluating `expr` can raise for no row whatever.
pub fn is_infallible(expr: &Expr, schema: &DFSchema) -> bool {
    let mut infallible = true;
    let walked = expr.apply(|expr| {
        infallible = is_infallible_node(expr, schema);
        Ok(if infallible { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.is_ok() && infallible
}

fn is_infallible_node(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::BinaryExpr(binary) => is_logical(binary.op),
        Expr::ScalarFunction(function) => function.name() == CANONICAL_FLOAT,
        Expr::Cast(cast) => match cast.expr.get_type(schema) {
            Ok(source) => widens(&source, cast.field.data_type()),
            Err(_) => false,
        },
        Expr::Alias(_)
        | Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Between(_)
        | Expr::InList(_)
        | Expr::Like(_) => true,
        _ => false,
    }
}

fn is_logical(op: Operator) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
    matches!(op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Casts for which every value has an image.
fn widens(source: &DataType, target: &DataType) -> bool {
    use DataType::{Float32, Float64, Int16, Int32, Int64, Timestamp};
    match (source, target) {
        (source, target) if source == target => true,
        (Int16, Int32 | Int64 | Float32 | Float64) | (Int32, Int64 | Float32 | Float64) => true,
        (Int64, Float64) | (Float32, Float64) => true,
        (Timestamp(source, _), Timestamp(target, _)) => source == target,
        _ => false,
    }
}
