//! `INTERSECT ALL` and `EXCEPT ALL` ad hoc: equal rows are numbered on both sides, and a number is matched with the same
//! number, so that min(l, r) or l - r of them are left. DataFusion would match each with all.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, NullEquality, Result};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Distinct, Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition,
};

const LEFT_NUMBER: &str = "__left_row";
const RIGHT_NUMBER: &str = "__right_row";

/// The plan, not optimised yet, with its set operations of ALL as joins that count.
pub fn count_all(plan: LogicalPlan) -> Result<LogicalPlan> {
    let counted = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) if is_of_all(&join) => Ok(Transformed::yes(counted(join)?)),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(counted.data)
}

/// Before the optimizer runs, only set operations join with NULL equal to NULL. Without ALL the left side is distinct.
fn is_of_all(join: &Join) -> bool {
    join.null_equality == NullEquality::NullEqualsNull
        && matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && !matches!(&*join.left, LogicalPlan::Distinct(Distinct::All(_)))
        && !join.on.iter().any(|(left, _)| matches!(left, Expr::Column(column) if column.name == LEFT_NUMBER))
}

fn counted(join: Join) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
    let left = numbered(Arc::unwrap_or_clone(join.left), left_keys, LEFT_NUMBER)?;
    let right = numbered(Arc::unwrap_or_clone(join.right), right_keys, RIGHT_NUMBER)?;
    let mut on = join.on;
    let number = |name: &str| Expr::Column(Column::new_unqualified(name));
    on.push((number(LEFT_NUMBER), number(RIGHT_NUMBER)));
    let joined = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    LogicalPlanBuilder::from(LogicalPlan::Join(joined)).project(columns)?.build()
}

/// `plan` with a number for each row among those that are equal in `keys`.
fn numbered(plan: LogicalPlan, keys: Vec<Expr>, name: &str) -> Result<LogicalPlan> {
    let mut columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let row_number = WindowFunctionDefinition::WindowUDF(datafusion::functions_window::row_number::row_number_udwf());
    let number = Expr::from(WindowFunction::new(row_number, vec![])).partition_by(keys).build()?;
    let numbered = LogicalPlanBuilder::from(plan).window(vec![number])?.build()?;
    columns.extend(numbered.schema().columns().pop().map(|column| Expr::Column(column).alias(name)));
    LogicalPlanBuilder::from(numbered).project(columns)?.build()
}
