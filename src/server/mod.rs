//! Protocols. Each knows its wire and `session`'s surface, nothing else.

pub mod flight;
pub mod http;
pub mod pg;
