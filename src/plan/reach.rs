//! How far a window function looks: where every call looks only so many rows back and ahead, a change concerns no rows beyond, and the
//! rest of the partition is left alone.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, WindowFrame, WindowFrameBound, WindowFrameUnits};

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;

/// Beyond this, a partition is as well computed as a whole.
const ROWS_MAX: u64 = 10_000;

/// In rows of the partition, from the one that the value is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    pub back: usize,
    pub ahead: usize,
}

impl Reach {
    /// Of all calls together. `None` where one looks at rows without a bound, or can raise: a partition in which a call raises has
    /// no rows at all.
    pub fn of(calls: &[Expr], input: &DFSchema, cannot_fail: impl Fn(&Expr) -> bool) -> Option<Reach> {
        calls.iter().try_fold(Reach::default(), |reach, call| {
            let Expr::WindowFunction(call) = call else { return None };
            let infallible = call.params.args.iter().all(&cannot_fail) && call.params.filter.is_none();
            let own = of_call(call, input).filter(|_| infallible && call.params.null_treatment.is_none())?;
            Some(Reach { back: reach.back.max(own.back), ahead: reach.ahead.max(own.ahead) })
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
        "lead" => of_offset(args.get(1)).map(|Reach { back, ahead }| Reach { back: ahead, ahead: back }),
        "first_value" | "last_value" | "nth_value" | "count" | "min" | "max" => of_frame(&call.params.window_frame),
        "sum" if args.iter().all(integer) => of_frame(&call.params.window_frame),
        "avg" if args.iter().all(averaged) => of_frame(&call.params.window_frame),
        _ => None,
    }
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
    Some(if rows < 0 { Reach { back: 0, ahead: distance } } else { Reach { back: distance, ahead: 0 } })
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
    Some(Reach { back, ahead })
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
