//! `only_row(value, has_second)`: a value of a subquery that may have one row, 21000 where it has more.
//!
//! As [`super::single_value`], for a value that a join has brought: it raises for those rows alone that are asked for it.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::error::{Error, SqlState};

/// Name in the registry and in stored plans.
const ONLY_ROW: &str = "only_row";

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct OnlyRow {
    signature: Signature,
}

impl OnlyRow {
    pub fn function() -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(OnlyRow { signature: Signature::any(2, Volatility::Immutable) }))
    }
}

/// 21000.
pub fn more_than_one_row() -> Error {
    let message = "more than one row returned by a subquery used as an expression";
    Error::new(SqlState::CARDINALITY_VIOLATION, message)
}

impl ScalarUDFImpl for OnlyRow {
    fn name(&self) -> &str {
        ONLY_ROW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [value, has_second] = <[ColumnarValue; 2]>::try_from(args.args)
            .or_else(|args| internal_err!("{} arguments of {ONLY_ROW}", args.len()))?;
        let has_second = has_second.into_array(rows)?;
        let has_second = has_second.as_boolean_opt().map(|second| second.true_count());
        match has_second {
            Some(0) => Ok(value),
            Some(_) => Err(DataFusionError::External(Box::new(more_than_one_row()))),
            None => internal_err!("{ONLY_ROW} without a boolean"),
        }
    }
}
