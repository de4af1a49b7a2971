//! The incremental engine: views kept up to date by deltas.
//!
//! ```text
//! commits -> worker (steps) -> build::Operator tree: source, filter, project, union, joins, aggregate ...
//!                                  state/  columns in chunks        errors  rows that cannot be computed
//!                           -> content -> view (a snapshot at one commit)
//!                           -> subscription (the changes of each step)
//!                           -> changelog (the same, kept in files for those who resume)
//! ```
//!
//! The mathematics is DBSP's: collections are Z-sets; linear operators work on the delta alone, a join pairs each side's
//! delta with the other side's state, an aggregate keeps one row per group.

mod build;
mod changelog;
pub mod checkpoint;
mod content;
pub mod cutoff;
mod errors;
mod expression;
mod handle;
mod live_view;
mod operators;
mod parts;
mod readers;
pub mod state;
mod subscription;
mod tree;
mod view;
mod worker;

pub use build::Dataflow;
pub use changelog::{Changelogs, History, HistoryPart, survey as changes};
pub use errors::ViewError;
pub use handle::{
    Backfill, Dataflows, Filling, KeepChanges, OperatorStats, ViewReads, ViewStats, ViewStatus, bytes_of,
};
pub use subscription::{Change, Subject, Subscription};
pub use view::{ViewSnapshot, ViewTable};
pub use worker::Worker;

#[cfg(test)]
mod tests;
