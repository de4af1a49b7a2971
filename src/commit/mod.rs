//! The only writer of the database: admission, sequencing, group commit, publishing, replay.
//!
//! ```text
//! writers --sequence()--> open group --LogWriter: one record, one fdatasync--> publish --> acknowledge
//! WAL ------------------------------------- replay --------------------------> the same commits
//! ```

mod admission;
mod combine;
mod counters;
mod group;
mod log_writer;
mod record;
mod replay;
mod sequencer;
mod timestamp;
mod write;

pub use admission::{Admission, HeldBytes};
pub use counters::CommitCounters;
pub use log_writer::LogWriter;
pub use replay::{Replayed, read_record, replay, reread};
pub use sequencer::{Durable, Publish, Sequencer, SequencerStart};
pub use timestamp::{JUMP_CONFIRMED_AFTER, is_believed};
pub use write::{Commit, SequencedWrite, SourcePosition, TableDelta, TableWrite, TierChange, WatermarkAdvance, Write};

#[cfg(test)]
mod tests;
