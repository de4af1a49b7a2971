//! A connection's state, and the one surface that protocols see: parse, describe, execute.

mod response;
mod surface;

pub use crate::types::text::EncodeSettings;
pub use response::{CopyChunk, CopyFormat, CopyInSink, Notice, OutputColumn, Response, RowStream};
pub use surface::{Authentication, Connection, Database, Description, Login, Parsed, TransactionStatus, Verifier};
