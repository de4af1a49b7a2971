//! The operators: each takes its input's delta and its own state to its output's delta, errors beside it.
//!
//! No clock, no I/O, no async, no randomness; nothing depends on the order of a hash table. What an operator remembers
//! stands in `dataflow::state`.

mod aggregate;
mod filter;
mod join;
mod project;

pub use aggregate::{Aggregate, AggregateScan};
pub use filter::{Filter, apply as filter_rows};
pub use join::Join;
pub use project::{Project, apply as project_rows};

/// What an operator did since it was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows of state that were looked at.
    pub rows_read: u64,
    /// Rows of delta that went on.
    pub rows_emitted: u64,
}

impl Counters {
    pub fn add(&mut self, other: Counters) {
        self.rows_read += other.rows_read;
        self.rows_emitted += other.rows_emitted;
    }
}
