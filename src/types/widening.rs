//! Types that a column can get later: each of its values is one of theirs, and the same one.

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::SqlType;

impl SqlType {
    /// Whether `wider` is another type that has all of its values, written in the same way.
    pub fn widens_to(&self, wider: &SqlType) -> bool {
        use SqlType::*;
        match (self, wider) {
            (Int2, Int4 | Int8) | (Int4, Int8) | (Float4, Float8) => true,
            (Numeric { precision, scale }, Numeric { precision: wider, scale: same }) => {
                precision < wider && scale == same
            }
            (Varchar(Some(length)), Varchar(Some(wider))) => length < wider,
            (Varchar(Some(_)), Varchar(None) | Text) | (Varchar(None), Text) | (Text, Varchar(None)) => true,
            _ => false,
        }
    }
}

/// The values in the Arrow form of a wider type; `None` where the two are not one wider than the other.
pub fn widened(column: &ArrayRef, wider: &DataType) -> Option<Result<ArrayRef, ArrowError>> {
    let is_wider = match (column.data_type(), wider) {
        (DataType::Int16, DataType::Int32 | DataType::Int64) | (DataType::Int32, DataType::Int64) => true,
        (DataType::Float32, DataType::Float64) => true,
        (DataType::Decimal128(precision, scale), DataType::Decimal128(wider, same)) => {
            precision <= wider && scale == same
        }
        (narrow, wide) => narrow == wide,
    };
    is_wider.then(|| if column.data_type() == wider { Ok(column.clone()) } else { cast(column, wider) })
}

#[cfg(test)]
mod tests;
