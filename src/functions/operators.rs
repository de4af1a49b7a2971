//! The planner hook for operators: what PostgreSQL decides from operands as they are written.
//!
//! A small integer literal is an `integer`, not a `bigint`, so `x + 1` keeps x's type; and a numeric beside a float
//! becomes a float, where DataFusion would compare the float as a numeric and lose digits.

use arrow::datatypes::{DataType, Decimal128Type, DecimalType};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use sqlparser::ast::BinaryOperator;

#[derive(Debug)]
pub struct PostgresOperators;

impl ExprPlanner for PostgresOperators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = raw;
        let (left, right) = match op {
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo => (narrow(left), narrow(right)),
            _ => (left, right),
        };
        let (left, right) = float_beside_numeric(left, right, schema);
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// `1` is planned as Int64; PostgreSQL takes the smallest of integer and bigint that holds it.
fn narrow(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(value) {
            Ok(value) => Expr::Literal(ScalarValue::Int32(Some(value)), metadata),
            Err(_) => Expr::Literal(ScalarValue::Int64(Some(value)), metadata),
        },
        other => other,
    }
}

fn float_beside_numeric(left: Expr, right: Expr, schema: &DFSchema) -> (Expr, Expr) {
    match (left.get_type(schema), right.get_type(schema)) {
        (Ok(DataType::Float32 | DataType::Float64), Ok(numeric)) if is_numeric(&numeric) => (left, as_float(right)),
        (Ok(numeric), Ok(DataType::Float32 | DataType::Float64)) if is_numeric(&numeric) => (as_float(left), right),
        _ => (left, right),
    }
}

fn is_numeric(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..))
}

/// A literal is converted from its digits, so that `x > 0.1` compares with the float nearest to 0.1.
fn as_float(expr: Expr) -> Expr {
    match &expr {
        Expr::Literal(ScalarValue::Decimal128(Some(value), precision, scale), metadata) => {
            match Decimal128Type::format_decimal(*value, *precision, *scale).parse::<f64>() {
                Ok(float) => Expr::Literal(ScalarValue::Float64(Some(float)), metadata.clone()),
                Err(_) => cast(expr, DataType::Float64),
            }
        }
        _ => cast(expr, DataType::Float64),
    }
}
