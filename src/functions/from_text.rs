//! Casts from text by PostgreSQL's input rules, the same that COPY reads by. Arrow's own would take other forms of times,
//! and bytes of text for bytea.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use chrono_tz::Tz;
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use crate::types::parse::{parse_text, parse_time_zone};
use crate::types::{SqlType, UUID_BYTES};

/// `from_text(value, NULL of the target type [, zone])`. One function for all targets, so that a stored plan finds it by name.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FromText {
    signature: Signature,
}

/// Whether a cast from `source` to `target` is [`FromText`].
pub fn from_text_applies(source: &DataType, target: &DataType) -> bool {
    let is_text = matches!(source, DataType::Utf8 | DataType::Utf8View);
    is_text
        && matches!(
            target,
            DataType::Boolean
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::Float32
                | DataType::Float64
                | DataType::Decimal128(..)
                | DataType::Binary
                | DataType::Date32
                | DataType::Timestamp(TimeUnit::Microsecond, _)
                | DataType::Interval(IntervalUnit::MonthDayNano)
                | DataType::FixedSizeBinary(UUID_BYTES)
                | DataType::LargeUtf8
                | DataType::List(_)
        )
}

impl FromText {
    pub fn function() -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(FromText { signature: Signature::variadic_any(Volatility::Immutable) }))
    }

    /// The cast of `value` to `target`; `zone` is that of texts without an offset, where it is not UTC.
    pub fn call(value: Expr, target: &DataType, zone: Option<&str>) -> Result<Expr> {
        let mut args = vec![value, lit(ScalarValue::try_from(target)?)];
        args.extend(zone.map(lit));
        Ok(FromText::function().call(args))
    }
}

impl ScalarUDFImpl for FromText {
    fn name(&self) -> &str {
        "from_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, target] | [_, target, _] => Ok(target.clone()),
            other => internal_err!("{} arguments for from_text", other.len()),
        }
    }

    fn is_strict(&self) -> bool {
        false
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let target = args.return_field.data_type();
        let zone = match args.args.get(2) {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))) => parse_time_zone(name).unwrap_or(Tz::UTC),
            _ => Tz::UTC,
        };
        match args.args.first() {
            Some(ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(parse_all(array, target, zone)?)),
            Some(ColumnarValue::Scalar(scalar)) => {
                let array = parse_all(&scalar.to_array()?, target, zone)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            None => internal_err!("no arguments for from_text"),
        }
    }
}

fn parse_all(texts: &ArrayRef, target: &DataType, zone: Tz) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8)?;
    let Some(sql_type) = SqlType::from_arrow(target) else { return internal_err!("no text form of {target}") };
    let null = ScalarValue::try_from(target)?;
    if texts.is_empty() {
        return Ok(arrow::array::new_empty_array(target));
    }
    let values = texts.as_string::<i32>().iter().map(|text| match text {
        Some(text) => parse_text(&sql_type, text, zone).map_err(|error| DataFusionError::External(Box::new(error))),
        None => Ok(null.clone()),
    });
    ScalarValue::iter_to_array(values.collect::<Result<Vec<_>>>()?)
}
