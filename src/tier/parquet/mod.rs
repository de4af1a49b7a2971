//! Rows as Parquet files: their stored form, the writer, the reader.

mod reader;
mod stored;
mod writer;

pub use reader::{ColdRows, OpenFile};
pub(super) use reader::{count_rows, open, read_all, read_marks, read_places, read_tombstones};
pub use stored::StoredForm;
pub(crate) use stored::from_stored;
pub use writer::{EncodedRows, FileSettings, encode_in_order};
pub(super) use writer::{encode_marks, encode_rows, encode_tombstones};
