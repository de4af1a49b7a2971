//! The planner hook for jsonb's operators, and what may be done with a jsonb at all.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use sqlparser::ast::BinaryOperator as Op;

use super::{JSONB, JsonFunction};
use crate::error::{Error, SqlState};
use crate::functions::operators::narrow;
use crate::functions::type_name;
use crate::types::SqlType;

#[derive(Debug)]
pub struct JsonOperators;

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = raw;
        let (left_type, right_type) = (left.get_type(schema).ok(), right.get_type(schema).ok());
        let is_json = |data_type: &Option<DataType>| data_type.as_ref().is_none_or(|found| *found == JSONB);
        let is_known_json = |data_type: &Option<DataType>| data_type.as_ref() == Some(&JSONB);
        let is_of_json = matches!(
            op,
            Op::Arrow
                | Op::LongArrow
                | Op::HashArrow
                | Op::HashLongArrow
                | Op::HashMinus
                | Op::Question
                | Op::QuestionPipe
                | Op::QuestionAnd
        );
        if !is_known_json(&left_type) && !is_known_json(&right_type) && !is_of_json {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        }
        let fits = match &op {
            Op::Arrow | Op::LongArrow | Op::HashArrow | Op::HashLongArrow => is_json(&left_type),
            Op::Question | Op::QuestionPipe | Op::QuestionAnd | Op::Minus | Op::HashMinus => is_json(&left_type),
            Op::AtArrow | Op::ArrowAt | Op::StringConcat | Op::Eq | Op::NotEq => {
                is_json_like(&left, &left_type) && is_json_like(&right, &right_type)
            }
            Op::Lt | Op::LtEq | Op::Gt | Op::GtEq
                if is_json_like(&left, &left_type) && is_json_like(&right, &right_type) =>
            {
                return Err(external(no_order()));
            }
            _ => false,
        };
        if !fits {
            let name = |expr: &Expr| match narrow(expr.clone()).get_type(schema) {
                Ok(found) => type_name(&found),
                Err(_) => "unknown".to_owned(),
            };
            let message = format!("operator does not exist: {} {op} {}", name(&left), name(&right));
            return Err(external(Error::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
                "No operator matches the given name and argument types. You might need to add explicit type casts.",
            )));
        }
        let function = match op {
            Op::Arrow => JsonFunction::Get,
            Op::LongArrow => JsonFunction::GetText,
            Op::HashArrow => JsonFunction::GetPath,
            Op::HashLongArrow => JsonFunction::GetPathText,
            Op::AtArrow => return planned(JsonFunction::Contains, as_json(left), as_json(right)),
            Op::ArrowAt => return planned(JsonFunction::Contains, as_json(right), as_json(left)),
            Op::StringConcat => return planned(JsonFunction::Concat, as_json(left), as_json(right)),
            Op::Question => JsonFunction::Exists,
            Op::QuestionPipe => JsonFunction::ExistsAny,
            Op::QuestionAnd => JsonFunction::ExistsAll,
            Op::Minus => JsonFunction::Delete,
            Op::HashMinus => JsonFunction::DeletePath,
            op => {
                let (left, right) = (as_json(left), as_json(right));
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
            }
        };
        let takes_texts = matches!(
            function,
            JsonFunction::GetPath
                | JsonFunction::GetPathText
                | JsonFunction::ExistsAny
                | JsonFunction::ExistsAll
                | JsonFunction::DeletePath
        );
        let right = if takes_texts && is_text(&right) { cast(right, texts()) } else { right };
        planned(function, left, right)
    }
}

fn planned(function: JsonFunction, left: Expr, right: Expr) -> Result<PlannerResult<RawBinaryExpr>> {
    Ok(PlannerResult::Planned(function.call(vec![left, right])))
}

/// A text that is written out.
fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), _))
}

/// A jsonb, or what is read as one beside it.
fn is_json_like(expr: &Expr, data_type: &Option<DataType>) -> bool {
    is_text(expr) || matches!(data_type, None | Some(DataType::LargeUtf8 | DataType::Null))
}

fn as_json(expr: Expr) -> Expr {
    if is_text(&expr) { cast(expr, JSONB) } else { expr }
}

fn texts() -> DataType {
    SqlType::Array(Box::new(SqlType::Text)).arrow()
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Jsonb has an order in PostgreSQL.
pub fn no_order() -> Error {
    Error::not_built("an order of jsonb").with_hint("Order by a part of it, as in payload->>'device'.")
}
