//! Rows from outside: decoding of bytes, connectors, and the gathering of rows into writes.
//!
//! ```text
//! COPY FROM STDIN -> decode ----------------> a statement's write
//! connector (fleet) -> SourceReader -> batcher -> one write: rows and the position behind them
//! ```
//!
//! Does not know: commits' numbers, sessions, protocols.

pub mod decode;
mod fleet;
mod source;

pub mod batcher;

pub use source::{SourceBatch, SourceReader, complete_columns, open};
