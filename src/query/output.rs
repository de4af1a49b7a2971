//! The last projection of a query: columns without a type in the wire protocol are given their text form.
//!
//! Arrays leave as PostgreSQL's text (`{a,b,NULL}`), with the type of their elements beside it in the field's metadata,
//! because `SqlType` has no arrays; inside a query they are lists.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Result as DataFusionResult, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
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

/// Metadata of a column that is an array's text: the type of its elements, as an Arrow type's name.
const ELEMENT: &str = "tidemark.element";

/// The type of the elements, of a column that holds arrays of one dimension as text.
pub fn array_element(field: &Field) -> Option<SqlType> {
    let oid: u32 = field.metadata().get(ELEMENT)?.parse().ok()?;
    ELEMENTS.into_iter().find(|element| element.oid() == oid)
}

/// Types that arrays go out with. The scale of a numeric stands in each value.
const ELEMENTS: [SqlType; 13] = [
    SqlType::Boolean,
    SqlType::Bytea,
    SqlType::Int2,
    SqlType::Int4,
    SqlType::Int8,
    SqlType::Float4,
    SqlType::Float8,
    SqlType::Text,
    SqlType::Date,
    SqlType::Timestamp,
    SqlType::Timestamptz,
    SqlType::Interval,
    SqlType::Numeric { precision: 38, scale: 10 },
];

/// The same plan, its array columns as text. Errors: a column of a type that has no PostgreSQL form.
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
        columns.push(match field.data_type() {
            known if has_form(known) => column,
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => {
                to_text.call(vec![column]).alias_qualified(qualifier.cloned(), field.name())
            }
            other => {
                return Err(Error::not_built(format!("a result column of type {other}"))
                    .with_hint("Select the parts of the value instead."));
            }
        });
    }
    Ok(LogicalPlanBuilder::from(plan).project(columns)?.build()?)
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

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let field = Field::new(self.name(), DataType::Utf8, true);
        let element = match args.arg_fields.first().map(|field| field.data_type()) {
            Some(DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) => {
                SqlType::from_arrow(item.data_type())
            }
            _ => None,
        };
        let metadata = element.map(|element| (ELEMENT.to_owned(), element.oid().to_string()));
        Ok(Arc::new(field.with_metadata(metadata.into_iter().collect())))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [array] = arrays.as_slice() else {
            return exec_err!("array_out takes one argument");
        };
        let mut out = StringBuilder::new();
        let mut text = String::new();
        for row in 0..array.len() {
            match element(array, row)? {
                None => out.append_null(),
                Some(values) => {
                    text.clear();
                    write_array(&values, &mut text)?;
                    out.append_value(&text);
                }
            }
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

/// The list at `row`, or `None` for NULL.
fn element(array: &ArrayRef, row: usize) -> DataFusionResult<Option<ArrayRef>> {
    if array.is_null(row) {
        return Ok(None);
    }
    Ok(Some(match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        DataType::FixedSizeList(_, _) => array.as_fixed_size_list().value(row),
        other => return exec_err!("{other} is not an array"),
    }))
}

fn write_array(values: &ArrayRef, out: &mut String) -> DataFusionResult<()> {
    let options = FormatOptions::new();
    let nested = matches!(values.data_type(), DataType::List(_) | DataType::LargeList(_));
    out.push('{');
    for row in 0..values.len() {
        if row > 0 {
            out.push(',');
        }
        if values.is_null(row) {
            out.push_str("NULL");
        } else if nested {
            if let Some(inner) = element(values, row)? {
                write_array(&inner, out)?;
            }
        } else if values.data_type() == &DataType::Boolean {
            out.push(if values.as_boolean().value(row) { 't' } else { 'f' });
        } else if let Ok(column) = ColumnText::new(values.as_ref()) {
            let mut text = Vec::new();
            column.write(row, &EncodeSettings::default(), &mut text);
            write_quoted(&String::from_utf8_lossy(&text), out);
        } else {
            write_quoted(&ArrayFormatter::try_new(values, &options)?.value(row).to_string(), out);
        }
    }
    out.push('}');
    Ok(())
}

/// As array_out quotes: what is empty, reads as NULL, or holds a character with a meaning.
fn write_quoted(text: &str, out: &mut String) {
    let special = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_whitespace();
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
