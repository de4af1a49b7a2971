//! The write-ahead log: segments of checksummed records, and their replay.
//!
//! ```text
//! wal/00000000000000000001.log   header | record 1 | record 2 | ... | record 90
//! wal/00000000000000000091.log   header(predecessor 1.log, valid to byte n) | record 91 | ...
//! ```
//!
//! A segment is never cut or overwritten. What must not count of it (a torn tail after a crash, everything after a failed
//! sync) is overridden by its successor, whose header names it and says how many of its bytes are valid.
//!
//! Knows commits by their number alone; what a record holds is `commit`'s.

mod format;
mod name;
mod replay;
mod survey;
mod writer;

pub use format::{FORMAT_VERSION, FRAME_BYTES, HEADER_BYTES};
pub use replay::{DroppedTail, WalRecord, WalReplayed, replay, reread};
pub use survey::{SegmentRole, SurveyedSegment, WalDamage, WalSurvey, survey};
pub use writer::{WalTail, WalWriter};

/// Where the segments stand.
pub const DIRECTORY: &str = "wal";

#[cfg(test)]
mod tests;
