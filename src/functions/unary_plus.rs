//! `+ x`, which numbers have, and times and intervals do not. The analyzer takes it out again.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::type_name;
use crate::error::{Error, SqlState};

/// What `+ x` is rewritten to.
pub const UNARY_PLUS: &str = "unary_plus";

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct UnaryPlus {
    signature: Signature,
}

impl UnaryPlus {
    pub fn function() -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(UnaryPlus { signature: Signature::any(1, Volatility::Immutable) }))
    }
}

impl ScalarUDFImpl for UnaryPlus {
    fn name(&self) -> &str {
        UNARY_PLUS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Errors: 42883 for what is no number.
    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [number] if number.is_numeric() || number.is_null() => Ok(number.clone()),
            _ => {
                let types: Vec<String> = types.iter().map(type_name).collect();
                let message = format!("operator does not exist: + {}", types.join(", "));
                let error = Error::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
                    "No operator matches the given name and argument type. You might need to add an explicit type cast.",
                );
                Err(DataFusionError::External(Box::new(error)))
            }
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.pop() {
            Some(number) => Ok(number),
            None => internal_err!("{UNARY_PLUS} takes one argument"),
        }
    }
}
