//! The incremental engine: views kept up to date by deltas.

pub mod state;
