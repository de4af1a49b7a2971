//! Arrays as PostgreSQL prints them: `{1,NULL,"two words"}`.

use arrow::array::ListArray;

use super::{ColumnText, EncodeSettings};
use crate::error::Result;

/// Arrays whose elements can be printed; they may be arrays themselves.
pub(super) struct ArrayText<'a> {
    lists: &'a ListArray,
    elements: Box<ColumnText<'a>>,
    are_arrays: bool,
}

impl<'a> ArrayText<'a> {
    pub fn new(lists: &'a ListArray) -> Result<Self> {
        let elements = Box::new(ColumnText::new(lists.values().as_ref())?);
        Ok(ArrayText { lists, elements, are_arrays: lists.value_type().is_nested() })
    }

    pub fn write(&self, row: usize, settings: &EncodeSettings, out: &mut Vec<u8>) {
        let offsets = self.lists.value_offsets();
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        let mut element = Vec::new();
        out.push(b'{');
        for index in start..end {
            if index > start {
                out.push(b',');
            }
            if self.elements.is_null(index) {
                out.extend_from_slice(b"NULL");
            } else if self.are_arrays {
                self.elements.write(index, settings, out);
            } else {
                element.clear();
                self.elements.write(index, settings, &mut element);
                write_quoted(&element, out);
            }
        }
        out.push(b'}');
    }
}

/// Quoted where array_out quotes: empty, the word NULL, or holding what separates elements.
fn write_quoted(element: &[u8], out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\') || is_space(*byte);
    if !element.is_empty() && !element.eq_ignore_ascii_case(b"null") && !element.iter().any(special) {
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

/// C's isspace, by which array_out goes.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
