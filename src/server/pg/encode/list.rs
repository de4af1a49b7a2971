//! Lists as PostgreSQL prints arrays: `{1,NULL,"two words"}`.
//!
//! Tidemark has no array types yet; DataFusion's functions return lists all the same, and they go out as text.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::session::EncodeSettings;
use crate::types::text::ColumnText;

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
