//! `session_start(time, gap)` and `session_end(time, gap)`, window functions over rows in the order of their time: rows that are no more than
//! a gap apart are one session, which begins with its first row and ends a gap behind its last.
//!
//! `SESSION(t, time, gap, key ...)` in FROM has them as `window_start` and `window_end`. A row without a time is in none.

use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, ReversedUDWF, Signature, Volatility, WindowUDF, WindowUDFImpl};

use crate::types::calendar::DAY_US;

/// Names of the two functions.
pub const SESSION_START: &str = "session_start";
pub const SESSION_END: &str = "session_end";

/// The rows of each session among rows in the order of their times; those without a time are at the end, and in none.
pub fn sessions(times: &TimestampMicrosecondArray, gap_us: i64) -> impl Iterator<Item = Range<usize>> + '_ {
    let timed = times.len() - times.null_count();
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= timed {
            return None;
        }
        let apart = |row: &usize| times.value(*row).saturating_sub(times.value(*row - 1)) > gap_us;
        let end = (start + 1..timed).find(apart).unwrap_or(timed);
        Some(std::mem::replace(&mut start, end)..end)
    })
}

/// A gap in microseconds: days have 24 hours. `None` for months, and for what is not above zero.
pub fn gap_us(gap: &ScalarValue) -> Option<i64> {
    let ScalarValue::IntervalMonthDayNano(Some(gap)) = gap.cast_to(&interval()).ok()? else { return None };
    let us = i64::from(gap.days).checked_mul(DAY_US)?.checked_add(gap.nanoseconds / 1000)?;
    (gap.months == 0 && us > 0).then_some(us)
}

fn interval() -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Session {
    ends: bool,
    signature: Signature,
}

impl Session {
    pub fn functions() -> [Arc<WindowUDF>; 2] {
        [false, true].map(|ends| {
            Arc::new(WindowUDF::from(Session { ends, signature: Signature::user_defined(Volatility::Immutable) }))
        })
    }
}

impl WindowUDFImpl for Session {
    fn name(&self) -> &str {
        if self.ends { SESSION_END } else { SESSION_START }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Timestamp(_, zone), gap] if is_gap(gap) => {
                Ok(vec![DataType::Timestamp(TimeUnit::Microsecond, zone.clone()), interval()])
            }
            _ => plan_err!("{} takes a time and an interval", self.name()),
        }
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Sessions { ends: self.ends }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let time = args.get_input_field(0).map(|field| field.data_type().clone());
        let time = time.unwrap_or(DataType::Timestamp(TimeUnit::Microsecond, None));
        Ok(Arc::new(Field::new(args.name(), time, true)))
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }
}

fn is_gap(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Null) || data_type.is_string()
}

#[derive(Debug)]
struct Sessions {
    ends: bool,
}

impl PartitionEvaluator for Sessions {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let [times, gaps] = values else { return exec_err!("a session is of a time and a gap") };
        let Some(times) = times.as_primitive_opt::<TimestampMicrosecondType>() else {
            return exec_err!("a session is of a time");
        };
        let gap = match rows {
            0 => ScalarValue::Null,
            _ => ScalarValue::try_from_array(gaps, 0)?,
        };
        let Some(gap_us) = gap_us(&gap) else {
            return exec_err!("the gap of a session is an interval above zero, of days and less");
        };
        let mut shown = vec![None; rows];
        for session in sessions(times, gap_us) {
            let value = match self.ends {
                false => Some(times.value(session.start)),
                true => times.value(session.end - 1).checked_add(gap_us),
            };
            shown[session].fill(value);
        }
        let shown = TimestampMicrosecondArray::from(shown).with_timezone_opt(times.timezone());
        Ok(Arc::new(shown))
    }

    fn supports_bounded_execution(&self) -> bool {
        false
    }

    fn uses_window_frame(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_no_more_than_a_gap_apart_are_one_session() {
        let times = TimestampMicrosecondArray::from(vec![Some(1), Some(3), Some(6), Some(6), Some(9), None]);
        assert_eq!(sessions(&times, 2).collect::<Vec<_>>(), [0..2, 2..4, 4..5]);
        assert_eq!(sessions(&times, 3).map(|rows| (rows.start, rows.end)).collect::<Vec<_>>(), [(0, 5)]);
        assert_eq!(sessions(&times.slice(5, 1), 3).count(), 0);
        assert_eq!(sessions(&times.slice(0, 0), 3).count(), 0);
    }
}
