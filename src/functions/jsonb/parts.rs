//! Taking values apart, and values without some of their parts.

use std::borrow::Cow;

use crate::error::{Error, Result, SqlState};
use crate::types::json::{Elements, Json, Kind, ObjectBuilder, write_array, write_string};

fn unfit(message: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER, message)
}

/// Whether a key of an object, a string of an array, or a string itself.
pub fn exists(json: Json<'_>, key: &str) -> bool {
    let is_key = |json: Json<'_>| json.kind() == Kind::String && json.unquoted().as_deref() == Some(key);
    match json.kind() {
        Kind::Object => json.get(key).is_some(),
        Kind::Array => json.elements().any(is_key),
        _ => is_key(json),
    }
}

/// Objects become one object, all else one array.
pub fn concat(left: Json<'_>, right: Json<'_>) -> String {
    let mut out = String::new();
    match (left.kind(), right.kind()) {
        (Kind::Object, Kind::Object) => {
            let mut members = ObjectBuilder::default();
            left.members().chain(right.members()).for_each(|(key, value)| members.insert(key, value.text().into()));
            members.write(&mut out);
        }
        _ => {
            fn parts(json: Json<'_>) -> Vec<&str> {
                match json.kind() {
                    Kind::Array => json.elements().map(Json::text).collect(),
                    _ => vec![json.text()],
                }
            }
            write_array(parts(left).into_iter().chain(parts(right)), &mut out);
        }
    }
    out
}

/// Without some keys of an object, or strings of an array.
pub fn delete_keys(json: Json<'_>, keys: &[Option<String>]) -> Result<String> {
    let mut out = String::new();
    let is_named = |key: &str| keys.iter().flatten().any(|named| named == key);
    match json.kind() {
        Kind::Object => {
            let mut members = ObjectBuilder::default();
            let kept = json.members().filter(|(key, _)| !is_named(key));
            kept.for_each(|(key, value)| members.insert(key, value.text().into()));
            members.write(&mut out);
        }
        Kind::Array => {
            let is_kept = |element: &Json<'_>| {
                element.kind() != Kind::String || !element.unquoted().is_some_and(|text| is_named(&text))
            };
            write_array(json.elements().filter(is_kept).map(Json::text), &mut out);
        }
        _ => return Err(unfit("cannot delete from scalar")),
    }
    Ok(out)
}

pub fn delete_place(json: Json<'_>, place: i64) -> Result<String> {
    match json.kind() {
        Kind::Object => return Err(unfit("cannot delete from object using integer index")),
        Kind::Array => {}
        _ => return Err(unfit("cannot delete from scalar")),
    }
    let elements: Vec<&str> = json.elements().map(Json::text).collect();
    let place = if place < 0 { place.saturating_add(elements.len() as i64) } else { place };
    let kept = elements.iter().enumerate().filter(|(index, _)| i64::try_from(*index) != Ok(place));
    let mut out = String::new();
    write_array(kept.map(|(_, element)| element), &mut out);
    Ok(out)
}

/// Without what the path leads to; the same where it leads to nothing.
pub fn delete_path(json: Json<'_>, path: &[Option<String>]) -> Result<String> {
    if json.is_scalar() {
        return Err(unfit("cannot delete path in scalar"));
    }
    Ok(without(json, path).unwrap_or_else(|| json.text().to_owned()))
}

fn without(json: Json<'_>, path: &[Option<String>]) -> Option<String> {
    let (step, rest) = path.split_first()?;
    let step = step.as_deref()?;
    let mut out = String::new();
    match json.kind() {
        Kind::Object => {
            let mut members = ObjectBuilder::default();
            for (key, value) in json.members() {
                match key == step {
                    true if rest.is_empty() => {}
                    true => members.insert(key, without(value, rest)?.into()),
                    false => members.insert(key, value.text().into()),
                }
            }
            members.write(&mut out);
        }
        Kind::Array if rest.is_empty() => return delete_place(json, step.trim().parse().ok()?).ok(),
        Kind::Array => {
            let place: i64 = step.trim().parse().ok()?;
            let count = json.elements().count() as i64;
            let place = if place < 0 { place + count } else { place };
            let part = |(index, element): (usize, Json<'_>)| match index as i64 == place {
                true => without(element, rest).map(Cow::<str>::Owned),
                false => Some(Cow::Owned(element.text().to_owned())),
            };
            write_array(json.elements().enumerate().map(part).collect::<Option<Vec<_>>>()?, &mut out);
        }
        _ => return None,
    }
    Some(out)
}

/// Without the members of objects that are null, at every depth.
pub fn strip_nulls(json: Json<'_>) -> String {
    let mut out = String::new();
    match json.kind() {
        Kind::Object => {
            let mut members = ObjectBuilder::default();
            let kept = json.members().filter(|(_, value)| value.kind() != Kind::Null);
            kept.for_each(|(key, value)| members.insert(key, strip_nulls(value).into()));
            members.write(&mut out);
        }
        Kind::Array => write_array(json.elements().map(strip_nulls), &mut out),
        _ => out.push_str(json.text()),
    }
    out
}

pub fn array_length(json: Json<'_>) -> Result<i32> {
    match json.kind() {
        Kind::Array => Ok(json.elements().count() as i32),
        Kind::Object => Err(unfit("cannot get array length of a non-array")),
        _ => Err(unfit("cannot get array length of a scalar")),
    }
}

pub fn keys(json: Json<'_>) -> Result<Vec<Option<String>>> {
    match json.kind() {
        Kind::Object => Ok(json.members().map(|(key, _)| Some(key.into_owned())).collect()),
        Kind::Array => Err(unfit("cannot call jsonb_object_keys on an array")),
        _ => Err(unfit("cannot call jsonb_object_keys on a scalar")),
    }
}

pub fn elements(json: Json<'_>) -> Result<Vec<Cow<'_, str>>> {
    Ok(each_element(json)?.map(|element| Cow::Borrowed(element.text())).collect())
}

pub fn element_texts(json: Json<'_>) -> Result<Vec<Option<String>>> {
    Ok(each_element(json)?.map(|element| element.unquoted().map(Cow::into_owned)).collect())
}

fn each_element(json: Json<'_>) -> Result<Elements<'_>> {
    match json.kind() {
        Kind::Array => Ok(json.elements()),
        Kind::Object => Err(unfit("cannot extract elements from an object")),
        _ => Err(unfit("cannot extract elements from a scalar")),
    }
}

/// The elements of an array of objects.
pub fn records(json: Json<'_>) -> Result<Vec<Cow<'_, str>>> {
    match json.kind() {
        Kind::Array if json.elements().all(|element| element.kind() == Kind::Object) => elements(json),
        Kind::Array => Err(unfit("argument of jsonb_to_recordset must be an array of objects")),
        _ => Err(unfit("cannot call jsonb_to_recordset on a non-array")),
    }
}

/// `["key", value]` for each member of an object.
pub fn entries(json: Json<'_>) -> Result<Vec<Cow<'_, str>>> {
    let entry = |(key, value): (Cow<'_, str>, Json<'_>)| {
        let (mut name, mut out) = (String::new(), String::new());
        write_string(&key, &mut name);
        write_array([name.as_str(), value.text()], &mut out);
        Cow::Owned(out)
    };
    match json.kind() {
        Kind::Object => Ok(json.members().map(entry).collect()),
        _ => Err(unfit("cannot call jsonb_each on a non-object")),
    }
}
