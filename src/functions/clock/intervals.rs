//! Intervals times and divided by numbers, how long they are, and intervals from what lies between two times.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, IntervalMonthDayNanoArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, DurationMicrosecondType, Float64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::external;
use crate::error::{Error, SqlState};
use crate::types::calendar::DAY_US;

/// `interval_multiply(interval, float)` and `interval_divide(interval, float)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ScaledInterval {
    divides: bool,
    signature: Signature,
}

impl ScaledInterval {
    pub fn function(divides: bool) -> Arc<ScalarUDF> {
        let signature = Signature::any(2, Volatility::Immutable);
        Arc::new(ScalarUDF::from(ScaledInterval { divides, signature }))
    }

    fn scale(&self, interval: IntervalMonthDayNano, number: f64) -> Result<IntervalMonthDayNano> {
        if self.divides && number == 0.0 {
            return Err(external(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero")));
        }
        let times = |value: f64| if self.divides { value / number } else { value * number };
        let months = times(f64::from(interval.months));
        let days = times(f64::from(interval.days));
        let (whole_months, whole_days) = (months.trunc(), days.trunc());
        // Fractions run down: of months to days of 30, of days to the clock. A day's fraction is rounded to microseconds,
        // so that what is a whole day is one.
        let month_days = rounded((months - whole_months) * 30.0);
        let mut carried_days = month_days.trunc();
        let seconds = (days - whole_days) + (month_days - carried_days);
        let mut day_seconds = rounded(seconds * 86_400.0);
        if day_seconds.abs() >= 86_400.0 {
            let more = (day_seconds / 86_400.0).trunc();
            carried_days += more;
            day_seconds -= more * 86_400.0;
        }
        let time_us = (times((interval.nanoseconds / 1000) as f64) + day_seconds * 1e6).round_ties_even();
        let (months, days) = (whole_months, whole_days + carried_days);
        let fits = |value: f64, max: f64| value.is_finite() && value.abs() <= max;
        if !fits(months, i32::MAX.into()) || !fits(days, i32::MAX.into()) || !fits(time_us, (i64::MAX / 1000) as f64) {
            return Err(external(Error::new(SqlState::DATETIME_OVERFLOW, "interval out of range")));
        }
        Ok(IntervalMonthDayNano::new(months as i32, days as i32, time_us as i64 * 1000))
    }
}

/// To microseconds, where the value is in seconds or in days.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}

impl ScalarUDFImpl for ScaledInterval {
    fn name(&self) -> &str {
        if self.divides { "interval_divide" } else { "interval_multiply" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [interval, number] = args.args.as_slice() else { return internal_err!("an argument is missing") };
        let is_scalar = matches!((interval, number), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let intervals = cast(&interval.to_array(rows)?, &DataType::Interval(IntervalUnit::MonthDayNano))?;
        let numbers = number.to_array(rows)?;
        let (intervals, numbers) =
            (intervals.as_primitive::<IntervalMonthDayNanoType>(), numbers.as_primitive::<Float64Type>());
        let scaled = (0..rows).map(|row| match intervals.is_valid(row) && numbers.is_valid(row) {
            true => self.scale(intervals.value(row), numbers.value(row)).map(Some),
            false => Ok(None),
        });
        let values: IntervalMonthDayNanoArray = scaled.collect::<Result<_>>()?;
        match is_scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            false => Ok(ColumnarValue::Array(Arc::new(values))),
        }
    }
}

/// `interval_length(interval)`: nanoseconds, with days of 24 hours and months of 30 days, as PostgreSQL compares intervals.
pub fn interval_length() -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::from(IntervalLength { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalLength {
    signature: Signature,
}

impl ScalarUDFImpl for IntervalLength {
    fn name(&self) -> &str {
        "interval_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        const DAY_NS: i128 = 86_400_000_000_000;
        let [interval] = args.args.as_slice() else { return internal_err!("an argument is missing") };
        let is_scalar = matches!(interval, ColumnarValue::Scalar(_));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let intervals = cast(&interval.to_array(rows)?, &DataType::Interval(IntervalUnit::MonthDayNano))?;
        let length = |interval: IntervalMonthDayNano| {
            let days = i128::from(interval.months) * 30 + i128::from(interval.days);
            days * DAY_NS + i128::from(interval.nanoseconds)
        };
        let lengths: Decimal128Array =
            intervals.as_primitive::<IntervalMonthDayNanoType>().iter().map(|interval| interval.map(length)).collect();
        let lengths: ArrayRef = Arc::new(lengths.with_precision_and_scale(DECIMAL128_MAX_PRECISION, 0)?);
        match is_scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&lengths, 0)?)),
            false => Ok(ColumnarValue::Array(lengths)),
        }
    }
}

/// What lies between two times, as an interval: days of 24 hours, and the rest.
pub fn days_and_time(duration: &ArrayRef) -> Result<ArrayRef> {
    let durations = cast(duration, &DataType::Duration(TimeUnit::Microsecond))?;
    // The days of all microseconds that there are fit in 32 bits.
    let split = |us: i64| IntervalMonthDayNano::new(0, (us / DAY_US) as i32, us % DAY_US * 1000);
    let intervals: IntervalMonthDayNanoArray =
        durations.as_primitive::<DurationMicrosecondType>().iter().map(|us| us.map(split)).collect();
    Ok(Arc::new(intervals))
}

/// `interval_from(duration)`: [`days_and_time`].
pub fn interval_from() -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::from(IntervalFrom { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalFrom {
    signature: Signature,
}

impl ScalarUDFImpl for IntervalFrom {
    fn name(&self) -> &str {
        "interval_from"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [duration] = args.args.as_slice() else { return internal_err!("an argument is missing") };
        let is_scalar = matches!(duration, ColumnarValue::Scalar(_));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let intervals = days_and_time(&duration.to_array(rows)?)?;
        match is_scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&intervals, 0)?)),
            false => Ok(ColumnarValue::Array(intervals)),
        }
    }
}
