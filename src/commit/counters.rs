//! What the commit path counts of itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// Since the server started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitCounters {
    /// Durable groups.
    pub commits: u64,
    /// Writers in them.
    pub writes: u64,
    /// Syncs of records, failed ones included.
    pub syncs: u64,
    /// Bytes of durable records.
    pub bytes: u64,
    /// Writes that failed and were tried again in a new segment.
    pub retries: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counting {
    commits: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
}

impl Counting {
    pub fn committed(&self, writes: u64, bytes: u64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(writes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub fn set_syncs(&self, syncs: u64) {
        self.syncs.store(syncs, Ordering::Relaxed);
    }

    pub fn read(&self) -> CommitCounters {
        CommitCounters {
            commits: self.commits.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }
}
