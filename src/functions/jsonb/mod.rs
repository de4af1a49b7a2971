//! `jsonb`'s functions and operators, and its casts to numbers and booleans.
//!
//! ```text
//! payload->'a'    jsonb_get(payload, 'a')          payload @> '{}'   jsonb_contains(payload, ...)
//! payload->>'a'   jsonb_get_text(payload, 'a')     payload ? 'a'     jsonb_exists(payload, 'a')
//! payload#>'{a}'  jsonb_get_path(payload, ...)     a || b            jsonb_concat(a, b)
//! ```
//!
//! `operators` plans the operators; `made` makes values of others; `parts` takes values apart and changes them.
//! A value is its text (see [`crate::types::json`]) in a LargeUtf8, which no other type has.

mod made;
mod operators;
mod parts;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, LargeStringArray, LargeStringBuilder, ListBuilder,
    StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use self::made::JsonColumn;
use super::type_name;
use crate::error::{Error, SqlState};
use crate::types::SqlType;
use crate::types::json::{Json, Kind};
use crate::types::parse::{parse_decimal, parse_f64, parse_text};

pub use operators::{JsonOperators, no_order};

/// The Arrow type of jsonb.
pub const JSONB: DataType = DataType::LargeUtf8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JsonFunction {
    Get,
    GetText,
    GetPath,
    GetPathText,
    Extract,
    ExtractText,
    Contains,
    Exists,
    ExistsAny,
    ExistsAll,
    Concat,
    Delete,
    DeletePath,
    TypeOf,
    ArrayLength,
    BuildObject,
    BuildArray,
    ToJsonb,
    StripNulls,
    Keys,
    Elements,
    ElementTexts,
    /// Elements that must be objects: what `jsonb_to_recordset` is made with.
    Records,
    /// The members of an object as arrays of key and value: what `jsonb_each` is made with.
    Entries,
    /// An array of values as one of jsonb: what `jsonb_agg` is made with.
    OfArray,
    /// A key and a value, and an object of an array of such: what `jsonb_object_agg` is made with.
    Pair,
    OfPairs,
    /// `jsonb_cast(value, NULL of the target type)`.
    Cast,
}

impl JsonFunction {
    pub const ALL: [JsonFunction; 28] = [
        JsonFunction::Get,
        JsonFunction::GetText,
        JsonFunction::GetPath,
        JsonFunction::GetPathText,
        JsonFunction::Extract,
        JsonFunction::ExtractText,
        JsonFunction::Contains,
        JsonFunction::Exists,
        JsonFunction::ExistsAny,
        JsonFunction::ExistsAll,
        JsonFunction::Concat,
        JsonFunction::Delete,
        JsonFunction::DeletePath,
        JsonFunction::TypeOf,
        JsonFunction::ArrayLength,
        JsonFunction::BuildObject,
        JsonFunction::BuildArray,
        JsonFunction::ToJsonb,
        JsonFunction::StripNulls,
        JsonFunction::Keys,
        JsonFunction::Elements,
        JsonFunction::ElementTexts,
        JsonFunction::Records,
        JsonFunction::Entries,
        JsonFunction::OfArray,
        JsonFunction::Pair,
        JsonFunction::OfPairs,
        JsonFunction::Cast,
    ];

    /// In the registry and in stored plans; PostgreSQL's names where it has one.
    pub fn name(self) -> &'static str {
        match self {
            JsonFunction::Get => "jsonb_get",
            JsonFunction::GetText => "jsonb_get_text",
            JsonFunction::GetPath => "jsonb_get_path",
            JsonFunction::GetPathText => "jsonb_get_path_text",
            JsonFunction::Extract => "jsonb_extract_path",
            JsonFunction::ExtractText => "jsonb_extract_path_text",
            JsonFunction::Contains => "jsonb_contains",
            JsonFunction::Exists => "jsonb_exists",
            JsonFunction::ExistsAny => "jsonb_exists_any",
            JsonFunction::ExistsAll => "jsonb_exists_all",
            JsonFunction::Concat => "jsonb_concat",
            JsonFunction::Delete => "jsonb_delete",
            JsonFunction::DeletePath => "jsonb_delete_path",
            JsonFunction::TypeOf => "jsonb_typeof",
            JsonFunction::ArrayLength => "jsonb_array_length",
            JsonFunction::BuildObject => "jsonb_build_object",
            JsonFunction::BuildArray => "jsonb_build_array",
            JsonFunction::ToJsonb => "to_jsonb",
            JsonFunction::StripNulls => "jsonb_strip_nulls",
            JsonFunction::Keys => "jsonb_keys",
            JsonFunction::Elements => "jsonb_elements",
            JsonFunction::ElementTexts => "jsonb_element_texts",
            JsonFunction::Records => "jsonb_records",
            JsonFunction::Entries => "jsonb_entries",
            JsonFunction::OfArray => "jsonb_of_array",
            JsonFunction::Pair => "jsonb_pair",
            JsonFunction::OfPairs => "jsonb_of_pairs",
            JsonFunction::Cast => "jsonb_cast",
        }
    }

    pub fn named(name: &str) -> Option<JsonFunction> {
        JsonFunction::ALL.into_iter().find(|function| function.name() == name)
    }

    pub fn function(self) -> Arc<ScalarUDF> {
        let signature = match self {
            JsonFunction::BuildObject | JsonFunction::BuildArray => Signature::one_of(
                vec![variadic(), datafusion::logical_expr::TypeSignature::Nullary],
                Volatility::Immutable,
            ),
            JsonFunction::ToJsonb | JsonFunction::OfArray | JsonFunction::OfPairs => {
                Signature::any(1, Volatility::Immutable)
            }
            JsonFunction::Pair | JsonFunction::Cast => Signature::any(2, Volatility::Immutable),
            _ => Signature::user_defined(Volatility::Immutable),
        };
        Arc::new(ScalarUDF::from(JsonCall { function: self, signature }))
    }

    pub fn call(self, args: Vec<Expr>) -> Expr {
        self.function().call(args)
    }

    /// Types that the arguments are brought to.
    fn takes(self) -> &'static [&'static [Taken]] {
        use Taken::{Json, Place, Text, Texts};
        match self {
            JsonFunction::Get | JsonFunction::GetText => &[&[Json, Text], &[Json, Place]],
            JsonFunction::GetPath | JsonFunction::GetPathText => &[&[Json, Texts]],
            JsonFunction::Contains | JsonFunction::Concat => &[&[Json, Json]],
            JsonFunction::Exists => &[&[Json, Text]],
            JsonFunction::ExistsAny | JsonFunction::ExistsAll | JsonFunction::DeletePath => &[&[Json, Texts]],
            JsonFunction::Delete => &[&[Json, Text], &[Json, Place], &[Json, Texts]],
            _ => &[&[Json]],
        }
    }

    fn returns(self, types: &[DataType]) -> Result<DataType> {
        let list = |element| DataType::List(Arc::new(Field::new_list_field(element, true)));
        Ok(match self {
            JsonFunction::GetText | JsonFunction::GetPathText | JsonFunction::ExtractText | JsonFunction::TypeOf => {
                DataType::Utf8
            }
            JsonFunction::Contains | JsonFunction::Exists | JsonFunction::ExistsAny | JsonFunction::ExistsAll => {
                DataType::Boolean
            }
            JsonFunction::ArrayLength => DataType::Int32,
            JsonFunction::Keys | JsonFunction::ElementTexts => list(DataType::Utf8),
            JsonFunction::Elements | JsonFunction::Records | JsonFunction::Entries => list(JSONB),
            JsonFunction::Cast => match types {
                [_, target] => target.clone(),
                other => return internal_err!("{} arguments of jsonb_cast", other.len()),
            },
            _ => JSONB,
        })
    }
}

fn variadic() -> datafusion::logical_expr::TypeSignature {
    datafusion::logical_expr::TypeSignature::VariadicAny
}

/// What an argument is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Json,
    Text,
    Place,
    Texts,
}

impl Taken {
    fn data_type(self) -> DataType {
        match self {
            Taken::Json => JSONB,
            Taken::Text => DataType::Utf8,
            Taken::Place => DataType::Int64,
            Taken::Texts => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        }
    }

    fn fits(self, found: &DataType) -> bool {
        match self {
            _ if found.is_null() => true,
            Taken::Json => *found == JSONB,
            Taken::Text => matches!(found, DataType::Utf8 | DataType::Utf8View),
            Taken::Place => found.is_integer(),
            Taken::Texts => matches!(found, DataType::List(element) if !element.data_type().is_nested()),
        }
    }
}

/// The function in the registry.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonCall {
    function: JsonFunction,
    signature: Signature,
}

impl JsonCall {
    fn no_such(&self, types: &[DataType]) -> DataFusionError {
        let types: Vec<String> = types.iter().map(type_name).collect();
        let message = format!("function {}({}) does not exist", self.name(), types.join(", "));
        external(Error::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        ))
    }
}

impl ScalarUDFImpl for JsonCall {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if matches!(self.function, JsonFunction::Extract | JsonFunction::ExtractText) {
            let fits = types.first().is_some_and(|json| Taken::Json.fits(json))
                && types.iter().skip(1).all(|step| Taken::Text.fits(step));
            let steps = std::iter::repeat_n(DataType::Utf8, types.len().saturating_sub(1));
            return if fits { Ok(std::iter::once(JSONB).chain(steps).collect()) } else { Err(self.no_such(types)) };
        }
        let fits = |taken: &&&[Taken]| {
            taken.len() == types.len() && taken.iter().zip(types).all(|(taken, found)| taken.fits(found))
        };
        match self.function.takes().iter().find(fits) {
            Some(taken) => Ok(taken.iter().map(|taken| taken.data_type()).collect()),
            None => Err(self.no_such(types)),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.function.returns(types)
    }

    fn is_strict(&self) -> bool {
        false
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let arguments = args.args.iter().map(Argument::new).collect::<Result<Vec<_>>>()?;
        let made = evaluate(self.function, &arguments, rows, args.return_field.data_type()).map_err(external)?;
        match all_scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?)),
            false => Ok(ColumnarValue::Array(made)),
        }
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// An argument: a column, or one value for all rows.
struct Argument {
    values: ArrayRef,
    is_constant: bool,
}

impl Argument {
    fn new(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(values) => Argument { values: values.clone(), is_constant: false },
            ColumnarValue::Scalar(value) => Argument { values: value.to_array()?, is_constant: true },
        })
    }

    fn place(&self, row: usize) -> Option<usize> {
        let place = if self.is_constant { 0 } else { row };
        self.values.is_valid(place).then_some(place)
    }

    fn json(&self, row: usize) -> Option<Json<'_>> {
        let values: &LargeStringArray = self.values.as_string_opt::<i64>()?;
        self.place(row).map(|place| Json::new(values.value(place)))
    }

    fn text(&self, row: usize) -> Option<&str> {
        let values: &StringArray = self.values.as_string_opt::<i32>()?;
        self.place(row).map(|place| values.value(place))
    }

    fn number(&self, row: usize) -> Option<i64> {
        let values: &Int64Array = self.values.as_primitive_opt::<Int64Type>()?;
        self.place(row).map(|place| values.value(place))
    }

    /// The elements of an array of texts, NULL among them.
    fn texts(&self, row: usize) -> Option<Vec<Option<String>>> {
        let lists = self.values.as_list_opt::<i32>()?;
        let values = lists.value(self.place(row)?);
        let values = cast(&values, &DataType::Utf8).ok()?;
        Some(values.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
    }
}

type Evaluated<T> = crate::error::Result<T>;

fn evaluate(function: JsonFunction, args: &[Argument], rows: usize, result: &DataType) -> Evaluated<ArrayRef> {
    use JsonFunction as F;
    let first = || args.first().ok_or_else(|| Error::internal("a function of jsonb without arguments"));
    let second = || args.get(1).ok_or_else(|| Error::internal("a function of jsonb without a second argument"));
    match function {
        F::Get | F::GetPath | F::Extract => {
            let is_key = function == F::Get;
            let found = |row| Ok(found(args, row, is_key).map(Json::text));
            Ok(Arc::new((0..rows).map(found).collect::<Evaluated<LargeStringArray>>()?))
        }
        F::GetText | F::GetPathText | F::ExtractText => {
            let mut texts = StringBuilder::new();
            let is_key = function == F::GetText;
            (0..rows).for_each(|row| texts.append_option(found(args, row, is_key).and_then(Json::unquoted)));
            Ok(Arc::new(texts.finish()))
        }
        F::Contains => {
            let (json, other) = (first()?, second()?);
            let contains = |row| Some(json.json(row)?.contains(other.json(row)?));
            Ok(Arc::new((0..rows).map(contains).collect::<BooleanArray>()))
        }
        F::Exists => {
            let (json, key) = (first()?, second()?);
            let exists = |row| Some(parts::exists(json.json(row)?, key.text(row)?));
            Ok(Arc::new((0..rows).map(exists).collect::<BooleanArray>()))
        }
        F::ExistsAny | F::ExistsAll => {
            let (json, keys) = (first()?, second()?);
            let exist = |row| {
                let (json, keys) = (json.json(row)?, keys.texts(row)?);
                let mut each = keys.iter().flatten().map(|key| parts::exists(json, key));
                Some(if function == F::ExistsAny { each.any(|it| it) } else { each.all(|it| it) })
            };
            Ok(Arc::new((0..rows).map(exist).collect::<BooleanArray>()))
        }
        F::Concat => {
            let (left, right) = (first()?, second()?);
            made_of(rows, |row| left.json(row).zip(right.json(row)).map(|(left, right)| Ok(parts::concat(left, right))))
        }
        F::Delete => {
            let (json, what) = (first()?, second()?);
            made_of(rows, |row| {
                let json = json.json(row)?;
                if let Some(place) = what.number(row) {
                    return Some(parts::delete_place(json, place));
                }
                if let Some(key) = what.text(row) {
                    return Some(parts::delete_keys(json, &[Some(key.to_owned())]));
                }
                what.texts(row).map(|keys| parts::delete_keys(json, &keys))
            })
        }
        F::DeletePath => {
            let (json, path) = (first()?, second()?);
            made_of(rows, |row| json.json(row).zip(path.texts(row)).map(|(json, path)| parts::delete_path(json, &path)))
        }
        F::StripNulls => {
            let json = first()?;
            made_of(rows, |row| json.json(row).map(|json| Ok(parts::strip_nulls(json))))
        }
        F::TypeOf => {
            let json = first()?;
            let name = |row| json.json(row).map(|json| json.kind().name());
            Ok(Arc::new((0..rows).map(name).collect::<StringArray>()))
        }
        F::ArrayLength => {
            let json = first()?;
            let length = |row| json.json(row).map(parts::array_length).transpose();
            Ok(Arc::new((0..rows).map(length).collect::<Evaluated<Int32Array>>()?))
        }
        F::Keys => texts_of(rows, |row| first().ok()?.json(row).map(parts::keys)),
        F::ElementTexts => texts_of(rows, |row| first().ok()?.json(row).map(parts::element_texts)),
        F::Elements => jsonbs_of(rows, |row| first().ok()?.json(row).map(parts::elements)),
        F::Records => jsonbs_of(rows, |row| first().ok()?.json(row).map(parts::records)),
        F::Entries => jsonbs_of(rows, |row| first().ok()?.json(row).map(parts::entries)),
        F::ToJsonb | F::OfArray => {
            let values = first()?;
            let column = JsonColumn::new(values.values.as_ref())?;
            made_of(rows, |row| values.place(row).map(|place| column.text(place)))
        }
        F::Pair | F::OfPairs | F::BuildArray | F::BuildObject => {
            let columns = args.iter().map(|arg| JsonColumn::new(arg.values.as_ref())).collect::<Evaluated<Vec<_>>>()?;
            let columns: Vec<_> = args.iter().zip(&columns).collect();
            made_of(rows, |row| match function {
                F::Pair => Some(made::pair(&columns, row)),
                F::OfPairs => args.first().and_then(|pairs| pairs.place(row)).map(|_| made::of_pairs(&columns, row)),
                F::BuildArray => Some(made::array(&columns, row)),
                _ => Some(made::object(&columns, row)),
            })
        }
        F::Cast => {
            let json = first()?;
            let target = SqlType::from_arrow(result).ok_or_else(|| Error::internal("a cast to no type"))?;
            let null = ScalarValue::try_from(result)?;
            let value = |row| json.json(row).map_or(Ok(null.clone()), |json| as_scalar(json, &target));
            let values = (0..rows).map(value).collect::<Evaluated<Vec<_>>>()?;
            Ok(if values.is_empty() {
                arrow::array::new_empty_array(result)
            } else {
                ScalarValue::iter_to_array(values)?
            })
        }
    }
}

/// What a path leads to: one step, an array of them, or one argument for each. `is_key`: a text is a key, never a place.
fn found<'a>(args: &'a [Argument], row: usize, is_key: bool) -> Option<Json<'a>> {
    let (json, steps) = args.split_first()?;
    let mut value = json.json(row)?;
    for step in steps {
        value = match step.values.data_type() {
            DataType::Utf8 if is_key => value.get(step.text(row)?)?,
            DataType::Utf8 => value.step(step.text(row)?)?,
            DataType::Int64 => value.at(step.number(row)?)?,
            _ => step.texts(row)?.iter().try_fold(value, |value, step| value.step(step.as_deref()?))?,
        };
    }
    Some(value)
}

fn made_of(rows: usize, make: impl Fn(usize) -> Option<Evaluated<String>>) -> Evaluated<ArrayRef> {
    let made = (0..rows).map(|row| make(row).transpose()).collect::<Evaluated<LargeStringArray>>()?;
    Ok(Arc::new(made))
}

fn texts_of(rows: usize, texts: impl Fn(usize) -> Option<Evaluated<Vec<Option<String>>>>) -> Evaluated<ArrayRef> {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in 0..rows {
        match texts(row).transpose()? {
            Some(texts) => {
                texts.into_iter().for_each(|text| lists.values().append_option(text));
                lists.append(true);
            }
            None => lists.append(false),
        }
    }
    Ok(Arc::new(lists.finish()))
}

fn jsonbs_of<'a>(rows: usize, texts: impl Fn(usize) -> Option<Evaluated<Vec<Cow<'a, str>>>>) -> Evaluated<ArrayRef> {
    let mut lists = ListBuilder::new(LargeStringBuilder::new());
    for row in 0..rows {
        match texts(row).transpose()? {
            Some(texts) => {
                texts.into_iter().for_each(|text| lists.values().append_value(text));
                lists.append(true);
            }
            None => lists.append(false),
        }
    }
    Ok(Arc::new(lists.finish()))
}

/// A number or boolean as a value of a SQL type.
///
/// Errors: 22023 for a value of another kind, 22003 for a number out of the type's range.
fn as_scalar(json: Json<'_>, target: &SqlType) -> Evaluated<ScalarValue> {
    let text = json.text();
    Ok(match (json.kind(), target) {
        (Kind::Boolean, SqlType::Boolean) => ScalarValue::Boolean(Some(text == "true")),
        (Kind::Number, SqlType::Int2 | SqlType::Int4 | SqlType::Int8) => {
            let out_of_range = || Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("{target} out of range"));
            let whole = parse_decimal(text, 38, 0).map_err(|_| out_of_range())?;
            parse_text(target, &whole.to_string(), chrono_tz::Tz::UTC).map_err(|_| out_of_range())?
        }
        (Kind::Number, SqlType::Float8) => ScalarValue::Float64(Some(parse_f64(text)?)),
        (Kind::Number, SqlType::Float4 | SqlType::Numeric { .. }) => parse_text(target, text, chrono_tz::Tz::UTC)?,
        (kind, target) => {
            let target = match target {
                SqlType::Numeric { .. } => "numeric".to_owned(),
                target => target.to_string(),
            };
            let message = format!("cannot cast jsonb {} to type {target}", kind.name());
            return Err(Error::new(SqlState::INVALID_PARAMETER, message));
        }
    })
}

/// The cast of a jsonb to another type than text.
pub fn cast_json(value: Expr, target: &DataType) -> Result<Expr> {
    Ok(JsonFunction::Cast.call(vec![value, lit(ScalarValue::try_from(target)?)]))
}
