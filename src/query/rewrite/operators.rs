//! Operators before an operand that DataFusion does not plan, or takes for more types than PostgreSQL.

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};

use super::names::call;
use crate::functions::UNARY_PLUS;

/// `@ x`, `|/ x` and `||/ x` as the functions that they are, `~ x` as `-1 - x`, and `+ x` as a function that knows its types.
pub fn rewrite_prefix(expr: &mut Expr) {
    let Expr::UnaryOp { op, expr: operand } = &mut *expr else { return };
    let op = *op;
    // Written out behind the sign, DataFusion would negate the first of its fields.
    if op == UnaryOperator::Minus && matches!(**operand, Expr::Interval(_)) {
        let interval = std::mem::replace(&mut **operand, Expr::value(Value::Null));
        **operand = Expr::Nested(Box::new(interval));
        return;
    }
    let operand = match op {
        UnaryOperator::Plus
        | UnaryOperator::PGAbs
        | UnaryOperator::PGSquareRoot
        | UnaryOperator::PGCubeRoot
        | UnaryOperator::BitwiseNot => std::mem::replace(&mut **operand, Expr::value(Value::Null)),
        _ => return,
    };
    *expr = match op {
        UnaryOperator::Plus if is_number(&operand) => operand,
        UnaryOperator::Plus => call(UNARY_PLUS, vec![operand]),
        UnaryOperator::PGAbs => call("abs", vec![operand]),
        UnaryOperator::PGSquareRoot => call("sqrt", vec![operand]),
        UnaryOperator::PGCubeRoot => call("cbrt", vec![operand]),
        _ => {
            let one = Expr::value(Value::Number("1".to_owned(), false));
            let minus_one = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(one) };
            let not = Expr::BinaryOp { left: Box::new(minus_one), op: BinaryOperator::Minus, right: Box::new(operand) };
            Expr::Nested(Box::new(not))
        }
    };
}

fn is_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Number(..)))
}
