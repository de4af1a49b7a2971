//! Identifiers, and SQL types with their one Arrow form.
//!
//! Types are an on-disk format: microseconds everywhere, decimals to 38 digits, no unsigned integers.

pub mod calendar;
mod copy_options;
mod foreign_error;
mod id;
pub mod json;
pub mod parse;
mod sql_type;
pub mod text;
mod widening;

pub use copy_options::{CopyFormat, CopyHeader, CopyOptions, ForceQuote};
pub use foreign_error::from_datafusion;
pub use id::{CommitNumber, RelationId, RowId};
pub use sql_type::{SqlType, UUID_BYTES};
pub use widening::widened;

/// Name of the hidden column that every table's rows carry: Int64, given by the sequencer, never reused.
pub const ROW_ID: &str = "_row_id";

/// Name of the hidden column that says, in tables with a watermark, where that was when the row came.
pub const WATERMARK: &str = "_watermark";
