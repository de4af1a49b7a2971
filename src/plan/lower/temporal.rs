//! Conditions with now(): a value of the row beside a bound that rises with the commit's time.
//!
//! ```text
//! WHERE device = 'a' AND time > now() - INTERVAL '1 hour'
//!
//! Temporal: time > now() - INTERVAL '1 hour'
//!   Filter: time IS NOT NULL
//!     Filter: device = 'a'
//! ```

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::utils::{split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, binary_expr, cast};

use crate::error::{Error, Result};
use crate::functions::{NOW, NOW_FUNCTIONS};
use crate::plan::rising::rises;
use crate::plan::view_plan::{Node, TimeComparison};

/// The conditions that read the time, and those that do not.
pub fn split(predicate: &Expr) -> (Vec<Expr>, Vec<Expr>) {
    let mut conditions: Vec<Expr> = Vec::new();
    for condition in split_conjunction_owned(predicate.clone()) {
        match condition {
            Expr::Between(between) if !between.negated && reads_time(&Expr::Between(between.clone())) => {
                conditions.push(binary_expr((*between.expr).clone(), Operator::GtEq, *between.low));
                conditions.push(binary_expr(*between.expr, Operator::LtEq, *between.high));
            }
            other => conditions.push(other),
        }
    }
    conditions.into_iter().partition(reads_time)
}

/// Errors: 0A000 for an expression that reads the time where no bound can be made of it.
pub fn refuse_time(expr: &Expr) -> Result<()> {
    if !reads_time(expr) {
        return Ok(());
    }
    Err(Error::not_built("now() in a materialized view, other than beside a value of the row in WHERE or HAVING").with_hint(
        "Write a condition as time > now() - INTERVAL '1 hour', with the columns on one side and now() on the other; \
         or select from the view with what needs the time.",
    ))
}

/// One such condition over a node.
pub fn lower(input: Node, condition: Expr) -> Result<Node> {
    let refused = || refuse_time(&condition).err().unwrap_or_else(|| Error::internal("a condition without time"));
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &condition else { return Err(refused()) };
    let (value, op, bound) = match (reads_time(left), reads_time(right)) {
        (false, true) => (left, *op, right),
        (true, false) => (right, op.swap().ok_or_else(refused)?, left),
        _ => return Err(refused()),
    };
    let comparison = match op {
        Operator::Gt => TimeComparison::Above,
        Operator::GtEq => TimeComparison::AtLeast,
        Operator::Lt => TimeComparison::Below,
        Operator::LtEq => TimeComparison::AtMost,
        _ => return Err(refused()),
    };
    super::pure(value)?;
    if value.column_refs().is_empty() || !bound.column_refs().is_empty() {
        return Err(refused());
    }
    if !rises(bound, &is_now) {
        return Err(falling());
    }
    let (value, bound) = (value.as_ref().clone(), bound.as_ref().clone());
    let value_type = value.get_type(input.schema())?;
    let bound = if bound.get_type(input.schema())? == value_type { bound } else { cast(bound, value_type) };
    let present = Node::Filter { id: 0, predicate: value.clone().is_not_null(), input: Box::new(input) };
    Ok(Node::Temporal { id: 0, input: Box::new(present), value, comparison, bound })
}

fn reads_time(expr: &Expr) -> bool {
    let named = |expr: &Expr| matches!(expr, Expr::ScalarFunction(call) if NOW_FUNCTIONS.contains(&call.name()));
    split_conjunction(expr).into_iter().any(|expr| expr.exists(|expr| Ok(named(expr))).unwrap_or(true))
}

fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.name() == NOW && call.args.is_empty())
}

/// A row that a bound has passed is forgotten, so that the bound must not come back.
fn falling() -> Error {
    super::refuse("a condition whose bound may fall while now() rises").with_hint(
        "Where clocks are set back, days and dates fall, and a month before March 31, 0:00 is earlier than a month before March 30, \
         12:00. Take hours, such as INTERVAL '24 hours'; in UTC also days, and months of whole days, as in \
         time > date_trunc('day', now()) - INTERVAL '1 month'.",
    )
}
