//! Names of segments: `<first commit, 20 digits>.log`, and `<first commit>-<attempt>.log` where the first attempt to
//! write that commit failed. The order of names is the order of (commit, attempt).

use std::fmt;

use super::DIRECTORY;
use crate::types::CommitNumber;

/// First commit that the segment may hold, and which attempt at it this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    pub first_commit: CommitNumber,
    pub attempt: u32,
}

impl SegmentName {
    pub fn parse(name: &str) -> Option<SegmentName> {
        let stem = name.strip_suffix(".log")?;
        let (commit, attempt) = match stem.split_once('-') {
            Some((commit, attempt)) => (commit, attempt.parse().ok()?),
            None => (stem, 0),
        };
        let first_commit = CommitNumber(commit.parse().ok()?);
        let parsed = SegmentName { first_commit, attempt };
        (parsed.to_string() == name).then_some(parsed)
    }

    /// Its path below the disk's root.
    pub fn path(&self) -> String {
        format!("{DIRECTORY}/{self}")
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempt {
            0 => write!(f, "{:020}.log", self.first_commit.0),
            attempt => write!(f, "{:020}-{attempt:04}.log", self.first_commit.0),
        }
    }
}
