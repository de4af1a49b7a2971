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
use crate::delta::{DeltaBatch, batch_bytes};
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

/// Rows of a batch that an operator makes of what may be much, and what a row is taken to need at least, before it is made.
const BATCH_ROWS: usize = 8192;
const ROW_BYTES_MIN: usize = 64;

/// Fewer rows where no more than `bytes_max` should stay together.
fn batch_rows(bytes_max: usize) -> usize {
    BATCH_ROWS.min(bytes_max / ROW_BYTES_MIN).max(1)
}
/// What an operator gave and did not hand on yet: of a step with much output little is held at once.
#[derive(Debug)]
pub struct Gathered {
    deltas: Vec<DeltaBatch>,
    bytes: usize,
    bytes_max: usize,
}

impl Gathered {
    /// Rows of more than `bytes_max` do not stay together.
    pub fn new(bytes_max: usize) -> Self {
        Gathered { deltas: Vec::new(), bytes: 0, bytes_max }
    }

    pub fn take(&mut self) -> Vec<DeltaBatch> {
        self.bytes = 0;
        std::mem::take(&mut self.deltas)
    }

    fn add(&mut self, delta: DeltaBatch) {
        self.bytes += batch_bytes(delta.rows());
        self.deltas.push(delta);
    }

    fn is_much(&self) -> bool {
        self.bytes > self.bytes_max
    }
}

/// Where an operator puts its output.
pub struct Output<'a> {
    gathered: &'a mut Gathered,
    give: &'a mut dyn FnMut(Vec<DeltaBatch>) -> Result<()>,
    /// Rows that were put.
    rows: u64,
}

impl<'a> Output<'a> {
    /// `give` gets what has gathered, when it is much.
    pub fn new(gathered: &'a mut Gathered, give: &'a mut dyn FnMut(Vec<DeltaBatch>) -> Result<()>) -> Self {
        Output { gathered, give, rows: 0 }
    }

    fn bytes_max(&self) -> usize {
        self.gathered.bytes_max
    }

    fn batch_rows(&self) -> usize {
        batch_rows(self.bytes_max())
    }

    /// In the order that they are put in, no row is taken back before it is there.
    fn put(&mut self, delta: DeltaBatch) -> Result<()> {
        if delta.is_empty() {
            return Ok(());
        }
        self.rows += delta.num_rows() as u64;
        self.gathered.add(delta);
        if self.gathered.is_much() { (self.give)(self.gathered.take()) } else { Ok(()) }
    }
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
