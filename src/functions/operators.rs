//! The planner hook for operators: what PostgreSQL decides from operands as they are written.
//!
//! A small integer literal is an `integer`, not a `bigint`, so `x + 1` keeps x's type; and a numeric beside a float
//! becomes a float, where DataFusion would compare the float as a numeric and lose digits.

use arrow::datatypes::{DataType, Decimal128Type, DecimalType, IntervalUnit, TimeUnit};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr, cast};
use sqlparser::ast::BinaryOperator;

use super::clock::{DatePart, ScaledInterval};
use super::type_name;
use crate::error::{Error, SqlState};
use crate::types::{SqlType, UUID_BYTES};

#[derive(Debug)]
pub struct PostgresOperators;

impl ExprPlanner for PostgresOperators {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(DatePart::extract().call(args)))
    }

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
        if let Some(scaled) = scaled_interval(&op, &left, &right, schema) {
            return Ok(PlannerResult::Planned(scaled));
        }
        if let Some(days) = days_between(&op, &left, &right, schema) {
            return Ok(PlannerResult::Planned(days));
        }
        let (left, right) = as_number(&op, left, right, schema);
        let (left, right) = as_span(&op, left, right, schema);
        let (left, right) = date_with_interval(&op, left, right, schema);
        refuse_text_beside_others(&op, &left, &right, schema)?;
        let (left, right) = match is_comparison(&op) {
            true => {
                let left = as_read(left, &right, schema);
                let right = as_read(right, &left, schema);
                (left, right)
            }
            false => (left, right),
        };
        let (left, right) = float_beside_numeric(left, right, schema);
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// `interval * number`, `number * interval` and `interval / number`.
fn scaled_interval(op: &BinaryOperator, left: &Expr, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let (left_type, right_type) = (left.get_type(schema).ok()?, right.get_type(schema).ok()?);
    let is_interval = |data_type: &DataType| matches!(data_type, DataType::Interval(_));
    let (interval, number) = match op {
        BinaryOperator::Multiply | BinaryOperator::Divide if is_interval(&left_type) && right_type.is_numeric() => {
            (left, right)
        }
        BinaryOperator::Multiply if left_type.is_numeric() && is_interval(&right_type) => (right, left),
        _ => return None,
    };
    let number = cast(number.clone(), DataType::Float64);
    Some(ScaledInterval::function(*op == BinaryOperator::Divide).call(vec![interval.clone(), number]))
}

/// `date - date` is an integer.
fn days_between(op: &BinaryOperator, left: &Expr, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let is_date = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Date32));
    (*op == BinaryOperator::Minus && is_date(left) && is_date(right))
        .then(|| cast(binary_expr(left.clone(), Operator::Minus, right.clone()), DataType::Int32))
}

/// `date + interval` is a timestamp.
fn date_with_interval(op: &BinaryOperator, left: Expr, right: Expr, schema: &DFSchema) -> (Expr, Expr) {
    let is = |expr: &Expr, test: fn(&DataType) -> bool| expr.get_type(schema).is_ok_and(|found| test(&found));
    let is_date = |expr: &Expr| is(expr, |found| matches!(found, DataType::Date32));
    let is_interval = |expr: &Expr| is(expr, |found| matches!(found, DataType::Interval(_)));
    let midnight = |date: Expr| cast(date, DataType::Timestamp(TimeUnit::Microsecond, None));
    match op {
        BinaryOperator::Plus | BinaryOperator::Minus if is_date(&left) && is_interval(&right) => {
            (midnight(left), right)
        }
        BinaryOperator::Plus if is_interval(&left) && is_date(&right) => (left, midnight(right)),
        _ => (left, right),
    }
}

/// A text that is added to a timestamp or an interval is an interval; one that is taken from it is of its own type.
fn as_span(op: &BinaryOperator, left: Expr, right: Expr, schema: &DFSchema) -> (Expr, Expr) {
    let is_text = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), _));
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let time = |expr: &Expr| match expr.get_type(schema) {
        Ok(time @ (DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Interval(_))) => Some(time),
        _ => None,
    };
    match (op, time(&left), time(&right)) {
        (BinaryOperator::Plus, Some(_), None) if is_text(&right) => (left, cast(right, interval)),
        (BinaryOperator::Plus, None, Some(_)) if is_text(&left) => (cast(left, interval), right),
        (BinaryOperator::Minus, Some(time), None) if is_text(&right) => (left, cast(right, time)),
        (BinaryOperator::Minus, None, Some(time)) if is_text(&left) => (cast(left, time), right),
        _ => (left, right),
    }
}

/// A text that is written out beside a number is a number of its type, in arithmetic as in comparisons.
fn as_number(op: &BinaryOperator, left: Expr, right: Expr, schema: &DFSchema) -> (Expr, Expr) {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    let is_text = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), _));
    let number = |expr: &Expr| expr.get_type(schema).ok().filter(DataType::is_numeric);
    if !matches!(op, Plus | Minus | Multiply | Divide | Modulo) {
        return (left, right);
    }
    match (number(&left), number(&right)) {
        (None, Some(number)) if is_text(&left) => (cast(left, number), right),
        (Some(number), None) if is_text(&right) => (left, cast(right, number)),
        _ => (left, right),
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

/// A literal text beside a time or a UUID is one, read by our rules and in the session's zone.
fn as_read(literal: Expr, beside: &Expr, schema: &DFSchema) -> Expr {
    let is_text = matches!(&literal, Expr::Literal(ScalarValue::Utf8(Some(_)), _));
    match beside.get_type(schema) {
        Ok(read) if is_text && is_read(&read) => cast(literal, read),
        _ => literal,
    }
}

/// Types that a text that is written out beside a value of theirs is read as, and not compared as a text.
pub fn is_read(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Date32
            | DataType::Interval(_)
            | DataType::FixedSizeBinary(UUID_BYTES)
            | DataType::LargeUtf8
    )
}

/// A text that is not written out is no number and no UUID: 42883, as in PostgreSQL.
fn refuse_text_beside_others(op: &BinaryOperator, left: &Expr, right: &Expr, schema: &DFSchema) -> Result<()> {
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else { return Ok(()) };
    let is_text = |expr: &Expr, data_type: &DataType| data_type.is_string() && !matches!(expr, Expr::Literal(..));
    let is_other = |data_type: &DataType| data_type.is_numeric() || *data_type == SqlType::Uuid.arrow();
    let refused =
        is_text(left, &left_type) && is_other(&right_type) || is_text(right, &right_type) && is_other(&left_type);
    if !is_comparison(op) || !refused {
        return Ok(());
    }
    let name = |expr: &Expr, data_type: &DataType| match narrow(expr.clone()).get_type(schema) {
        Ok(narrowed) => type_name(&narrowed),
        Err(_) => type_name(data_type),
    };
    let message = format!("operator does not exist: {} {op} {}", name(left, &left_type), name(right, &right_type));
    let error = Error::new(SqlState::UNDEFINED_FUNCTION, message)
        .with_hint("No operator matches the given name and argument types. You might need to add explicit type casts.");
    Err(DataFusionError::External(Box::new(error)))
}

/// `1` is planned as Int64; PostgreSQL takes the smallest of integer and bigint that holds it.
pub fn narrow(expr: Expr) -> Expr {
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
