//! Rows that were flushed and that readers still hold in memory: a snapshot keeps the hot rows that it was taken with.
//!
//! ```text
//! hot:    [ 3 ] [ 4 ]                  what was flushed is in files
//! left:   [ 1 ] [ 2 ]                  a reader of a commit from before the flush holds it
//! ```
//!
//! A reader that stalls could hold them for ever, and each that began before another flush holds others. So where memory is
//! short they are bounded: the oldest are let go under their readers, who get an error when they come to them. What a view is
//! filled from is kept.
//!
//! Does not know: when memory is short, who reads.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::segment::Segment;

/// Of all tables, in the order in which they left.
#[derive(Debug, Default)]
pub(super) struct LeftRows(Mutex<VecDeque<Weak<Segment>>>);

impl LeftRows {
    /// What nobody holds any more is not taken.
    pub fn add(&self, segments: Vec<Weak<Segment>>) {
        self.0.lock().extend(segments.into_iter().filter(|segment| segment.strong_count() > 0));
    }

    pub fn bytes(&self) -> u64 {
        self.alive().iter().map(|segment| segment.bytes() as u64).sum()
    }

    /// Lets the oldest go until the others are so many bytes at most; returns how many went.
    pub fn keep_within(&self, bytes_max: u64) -> usize {
        let alive = self.alive();
        let mut bytes: u64 = alive.iter().map(|segment| segment.bytes() as u64).sum();
        let mut emptied = 0;
        for segment in alive {
            if bytes <= bytes_max {
                break;
            }
            if segment.empty() {
                bytes -= segment.bytes() as u64;
                emptied += 1;
            }
        }
        emptied
    }

    /// Those that somebody holds, with rows in them.
    fn alive(&self) -> Vec<Arc<Segment>> {
        let mut left = self.0.lock();
        left.retain(|segment| segment.strong_count() > 0);
        left.iter().filter_map(Weak::upgrade).filter(|segment| segment.rows().is_some()).collect()
    }
}

/// Segments that may not be emptied while this is there.
#[derive(Debug)]
pub(super) struct KeptRows(Vec<Arc<Segment>>);

impl KeptRows {
    pub fn new(segments: Vec<Arc<Segment>>) -> KeptRows {
        segments.iter().for_each(|segment| segment.keep());
        KeptRows(segments)
    }
}

impl Drop for KeptRows {
    fn drop(&mut self) {
        self.0.iter().for_each(|segment| segment.unkeep());
    }
}

#[cfg(test)]
mod tests;
