//! Bytes into columns.

mod column;
mod copy;
mod field;
mod record;

pub use crate::types::parse::parse_text;
pub use crate::types::{CopyFormat, CopyHeader, CopyOptions};
pub use column::ColumnBuilder;
pub use copy::CopyDecoder;
