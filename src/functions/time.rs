//! Buckets of time and the statement's time.
//!
//! `time_bucket` and `date_bin`, and the windows of TUMBLE and HOP in `windows`, cut microseconds; a bucket's width is either days and less, or months, never both.

mod on_time;
mod windows;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

pub use on_time::{ON_TIME, are_on_time, on_time};
pub use windows::Window;

use super::sql_types::timestamptz;
use crate::error::{Error, SqlState};

const DAY_US: i64 = 86_400_000_000;
/// 2000-01-03, a Monday: where TimescaleDB's buckets of days and weeks begin.
const BUCKET_ORIGIN_US: i64 = 946_857_600_000_000;
/// 2000-01-01: where its buckets of months begin.
const BUCKET_MONTH_ORIGIN_US: i64 = 946_684_800_000_000;

/// `time_bucket(width, time [, origin])` and `date_bin(width, time [, origin])`; they differ in the default origin.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TimeBucket {
    name: &'static str,
    signature: Signature,
}

impl TimeBucket {
    /// Without an origin, buckets of days and weeks begin on Mondays.
    pub fn time_bucket() -> Arc<ScalarUDF> {
        Self::function("time_bucket")
    }

    /// Without an origin, buckets are counted from 1970-01-01.
    pub fn date_bin() -> Arc<ScalarUDF> {
        Self::function("date_bin")
    }

    fn function(name: &'static str) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(TimeBucket { name, signature: Signature::user_defined(Volatility::Immutable) }))
    }

    fn default_origin(&self, width: Width) -> i64 {
        match (self.name, width) {
            ("date_bin", _) => 0,
            (_, Width::Months(_)) => BUCKET_MONTH_ORIGIN_US,
            (_, Width::Microseconds(_)) => BUCKET_ORIGIN_US,
        }
    }
}

impl TimeBucket {
    /// A column of times in buckets of one width, counted from the default origin: what views over streams are made of,
    /// so that the width is looked at once and not for each row.
    fn buckets_of_one_width(&self, args: &[ColumnarValue]) -> Result<Option<TimestampMicrosecondArray>> {
        let [ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(width))), ColumnarValue::Array(times)] = args
        else {
            return Ok(None);
        };
        let Some(times) = times.as_primitive_opt::<TimestampMicrosecondType>() else { return Ok(None) };
        let width = Width::new(*width)?;
        let origin = self.default_origin(width);
        Ok(Some(times.clone().with_timezone_opt(None::<Arc<str>>).try_unary(|time| width.bucket(time, origin))?))
    }
}

/// Whether the call puts a column into buckets of a fixed width, counted from the default origin: every timestamp that
/// PostgreSQL has lies in one, so that it cannot raise.
pub fn is_total_bucket(call: &ScalarFunction) -> bool {
    let is_bucket = [TimeBucket::time_bucket().name(), TimeBucket::date_bin().name()].contains(&call.name());
    let fixed = |width: &ScalarValue| match width {
        ScalarValue::IntervalMonthDayNano(Some(width)) => matches!(Width::new(*width), Ok(Width::Microseconds(_))),
        _ => false,
    };
    is_bucket && matches!(&call.args[..], [Expr::Literal(width, _), Expr::Column(_)] if fixed(width))
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (width, time) = match arg_types {
            [width, time] | [width, time, _] => (width, time),
            _ => return plan_err!("{} takes a width, a time and optionally an origin", self.name),
        };
        let width = match width {
            DataType::Interval(_) | DataType::Duration(_) | DataType::Null => width_type(),
            text if text.is_string() => width_type(),
            other => return plan_err!("{} does not support a width of type {other}", self.name),
        };
        let time = match time {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::Date32 => DataType::Date32,
            DataType::Date64 | DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
            text if text.is_string() => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => return plan_err!("{} does not support a time of type {other}", self.name),
        };
        let origin = match &time {
            DataType::Date32 => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => other.clone(),
        };
        let mut coerced = vec![width, time];
        coerced.extend(arg_types.get(2).map(|_| origin));
        Ok(coerced)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.get(1) {
            Some(DataType::Date32) => Ok(DataType::Date32),
            Some(DataType::Timestamp(_, zone)) => Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
            other => plan_err!("{} does not support a time of type {other:?}", self.name),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(buckets) = self.buckets_of_one_width(&args.args)? {
            return Ok(ColumnarValue::Array(as_type(buckets, args.return_field.data_type())?));
        }
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let width = Argument::new(args.args.first(), rows, &width_type())?;
        let times = Argument::new(args.args.get(1), rows, &microseconds())?;
        let origins = match args.args.get(2) {
            Some(origin) => Some(Argument::new(Some(origin), rows, &microseconds())?),
            None => None,
        };
        let bucket = |row: usize| -> Result<Option<i64>> {
            let Some(width) = width.interval(row) else { return Ok(None) };
            let Some(time) = times.timestamp(row) else { return Ok(None) };
            let width = Width::new(width)?;
            let origin = match &origins {
                Some(origins) => match origins.timestamp(row) {
                    Some(origin) => origin,
                    None => return Ok(None),
                },
                None => self.default_origin(width),
            };
            width.bucket(time, origin).map(Some)
        };
        let buckets = (0..rows).map(bucket).collect::<Result<TimestampMicrosecondArray>>()?;
        let buckets = as_type(buckets, args.return_field.data_type())?;
        match scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&buckets, 0)?)),
            false => Ok(ColumnarValue::Array(buckets)),
        }
    }
}

/// Microseconds as the call's type. A zone is only a label on them: Arrow's cast would take them for local times, and
/// look the zone's rules up for each row.
fn as_type(buckets: TimestampMicrosecondArray, data_type: &DataType) -> Result<ArrayRef> {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => Ok(Arc::new(buckets.with_timezone_opt(zone.clone()))),
        other => Ok(cast(&buckets, other)?),
    }
}

fn width_type() -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

fn microseconds() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// A column, or one value that stands for all rows.
struct Argument {
    values: ArrayRef,
    repeated: bool,
}

impl Argument {
    fn new(value: Option<&ColumnarValue>, rows: usize, data_type: &DataType) -> Result<Self> {
        let (values, repeated) = match value {
            Some(ColumnarValue::Array(array)) if array.len() == rows => (Arc::clone(array), false),
            Some(ColumnarValue::Scalar(scalar)) => (scalar.to_array()?, true),
            _ => return internal_err!("an argument is missing"),
        };
        // A zone is only a label on microseconds; a date becomes its midnight.
        let values = match values.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Arc::new(values.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(None::<Arc<str>>))
            }
            DataType::Date32 => {
                let midnights: TimestampMicrosecondArray =
                    values.as_primitive::<Date32Type>().unary(|days| i64::from(days) * DAY_US);
                Arc::new(midnights) as ArrayRef
            }
            _ => cast(&values, data_type)?,
        };
        Ok(Argument { values, repeated })
    }

    fn row(&self, row: usize) -> Option<usize> {
        let row = if self.repeated { 0 } else { row };
        self.values.is_valid(row).then_some(row)
    }

    fn timestamp(&self, row: usize) -> Option<i64> {
        let row = self.row(row)?;
        self.values.as_primitive_opt::<TimestampMicrosecondType>().map(|times| times.value(row))
    }

    fn interval(&self, row: usize) -> Option<IntervalMonthDayNano> {
        let row = self.row(row)?;
        let widths: &IntervalMonthDayNanoArray = self.values.as_primitive_opt::<IntervalMonthDayNanoType>()?;
        Some(widths.value(row))
    }
}

/// How wide a bucket is; always positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Months(i64),
    Microseconds(i64),
}

impl Width {
    fn new(interval: IntervalMonthDayNano) -> Result<Width> {
        let microseconds = i64::from(interval.days)
            .checked_mul(DAY_US)
            .and_then(|days| days.checked_add(interval.nanoseconds / 1000))
            .ok_or_else(out_of_range)?;
        match (interval.months, microseconds) {
            (0, microseconds) if microseconds > 0 => Ok(Width::Microseconds(microseconds)),
            (months, 0) if months > 0 => Ok(Width::Months(i64::from(months))),
            (months, _) if months != 0 => Err(invalid("a bucket's width cannot mix months with days or times")),
            _ => Err(invalid("a bucket's width must be greater than zero")),
        }
    }

    /// The start of the bucket that holds `time`.
    fn bucket(self, time: i64, origin: i64) -> Result<i64> {
        match self {
            Width::Microseconds(width) => {
                let since = time.checked_sub(origin).ok_or_else(out_of_range)?;
                time.checked_sub(since.rem_euclid(width)).ok_or_else(out_of_range)
            }
            Width::Months(width) => bucket_of_months(time, origin, width),
        }
    }
}

impl Width {
    /// `count` widths after `start`, which begins a bucket of the epoch.
    fn after(self, start: i64, count: i64) -> Result<i64> {
        match self {
            Width::Microseconds(width) => {
                width.checked_mul(count).and_then(|width| start.checked_add(width)).ok_or_else(out_of_range)
            }
            Width::Months(width) => {
                let (month, _) = month_of(start)?;
                start_of_month(
                    width.checked_mul(count).and_then(|width| month.checked_add(width)).ok_or_else(out_of_range)?,
                )
            }
        }
    }
}

/// Buckets begin `k * width` months after the origin, on the origin's day of the month and time of the day.
fn bucket_of_months(time: i64, origin: i64, width: i64) -> Result<i64> {
    let (start, within_month) = month_of(origin)?;
    let (month, _) = month_of(time)?;
    let mut bucket = start + (month - start).div_euclid(width) * width;
    let mut begins = start_of_month(bucket)?.checked_add(within_month).ok_or_else(out_of_range)?;
    if begins > time {
        bucket -= width;
        begins = start_of_month(bucket)?.checked_add(within_month).ok_or_else(out_of_range)?;
    }
    Ok(begins)
}

/// Months since year 0, and microseconds since that month began.
fn month_of(time: i64) -> Result<(i64, i64)> {
    let date = DateTime::from_timestamp_micros(time).ok_or_else(out_of_range)?.date_naive();
    let month = i64::from(date.year()) * 12 + i64::from(date.month0());
    Ok((month, time - start_of_month(month)?))
}

fn start_of_month(month: i64) -> Result<i64> {
    let year = i32::try_from(month.div_euclid(12)).map_err(|_| out_of_range())?;
    NaiveDate::from_ymd_opt(year, month.rem_euclid(12) as u32 + 1, 1)
        .and_then(|date| date.and_hms_opt(0, 0, 0))
        .map(|midnight| midnight.and_utc().timestamp_micros())
        .ok_or_else(out_of_range)
}

fn invalid(message: &str) -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(SqlState::INVALID_PARAMETER, message)))
}

fn out_of_range() -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(SqlState::DATETIME_OVERFLOW, "timestamp out of range")))
}

/// `now()` and its other names: the start of the transaction, as `ExecutionProps` has it when the query is planned.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Now {
    signature: Signature,
    aliases: Vec<String>,
}

/// The one of them that a view can have in a condition, where it is the commit's time.
pub const NOW: &str = "now";

/// Functions whose value is the time of the statement.
pub const NOW_FUNCTIONS: &[&str] = &[
    "now",
    "current_timestamp",
    "transaction_timestamp",
    "statement_timestamp",
    "localtimestamp",
    "current_date",
    "current_time",
    "today",
];

impl Now {
    pub fn function() -> Arc<ScalarUDF> {
        let aliases = ["current_timestamp", "transaction_timestamp", "statement_timestamp"];
        Arc::new(ScalarUDF::from(Now {
            signature: Signature::nullary(Volatility::Stable),
            aliases: aliases.map(String::from).to_vec(),
        }))
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        "now"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamptz())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new("now", timestamptz(), false)))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match info.query_execution_start_time() {
            Some(now) => {
                let now = ScalarValue::TimestampMicrosecond(Some(now.timestamp_micros()), Some("UTC".into()));
                ExprSimplifyResult::Simplified(Expr::Literal(now, None))
            }
            None => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("now() is made a constant when the statement is planned")
    }
}

#[cfg(test)]
mod tests;
