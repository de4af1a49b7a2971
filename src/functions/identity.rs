//! Functions that give back their first argument, and that the analyzer takes out again.
//!
//! `unary_plus(x)` is `+ x`, which numbers have, and times and intervals do not. `named(x, 'name')` has a name that is not `x`'s:
//! DataFusion calls `CAST(a AS t)` `a`, and cannot group by both.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::type_name;
use crate::error::{Error, SqlState};

/// What `+ x` is rewritten to.
pub const UNARY_PLUS: &str = "unary_plus";
pub const NAMED: &str = "named";

pub fn functions() -> [Arc<ScalarUDF>; 2] {
    [
        Arc::new(ScalarUDF::from(UnaryPlus { signature: Signature::any(1, Volatility::Immutable) })),
        Arc::new(ScalarUDF::from(Named { signature: Signature::any(2, Volatility::Immutable) })),
    ]
}

/// Whether the analyzer puts the first argument in place of a call of this function.
pub fn is_identity(name: &str) -> bool {
    matches!(name, UNARY_PLUS | NAMED)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct UnaryPlus {
    signature: Signature,
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

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        first(args)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Named {
    signature: Signature,
}

impl ScalarUDFImpl for Named {
    fn name(&self) -> &str {
        NAMED
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(value) => Ok(value.clone()),
            None => internal_err!("{NAMED} of nothing"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        first(args)
    }
}

fn first(args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    match args.args.into_iter().next() {
        Some(value) => Ok(value),
        None => internal_err!("a function of nothing"),
    }
}
