//! Protocols. Each knows its wire and `session`'s surface, nothing else.

pub mod pg;
