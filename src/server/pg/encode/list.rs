//! Lists as PostgreSQL prints arrays: `{1,NULL,"two words"}`.
//!
//! Tidemark has no array types yet; DataFusion's functions return lists all the same, and they go out as text.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, BinaryArray, StringArray};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::session::{EncodeSettings, parse_array};
use crate::types::SqlType;
use crate::types::parse::parse_text;
use crate::types::text::ColumnText;

use super::binary::ColumnBinary;

/// A string column with the array literal of each list.
pub(super) fn as_text(lists: &ArrayRef, settings: &EncodeSettings) -> Result<ArrayRef> {
    let texts = (0..lists.len()).map(|row| match list_at(lists, row)? {
        Some(elements) => {
            let mut out = Vec::new();
            write_elements(&elements, settings, &mut out)?;
            String::from_utf8(out).map(Some).map_err(Error::internal)
        }
        None => Ok(None),
    });
    Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
}

/// A binary column with the array's binary form of each text: dimensions, whether it has NULLs, the elements' type, length and
/// lower bound, then the elements, each behind its length.
pub(super) fn as_binary(texts: &ArrayRef, element: &SqlType, settings: &EncodeSettings) -> Result<ArrayRef> {
    let texts = texts.as_string_opt::<i32>().ok_or_else(|| Error::internal("an array that is no text"))?;
    let arrays = texts.iter().map(|text| text.map(|text| binary_array(text, element, settings)).transpose());
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(BinaryArray::from_iter(arrays)))
}

fn binary_array(text: &str, element: &SqlType, settings: &EncodeSettings) -> Result<Vec<u8>> {
    let elements = parse_array(text)
        .ok_or_else(|| Error::not_built("an array of several dimensions in binary").with_hint("Ask for it in text."))?;
    let mut out = Vec::new();
    out.extend_from_slice(&i32::from(!elements.is_empty()).to_be_bytes());
    out.extend_from_slice(&i32::from(elements.iter().any(Option::is_none)).to_be_bytes());
    out.extend_from_slice(&element.oid().to_be_bytes());
    if elements.is_empty() {
        return Ok(out);
    }
    out.extend_from_slice(&(elements.len() as i32).to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    for text in elements {
        let Some(text) = text else {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            continue;
        };
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        match element {
            SqlType::Text | SqlType::Varchar(_) => out.extend_from_slice(text.as_bytes()),
            SqlType::Numeric { .. } => {
                // Each value shows its own digits.
                let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len()) as i8;
                let exact = SqlType::Numeric { precision: 38, scale };
                write_element(&exact, &text, settings, &mut out)?;
            }
            _ => write_element(element, &text, settings, &mut out)?,
        }
        let length = (out.len() - at - 4) as i32;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(out)
}

fn write_element(sql_type: &SqlType, text: &str, settings: &EncodeSettings, out: &mut Vec<u8>) -> Result<()> {
    let value = parse_text(sql_type, text, settings.time_zone)?.to_array()?;
    ColumnBinary::new(value.as_ref())?.write(0, out).map(drop)
}

fn list_at(lists: &ArrayRef, row: usize) -> Result<Option<ArrayRef>> {
    if lists.is_null(row) {
        return Ok(None);
    }
    Ok(Some(match lists.data_type() {
        DataType::List(_) => lists.as_list::<i32>().value(row),
        DataType::LargeList(_) => lists.as_list::<i64>().value(row),
        DataType::ListView(_) => lists.as_list_view::<i32>().value(row),
        DataType::FixedSizeList(_, _) => lists.as_fixed_size_list().value(row),
        other => return Err(Error::not_built(format_args!("a result column of type {other}"))),
    }))
}

fn write_elements(elements: &ArrayRef, settings: &EncodeSettings, out: &mut Vec<u8>) -> Result<()> {
    let nested = matches!(
        elements.data_type(),
        DataType::List(_) | DataType::LargeList(_) | DataType::ListView(_) | DataType::FixedSizeList(_, _)
    );
    let column = if nested { None } else { Some(ColumnText::new(elements.as_ref())?) };
    out.push(b'{');
    for row in 0..elements.len() {
        if row > 0 {
            out.push(b',');
        }
        match &column {
            Some(column) if column.is_null(row) => out.extend_from_slice(b"NULL"),
            Some(column) => {
                let mut element = Vec::new();
                column.write(row, settings, &mut element);
                write_quoted(&element, out);
            }
            None => match list_at(elements, row)? {
                Some(inner) => write_elements(&inner, settings, out)?,
                None => out.extend_from_slice(b"NULL"),
            },
        }
    }
    out.push(b'}');
    Ok(())
}

/// Quoted where array_out quotes: empty, the word NULL, or holding what separates elements.
fn write_quoted(element: &[u8], out: &mut Vec<u8>) {
    let plain = !element.is_empty()
        && !element.eq_ignore_ascii_case(b"null")
        && !element.iter().any(|byte| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\') || byte.is_ascii_whitespace());
    if plain {
        out.extend_from_slice(element);
        return;
    }
    out.push(b'"');
    for &byte in element {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}
