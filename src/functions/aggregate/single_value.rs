//! `single_value(x)`: the value of the one row, NULL where there is none, 21000 where there are more.
//!
//! What a scalar subquery means. DataFusion decorrelates a scalar subquery only where it aggregates, so that `rewrite`
//! makes it do so.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use crate::functions::more_than_one_row;

/// The name that `rewrite` puts into queries; users may call it too.
pub const SINGLE_VALUE: &str = "single_value";

pub fn single_value() -> AggregateUDF {
    AggregateUDF::from(SingleValue { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleValue {
    signature: Signature,
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &str {
        SINGLE_VALUE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [one] => Ok(one.clone()),
            _ => internal_err!("single_value takes one argument"),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneRow { value: ScalarValue::try_from(arguments.return_field.data_type())?, rows: 0 }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = Field::new(format!("{}[value]", arguments.name), arguments.return_field.data_type().clone(), true);
        let rows = Field::new(format!("{}[rows]", arguments.name), DataType::Int64, false);
        Ok(vec![Arc::new(value), Arc::new(rows)])
    }
}

#[derive(Debug)]
struct OneRow {
    value: ScalarValue,
    rows: i64,
}

impl OneRow {
    fn take(&mut self, values: &ArrayRef) -> Result<()> {
        self.rows += values.len() as i64;
        if self.rows > 1 {
            return Err(DataFusionError::External(Box::new(more_than_one_row())));
        }
        if values.len() == 1 {
            self.value = ScalarValue::try_from_array(values, 0)?;
        }
        Ok(())
    }
}

impl Accumulator for OneRow {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values {
            [values] => self.take(values),
            _ => internal_err!("single_value takes one argument"),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, rows] = states else {
            return internal_err!("single_value has two state columns");
        };
        let rows: &Int64Array = rows.as_primitive::<Int64Type>();
        for (row, count) in rows.values().iter().enumerate() {
            if *count > 0 {
                self.take(&concat(&[values.slice(row, 1).as_ref()])?)?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Int64(Some(self.rows))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size()
    }
}
