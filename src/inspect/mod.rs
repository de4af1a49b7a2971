//! Offline readers: every file that we write, without a server, damaged ones too.
//!
//! ```text
//! directory   a data directory and its object store, and whether a server uses them
//! wal, manifest, catalog, checkpoint     what stands in them, for people
//! check       reads everything, and names every damage with its file and its place
//! repair      what can be done about it, and what that costs
//! ```

mod catalog;
mod changes;
mod check;
mod checkpoint;
mod directory;
mod finding;
mod manifest;
mod repair;
mod wal;

pub use catalog::show_catalog;
pub use check::{CheckReport, check};
pub use checkpoint::show_checkpoints;
pub use directory::Directory;
pub use finding::{Finding, Severity};
pub use manifest::show_manifest;
pub use repair::{Repair, RepairOptions, plan_repair};
pub use wal::show_wal;

#[cfg(test)]
mod tests;
