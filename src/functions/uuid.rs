//! `gen_random_uuid()`: a new UUID of version 4 for each row.

use std::sync::Arc;

use arrow::array::FixedSizeBinaryBuilder;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::types::SqlType;

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
        let mut values = FixedSizeBinaryBuilder::with_capacity(args.number_rows, 16);
        for _ in 0..args.number_rows {
            let mut value: [u8; 16] = rand::random();
            // RFC 9562: the version in the seventh byte, the variant in the ninth.
            value[6] = value[6] & 0x0f | 0x40;
            value[8] = value[8] & 0x3f | 0x80;
            values.append_value(value)?;
        }
        Ok(ColumnarValue::Array(Arc::new(values.finish())))
    }
}
