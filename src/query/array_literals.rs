//! Text literals beside arrays: `roles = '{0}'` compares with an array, as the other side's type says.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, lit};
use sqlparser::ast::BinaryOperator;

use super::rewrite::parse_array;

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

/// `literal` as an array of `beside`'s type, if the one is a text and the other an array.
fn array_like(literal: &Expr, beside: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let Expr::Literal(value, _) = literal else { return Ok(None) };
    let Some(Some(text)) = value.try_as_str() else { return Ok(None) };
    let DataType::List(element) = beside.get_type(schema)? else { return Ok(None) };
    let Some(elements) = parse_array(text) else { return Ok(None) };
    let values = elements
        .into_iter()
        .map(|text| match text {
            Some(text) => ScalarValue::Utf8(Some(text)).cast_to(element.data_type()),
            None => ScalarValue::try_from(element.data_type()),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Some(lit(ScalarValue::List(ScalarValue::new_list_nullable(&values, element.data_type())))))
}
