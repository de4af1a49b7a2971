//! Arrays in binary: dimensions, whether there are NULLs, the elements' type, length and lower bound, then the elements, each
//! behind its length (PostgreSQL's array_send).

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, ListArray};

use super::ColumnWriter;
use super::Format;
use crate::error::{Error, Result};
use crate::session::EncodeSettings;
use crate::types::SqlType;

pub(super) struct ArrayBinary<'a> {
    lists: &'a ListArray,
    elements: ColumnWriter<'a>,
    oid: u32,
}

impl<'a> ArrayBinary<'a> {
    pub fn new(array: &'a ArrayRef, element: &SqlType) -> Result<Self> {
        let lists = array.as_list_opt::<i32>().ok_or_else(|| Error::internal("an array that is no list"))?;
        let elements = ColumnWriter::new(lists.values(), element, Format::Binary)?;
        Ok(ArrayBinary { lists, elements, oid: element.oid() })
    }

    /// False, and nothing written, for NULL.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<bool> {
        if self.lists.is_null(row) {
            return Ok(false);
        }
        let offsets = self.lists.value_offsets();
        let elements = offsets[row] as usize..offsets[row + 1] as usize;
        let has_null = elements.clone().any(|index| self.lists.values().is_null(index));
        out.extend_from_slice(&i32::from(!elements.is_empty()).to_be_bytes());
        out.extend_from_slice(&i32::from(has_null).to_be_bytes());
        out.extend_from_slice(&self.oid.to_be_bytes());
        if elements.is_empty() {
            return Ok(true);
        }
        out.extend_from_slice(&(elements.len() as i32).to_be_bytes());
        out.extend_from_slice(&1_i32.to_be_bytes());
        // Text is its own binary form, whatever a session's settings are.
        let settings = EncodeSettings::default();
        for index in elements {
            let at = out.len();
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            if self.elements.write(index, &settings, out)? {
                let length = (out.len() - at - 4) as i32;
                out[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(true)
    }
}
