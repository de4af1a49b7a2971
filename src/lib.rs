//! Tidemark: a SQL-first streaming database.
//!
//! The way of one row, floor by floor:
//!
//! ```text
//! source or COPY -> ingest/decode -> ingest/batcher -> commit/sequencer -> wal (fsync, then the acknowledgement)
//!   -> commit/publish -> dataflow/worker -> operators -> view
//!   -> table/flush -> tier/parquet -> tier/manifest
//!   -> query at one commit -> server/pg | server/flight
//! ```
//!
//! A module uses only floors below it, and earlier modules of its own floor. `sql-tests/floors.rs` reads every path in
//! `src/` and fails on an upward one.

#![deny(unsafe_code)]
// Tests may use the machine; the seams that clippy.toml guards are for what runs in the product.
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types))]

// Floor 0: what could be in std, the error, plain settings, types, and the seams to the world outside.
pub mod error;
pub mod settings;
pub mod stdx;
pub mod types;

pub mod io;

// Floor 1: changes, functions, definitions, what plans read.
pub mod catalog;
pub mod delta;
pub mod functions;
pub mod leaf;

// Floor 2: bytes at rest.
pub mod tier;
pub mod wal;

// Floor 3: the only writer.
pub mod commit;

// Floor 4: tables, our SQL dialect, plans.
pub mod plan;
pub mod sql;
pub mod table;

// Floor 5: the incremental engine.
pub mod dataflow;

// Floor 6: in, out, system tables, ad hoc queries.
pub mod ingest;
pub mod query;
pub mod sinks;
pub mod system;

// Floor 7: statements and connections' state.
pub mod statement;

pub mod session;

// Floor 8: protocols.
pub mod server;

// Floor 9: wiring, offline readers, simulation.
pub mod engine;
pub mod inspect;
pub mod testing;
