//! How far a window function looks: where every call looks only so many rows back and ahead, a change concerns no rows beyond, and the
//! rest of the partition is left alone.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, WindowFrame, WindowFrameBound, WindowFrameUnits};

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;

use crate::functions::sessions::{SESSION_END, SESSION_START, gap_us};
use crate::functions::{ORDERED_ARRAY_AGG, ORDERED_STRING_AGG};

/// Beyond this, a partition is as well computed as a whole.
const ROWS_MAX: u64 = 10_000;

/// What of a partition a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Rows whose values look so many rows back and ahead.
    Rows { back: usize, ahead: usize },
    /// The sessions that it touches: runs of rows no more than so many microseconds apart, in the order of their times.
    Sessions { gap_us: i64 },
}

impl Reach {
    /// Of all calls together. `None` where one looks at rows without a bound, or can raise: a partition in which a call raises has
    /// no rows at all.
    pub fn of(calls: &[Expr], input: &DFSchema, cannot_fail: impl Fn(&Expr) -> bool) -> Option<Reach> {
        let mut reaches = calls.iter().map(|call| {
            let Expr::WindowFunction(call) = call else { return None };
            let infallible = call.params.args.iter().all(&cannot_fail) && call.params.filter.is_none();
            of_call(call, input).filter(|_| infallible && call.params.null_treatment.is_none())
        });
        let first = reaches.next()??;
        reaches.try_fold(first, |reach, own| match (reach, own?) {
            (Reach::Rows { back, ahead }, Reach::Rows { back: more_back, ahead: more_ahead }) => {
                Some(Reach::Rows { back: back.max(more_back), ahead: ahead.max(more_ahead) })
            }
            (reach, own) => (reach == own).then_some(reach),
        })
    }
}

fn of_call(call: &WindowFunction, input: &DFSchema) -> Option<Reach> {
    let integer = |arg: &Expr| matches!(arg.get_type(input), Ok(DataType::Int16 | DataType::Int32));
    let averaged = |arg: &Expr| {
        integer(arg) || matches!(arg.get_type(input), Ok(DataType::Int64 | DataType::Float32 | DataType::Float64))
    };
    let args = &call.params.args;
    match call.fun.name() {
        "lag" => of_offset(args.get(1)),
        "lead" => match of_offset(args.get(1))? {
            Reach::Rows { back, ahead } => Some(Reach::Rows { back: ahead, ahead: back }),
            sessions => Some(sessions),
        },
        SESSION_START | SESSION_END => of_sessions(call),
        "first_value" | "last_value" | "nth_value" | "count" | "min" | "max" | "bit_and" | "bit_or" | "bit_xor"
        | ORDERED_STRING_AGG | ORDERED_ARRAY_AGG => of_frame(&call.params.window_frame),
        "sum" if args.iter().all(integer) => of_frame(&call.params.window_frame),
        "avg" if args.iter().all(averaged) => of_frame(&call.params.window_frame),
        _ => None,
    }
}

/// Where the rows are in the order of the time that sessions are of.
fn of_sessions(call: &WindowFunction) -> Option<Reach> {
    let ([time, Expr::Literal(gap, _)], [key]) = (call.params.args.as_slice(), call.params.order_by.as_slice()) else {
        return None;
    };
    (key.expr == *time && key.asc && !key.nulls_first).then_some(Reach::Sessions { gap_us: gap_us(gap)? })
}

/// Of `lag`, whose offset is one row where none is written.
fn of_offset(offset: Option<&Expr>) -> Option<Reach> {
    let rows = match offset {
        None => 1,
        Some(Expr::Literal(value, _)) => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(Some(rows)) => rows,
            _ => return None,
        },
        Some(_) => return None,
    };
    let distance = bounded(rows.unsigned_abs())?;
    Some(if rows < 0 { Reach::Rows { back: 0, ahead: distance } } else { Reach::Rows { back: distance, ahead: 0 } })
}

fn of_frame(frame: &WindowFrame) -> Option<Reach> {
    if frame.units != WindowFrameUnits::Rows {
        return None;
    }
    let back = match &frame.start_bound {
        WindowFrameBound::Preceding(rows) => distance(rows)?,
        WindowFrameBound::CurrentRow => 0,
        WindowFrameBound::Following(rows) => distance(rows).map(|_| 0)?,
    };
    let ahead = match &frame.end_bound {
        WindowFrameBound::Following(rows) => distance(rows)?,
        WindowFrameBound::CurrentRow => 0,
        WindowFrameBound::Preceding(rows) => distance(rows).map(|_| 0)?,
    };
    Some(Reach::Rows { back, ahead })
}

/// `None` for UNBOUNDED, which is NULL.
fn distance(rows: &ScalarValue) -> Option<usize> {
    match rows.cast_to(&DataType::UInt64).ok()? {
        ScalarValue::UInt64(Some(rows)) => bounded(rows),
        _ => None,
    }
}

fn bounded(rows: u64) -> Option<usize> {
    usize::try_from(rows).ok().filter(|_| rows <= ROWS_MAX)
}
