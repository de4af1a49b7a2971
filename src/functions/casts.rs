//! Casts to integers that round and range-check as PostgreSQL's do.
//!
//! Floats round half to even, numerics half away from zero; what does not fit raises 22003 with the type's name. Arrow's
//! own cast would truncate.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type, i256};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::numeric::divide_rounded;
use crate::error::{Error, SqlState};

/// Whether a cast from `source` to `target` needs [`IntegerCast`]. Widening does not.
pub fn integer_cast_applies(source: &DataType, target: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64};
    matches!(
        (source, target),
        (Float32 | Float64 | Decimal128(..), Int16 | Int32 | Int64) | (Int32 | Int64, Int16) | (Int64, Int32)
    )
}

/// The cast to one integer type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IntegerCast {
    target: DataType,
    signature: Signature,
}

impl IntegerCast {
    pub const TARGETS: [DataType; 3] = [DataType::Int16, DataType::Int32, DataType::Int64];

    pub fn function(target: &DataType) -> Result<Arc<ScalarUDF>> {
        if !Self::TARGETS.contains(target) {
            return internal_err!("{target} is not an integer type");
        }
        let signature = Signature::any(1, Volatility::Immutable);
        Ok(Arc::new(ScalarUDF::from(IntegerCast { target: target.clone(), signature })))
    }

    fn out_of_range(&self) -> DataFusionError {
        let name = match self.target {
            DataType::Int16 => "smallint",
            DataType::Int32 => "integer",
            _ => "bigint",
        };
        let error = Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("{name} out of range"));
        DataFusionError::External(Box::new(error))
    }

    fn cast(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let bigints: ArrayRef = match array.data_type() {
            DataType::Float32 | DataType::Float64 => Arc::new(self.round_floats(&cast(array, &DataType::Float64)?)?),
            DataType::Decimal128(_, scale) => Arc::new(self.round_decimals(array, *scale)?),
            _ => cast(array, &DataType::Int64)?,
        };
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&bigints, &self.target, &strict).map_err(|_| self.out_of_range())
    }

    fn round_floats(&self, array: &ArrayRef) -> Result<Int64Array> {
        array.as_primitive::<Float64Type>().try_unary::<_, Int64Type, _>(|value| {
            let rounded = value.round_ties_even();
            // 2^63 itself does not fit; -2^63 does.
            if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
                Ok(rounded as i64)
            } else {
                Err(self.out_of_range())
            }
        })
    }

    fn round_decimals(&self, array: &ArrayRef, scale: i8) -> Result<Int64Array> {
        let unit = i256::from_i128(10_i128.checked_pow(u32::from(scale.unsigned_abs())).unwrap_or(i128::MAX));
        array.as_primitive::<Decimal128Type>().try_unary::<_, Int64Type, _>(|value| {
            divide_rounded(i256::from_i128(value), unit)
                .and_then(|rounded| rounded.to_i128())
                .and_then(|rounded| i64::try_from(rounded).ok())
                .ok_or_else(|| self.out_of_range())
        })
    }
}

impl ScalarUDFImpl for IntegerCast {
    fn name(&self) -> &str {
        match self.target {
            DataType::Int16 => "smallint_from",
            DataType::Int32 => "integer_from",
            _ => "bigint_from",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.target.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.target.clone(), nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(array)] => Ok(ColumnarValue::Array(self.cast(array)?)),
            [ColumnarValue::Scalar(scalar)] => {
                let array = self.cast(&scalar.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            other => internal_err!("{} arguments for {}", other.len(), self.name()),
        }
    }
}
