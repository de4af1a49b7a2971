//! `on_time(window, passed, time)`: whether a row's window is one that its watermark had not passed. Only plans call it.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, BooleanArray};
use arrow::compute::kernels::cmp::gt_eq;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// Name of the function that [`on_time`] gives.
pub const ON_TIME: &str = "on_time";

/// Of two values of one type: true where the first is not before the second, or the second is NULL; false where the first is NULL.
/// The third is not looked at; it is there so that the row has it.
pub fn on_time() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(OnTime { signature: Signature::any(3, Volatility::Immutable) })));
    FUNCTION.clone()
}

/// The same of arrays.
pub fn are_on_time(windows: &dyn Array, passed: &dyn Array) -> Result<BooleanArray> {
    let not_before = gt_eq(&windows, &passed)?;
    let row = |row: usize| Some(windows.is_valid(row) && (passed.is_null(row) || not_before.value(row)));
    Ok((0..windows.len()).map(row).collect())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OnTime {
    signature: Signature,
}

impl ScalarUDFImpl for OnTime {
    fn name(&self) -> &str {
        ON_TIME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [windows, passed, _] = arrays.as_slice() else { return exec_err!("on_time takes three values") };
        Ok(ColumnarValue::Array(Arc::new(are_on_time(windows, passed)?)))
    }
}
