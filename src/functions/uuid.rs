//! `gen_random_uuid()`: a new UUID of version 4 for each row.

use std::sync::Arc;

use arrow::array::{AsArray, FixedSizeBinaryBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::types::parse::parse_uuid;
use crate::types::{SqlType, UUID_BYTES};

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RandomUuid {
    signature: Signature,
}

impl RandomUuid {
    pub fn function() -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(RandomUuid { signature: Signature::nullary(Volatility::Volatile) }))
    }
}

impl ScalarUDFImpl for RandomUuid {
    fn name(&self) -> &str {
        "gen_random_uuid"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(SqlType::Uuid.arrow())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        // Of version 4, as text.
        let args = ScalarFunctionArgs { return_field: Arc::new(Field::new("uuid", DataType::Utf8, false)), ..args };
        let texts = datafusion::functions::string::uuid().invoke_with_args(args)?.to_array(rows)?;
        let texts = cast(&texts, &DataType::Utf8)?;
        let mut values = FixedSizeBinaryBuilder::with_capacity(rows, UUID_BYTES);
        for text in texts.as_string::<i32>() {
            let value = parse_uuid(text.unwrap_or_default());
            values.append_value(value.map_err(|error| DataFusionError::External(Box::new(error)))?)?;
        }
        Ok(ColumnarValue::Array(Arc::new(values.finish())))
    }
}
