//! A connection's state, and the one surface that protocols see: parse, describe, execute.

mod response;

pub use response::{CopyChunk, CopyFormat, CopyInSink, Notice, OutputColumn, Response, RowStream};
