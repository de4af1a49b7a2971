//! `age`, and intervals brought into shape: `justify_hours`, `justify_days`, `justify_interval`.
//!
//! Follow PostgreSQL 15's timestamp_age, interval_justify_hours, interval_justify_days and interval_justify_interval
//! (src/backend/utils/adt/timestamp.c).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::{external, is_timestamptz, zone_named};
use crate::error::{Error, SqlState};
use crate::functions::sql_types::timestamptz;
use crate::functions::type_name;
use crate::types::calendar::{CivilDate, DAY_US, SECOND_US, days_in_month, offset_at};

const DAYS_OF_MONTH: i32 = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Age,
    JustifyHours,
    JustifyDays,
    JustifyInterval,
}

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Ages {
    kind: Kind,
    signature: Signature,
}

pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let function = |kind| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Ages { kind, signature }))
    };
    [Kind::Age, Kind::JustifyHours, Kind::JustifyDays, Kind::JustifyInterval].map(function).into()
}

impl ScalarUDFImpl for Ages {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Age => "age",
            Kind::JustifyHours => "justify_hours",
            Kind::JustifyDays => "justify_days",
            Kind::JustifyInterval => "justify_interval",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let is_time = |found: &DataType| {
            matches!(found, DataType::Timestamp(..) | DataType::Date32 | DataType::Null | DataType::Utf8)
        };
        match (self.kind, types) {
            // The third is the session's zone, put there by the analyzer.
            (Kind::Age, [later, earlier, zone @ ..]) if zone.len() <= 1 && is_time(later) && is_time(earlier) => {
                let time = match is_timestamptz(later) || is_timestamptz(earlier) {
                    true => timestamptz(),
                    false => DataType::Timestamp(TimeUnit::Microsecond, None),
                };
                Ok([time.clone(), time].into_iter().chain(zone.iter().map(|_| DataType::Utf8)).collect())
            }
            (
                Kind::JustifyHours | Kind::JustifyDays | Kind::JustifyInterval,
                [DataType::Interval(_) | DataType::Duration(_) | DataType::Null | DataType::Utf8],
            ) => Ok(vec![interval]),
            _ => {
                let types: Vec<String> = types.iter().map(type_name).collect();
                let message = format!("function {}({}) does not exist", self.name(), types.join(", "));
                Err(external(Error::new(SqlState::UNDEFINED_FUNCTION, message)))
            }
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let arrays: Vec<ArrayRef> = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<_>>()?;
        let intervals: IntervalMonthDayNanoArray = match arrays.as_slice() {
            [intervals] => {
                let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
                intervals.iter().map(|interval| Some(self.justified(interval?))).collect()
            }
            [later, earlier, ..] => {
                let zone = match args.args.get(2) {
                    Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))) => Some(zone_named(name)?),
                    _ => None,
                };
                let local = |instant: i64| match zone {
                    Some(zone) => instant + i64::from(offset_at(zone, instant)) * SECOND_US,
                    None => instant,
                };
                let times = [later, earlier].map(|times| times.as_primitive::<TimestampMicrosecondType>());
                let ages = times[0].iter().zip(times[1]).map(|(later, earlier)| match (later, earlier) {
                    (Some(later), Some(earlier)) if is_finite(later) && is_finite(earlier) => {
                        Ok(Some(age(local(later), local(earlier))))
                    }
                    (Some(_), Some(_)) => {
                        let error = Error::new(SqlState::DATETIME_OVERFLOW, "cannot subtract infinite timestamps");
                        Err(external(error))
                    }
                    _ => Ok(None),
                });
                ages.collect::<Result<_>>()?
            }
            [] => return internal_err!("{} without an argument", self.name()),
        };
        let intervals: ArrayRef = Arc::new(intervals);
        match is_scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&intervals, 0)?)),
            false => Ok(ColumnarValue::Array(intervals)),
        }
    }
}

fn is_finite(time: i64) -> bool {
    !matches!(time, i64::MAX | i64::MIN)
}

/// The difference field by field, as one would count it on a calendar.
fn age(later: i64, earlier: i64) -> IntervalMonthDayNano {
    if later < earlier {
        // Days are borrowed from the month of the first time, which is the earlier one here.
        let flipped = counted(earlier, later, later);
        return IntervalMonthDayNano::new(-flipped.months, -flipped.days, -flipped.nanoseconds);
    }
    counted(later, earlier, earlier)
}

/// `borrowed_from`: the time whose month a missing month's days are.
fn counted(later: i64, earlier: i64, borrowed_from: i64) -> IntervalMonthDayNano {
    let date = |time: i64| CivilDate::from_days(time.div_euclid(DAY_US));
    let (last, first) = (date(later), date(earlier));
    let mut time_us = later.rem_euclid(DAY_US) - earlier.rem_euclid(DAY_US);
    let mut days = last.day as i32 - first.day as i32;
    let mut months = (last.year - first.year) as i32 * 12 + last.month as i32 - first.month as i32;
    if time_us < 0 {
        time_us += DAY_US;
        days -= 1;
    }
    if days < 0 {
        let month = date(borrowed_from);
        days += days_in_month(month.year, month.month) as i32;
        months -= 1;
    }
    IntervalMonthDayNano::new(months, days, time_us * 1000)
}

impl Ages {
    fn justified(&self, interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
        const DAY_NS: i64 = DAY_US * 1000;
        let IntervalMonthDayNano { mut months, mut days, nanoseconds: mut time } = interval;
        if self.kind != Kind::JustifyDays {
            days = days.saturating_add((time / DAY_NS) as i32);
            time %= DAY_NS;
        }
        if self.kind != Kind::JustifyHours {
            months = months.saturating_add(days / DAYS_OF_MONTH);
            days %= DAYS_OF_MONTH;
            let by_time = if self.kind == Kind::JustifyInterval && days == 0 { time.signum() as i32 } else { 0 };
            let sign = days.signum() + by_time;
            if months > 0 && sign < 0 {
                days += DAYS_OF_MONTH;
                months -= 1;
            } else if months < 0 && sign > 0 {
                days -= DAYS_OF_MONTH;
                months += 1;
            }
        }
        if self.kind != Kind::JustifyDays {
            if days > 0 && time < 0 {
                time += DAY_NS;
                days -= 1;
            } else if days < 0 && time > 0 {
                time -= DAY_NS;
                days += 1;
            }
        }
        IntervalMonthDayNano::new(months, days, time)
    }
}
