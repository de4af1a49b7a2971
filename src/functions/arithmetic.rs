//! Arithmetic that raises instead of wrapping: integers (22003), floats (22003, 22012), division of numerics.
//!
//! The functions stand in plans where the user wrote `a + b`; [`super::semantics`] puts them there after type coercion,
//! and they print themselves as the operator, so that no column changes its name.
//!
//! Whether a row errs depends on that row alone. NULL operands never err.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, Decimal128Array, Float32Array, Float64Array};
use arrow::compute::kernels::{arity, numeric};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, i256,
};
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use super::numeric::{divide_rounded, in_precision};
use crate::error::{Error, SqlState};

/// Digits after the point that a division of numerics gives at least, as PostgreSQL does.
pub const DIVISION_SCALE_MIN: i8 = 16;

/// One operator; `-a` is its own because it has one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
}

impl Arithmetic {
    pub const ALL: [Arithmetic; 6] = [
        Arithmetic::Add,
        Arithmetic::Subtract,
        Arithmetic::Multiply,
        Arithmetic::Divide,
        Arithmetic::Modulo,
        Arithmetic::Negate,
    ];

    pub fn of(operator: Operator) -> Option<Arithmetic> {
        match operator {
            Operator::Plus => Some(Arithmetic::Add),
            Operator::Minus => Some(Arithmetic::Subtract),
            Operator::Multiply => Some(Arithmetic::Multiply),
            Operator::Divide => Some(Arithmetic::Divide),
            Operator::Modulo => Some(Arithmetic::Modulo),
            _ => None,
        }
    }

    /// Name in the registry and in stored plans.
    pub fn function_name(self) -> &'static str {
        match self {
            Arithmetic::Add => "checked_add",
            Arithmetic::Subtract => "checked_subtract",
            Arithmetic::Multiply => "checked_multiply",
            Arithmetic::Divide => "checked_divide",
            Arithmetic::Modulo => "checked_modulo",
            Arithmetic::Negate => "checked_negate",
        }
    }

    /// The operator of a function's name.
    pub fn named(function_name: &str) -> Option<Arithmetic> {
        Arithmetic::ALL.into_iter().find(|operator| operator.function_name() == function_name)
    }

    /// `None` for the unary minus.
    pub fn operator(self) -> Option<Operator> {
        match self {
            Arithmetic::Add => Some(Operator::Plus),
            Arithmetic::Subtract => Some(Operator::Minus),
            Arithmetic::Multiply => Some(Operator::Multiply),
            Arithmetic::Divide => Some(Operator::Divide),
            Arithmetic::Modulo => Some(Operator::Modulo),
            Arithmetic::Negate => None,
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Subtract | Arithmetic::Negate => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
            Arithmetic::Modulo => "%",
        }
    }

    /// The type of `left operator right` where this function stands for it; `None` where DataFusion's own is right
    /// (dates, intervals, sums of numerics, which Arrow checks).
    pub fn return_type(self, left: &DataType, right: &DataType) -> Option<DataType> {
        match (left, right) {
            (DataType::Decimal128(_, left_scale), DataType::Decimal128(_, right_scale))
                if self == Arithmetic::Divide =>
            {
                let scale = DIVISION_SCALE_MIN.max(*left_scale).max(*right_scale);
                Some(DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale))
            }
            _ if left == right && (left.is_integer() || is_float(left)) => Some(left.clone()),
            _ => None,
        }
    }
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// The function of one operator.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CheckedArithmetic {
    operator: Arithmetic,
    signature: Signature,
}

impl CheckedArithmetic {
    pub fn function(operator: Arithmetic) -> Arc<ScalarUDF> {
        let signature = match operator {
            Arithmetic::Negate => Signature::any(1, Volatility::Immutable),
            _ => Signature::any(2, Volatility::Immutable),
        };
        Arc::new(ScalarUDF::from(CheckedArithmetic { operator, signature }))
    }
}

impl ScalarUDFImpl for CheckedArithmetic {
    fn name(&self) -> &str {
        self.operator.function_name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match args {
            [left, right] => format!("{} {} {}", left.schema_name(), self.operator.symbol(), right.schema_name()),
            [only] => format!("(- {})", only.schema_name()),
            _ => self.name().to_string(),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let found = match arg_types {
            [only] => self.operator.return_type(only, only),
            [left, right] => self.operator.return_type(left, right),
            _ => None,
        };
        found.ok_or_else(|| DataFusionError::Plan(format!("{} does not support {arg_types:?}", self.name())))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let operator = self.operator;
        match args.args.as_slice() {
            [only] => {
                let values = only.to_array(args.number_rows)?;
                let negated = numeric::neg(&values).map_err(|error| raise(error, values.data_type()))?;
                Ok(ColumnarValue::Array(negated))
            }
            [left, right] => {
                let operand_type = left.data_type();
                apply(left, right, |left, right| calculate(operator, left, right)).map_err(|error| match error {
                    DataFusionError::ArrowError(error, _) => raise(*error, &operand_type),
                    other => other,
                })
            }
            other => internal_err!("{} arguments for {}", other.len(), self.name()),
        }
    }
}

/// PostgreSQL's words for what Arrow raised.
fn raise(error: ArrowError, operand_type: &DataType) -> DataFusionError {
    let ours = match error {
        ArrowError::ArithmeticOverflow(_) => Error::new(
            SqlState::NUMERIC_OUT_OF_RANGE,
            match operand_type {
                DataType::Int16 => "smallint out of range",
                DataType::Int32 => "integer out of range",
                DataType::Int64 => "bigint out of range",
                DataType::Decimal128(..) => "numeric field overflow",
                _ => "value out of range: overflow",
            },
        ),
        other => Error::from(other),
    };
    DataFusionError::External(Box::new(ours))
}

fn calculate(operator: Arithmetic, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    let (left_array, left_is_scalar) = left.get();
    match left_array.data_type() {
        DataType::Float64 => float64(operator, left, right),
        DataType::Float32 => float32(operator, left, right),
        DataType::Decimal128(_, left_scale) if operator == Arithmetic::Divide => {
            let (right_array, right_is_scalar) = right.get();
            let rows = if left_is_scalar { right_array.len() } else { left_array.len() };
            let left = Side { values: left_array.as_primitive::<Decimal128Type>(), repeated: left_is_scalar };
            let right = Side { values: right_array.as_primitive::<Decimal128Type>(), repeated: right_is_scalar };
            divide_decimals(left, *left_scale, right, rows)
        }
        _ => match operator {
            Arithmetic::Add => numeric::add(left, right),
            Arithmetic::Subtract => numeric::sub(left, right),
            Arithmetic::Multiply => numeric::mul(left, right),
            Arithmetic::Divide => numeric::div(left, right),
            Arithmetic::Modulo | Arithmetic::Negate => numeric::rem(left, right),
        },
    }
}

macro_rules! float_arithmetic {
    ($name:ident, $arrow_type:ty, $array:ty, $native:ty) => {
        /// Overflow and division by zero are errors; a NaN comes out as the one NaN whatever bits it came from.
        fn $name(operator: Arithmetic, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
            let calculate = |a: $native, b: $native| -> Result<$native, ArrowError> {
                let result = match operator {
                    Arithmetic::Add => a + b,
                    Arithmetic::Subtract => a - b,
                    Arithmetic::Multiply => a * b,
                    Arithmetic::Divide | Arithmetic::Modulo if b == 0.0 && !a.is_nan() => {
                        return Err(ArrowError::DivideByZero);
                    }
                    Arithmetic::Divide => a / b,
                    Arithmetic::Modulo | Arithmetic::Negate => a % b,
                };
                if result.is_infinite() && a.is_finite() && b.is_finite() {
                    return Err(ArrowError::ArithmeticOverflow(format!("{a} {} {b}", operator.symbol())));
                }
                Ok(if result.is_nan() { <$native>::NAN } else { result })
            };
            let ((left, left_is_scalar), (right, right_is_scalar)) = (left.get(), right.get());
            let (left, right) = (left.as_primitive::<$arrow_type>(), right.as_primitive::<$arrow_type>());
            let result: $array = match (left_is_scalar, right_is_scalar) {
                (false, true) if right.is_null(0) => <$array>::new_null(left.len()),
                (true, false) if left.is_null(0) => <$array>::new_null(right.len()),
                (false, true) => {
                    let b = right.value(0);
                    left.try_unary(|a| calculate(a, b))?
                }
                (true, false) => {
                    let a = left.value(0);
                    right.try_unary(|b| calculate(a, b))?
                }
                _ => arity::try_binary(left, right, calculate)?,
            };
            Ok(Arc::new(result))
        }
    };
}

float_arithmetic!(float64, Float64Type, Float64Array, f64);
float_arithmetic!(float32, Float32Type, Float32Array, f32);

/// A column, or one value for all rows.
struct Side<'a> {
    values: &'a Decimal128Array,
    repeated: bool,
}

impl Side<'_> {
    fn get(&self, row: usize) -> Option<i128> {
        let row = if self.repeated { 0 } else { row };
        self.values.is_valid(row).then(|| self.values.value(row))
    }

    fn scale(&self) -> i8 {
        self.values.scale()
    }
}

/// Rounds half away from zero to the scale of [`Arithmetic::return_type`].
fn divide_decimals(left: Side, left_scale: i8, right: Side, rows: usize) -> Result<ArrayRef, ArrowError> {
    let scale = DIVISION_SCALE_MIN.max(left_scale).max(right.scale());
    // a / 10^ls divided by b / 10^rs, times 10^scale, is a * 10^(scale + rs - ls) / b.
    let shift =
        i256::from_i128(10).wrapping_pow((i32::from(scale) + i32::from(right.scale()) - i32::from(left_scale)) as u32);
    let overflow = || ArrowError::ArithmeticOverflow("quotient of numerics".to_string());
    let quotient = |row: usize| -> Result<Option<i128>, ArrowError> {
        let (Some(dividend), Some(divisor)) = (left.get(row), right.get(row)) else { return Ok(None) };
        if divisor == 0 {
            return Err(ArrowError::DivideByZero);
        }
        let dividend = i256::from_i128(dividend).checked_mul(shift).ok_or_else(overflow)?;
        let quotient = divide_rounded(dividend, i256::from_i128(divisor)).ok_or_else(overflow)?;
        in_precision(quotient).map(Some).ok_or_else(overflow)
    };
    let quotients = (0..rows).map(quotient).collect::<Result<Decimal128Array, ArrowError>>()?;
    Ok(Arc::new(quotients.with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale)?))
}
