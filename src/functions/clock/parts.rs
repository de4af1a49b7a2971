//! `date_trunc`, `extract` and `date_part`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, IntervalMonthDayNanoArray, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Field as ArrowField, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    TimeUnit, TimestampMicrosecondType,
};
use chrono_tz::Tz;
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::fields::{Field, field_of_clock, field_of_interval, truncate_clock, truncate_interval, unknown_field};
use super::{external, zone_named};
use crate::error::{Error, SqlState};
use crate::functions::sql_types::timestamptz;
use crate::functions::type_name;
use crate::types::calendar::{DAY_US, offset_at, offset_of_local};

/// Digits that `extract` has room for.
const EXTRACT_PRECISION: u8 = 20;
const SECOND_US: i64 = 1_000_000;

/// The arguments of one call as arrays: field names, times, the zone.
struct Call {
    fields: StringArray,
    times: ArrayRef,
    zone: Tz,
    is_scalar: bool,
}

impl Call {
    fn new(args: &ScalarFunctionArgs) -> Result<Call> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let zone = match args.args.get(2) {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(zone)))) => zone_named(zone)?,
            _ => Tz::UTC,
        };
        let [fields, times] = [0, 1].map(|index| args.args.get(index).map(|arg| arg.to_array(rows)));
        let (Some(fields), Some(times)) = (fields.transpose()?, times.transpose()?) else {
            return internal_err!("an argument is missing");
        };
        Ok(Call { fields: cast(&fields, &DataType::Utf8)?.as_string::<i32>().clone(), times, zone, is_scalar })
    }

    fn rows(&self) -> usize {
        self.times.len()
    }

    /// `None` where an argument is NULL.
    fn field(&self, row: usize) -> Result<Option<Field>> {
        if self.fields.is_null(row) || self.times.is_null(row) {
            return Ok(None);
        }
        let name = self.fields.value(row);
        Field::parse(name).map(Some).ok_or_else(|| self.unknown(row))
    }

    fn unknown(&self, row: usize) -> datafusion::common::DataFusionError {
        external(unknown_field(self.fields.value(row), &type_name(self.times.data_type())))
    }

    fn finish(&self, values: ArrayRef) -> Result<ColumnarValue> {
        match self.is_scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            false => Ok(ColumnarValue::Array(values)),
        }
    }
}

fn interval_type() -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

/// A time as the functions take it. `date_as`: what a date counts as.
fn coerced_time(name: &str, data_type: &DataType, date_as: &DataType) -> Result<DataType> {
    Ok(match data_type {
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => timestamptz(),
        DataType::Date32 | DataType::Date64 => date_as.clone(),
        DataType::Interval(_) | DataType::Duration(_) => interval_type(),
        DataType::Null => timestamptz(),
        text if text.is_string() => timestamptz(),
        other => {
            let message = format!("function {name}(text, {}) does not exist", type_name(other));
            return Err(external(
                Error::new(SqlState::UNDEFINED_FUNCTION, message)
                    .with_hint("It takes a timestamp, a date or an interval."),
            ));
        }
    })
}

/// `date_trunc(unit, time [, zone])`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DateTrunc {
    signature: Signature,
}

impl DateTrunc {
    pub fn function() -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(DateTrunc { signature: Signature::user_defined(Volatility::Immutable) }))
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        "date_trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [_, time] => Ok(vec![DataType::Utf8, coerced_time("date_trunc", time, &timestamptz())?]),
            [_, _, _] => Ok(vec![DataType::Utf8, timestamptz(), DataType::Utf8]),
            _ => plan_err!("date_trunc takes a unit, a time and optionally a time zone"),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.get(1) {
            Some(time) => coerced_time("date_trunc", time, &timestamptz()),
            None => plan_err!("date_trunc takes a unit, a time and optionally a time zone"),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call = Call::new(&args)?;
        if let Some(intervals) = call.times.as_primitive_opt::<IntervalMonthDayNanoType>() {
            let truncated = |row: usize| {
                let Some(field) = call.field(row)? else { return Ok(None) };
                let value = intervals.value(row);
                let parts = truncate_interval(field, value.months, value.days, value.nanoseconds / 1000);
                let (months, days, time_us) = parts.ok_or_else(|| call.unknown(row))?;
                Ok(Some(IntervalMonthDayNano::new(months, days, time_us * 1000)))
            };
            let values: IntervalMonthDayNanoArray = (0..call.rows()).map(truncated).collect::<Result<_>>()?;
            return call.finish(Arc::new(values));
        }
        let times = call.times.as_primitive::<TimestampMicrosecondType>();
        let has_zone = matches!(times.data_type(), DataType::Timestamp(_, Some(_)));
        let truncated = |row: usize| -> Result<Option<i64>> {
            let Some(field) = call.field(row)? else { return Ok(None) };
            let time = times.value(row);
            if time == i64::MAX || time == i64::MIN {
                return Ok(Some(time));
            }
            let truncated = match has_zone {
                true => truncate_instant(field, time, call.zone),
                false => truncate_clock(field, time),
            };
            truncated.map(Some).ok_or_else(|| call.unknown(row))
        };
        let values: arrow::array::TimestampMicrosecondArray = (0..call.rows()).map(truncated).collect::<Result<_>>()?;
        let values = match args.return_field.data_type() {
            DataType::Timestamp(_, zone) => values.with_timezone_opt(zone.clone()),
            _ => values,
        };
        call.finish(Arc::new(values))
    }
}

/// Hours and less keep the offset that the time has; days and more begin at the zone's midnight.
fn truncate_instant(field: Field, time: i64, zone: Tz) -> Option<i64> {
    let offset = i64::from(offset_at(zone, time)) * SECOND_US;
    let local = truncate_clock(field, time.checked_add(offset)?)?;
    let offset = match field {
        Field::Microseconds | Field::Milliseconds | Field::Second | Field::Minute | Field::Hour => offset,
        _ => i64::from(offset_of_local(zone, local)) * SECOND_US,
    };
    local.checked_sub(offset)
}

/// `extract(field FROM time)`, a numeric, and `date_part(field, time)`, a double precision.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DatePart {
    name: &'static str,
    signature: Signature,
}

impl DatePart {
    /// What the planner makes of EXTRACT; no function of this name can be called.
    pub fn extract() -> Arc<ScalarUDF> {
        Self::function("extract")
    }

    pub fn date_part() -> Arc<ScalarUDF> {
        Self::function("date_part")
    }

    fn function(name: &'static str) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(DatePart { name, signature: Signature::user_defined(Volatility::Immutable) }))
    }

    fn is_extract(&self) -> bool {
        self.name == "extract"
    }
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let date_as = match self.is_extract() {
            true => DataType::Date32,
            false => DataType::Timestamp(TimeUnit::Microsecond, None),
        };
        match arg_types {
            [_, time] => Ok(vec![DataType::Utf8, coerced_time(self.name, time, &date_as)?]),
            [_, time, _] => Ok(vec![DataType::Utf8, time.clone(), DataType::Utf8]),
            _ => plan_err!("{} takes a field and a time", self.name),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        match self.is_extract() {
            true => Ok(DataType::Decimal128(EXTRACT_PRECISION, 0)),
            false => Ok(DataType::Float64),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let data_type = match (self.is_extract(), args.scalar_arguments.first()) {
            (true, Some(Some(ScalarValue::Utf8(Some(name))))) => {
                let time = args.arg_fields.get(1).map_or(&DataType::Null, |field| field.data_type());
                let is_date = matches!(time, DataType::Date32);
                let scale = Field::parse(name).filter(|_| !is_date).map_or(0, Field::scale);
                DataType::Decimal128(EXTRACT_PRECISION, scale)
            }
            (true, _) => return plan_err!("extract needs the name of a field"),
            (false, _) => DataType::Float64,
        };
        Ok(Arc::new(ArrowField::new(self.name, data_type, true)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call = Call::new(&args)?;
        let scaled = scaled_fields(&call)?;
        let value = |row: usize| scaled.is_valid(row).then(|| scaled.value(row));
        if let DataType::Decimal128(precision, scale) = args.return_field.data_type() {
            let values: Decimal128Array = (0..call.rows()).map(|row| value(row).map(i128::from)).collect();
            return call.finish(Arc::new(values.with_precision_and_scale(*precision, *scale)?));
        }
        let float = |row: usize| -> Result<Option<f64>> {
            let (Some(value), Some(field)) = (value(row), call.field(row)?) else { return Ok(None) };
            Ok(Some(value as f64 / 10_f64.powi(field.scale().into())))
        };
        let values: Float64Array = (0..call.rows()).map(float).collect::<Result<_>>()?;
        call.finish(Arc::new(values))
    }
}

/// Each row's field, times 10^scale of the field.
fn scaled_fields(call: &Call) -> Result<Int64Array> {
    let part: Box<dyn Fn(usize, Field) -> Option<i64> + '_> = match call.times.data_type() {
        DataType::Date32 => {
            let days = call.times.as_primitive::<Date32Type>();
            Box::new(move |row, field| match field {
                Field::Epoch => Some(i64::from(days.value(row)) * 86_400),
                // A date has no clock.
                Field::Microseconds | Field::Milliseconds | Field::Second | Field::Minute | Field::Hour => None,
                _ => field_of_clock(field, i64::from(days.value(row)) * DAY_US),
            })
        }
        DataType::Interval(_) => {
            let intervals = call.times.as_primitive::<IntervalMonthDayNanoType>();
            Box::new(move |row, field| {
                let value = intervals.value(row);
                field_of_interval(field, value.months, value.days, value.nanoseconds / 1000)
            })
        }
        DataType::Timestamp(_, None) => {
            let times = call.times.as_primitive::<TimestampMicrosecondType>();
            Box::new(move |row, field| field_of_clock(field, times.value(row)))
        }
        _ => {
            let times = call.times.as_primitive::<TimestampMicrosecondType>();
            Box::new(move |row, field| {
                let time = times.value(row);
                let offset = i64::from(offset_at(call.zone, time));
                match field {
                    Field::Epoch => Some(time),
                    Field::Timezone => Some(offset),
                    Field::TimezoneHour => Some(offset / 3600),
                    Field::TimezoneMinute => Some(offset / 60 % 60),
                    _ => field_of_clock(field, time.checked_add(offset * SECOND_US)?),
                }
            })
        }
    };
    let value = |row: usize| -> Result<Option<i64>> {
        let Some(field) = call.field(row)? else { return Ok(None) };
        if is_infinite(&call.times, row) {
            return Ok(None);
        }
        part(row, field).map(Some).ok_or_else(|| call.unknown(row))
    };
    (0..call.rows()).map(value).collect()
}

/// An infinite time has no fields.
fn is_infinite(times: &ArrayRef, row: usize) -> bool {
    match times.data_type() {
        DataType::Date32 => matches!(times.as_primitive::<Date32Type>().value(row), i32::MAX | i32::MIN),
        DataType::Timestamp(..) => {
            matches!(times.as_primitive::<TimestampMicrosecondType>().value(row), i64::MAX | i64::MIN)
        }
        _ => false,
    }
}
