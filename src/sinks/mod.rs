//! Rows to the outside.

mod copy_out;

pub use copy_out::CopyEncoder;
