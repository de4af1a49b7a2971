//! Functions that name the server: what clients ask on connecting.
//!
//! Does not know the session: `current_user` and its like are given by who has one.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::session::DATABASE;
use super::type_name;

/// The PostgreSQL release whose behaviour clients may expect.
pub const POSTGRES_VERSION: &str = "15.0";

/// A function without arguments that always returns one text.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ConstantText {
    name: &'static str,
    aliases: Vec<String>,
    value: String,
    signature: Signature,
}

pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let version = format!("PostgreSQL {POSTGRES_VERSION} (Tidemark {})", env!("CARGO_PKG_VERSION"));
    vec![
        constant("version", &[], version),
        constant("current_database", &["current_catalog"], DATABASE.to_string()),
        constant("current_schema", &[], "public".to_string()),
        Arc::new(ScalarUDF::from(TypeOf { signature: Signature::any(1, Volatility::Immutable) })),
    ]
}

/// `pg_typeof(value)`: the name of its type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TypeOf {
    signature: Signature,
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let data_type = args.arg_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(type_name(&data_type)))))
    }
}

fn constant(name: &'static str, aliases: &[&str], value: String) -> Arc<ScalarUDF> {
    let aliases = aliases.iter().map(|alias| alias.to_string()).collect();
    Arc::new(ScalarUDF::from(ConstantText {
        name,
        aliases,
        value,
        signature: Signature::nullary(Volatility::Immutable),
    }))
}

impl ScalarUDFImpl for ConstantText {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(self.value.clone()))))
    }
}
