//! Smallest and largest value and number of NULLs of a file's column, as the manifest keeps them for pruning.
//!
//! Bounds are kept only where leaving a file out because of them is always right: not for a float column that holds a
//! NaN (which is greater than every number, while Parquet's own statistics pass over it), not for long texts.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Texts and byte strings longer than this have no bounds.
const BOUND_BYTES_MAX: usize = 64;

/// A value in JSON. Floats and decimals as text, because JSON numbers hold neither infinities nor 38 digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    Bool(bool),
    /// Integers, days of dates, microseconds of timestamps.
    Int(i64),
    Float(String),
    /// Unscaled.
    Decimal(String),
    Text(String),
}

/// What is known of a column of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnBounds {
    pub min: Option<Bound>,
    pub max: Option<Bound>,
    pub null_count: u64,
}

impl ColumnBounds {
    pub fn of(column: &ArrayRef) -> Result<ColumnBounds> {
        let mut builder = BoundsBuilder::new(column.data_type())?;
        builder.add(column)?;
        builder.finish()
    }
}

/// Finds them of a column whose rows come batch by batch.
pub(in crate::tier) struct BoundsBuilder {
    /// `None` where there are no bounds.
    extremes: Option<(MinAccumulator, MaxAccumulator)>,
    null_count: u64,
}

impl BoundsBuilder {
    pub fn new(data_type: &DataType) -> Result<Self> {
        let extremes = match has_bounds(data_type) {
            true => Some((MinAccumulator::try_new(data_type)?, MaxAccumulator::try_new(data_type)?)),
            false => None,
        };
        Ok(BoundsBuilder { extremes, null_count: 0 })
    }

    pub fn add(&mut self, column: &ArrayRef) -> Result<()> {
        self.null_count += column.null_count() as u64;
        if holds_nan(column) {
            self.extremes = None;
        }
        if let Some((min, max)) = &mut self.extremes {
            min.update_batch(std::slice::from_ref(column))?;
            max.update_batch(std::slice::from_ref(column))?;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<ColumnBounds> {
        let Some((mut min, mut max)) = self.extremes else {
            return Ok(ColumnBounds { min: None, max: None, null_count: self.null_count });
        };
        let (min, max) = (to_bound(&min.evaluate()?), to_bound(&max.evaluate()?));
        let (min, max) = min.map(|bound| bound.around_zero("-0")).zip(max.map(|bound| bound.around_zero("0"))).unzip();
        Ok(ColumnBounds { min, max, null_count: self.null_count })
    }
}

fn has_bounds(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(_, _)
            | DataType::Utf8
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}

pub(in crate::tier) fn holds_nan(column: &ArrayRef) -> bool {
    match column.data_type() {
        DataType::Float32 => column.as_primitive::<Float32Type>().iter().flatten().any(f32::is_nan),
        DataType::Float64 => column.as_primitive::<Float64Type>().iter().flatten().any(f64::is_nan),
        _ => false,
    }
}

fn to_bound(value: &ScalarValue) -> Option<Bound> {
    Some(match value {
        ScalarValue::Boolean(Some(value)) => Bound::Bool(*value),
        ScalarValue::Int16(Some(value)) => Bound::Int(i64::from(*value)),
        ScalarValue::Int32(Some(value)) | ScalarValue::Date32(Some(value)) => Bound::Int(i64::from(*value)),
        ScalarValue::Int64(Some(value)) | ScalarValue::TimestampMicrosecond(Some(value), _) => Bound::Int(*value),
        ScalarValue::Float32(Some(value)) => Bound::Float(value.to_string()),
        ScalarValue::Float64(Some(value)) => Bound::Float(value.to_string()),
        ScalarValue::Decimal128(Some(value), _, _) => Bound::Decimal(value.to_string()),
        ScalarValue::Utf8(Some(value)) if value.len() <= BOUND_BYTES_MAX => Bound::Text(value.clone()),
        _ => return None,
    })
}

impl Bound {
    /// Both zeros lie within bounds that either of them is: which of the two a file holds must not matter.
    fn around_zero(self, zero: &str) -> Bound {
        match self {
            Bound::Float(text) if text == "0" || text == "-0" => Bound::Float(zero.to_string()),
            other => other,
        }
    }

    /// The value in a column's type; `None` where the two do not fit.
    pub fn to_scalar(&self, data_type: &DataType) -> Option<ScalarValue> {
        Some(match (data_type, self) {
            (DataType::Boolean, Bound::Bool(value)) => ScalarValue::Boolean(Some(*value)),
            (DataType::Int16, Bound::Int(value)) => ScalarValue::Int16(Some(i16::try_from(*value).ok()?)),
            (DataType::Int32, Bound::Int(value)) => ScalarValue::Int32(Some(i32::try_from(*value).ok()?)),
            (DataType::Date32, Bound::Int(value)) => ScalarValue::Date32(Some(i32::try_from(*value).ok()?)),
            (DataType::Int64, Bound::Int(value)) => ScalarValue::Int64(Some(*value)),
            (DataType::Timestamp(TimeUnit::Microsecond, zone), Bound::Int(value)) => {
                ScalarValue::TimestampMicrosecond(Some(*value), zone.clone())
            }
            (DataType::Float32, Bound::Float(text)) => ScalarValue::Float32(Some(text.parse().ok()?)),
            (DataType::Float64, Bound::Float(text)) => ScalarValue::Float64(Some(text.parse().ok()?)),
            (DataType::Decimal128(precision, scale), Bound::Decimal(text)) => {
                ScalarValue::Decimal128(Some(text.parse().ok()?), *precision, *scale)
            }
            (DataType::Utf8, Bound::Text(text)) => ScalarValue::Utf8(Some(text.clone())),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
