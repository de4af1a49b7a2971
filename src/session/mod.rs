//! A connection's state, and the one surface that protocols see: parse, describe, execute.

mod response;
mod surface;

pub use response::{CopyChunk, CopyFormat, CopyInSink, Notice, OutputColumn, Response, RowStream};
pub use surface::{
    Authentication, ByteaOutput, Connection, Database, Description, EncodeSettings, Login, Parsed, TransactionStatus,
    Verifier,
};
