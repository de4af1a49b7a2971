//! Conditions with now(): a value of the row beside a bound that rises with the commit's time.
//!
//! ```text
//! WHERE device = 'a' AND time > now() - INTERVAL '1 hour'
//!
//! Temporal: time > now() - INTERVAL '1 hour'
//!   Filter: time IS NOT NULL
//!     Filter: device = 'a'
//! ```

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::{split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, binary_expr, cast};

use crate::error::{Error, Result};
use crate::functions::{NOW, NOW_FUNCTIONS, literal_text};
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
    if !rises(bound) {
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

/// A row that a bound has passed is forgotten, so that the bound must not come back.
fn falling() -> Error {
    super::refuse("a condition whose bound may fall while now() rises").with_hint(
        "Where clocks are set back, days and dates fall, and a month before March 31, 0:00 is earlier than a month before March 30, \
         12:00. Take hours, such as INTERVAL '24 hours'; in UTC also days, and months of whole days, as in \
         time > date_trunc('day', now()) - INTERVAL '1 month'.",
    )
}

/// Whether the expression never falls while now() rises. By a clock that is set back in autumn, days and dates do fall.
fn rises(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => rises(&alias.expr),
        Expr::Cast(cast) => is_time(cast.field.data_type()) && rises(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
            rises_moved_by(left, right) || rises_moved_by(right, left)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => rises_moved_by(left, right),
        Expr::ScalarFunction(call) => call_rises(call),
        _ => false,
    }
}

/// Months later or earlier, days that the month does not have are all its last one, at the time of day that each of them has.
fn rises_moved_by(time: &Expr, by: &Expr) -> bool {
    rises(time) && interval(by).is_some_and(|by| by.months == 0 || is_whole_day(time))
}

/// Whether it is midnight, of an expression that rises.
fn is_whole_day(expr: &Expr) -> bool {
    const UNITS: [&str; 8] = ["day", "week", "month", "quarter", "year", "decade", "century", "millennium"];
    match expr {
        Expr::Alias(alias) => is_whole_day(&alias.expr),
        Expr::Cast(cast) => matches!(cast.field.data_type(), DataType::Date32) || is_whole_day(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) => {
            let moved =
                |time: &Expr, by: &Expr| is_whole_day(time) && interval(by).is_some_and(|by| by.nanoseconds == 0);
            moved(left, right) || moved(right, left)
        }
        Expr::ScalarFunction(call) => match (call.name(), call.args.as_slice()) {
            ("date_trunc", [unit, _]) => {
                literal_text(unit).is_some_and(|unit| UNITS.contains(&unit.to_lowercase().as_str()))
            }
            ("time_bucket", [width, _]) => interval(width).is_some_and(|width| width.nanoseconds == 0),
            _ => false,
        },
        _ => false,
    }
}

fn call_rises(call: &ScalarFunction) -> bool {
    match (call.name(), call.args.as_slice()) {
        (NOW, []) => true,
        ("clock_add", [time, by, _]) => rises(time) && interval(by).is_some_and(|by| (by.months, by.days) == (0, 0)),
        ("date_trunc" | "time_bucket" | "date_bin", [Expr::Literal(..), time]) => rises(time),
        _ => false,
    }
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32)
}

fn interval(expr: &Expr) -> Option<IntervalMonthDayNano> {
    match expr {
        Expr::Negative(inner) => interval(inner),
        Expr::Literal(ScalarValue::IntervalMonthDayNano(value), _) => *value,
        _ => None,
    }
}
