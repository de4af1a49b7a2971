//! Casts and sums in a zone, `AT TIME ZONE`, and times as text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, StringBuilder, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Date32Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use chrono_tz::Tz;
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::{external, zone_named};
use crate::error::{Error, SqlState};
use crate::functions::sql_types::timestamptz;
use crate::types::calendar::{CivilDate, DAY_US, days_in_month, offset_at, offset_of_local};
use crate::types::text::{ColumnText, EncodeSettings};

const SECOND_US: i64 = 1_000_000;

pub fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![text_of(), clock_cast(), clock_add(), timezone()]
}

/// `text_of(value, zone)`: as PostgreSQL prints it.
pub fn text_of() -> Arc<ScalarUDF> {
    InZone::function(Kind::TextOf)
}

/// `clock_cast(time, NULL of the target, zone)`.
pub fn clock_cast() -> Arc<ScalarUDF> {
    InZone::function(Kind::ClockCast)
}

/// `clock_add(timestamptz, interval, zone)`.
pub fn clock_add() -> Arc<ScalarUDF> {
    InZone::function(Kind::ClockAdd)
}

/// `timezone(zone, time)`, which is `time AT TIME ZONE zone`.
fn timezone() -> Arc<ScalarUDF> {
    InZone::function(Kind::Timezone)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    TextOf,
    ClockCast,
    ClockAdd,
    Timezone,
}

/// One of the functions; they differ in what they give, and share how they are called.
#[derive(Debug, PartialEq, Eq, Hash)]
struct InZone {
    kind: Kind,
    signature: Signature,
}

impl InZone {
    fn function(kind: Kind) -> Arc<ScalarUDF> {
        let signature = match kind {
            Kind::TextOf => Signature::any(2, Volatility::Immutable),
            Kind::ClockCast | Kind::ClockAdd => Signature::any(3, Volatility::Immutable),
            Kind::Timezone => Signature::user_defined(Volatility::Immutable),
        };
        Arc::new(ScalarUDF::from(InZone { kind, signature }))
    }
}

impl ScalarUDFImpl for InZone {
    fn name(&self) -> &str {
        match self.kind {
            Kind::TextOf => "text_of",
            Kind::ClockCast => "clock_cast",
            Kind::ClockAdd => "clock_add",
            Kind::Timezone => "timezone",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [_, DataType::Timestamp(_, None)] => {
                Ok(vec![DataType::Utf8, DataType::Timestamp(TimeUnit::Microsecond, None)])
            }
            // A date counts as its midnight in the session's zone, a text as a timestamptz.
            [_, _] => Ok(vec![DataType::Utf8, timestamptz()]),
            _ => plan_err!("timezone takes a time zone and a time"),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match (self.kind, arg_types) {
            (Kind::TextOf, _) => DataType::Utf8,
            (Kind::ClockCast, [_, target, _]) => target.clone(),
            (Kind::ClockAdd, _) | (Kind::Timezone, [_, DataType::Timestamp(_, None)]) => timestamptz(),
            (Kind::Timezone, _) => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => return internal_err!("an argument is missing"),
        })
    }

    fn is_strict(&self) -> bool {
        self.kind != Kind::ClockCast
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let target = args.return_field.data_type();
        let values = match (self.kind, args.args.as_slice()) {
            (Kind::TextOf, [value, zone]) => texts(&value.to_array(rows)?, constant_zone(zone)?)?,
            (Kind::ClockCast, [time, _, zone]) => cast_clock(&time.to_array(rows)?, target, constant_zone(zone)?)?,
            (Kind::ClockAdd, [time, interval, zone]) => {
                add(&time.to_array(rows)?, &interval.to_array(rows)?, constant_zone(zone)?)?
            }
            (Kind::Timezone, [zone, time]) => at_zone(&zone.to_array(rows)?, &time.to_array(rows)?, target)?,
            _ => return internal_err!("an argument is missing"),
        };
        match is_scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            false => Ok(ColumnarValue::Array(values)),
        }
    }
}

fn constant_zone(zone: &ColumnarValue) -> Result<Tz> {
    match zone {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(name))) => zone_named(name),
        _ => internal_err!("a time zone that is not constant"),
    }
}

fn texts(values: &ArrayRef, time_zone: Tz) -> Result<ArrayRef> {
    let settings = EncodeSettings { time_zone, ..EncodeSettings::default() };
    let column = ColumnText::new(values.as_ref()).map_err(external)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..values.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        column.write(row, &settings, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}

fn cast_clock(times: &ArrayRef, target: &DataType, zone: Tz) -> Result<ArrayRef> {
    if let Some(days) = times.as_primitive_opt::<Date32Type>() {
        let instants: TimestampMicrosecondArray = days.try_unary(|days| match days {
            i32::MAX => Ok(i64::MAX),
            i32::MIN => Ok(i64::MIN),
            _ => instant_of(i64::from(days).checked_mul(DAY_US), zone),
        })?;
        return Ok(Arc::new(instants.with_timezone("UTC")));
    }
    let times = times.as_primitive::<TimestampMicrosecondType>();
    match (times.data_type(), target) {
        (DataType::Timestamp(_, None), _) => {
            let instants: TimestampMicrosecondArray = times.try_unary(|local| instant_of(Some(local), zone))?;
            Ok(Arc::new(instants.with_timezone("UTC")))
        }
        (_, DataType::Date32) => {
            let days: Date32Array = times.try_unary(|instant| match instant {
                i64::MAX => Ok(i32::MAX),
                i64::MIN => Ok(i32::MIN),
                _ => local_of(instant, zone)
                    .and_then(|local| i32::try_from(local.div_euclid(DAY_US)).map_err(|_| out_of_range())),
            })?;
            Ok(Arc::new(days))
        }
        _ => {
            let locals: TimestampMicrosecondArray = times.try_unary(|instant| local_of(instant, zone))?;
            Ok(Arc::new(locals.with_timezone_opt(None::<Arc<str>>)))
        }
    }
}

/// Infinities stay.
fn local_of(instant: i64, zone: Tz) -> Result<i64> {
    match instant {
        i64::MAX | i64::MIN => Ok(instant),
        _ => instant.checked_add(i64::from(offset_at(zone, instant)) * SECOND_US).ok_or_else(out_of_range),
    }
}

fn instant_of(local: Option<i64>, zone: Tz) -> Result<i64> {
    match local {
        Some(local @ (i64::MAX | i64::MIN)) => Ok(local),
        Some(local) => local.checked_sub(i64::from(offset_of_local(zone, local)) * SECOND_US).ok_or_else(out_of_range),
        None => Err(out_of_range()),
    }
}

fn add(times: &ArrayRef, intervals: &ArrayRef, zone: Tz) -> Result<ArrayRef> {
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let intervals = arrow::compute::cast(intervals, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let sum = |row: usize| -> Result<Option<i64>> {
        if times.is_null(row) || intervals.is_null(row) {
            return Ok(None);
        }
        let (time, interval) = (times.value(row), intervals.value(row));
        if time == i64::MAX || time == i64::MIN {
            return Ok(Some(time));
        }
        let mut moved = time;
        if interval.months != 0 || interval.days != 0 {
            // Months and days are those of the zone's clock; the time of the day stays.
            let local = local_of(time, zone)?;
            let date = add_months(CivilDate::from_days(local.div_euclid(DAY_US)), interval.months);
            let local = (date.days() + i64::from(interval.days))
                .checked_mul(DAY_US)
                .and_then(|midnight| midnight.checked_add(local.rem_euclid(DAY_US)));
            moved = instant_of(local, zone)?;
        }
        moved.checked_add(interval.nanoseconds / 1000).map(Some).ok_or_else(out_of_range)
    };
    let sums: TimestampMicrosecondArray = (0..times.len()).map(sum).collect::<Result<_>>()?;
    Ok(Arc::new(sums.with_timezone("UTC")))
}

/// The last day of the month where the month has no such day.
fn add_months(date: CivilDate, months: i32) -> CivilDate {
    let month = date.year * 12 + i64::from(date.month) - 1 + i64::from(months);
    let (year, month) = (month.div_euclid(12), month.rem_euclid(12) as u32 + 1);
    CivilDate { year, month, day: date.day.min(days_in_month(year, month)) }
}

fn at_zone(zones: &ArrayRef, times: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let zones = arrow::compute::cast(zones, &DataType::Utf8)?;
    let zones = zones.as_string::<i32>();
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let to_local = matches!(times.data_type(), DataType::Timestamp(_, Some(_)));
    let mut last: Option<(&str, Tz)> = None;
    let values = (0..times.len()).map(|row| -> Result<Option<i64>> {
        if times.is_null(row) || zones.is_null(row) {
            return Ok(None);
        }
        let name = zones.value(row);
        let zone = match last {
            Some((known, zone)) if known == name => zone,
            _ => zone_named(name)?,
        };
        last = Some((name, zone));
        let time = times.value(row);
        if to_local { local_of(time, zone) } else { instant_of(Some(time), zone) }.map(Some)
    });
    let values: TimestampMicrosecondArray = values.collect::<Result<_>>()?;
    match target {
        DataType::Timestamp(_, zone) => Ok(Arc::new(values.with_timezone_opt(zone.clone()))),
        other => internal_err!("timezone gives no {other}"),
    }
}

fn out_of_range() -> datafusion::common::DataFusionError {
    external(Error::new(SqlState::DATETIME_OVERFLOW, "timestamp out of range"))
}
