//! Text literals beside arrays: `roles = '{0}'` compares with an array, as the other side's type says.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use sqlparser::ast::BinaryOperator;

use crate::types::parse::parse_array;

#[derive(Debug)]
pub struct ArrayLiterals;

impl ExprPlanner for ArrayLiterals {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = expr;
        if !matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq | BinaryOperator::StringConcat) {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        }
        let (left, right) = match (array_like(&left, &right, schema)?, array_like(&right, &left, schema)?) {
            (Some(left), _) => (left, right),
            (None, Some(right)) => (left, right),
            (None, None) => (left, right),
        };
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// `literal` as an array of `beside`'s type, if the one is an array's text and the other an array.
fn array_like(literal: &Expr, beside: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let Expr::Literal(value, _) = literal else { return Ok(None) };
    let Some(Some(text)) = value.try_as_str() else { return Ok(None) };
    let list @ DataType::List(_) = beside.get_type(schema)? else { return Ok(None) };
    Ok(parse_array(text).map(|_| cast(literal.clone(), list)))
}
