//! Values of other types as jsonb, and objects and arrays made of them.

use arrow::array::{Array, AsArray, BooleanArray, LargeStringArray, ListArray};
use arrow::datatypes::DataType;

use super::Argument;
use crate::error::{Error, Result, SqlState};
use crate::types::json::{Json, Kind, ObjectBuilder, parse_jsonb, write_array, write_string};
use crate::types::text::{ColumnText, EncodeSettings};

/// A column with the way in which its values become jsonb.
pub enum JsonColumn<'a> {
    Json(&'a LargeStringArray),
    Boolean(&'a BooleanArray),
    /// Integers and numerics: their text is JSON's.
    Number(ColumnText<'a>),
    /// NaN and infinities are strings.
    Float(ColumnText<'a>),
    /// With a `T` between date and time, and an offset of hours and minutes.
    Time(ColumnText<'a>),
    Text(ColumnText<'a>),
    List(&'a ListArray, Box<JsonColumn<'a>>),
}

impl<'a> JsonColumn<'a> {
    /// Errors: 0A000 for a type that has no text.
    pub fn new(array: &'a dyn Array) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::LargeUtf8 => JsonColumn::Json(array.as_string()),
            DataType::Boolean => JsonColumn::Boolean(array.as_boolean()),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => JsonColumn::Float(ColumnText::new(array)?),
            number if number.is_numeric() => JsonColumn::Number(ColumnText::new(array)?),
            DataType::Timestamp(..) => JsonColumn::Time(ColumnText::new(array)?),
            DataType::List(_) => {
                let lists: &ListArray = array.as_list();
                JsonColumn::List(lists, Box::new(JsonColumn::new(lists.values().as_ref())?))
            }
            _ => JsonColumn::Text(ColumnText::new(array)?),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            JsonColumn::Json(array) => array.is_null(row),
            JsonColumn::Boolean(array) => array.is_null(row),
            JsonColumn::List(array, _) => array.is_null(row),
            JsonColumn::Number(column)
            | JsonColumn::Float(column)
            | JsonColumn::Time(column)
            | JsonColumn::Text(column) => column.is_null(row),
        }
    }

    /// The value as jsonb; NULL as null.
    pub fn text(&self, row: usize) -> Result<String> {
        if self.is_null(row) {
            return Ok("null".to_owned());
        }
        let printed = |column: &ColumnText<'_>| {
            let mut text = Vec::new();
            column.write(row, &EncodeSettings::default(), &mut text);
            String::from_utf8(text).map_err(Error::internal)
        };
        let quoted = |text: &str| {
            let mut out = String::new();
            write_string(text, &mut out);
            out
        };
        Ok(match self {
            JsonColumn::Json(array) => array.value(row).to_owned(),
            JsonColumn::Boolean(array) => array.value(row).to_string(),
            JsonColumn::Number(column) => printed(column)?,
            JsonColumn::Float(column) => {
                let text = printed(column)?;
                if text.ends_with(|c: char| c.is_ascii_digit()) { parse_jsonb(&text)? } else { quoted(&text) }
            }
            JsonColumn::Time(column) => quoted(&with_offset(printed(column)?.replacen(' ', "T", 1))),
            JsonColumn::Text(column) => quoted(&printed(column)?),
            JsonColumn::List(lists, elements) => {
                let offsets = lists.value_offsets();
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                let mut out = String::new();
                write_array(range.map(|element| elements.text(element)).collect::<Result<Vec<_>>>()?, &mut out);
                out
            }
        })
    }
}

/// `+00` at the end as `+00:00`.
fn with_offset(text: String) -> String {
    match text.strip_suffix("+00") {
        Some(_) => text + ":00",
        None => text,
    }
}

type Columns<'a> = [(&'a Argument, &'a JsonColumn<'a>)];

fn value((argument, column): &(&Argument, &JsonColumn<'_>), row: usize) -> Result<String> {
    argument.place(row).map_or_else(|| Ok("null".to_owned()), |place| column.text(place))
}

/// A value that is a key: a string's characters, or the text of another scalar.
fn key(text: &str) -> String {
    Json::new(text).unquoted().unwrap_or_default().into_owned()
}

pub fn array(columns: &Columns<'_>, row: usize) -> Result<String> {
    let mut out = String::new();
    write_array(columns.iter().map(|column| value(column, row)).collect::<Result<Vec<_>>>()?, &mut out);
    Ok(out)
}

/// Errors: 22023 for a key without a value, and for one that is no scalar; 22004 for a NULL key.
pub fn object(columns: &Columns<'_>, row: usize) -> Result<String> {
    if columns.len() % 2 == 1 {
        return Err(Error::new(SqlState::INVALID_PARAMETER, "argument list must have even number of elements")
            .with_hint("The arguments of jsonb_build_object() must consist of alternating keys and values."));
    }
    let mut members = ObjectBuilder::default();
    for (index, pair) in columns.chunks_exact(2).enumerate() {
        if pair[0].0.place(row).is_none() {
            let message = format!("argument {}: key must not be null", 2 * index + 1);
            return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
        }
        members.insert(key(&scalar(value(&pair[0], row)?)?).into(), value(&pair[1], row)?.into());
    }
    let mut out = String::new();
    members.write(&mut out);
    Ok(out)
}

fn scalar(text: String) -> Result<String> {
    match Json::new(&text).kind() {
        Kind::Object | Kind::Array => {
            let message = "key value must be scalar, not array, composite, or json";
            Err(Error::new(SqlState::INVALID_PARAMETER, message))
        }
        _ => Ok(text),
    }
}

/// `["key", value]`. Errors: 22004 for a NULL key.
pub fn pair(columns: &Columns<'_>, row: usize) -> Result<String> {
    let [name, content] = columns else { return Err(Error::internal("a pair of other than two")) };
    if name.0.place(row).is_none() {
        return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "field name must not be null"));
    }
    let mut out = String::new();
    let mut name_text = String::new();
    write_string(&key(&scalar(value(name, row)?)?), &mut name_text);
    write_array([name_text, value(content, row)?], &mut out);
    Ok(out)
}

/// The object of an array of [`pair`]s, which have come as one value.
pub fn of_pairs(columns: &Columns<'_>, row: usize) -> Result<String> {
    let [pairs] = columns else { return Err(Error::internal("pairs of other than one argument")) };
    let pairs = value(pairs, row)?;
    let mut members = ObjectBuilder::default();
    for pair in Json::new(&pairs).elements() {
        let mut parts = pair.elements();
        if let (Some(name), Some(content)) = (parts.next(), parts.next()) {
            members.insert(name.unquoted().unwrap_or_default(), content.text().into());
        }
    }
    let mut out = String::new();
    members.write(&mut out);
    Ok(out)
}
