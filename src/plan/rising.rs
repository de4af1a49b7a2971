//! Whether an expression of a time rises with it: what a bound must do that a condition or a window is measured by.
//!
//! Does not know: what the time is, now() or a row's.

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, Volatility};

use crate::functions::literal_text;

/// Which expression is the time.
pub type IsTime<'a> = &'a dyn Fn(&Expr) -> bool;

/// Whether the expression never falls while what `is_time` says of rises. By a clock that is set back in autumn, days and dates do fall.
pub fn rises(expr: &Expr, is_time: IsTime<'_>) -> bool {
    if is_time(expr) {
        return true;
    }
    match expr {
        Expr::Alias(alias) => rises(&alias.expr, is_time),
        Expr::Cast(cast) => has_time_type(cast.field.data_type()) && rises(&cast.expr, is_time),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
            rises_moved_by(left, right, is_time) || rises_moved_by(right, left, is_time)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => rises_moved_by(left, right, is_time),
        Expr::ScalarFunction(call) => call_rises(call, is_time),
        // Each element of the list: of windows that overlap.
        Expr::Unnest(unnest) => matches!(&*unnest.expr, Expr::ScalarFunction(call) if call_rises(call, is_time)),
        _ => false,
    }
}

/// Months later or earlier, days that the month does not have are all its last one, at the time of day that each of them has.
fn rises_moved_by(time: &Expr, by: &Expr, is_time: IsTime<'_>) -> bool {
    rises(time, is_time) && interval(by).is_some_and(|by| by.months == 0 || is_whole_day(time))
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

fn call_rises(call: &ScalarFunction, is_time: IsTime<'_>) -> bool {
    match (call.name(), call.args.as_slice()) {
        ("clock_add", [time, by, _]) => {
            rises(time, is_time) && interval(by).is_some_and(|by| (by.months, by.days) == (0, 0))
        }
        ("date_trunc" | "time_bucket" | "date_bin", [width, time]) | ("tumble_start" | "window_end", [time, width]) => {
            is_constant(width) && rises(time, is_time)
        }
        ("hop_starts", [time, slide, size]) => is_constant(slide) && is_constant(size) && rises(time, is_time),
        _ => false,
    }
}

/// Literals, and what follows from them: text that is read as an interval is a call.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Alias(alias) => is_constant(&alias.expr),
        Expr::Cast(cast) => is_constant(&cast.expr),
        Expr::ScalarFunction(call) => {
            call.func.signature().volatility == Volatility::Immutable && call.args.iter().all(is_constant)
        }
        _ => false,
    }
}

fn has_time_type(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32)
}

fn interval(expr: &Expr) -> Option<IntervalMonthDayNano> {
    match expr {
        Expr::Negative(inner) => interval(inner),
        Expr::Literal(ScalarValue::IntervalMonthDayNano(value), _) => *value,
        _ => None,
    }
}
