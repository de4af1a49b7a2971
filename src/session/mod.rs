//! A connection's state, and the one surface that protocols see: parse, describe, execute.

mod connection;
mod copy_in;
mod database;
mod describe;
mod dispatch;
mod hold;
mod recent;
mod surface;

pub use crate::query::HeldQuery;
pub use crate::statement::{
    CopyChunk, CopyFormat, CopyInSink, LeftOpen, Notice, OutputColumn, Response, RowStream, SlowClients,
};
pub use crate::types::text::EncodeSettings;
pub use connection::Session;
pub use database::{NAME, Sessions};
pub use surface::{Authentication, Connection, Database, Description, Login, Parsed, TransactionStatus, Verifier};

#[cfg(test)]
mod tests;
