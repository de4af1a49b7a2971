//! The operators: each takes its input's delta and its own state to its output's delta, errors beside it.
//!
//! No clock, no I/O, no async, no randomness; nothing depends on the order of a hash table. What an operator remembers
//! stands in `dataflow::state`.

mod aggregate;
mod distinct_values;
mod filter;
mod join;
mod late;
mod match_join;
mod ordered_rows;
mod project;
mod set_operation;
mod temporal;
mod time_bound;
mod top;
mod union;
mod unnest;
mod window;

use super::errors::ErrorDelta;
use crate::delta::DeltaBatch;
use crate::error::Result;
use crate::io::{Inline, Parallel, parallel};

pub use aggregate::{Aggregate, AggregateInputs, AggregateScan, Expiring};
pub use distinct_values::DistinctValues;
pub use filter::{Filter, apply as filter_rows};
pub use join::Join;
pub use late::{Late, LateRows};
pub use match_join::{MatchInputs, MatchJoin};
pub use project::{Project, apply as project_rows};
pub use set_operation::SetOperation;
pub use temporal::{COMMIT_TIME, Temporal, commit_time_field};
pub use time_bound::TimeBound;
pub use top::{Bound, Keeps, Top};
pub use union::Union;
pub use unnest::Unnest;
pub use window::{Window, WindowInputs};

/// A step of fewer rows is done before another thread has started.
const PARALLEL_ROWS_MIN: usize = 8192;

/// The threads for a step of this many rows.
fn threads_for(parallel: &dyn Parallel, rows: usize) -> &dyn Parallel {
    if rows < PARALLEL_ROWS_MIN { &Inline } else { parallel }
}

/// What `run` makes of each batch of a step, in their order; their errors likewise.
fn each_batch<T: Send>(
    parallel: &dyn Parallel,
    input: Vec<DeltaBatch>,
    errors: &mut ErrorDelta,
    run: impl Fn(DeltaBatch, &mut ErrorDelta) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let rows = input.iter().map(DeltaBatch::num_rows).sum();
    let made = parallel::map(threads_for(parallel, rows), input, |delta| {
        let mut errors = ErrorDelta::default();
        run(delta, &mut errors).map(|made| (made, errors))
    });
    let mut output = Vec::with_capacity(made.len());
    for made in made {
        let (made, failed) = made?;
        errors.append(failed);
        output.push(made);
    }
    Ok(output)
}

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
