//! The memory of all states together: who is counted, when pages should leave, and whose pages turned out damaged.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::page::PageStore;
use crate::types::RelationId;

/// Bounds of what an operator gives at once: what is less costs more time than it saves memory.
const PIECE_BYTES: RangeInclusive<usize> = 1 << 12..=1 << 26;

/// So much window functions may always put together.
const GATHER_BYTES_MIN: usize = 1 << 25;

/// All states of one server, and where they go when they are too much.
#[derive(Debug, Default)]
pub struct Residence {
    /// 0: no limit.
    bytes_max: AtomicUsize,
    bytes: AtomicUsize,
    /// 0: as `bytes_max` has it.
    piece_bytes_max: AtomicUsize,
    store: OnceLock<Arc<dyn PageStore>>,
    pub evicted_bytes: AtomicUsize,
    pub reloaded_bytes: AtomicUsize,
    /// Views of which a page did not read back.
    damaged: Mutex<BTreeSet<RelationId>>,
    damage: Notify,
}

impl Residence {
    /// Pages may leave for `store`.
    pub fn with_store(store: Arc<dyn PageStore>) -> Arc<Residence> {
        Arc::new(Residence { store: OnceLock::from(store), ..Residence::default() })
    }

    pub fn store(&self) -> Option<&Arc<dyn PageStore>> {
        self.store.get()
    }

    /// What all states may hold in memory; 0: no limit.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    pub fn bytes_max(&self) -> usize {
        self.bytes_max.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Pages should leave, and can.
    pub fn is_full(&self) -> bool {
        let bytes_max = self.bytes_max();
        bytes_max > 0 && self.bytes() > bytes_max && self.store.get().is_some()
    }

    /// Another `bytes` could be too much.
    pub fn may_overflow(&self, bytes: usize) -> bool {
        let bytes_max = self.bytes_max();
        bytes_max > 0 && self.bytes().saturating_add(bytes) > bytes_max && self.store.get().is_some()
    }

    /// More than half of what there may be.
    pub fn is_half_full(&self) -> bool {
        let bytes_max = self.bytes_max();
        bytes_max > 0 && self.bytes() > bytes_max / 2 && self.store.get().is_some()
    }

    /// What an operator's output may hold in memory at once.
    pub fn piece_bytes_max(&self) -> usize {
        match (self.piece_bytes_max.load(Ordering::Relaxed), self.bytes_max()) {
            (0, 0) => *PIECE_BYTES.end(),
            (0, bytes_max) => (bytes_max / 16).clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end()),
            (piece_bytes_max, _) => piece_bytes_max,
        }
    }

    /// What window functions may put together for the rows that a change concerns; `None`: without a bound. It is in memory several times
    /// while it is on its way.
    pub fn gather_bytes_max(&self) -> Option<usize> {
        match self.bytes_max() {
            0 => None,
            bytes_max => Some((bytes_max / 16).max(GATHER_BYTES_MIN)),
        }
    }

    /// Instead of what follows from the memory of all states.
    pub fn set_piece_bytes_max(&self, bytes_max: usize) {
        self.piece_bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Once pages leave, they do until a tenth is free.
    pub(super) fn wants_room(&self) -> bool {
        let bytes_max = self.bytes_max();
        bytes_max > 0 && self.bytes() > bytes_max / 10 * 9
    }

    /// Waits until pages are found damaged, and gives the views whose they are, each once.
    pub async fn damaged(&self) -> BTreeSet<RelationId> {
        loop {
            let found = std::mem::take(&mut *self.damaged.lock());
            if !found.is_empty() {
                return found;
            }
            self.damage.notified().await;
        }
    }
}

/// What the pages of one state hold in memory.
#[derive(Debug, Default)]
pub struct Account {
    bytes: AtomicUsize,
    /// Where it counts to, and the view that it is of.
    owner: OnceLock<(Arc<Residence>, RelationId)>,
}

impl Account {
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts to `residence` from now on, what there is already included. The first call decides.
    pub fn attach(&self, residence: &Arc<Residence>, view: RelationId) {
        if self.owner.set((residence.clone(), view)).is_ok() {
            residence.bytes.fetch_add(self.bytes(), Ordering::Relaxed);
        }
    }

    pub fn residence(&self) -> Option<&Arc<Residence>> {
        self.owner.get().map(|(residence, _)| residence)
    }

    /// Where pages should leave for, because memory is full.
    pub fn full_store(&self) -> Option<&Arc<dyn PageStore>> {
        self.residence().filter(|residence| residence.is_full())?.store()
    }

    /// A page of it does not read back.
    pub(super) fn tell_damage(&self) {
        if let Some((residence, view)) = self.owner.get() {
            residence.damaged.lock().insert(*view);
            residence.damage.notify_one();
        }
    }

    pub(super) fn recount(&self, before: usize, after: usize) {
        let count = |bytes: &AtomicUsize| {
            if after >= before {
                bytes.fetch_add(after - before, Ordering::Relaxed);
            } else {
                bytes.fetch_sub(before - after, Ordering::Relaxed);
            }
        };
        count(&self.bytes);
        if let Some(residence) = self.residence() {
            count(&residence.bytes);
        }
    }
}
