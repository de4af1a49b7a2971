//! One zero and one NaN: how floats are grouped, joined and compared. Numbers in jsonb likewise: 1.0 is 1.
//!
//! Arrow compares floats by their bits' total order, in which -0 is less than 0 and a NaN with a sign is the least of
//! all. PostgreSQL has -0 = 0, and NaN equal to itself and greater than all numbers. Operands, keys and arguments pass
//! through `canonical_float`, after which the total order is PostgreSQL's.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, LargeStringArray, ListArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::types::json::comparable;

/// Name in the registry and in stored plans.
pub const CANONICAL_FLOAT: &str = "canonical_float";

#[inline]
pub fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

pub fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

/// Whether values that are equal in SQL may differ in their bits: floats, jsonb, and arrays of them.
pub fn is_canonical_form_needed(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 | DataType::LargeUtf8 => true,
        DataType::List(element) => is_canonical_form_needed(element.data_type()),
        _ => false,
    }
}

/// Any array; those that are not floats come back as they are.
pub fn canonical_array(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float64 => {
            let canonical: Float64Array = array.as_primitive::<Float64Type>().unary(canonical_f64);
            Arc::new(canonical)
        }
        DataType::Float32 => {
            let canonical: Float32Array = array.as_primitive::<Float32Type>().unary(canonical_f32);
            Arc::new(canonical)
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            Arc::new(values.iter().map(|value| value.map(comparable)).collect::<LargeStringArray>())
        }
        DataType::List(element) if is_canonical_form_needed(element.data_type()) => {
            let lists = array.as_list::<i32>();
            let values = canonical_array(lists.values());
            let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
            Arc::new(ListArray::new(Arc::clone(element), offsets, values, nulls))
        }
        _ => Arc::clone(array),
    }
}

pub fn canonical_scalar(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Float64(Some(value)) => ScalarValue::Float64(Some(canonical_f64(value))),
        ScalarValue::Float32(Some(value)) => ScalarValue::Float32(Some(canonical_f32(value))),
        ScalarValue::LargeUtf8(Some(value)) => ScalarValue::LargeUtf8(Some(comparable(&value).into_owned())),
        ScalarValue::List(lists) => match canonical_array(&(lists.clone() as ArrayRef)).as_list_opt::<i32>() {
            Some(canonical) => ScalarValue::List(Arc::new(canonical.clone())),
            None => ScalarValue::List(lists),
        },
        other => other,
    }
}

/// `canonical_float(x)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CanonicalFloat {
    signature: Signature,
}

impl CanonicalFloat {
    pub fn function() -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(CanonicalFloat { signature: Signature::any(1, Volatility::Immutable) }))
    }
}

impl ScalarUDFImpl for CanonicalFloat {
    fn name(&self) -> &str {
        CANONICAL_FLOAT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields.first() {
            Some(field) => Ok(Arc::new(Field::new(CANONICAL_FLOAT, field.data_type().clone(), field.is_nullable()))),
            None => internal_err!("canonical_float takes one argument"),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(canonical_array(&array))),
            Some(ColumnarValue::Scalar(scalar)) => Ok(ColumnarValue::Scalar(canonical_scalar(scalar))),
            None => internal_err!("canonical_float takes one argument"),
        }
    }
}
