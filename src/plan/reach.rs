//! How far window functions look: a change concerns no rows beyond, and the rest of the partition is left alone.
//!
//! ```text
//! sum(x) OVER (ORDER BY time RANGE '10 minutes' PRECEDING)    rows up to ten minutes behind a change
//! sum(x) OVER (ORDER BY time)                                 all rows behind it, and the sum of those before
//! ntile(4) OVER (ORDER BY time)                               the whole partition: no reach
//! ```

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprSchemable, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};

use crate::functions::sessions::{SESSION_END, SESSION_START, gap_us};
use crate::functions::{ORDERED_ARRAY_AGG, ORDERED_STRING_AGG};

/// Beyond this, a partition is as well computed as a whole.
const ROWS_MAX: u64 = 10_000;
const DAY_US: i128 = 86_400_000_000;
/// No month has more.
const MONTH_DAYS: i128 = 31;

/// What of a partition a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    Frames(Frames),
    /// The sessions that it touches: runs of rows no more than so many microseconds apart, in the order of their times.
    Sessions {
        gap_us: i64,
    },
}

/// Rows whose values look so far back and ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    pub back: Distance,
    pub ahead: Distance,
    /// Of each call: what it does with all rows before, if it looks at them.
    pub running: Vec<Option<Running>>,
    /// A call can raise. A partition in which one does has no rows at all.
    pub can_fail: bool,
}

/// From a row. No row is farther away than one of these says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Distance {
    /// So many rows.
    pub rows: usize,
    /// The rows that the order does not tell apart from it.
    pub peers: bool,
    /// Rows whose order's value differs by so much: in microseconds, or as the integers that they are.
    pub value: Option<i128>,
}

/// A call over a frame that begins with the partition, which needs of the rows before a change no more than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// The state of an aggregate, which does not grow with its rows.
    Aggregate,
    /// The first row's value.
    FirstValue,
    /// How many rows there are.
    RowNumber,
    Rank,
    /// How many that the order tells apart.
    DenseRank,
}

impl Frames {
    /// How far values of the order that a frame is made of are apart at most; `None` where none looks at them.
    pub fn value_distance(&self) -> Option<i128> {
        self.back.value.max(self.ahead.value)
    }

    pub fn runs(&self) -> bool {
        self.running.iter().any(Option::is_some)
    }
}

impl Distance {
    fn rows(rows: usize) -> Self {
        Distance { rows, ..Distance::default() }
    }

    fn and(self, other: Distance) -> Self {
        Distance {
            rows: self.rows.max(other.rows),
            peers: self.peers || other.peers,
            value: self.value.max(other.value),
        }
    }
}

/// Of one call.
enum Own {
    Frame { back: Distance, ahead: Distance, running: Option<Running>, can_fail: bool },
    Sessions { gap_us: i64 },
}

impl Reach {
    /// Of all calls together. `None` where one looks at the whole partition.
    pub fn of(calls: &[Expr], input: &DFSchema, cannot_fail: impl Fn(&Expr) -> bool) -> Option<Reach> {
        let own = |call: &Expr| {
            let Expr::WindowFunction(call) = call else { return None };
            let args_fail = !call.params.args.iter().chain(call.params.filter.as_deref()).all(&cannot_fail);
            of_call(call, input, args_fail)
        };
        let own: Vec<Own> = calls.iter().map(own).collect::<Option<_>>()?;
        if let Some(Own::Sessions { gap_us: gap }) = own.first() {
            let is_same = |own: &Own| matches!(own, Own::Sessions { gap_us } if gap_us == gap);
            return own.iter().all(is_same).then_some(Reach::Sessions { gap_us: *gap });
        }
        let nothing = Distance::default();
        let mut frames = Frames { back: nothing, ahead: nothing, running: Vec::new(), can_fail: false };
        for own in own {
            let Own::Frame { back, ahead, running, can_fail } = own else { return None };
            (frames.back, frames.ahead) = (frames.back.and(back), frames.ahead.and(ahead));
            frames.running.push(running);
            frames.can_fail |= can_fail;
        }
        Some(Reach::Frames(frames))
    }
}

fn of_call(call: &WindowFunction, input: &DFSchema, args_fail: bool) -> Option<Own> {
    let (params, frame) = (&call.params, &call.params.window_frame);
    if params.null_treatment.is_some() || params.distinct {
        return None;
    }
    let name = call.fun.name();
    let counted = |running| Own::Frame {
        back: Distance::default(),
        ahead: Distance::default(),
        running: Some(running),
        can_fail: false,
    };
    let neighbour = |(back, ahead)| Own::Frame {
        back: Distance::rows(back),
        ahead: Distance::rows(ahead),
        running: None,
        can_fail: args_fail,
    };
    if let WindowFunctionDefinition::WindowUDF(_) = call.fun {
        return match name {
            "lag" => of_offset(params.args.get(1)).map(neighbour),
            "lead" => of_offset(params.args.get(1)).map(|(back, ahead)| neighbour((ahead, back))),
            SESSION_START | SESSION_END if !args_fail => of_sessions(call),
            "row_number" => Some(counted(Running::RowNumber)),
            "rank" => Some(counted(Running::Rank)),
            "dense_rank" => Some(counted(Running::DenseRank)),
            "first_value" => of_frame(call, input, (!args_fail).then_some(Running::FirstValue), args_fail),
            "last_value" if frame.start_bound.is_unbounded() => {
                let ahead = of_end(frame, &key_type(call, input))?;
                Some(Own::Frame { back: Distance::default(), ahead, running: None, can_fail: args_fail })
            }
            "last_value" | "nth_value" => of_frame(call, input, None, args_fail),
            _ => None,
        };
    }
    let integer = |arg: &Expr| matches!(arg.get_type(input), Ok(DataType::Int16 | DataType::Int32));
    let averaged = |arg: &Expr| {
        integer(arg) || matches!(arg.get_type(input), Ok(DataType::Int64 | DataType::Float32 | DataType::Float64))
    };
    let fails = match name {
        "count" | "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or" | "bit_xor" | ORDERED_STRING_AGG
        | ORDERED_ARRAY_AGG => false,
        "sum" => !params.args.iter().all(integer),
        "avg" => !params.args.iter().all(averaged),
        _ => true,
    };
    let running = has_small_state(name).then_some(Running::Aggregate);
    of_frame(call, input, running, args_fail || fails)
}

/// Aggregates whose state does not grow with their rows.
fn has_small_state(name: &str) -> bool {
    let is_one_of = |names: &[&str]| names.contains(&name);
    is_one_of(&["count", "sum", "avg", "min", "max", "first", "last"])
        || is_one_of(&["bool_and", "bool_or", "bit_and", "bit_or", "bit_xor"])
        || is_one_of(&["var_samp", "var_pop", "stddev_samp", "stddev_pop", "covar_samp", "covar_pop", "corr"])
        || name.starts_with("regr_")
}

/// Where the rows are in the order of the time that sessions are of.
fn of_sessions(call: &WindowFunction) -> Option<Own> {
    let ([time, Expr::Literal(gap, _)], [key]) = (call.params.args.as_slice(), call.params.order_by.as_slice()) else {
        return None;
    };
    (key.expr == *time && key.asc && !key.nulls_first).then_some(Own::Sessions { gap_us: gap_us(gap)? })
}

/// Rows back and ahead of `lag`, whose offset is one row where none is written.
fn of_offset(offset: Option<&Expr>) -> Option<(usize, usize)> {
    let rows = match offset {
        None => 1,
        Some(Expr::Literal(value, _)) => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(Some(rows)) => rows,
            _ => return None,
        },
        Some(_) => return None,
    };
    let distance = bounded(rows.unsigned_abs())?;
    Some(if rows < 0 { (0, distance) } else { (distance, 0) })
}

/// Of a call whose value is of the rows of its frame; `running`: what it is where these begin with the partition.
fn of_frame(call: &WindowFunction, input: &DFSchema, running: Option<Running>, fails: bool) -> Option<Own> {
    let (frame, key) = (&call.params.window_frame, key_type(call, input));
    if frame.start_bound.is_unbounded() {
        let is_in_order = !call.params.order_by.is_empty();
        let ahead = of_end(frame, &key).filter(|ahead| is_in_order && ahead.value.is_none())?;
        return Some(Own::Frame { back: Distance::default(), ahead, running: Some(running?), can_fail: fails });
    }
    let back = of_bound(frame.units, &frame.start_bound, true, &key)?;
    let ahead = of_bound(frame.units, &frame.end_bound, false, &key)?;
    Some(Own::Frame { back, ahead, running: None, can_fail: fails })
}

/// Of a frame that begins with the partition: one that is never empty.
fn of_end(frame: &WindowFrame, key: &DataType) -> Option<Distance> {
    match frame.end_bound {
        WindowFrameBound::Preceding(_) => None,
        _ => of_bound(frame.units, &frame.end_bound, false, key),
    }
}

fn key_type(call: &WindowFunction, input: &DFSchema) -> DataType {
    match call.params.order_by.as_slice() {
        [key] => key.expr.get_type(input).unwrap_or(DataType::Null),
        _ => DataType::Null,
    }
}

/// How far rows are that a frame's start looks back to, or its end ahead. `None` without a bound.
fn of_bound(units: WindowFrameUnits, bound: &WindowFrameBound, is_start: bool, key: &DataType) -> Option<Distance> {
    let (by, is_beyond) = match bound {
        WindowFrameBound::CurrentRow if units == WindowFrameUnits::Rows => return Some(Distance::default()),
        WindowFrameBound::CurrentRow => return Some(Distance { peers: true, ..Distance::default() }),
        WindowFrameBound::Preceding(by) => (by, is_start),
        WindowFrameBound::Following(by) => (by, !is_start),
    };
    let distance = match units {
        WindowFrameUnits::Rows => Distance::rows(distance(by)?),
        WindowFrameUnits::Range => Distance { value: Some(value_distance(by, key)?), ..Distance::default() },
        WindowFrameUnits::Groups => return None,
    };
    // A start that is ahead looks at nothing behind; where it is, is computed all the same, and may be beyond all values.
    Some(if is_beyond { distance } else { Distance { rows: 0, ..distance } })
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

/// At least as far as the rows of a frame can be, and a day more where days and months are not of one length.
fn value_distance(by: &ScalarValue, key: &DataType) -> Option<i128> {
    match key {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => match by.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(Some(by)) => Some(i128::from(by).abs()),
            _ => None,
        },
        DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Date32 => {
            let interval = by.cast_to(&DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano)).ok()?;
            let ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, days, nanoseconds })) = interval
            else {
                return None;
            };
            let whole_days = i128::from(months).abs() * MONTH_DAYS + i128::from(days).abs();
            let is_exact = whole_days == 0 && *key != DataType::Date32;
            let slack = if is_exact { 0 } else { DAY_US };
            Some(whole_days * DAY_US + i128::from(nanoseconds).abs() / 1000 + 1 + slack)
        }
        _ => None,
    }
}
