//! The bytes of one simulated file, and which of them a crash may take.

use std::sync::Arc;

use super::SimRng;

const SECTOR_BYTES: usize = 512;

#[derive(Default, Clone)]
pub(super) struct FileState {
    /// Shared with the machines that a watcher was shown.
    pub bytes: Arc<Vec<u8>>,
    /// Ranges that a crash may take, in order; the last one may grow.
    unsynced: Vec<Unsynced>,
}

#[derive(Clone)]
struct Unsynced {
    from: usize,
    to: usize,
    /// A sync of it failed: no later sync will make it durable.
    doomed: bool,
}

impl FileState {
    pub fn durable(bytes: Vec<u8>) -> Self {
        FileState { bytes: Arc::new(bytes), unsynced: Vec::new() }
    }

    pub fn append(&mut self, bytes: &[u8]) {
        let from = self.bytes.len();
        Arc::make_mut(&mut self.bytes).extend_from_slice(bytes);
        let to = self.bytes.len();
        match self.unsynced.last_mut() {
            Some(last) if !last.doomed => last.to = to,
            _ => self.unsynced.push(Unsynced { from, to, doomed: false }),
        }
    }

    pub fn sync(&mut self) {
        self.unsynced.retain(|range| range.doomed);
    }

    /// A sync failed: what is not durable now never will be.
    pub fn doom(&mut self) {
        self.unsynced.iter_mut().for_each(|range| range.doomed = true);
    }

    /// What a power failure leaves.
    pub fn crash(&mut self, rng: &SimRng) {
        let mut length = self.bytes.len();
        if let Some(last) = self.unsynced.last()
            && last.to == length
        {
            length = last.from + rng.below((last.to - last.from) as u64 + 1) as usize;
        }
        if self.unsynced.is_empty() {
            return;
        }
        let bytes = Arc::make_mut(&mut self.bytes);
        bytes.truncate(length);
        for range in std::mem::take(&mut self.unsynced) {
            let mut from = range.from;
            while from < range.to.min(length) {
                let to = ((from / SECTOR_BYTES + 1) * SECTOR_BYTES).min(range.to).min(length);
                if rng.one_in(3) {
                    bytes[from..to].fill(0);
                }
                from = to;
            }
        }
    }
}
