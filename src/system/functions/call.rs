//! A function over scalars as DataFusion calls it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::error::{Error, Result, SqlState};
use crate::system::facts::{Facts, LazyFacts};

/// What a function returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Returns {
    Bool,
    Int,
    Int4,
    Text,
    Texts,
    Ints,
    Timestamptz,
    /// The type of its first argument.
    First,
}

/// Name, least and most arguments, result, body.
pub type Entry = (&'static str, usize, usize, Returns, Body);

pub type Body = fn(&Facts, &Arguments<'_>) -> Result<ScalarValue>;

/// One call's arguments.
pub struct Arguments<'a>(&'a [ScalarValue]);

impl Arguments<'_> {
    /// The first one, NULL or not.
    pub fn first(&self) -> ScalarValue {
        self.0.first().cloned().unwrap_or(ScalarValue::Null)
    }

    /// All of them, NULL or not.
    pub fn all(&self) -> &[ScalarValue] {
        self.0
    }

    pub fn value(&self, at: usize) -> Option<&ScalarValue> {
        self.0.get(at).filter(|value| !value.is_null())
    }

    /// Text; `None` for NULL and what is missing.
    pub fn text(&self, at: usize) -> Option<&str> {
        self.value(at)?.try_as_str().flatten()
    }

    /// An integer, also one written as a text.
    pub fn int(&self, at: usize) -> Option<i64> {
        match self.value(at)? {
            ScalarValue::Int8(value) => value.map(i64::from),
            ScalarValue::Int16(value) => value.map(i64::from),
            ScalarValue::Int32(value) => value.map(i64::from),
            ScalarValue::Int64(value) => *value,
            ScalarValue::UInt8(value) => value.map(i64::from),
            ScalarValue::UInt16(value) => value.map(i64::from),
            ScalarValue::UInt32(value) => value.map(i64::from),
            ScalarValue::UInt64(value) => value.and_then(|value| i64::try_from(value).ok()),
            other => other.try_as_str().flatten()?.trim().parse().ok(),
        }
    }

    pub fn bool(&self, at: usize) -> Option<bool> {
        match self.value(at)? {
            ScalarValue::Boolean(value) => *value,
            other => match other.try_as_str().flatten()? {
                "t" | "true" | "on" | "1" => Some(true),
                _ => Some(false),
            },
        }
    }
}

pub fn text(value: impl Into<String>) -> Result<ScalarValue> {
    Ok(ScalarValue::Utf8(Some(value.into())))
}

pub fn maybe_text(value: Option<String>) -> Result<ScalarValue> {
    Ok(ScalarValue::Utf8(value))
}

pub fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<ScalarValue> {
    let values: Vec<ScalarValue> = values.into_iter().map(ScalarValue::from).collect();
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8)))
}

pub fn int(value: Option<i64>) -> Result<ScalarValue> {
    Ok(ScalarValue::Int64(value))
}

pub fn boolean(value: bool) -> Result<ScalarValue> {
    Ok(ScalarValue::Boolean(Some(value)))
}

pub fn null_text(_: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(None)
}

pub struct SystemFunction {
    entry: &'static Entry,
    facts: Arc<LazyFacts>,
    signature: Signature,
}

impl SystemFunction {
    pub fn new(entry: &'static Entry, facts: Arc<LazyFacts>) -> Self {
        let (name, least, most, ..) = *entry;
        let forms = (least..=most).map(|count| match count {
            0 => TypeSignature::Nullary,
            count => TypeSignature::Any(count),
        });
        // set_config is called for what it does.
        let volatility = if name == "set_config" { Volatility::Volatile } else { Volatility::Stable };
        SystemFunction { entry, facts, signature: Signature::one_of(forms.collect(), volatility) }
    }
}

impl std::fmt::Debug for SystemFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.entry.0)
    }
}

impl PartialEq for SystemFunction {
    fn eq(&self, other: &Self) -> bool {
        self.entry.0 == other.entry.0 && Arc::ptr_eq(&self.facts, &other.facts)
    }
}

impl Eq for SystemFunction {}

impl Hash for SystemFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entry.0.hash(state);
    }
}

impl ScalarUDFImpl for SystemFunction {
    fn name(&self) -> &str {
        self.entry.0
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match self.entry.3 {
            Returns::Bool => DataType::Boolean,
            Returns::Int => DataType::Int64,
            Returns::Int4 => DataType::Int32,
            Returns::Text => DataType::Utf8,
            Returns::Texts => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
            Returns::Ints => DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true))),
            Returns::Timestamptz => DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
            Returns::First => arguments.first().cloned().unwrap_or(DataType::Null),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let (_, _, _, _, body) = *self.entry;
        let scalars: Option<Vec<ScalarValue>> = arguments
            .args
            .iter()
            .map(|argument| match argument {
                ColumnarValue::Scalar(value) => Some(value.clone()),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        if let Some(scalars) = scalars {
            let value = body(&self.facts, &Arguments(&scalars)).map_err(external)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let mut values = Vec::with_capacity(arguments.number_rows);
        let mut row_values = Vec::with_capacity(arrays.len());
        for row in 0..arguments.number_rows {
            row_values.clear();
            for array in &arrays {
                row_values.push(ScalarValue::try_from_array(array, row)?);
            }
            values.push(body(&self.facts, &Arguments(&row_values)).map_err(external)?);
        }
        if values.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(arguments.return_field.data_type())));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(values)?))
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// 22023 for an argument that names nothing.
pub fn invalid(message: String) -> Error {
    Error::new(SqlState::INVALID_PARAMETER, message)
}
