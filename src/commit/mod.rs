//! The only writer of the database: sequencing, group commit, publishing, replay.

mod write;

pub use write::{Commit, SequencedWrite, SourcePosition, TableDelta, TableWrite, TierChange, Write};
