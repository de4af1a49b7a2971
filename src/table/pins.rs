//! Which commits are being read: a flush must remember deletions of rows that an older snapshot still sees, because a
//! transaction that holds it may ask whether they were deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::types::CommitNumber;

/// Snapshots' commits, counted.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<BTreeMap<CommitNumber, usize>>);

impl Pins {
    pub fn pin(self: &Arc<Pins>, at: CommitNumber) -> Pin {
        *self.0.lock().entry(at).or_default() += 1;
        Pin { pins: self.clone(), at }
    }

    /// The oldest commit that a snapshot reads.
    pub fn oldest(&self) -> Option<CommitNumber> {
        self.0.lock().keys().next().copied()
    }
}

/// A snapshot's mark; gone when dropped.
#[derive(Debug)]
pub(super) struct Pin {
    pins: Arc<Pins>,
    at: CommitNumber,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock();
        if let Some(count) = pins.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.at);
            }
        }
    }
}
