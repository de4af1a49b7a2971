//! The last projection of a query: columns without a type in the wire protocol are given their text form.
//!
//! Arrays of one dimension have a type. Those of several leave as PostgreSQL's text (`{{1,2},{3,4}}`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result as DataFusionResult, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::error::{Error, Result};
use crate::types::SqlType;
use crate::types::text::{ColumnText, EncodeSettings};

/// The SQL type of a result's column. Errors: 0A000 for one that has no PostgreSQL form.
pub fn result_type(data_type: &DataType) -> Result<SqlType> {
    SqlType::from_arrow(data_type).ok_or_else(|| {
        Error::not_built(format!("a result column of type {data_type}"))
            .with_hint("Select the parts that you need, or cast them to text.")
    })
}

/// The same plan, its arrays of several dimensions as text. Errors: a column of a type that has no PostgreSQL form.
pub fn present(plan: LogicalPlan) -> Result<LogicalPlan> {
    let schema = plan.schema().clone();
    let has_form = |data_type: &DataType| SqlType::from_arrow(data_type).is_some();
    if schema.fields().iter().all(|field| has_form(field.data_type())) {
        return Ok(plan);
    }
    let to_text = Arc::new(ScalarUDF::from(ArrayText::new()));
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (qualifier, field) in schema.iter() {
        let column = Expr::Column((qualifier, field).into());
        let shown = match field.data_type() {
            known if has_form(known) => column,
            DataType::LargeList(item) | DataType::FixedSizeList(item, _) if !item.data_type().is_nested() => {
                datafusion::logical_expr::cast(column, list_of(item.data_type().clone()))
            }
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => to_text.call(vec![column]),
            other => {
                return Err(Error::not_built(format!("a result column of type {other}"))
                    .with_hint("Select the parts of the value instead."));
            }
        };
        columns.push(match shown {
            Expr::Column(_) => shown,
            shown => shown.alias_qualified(qualifier.cloned(), field.name()),
        });
    }
    Ok(LogicalPlanBuilder::from(plan).project(columns)?.build()?)
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

/// The type with its lists in their usual form, down to the last dimension.
fn as_lists(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            list_of(as_lists(item.data_type()))
        }
        other => other.clone(),
    }
}

/// An array in PostgreSQL's text form.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayText {
    signature: Signature,
}

impl ArrayText {
    fn new() -> Self {
        ArrayText { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ArrayText {
    fn name(&self) -> &str {
        "array_out"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [array] = arrays.as_slice() else {
            return exec_err!("array_out takes one argument");
        };
        let lists: ArrayRef = cast(array, &as_lists(array.data_type()))?;
        let column = ColumnText::new(lists.as_ref()).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let mut out = StringBuilder::new();
        let mut text = Vec::new();
        for row in 0..lists.len() {
            if column.is_null(row) {
                out.append_null();
                continue;
            }
            text.clear();
            column.write(row, &EncodeSettings::default(), &mut text);
            out.append_value(String::from_utf8_lossy(&text));
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}
