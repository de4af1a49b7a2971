//! `x = ANY ($1)`: a value against an array that comes as PostgreSQL's text of it.
//!
//! The elements are read as values of `x`'s type. As in PostgreSQL: NULL for a NULL `x`, and where nothing is equal but the
//! array holds a NULL.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{OwnedRow, RowConverter, SortField};
use chrono_tz::Tz;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::error::Error;
use crate::functions::floats::canonical_array;
use crate::types::SqlType;
use crate::types::parse::{parse_elements, parse_text};

/// What the rewrite of `= ANY (parameter)` calls.
pub const ANY_OF: &str = "any_of";

/// (value, text of an array) to boolean.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AnyOf {
    signature: Signature,
}

pub fn any_of() -> ScalarUDF {
    ScalarUDF::from(AnyOf { signature: Signature::any(2, Volatility::Immutable) })
}

/// Parameters of a plan that are arrays, by name (`$1`), with the type of their elements.
pub fn array_parameters(plan: &LogicalPlan) -> Result<Vec<(String, DataType)>, Error> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr
                    && call.name() == ANY_OF
                    && let [value, array] = call.args.as_slice()
                    && let Some(name) = parameter_name(array)
                    && let Ok(element) = value.get_type(&schema)
                {
                    found.push((name, element));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn parameter_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Placeholder(parameter) => Some(parameter.id.clone()),
        Expr::Cast(cast) => parameter_name(&cast.expr),
        _ => None,
    }
}

/// An array's distinct elements, ready to be looked up.
struct Elements {
    converter: RowConverter,
    rows: HashSet<OwnedRow>,
    has_null: bool,
}

impl Elements {
    fn read(text: &str, data_type: &DataType, zone: Tz) -> Result<Elements> {
        let texts = parse_elements(text).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let sql_type = SqlType::from_arrow(data_type).unwrap_or(SqlType::Text);
        let has_null = texts.iter().any(Option::is_none);
        let values = texts
            .iter()
            .flatten()
            .filter(|text| fits(&sql_type, text))
            .map(|text| parse_text(&sql_type, text, zone).map_err(|error| DataFusionError::External(Box::new(error))))
            .collect::<Result<Vec<ScalarValue>>>()?;
        let array = if values.is_empty() { new_empty_array(data_type) } else { ScalarValue::iter_to_array(values)? };
        let array = canonical_array(&cast(&array, data_type)?);
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let rows = converter.convert_columns(&[array])?.iter().map(|row| row.owned()).collect();
        Ok(Elements { converter, rows, has_null })
    }

    fn hold(&self, values: &ArrayRef) -> Result<BooleanArray> {
        let rows = self.converter.convert_columns(&[canonical_array(values)])?;
        let holds = (0..values.len()).map(|index| {
            if values.is_null(index) {
                return None;
            }
            match self.rows.contains(&rows.row(index).owned()) {
                true => Some(true),
                false => (!self.has_null).then_some(false),
            }
        });
        Ok(holds.collect())
    }
}

/// A number with more digits after the point than the type has equals none of its values, and must not be rounded to one.
fn fits(sql_type: &SqlType, text: &str) -> bool {
    match (sql_type, text.split_once('.')) {
        (SqlType::Numeric { scale, .. }, Some((_, fraction))) if !fraction.contains(['e', 'E']) => {
            fraction.trim_end().trim_end_matches('0').len() <= usize::try_from(*scale).unwrap_or(0)
        }
        _ => true,
    }
}

impl ScalarUDFImpl for AnyOf {
    fn name(&self) -> &str {
        ANY_OF
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values, array] = args.args.as_slice() else { return exec_err!("{ANY_OF} takes two arguments") };
        let values = values.to_array(args.number_rows)?;
        let ColumnarValue::Scalar(array) = array else {
            let error = Error::not_built("ANY over an array that differs from row to row");
            return Err(DataFusionError::External(Box::new(error)));
        };
        let Some(Some(text)) = array.try_as_str() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
        };
        let zone = args.config_options.execution.time_zone.as_ref().and_then(|zone| zone.parse().ok());
        let elements = Elements::read(text, values.data_type(), zone.unwrap_or(Tz::UTC))?;
        Ok(ColumnarValue::Array(Arc::new(elements.hold(&values)?)))
    }
}
