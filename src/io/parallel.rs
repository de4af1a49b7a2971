//! Several threads for the independent parts of one computation.
//!
//! Who computes on much data splits it into parts that share nothing, and takes the threads as a value: the machine's, or
//! none, as a simulation does. Results come back in the order of the parts, so that they do not depend on the threads.
//!
//! Does not know: what is computed, how parts are chosen.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Runs the parts of a computation.
pub trait Parallel: fmt::Debug + Send + Sync {
    /// Calls `run` once with each number below `parts`, in any order, and returns when all have ended.
    fn each(&self, parts: usize, run: &(dyn Fn(usize) + Sync));
}

/// No threads but the caller's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inline;

impl Parallel for Inline {
    fn each(&self, parts: usize, run: &(dyn Fn(usize) + Sync)) {
        (0..parts).for_each(run);
    }
}

/// The caller's thread and some more, which live as long as the call: worth it for parts of a millisecond or so.
#[derive(Debug, Clone, Copy)]
pub struct ScopedThreads {
    threads: usize,
}

impl ScopedThreads {
    /// `threads` counts the caller's own; 0 means as many as the machine has cores.
    pub fn new(threads: usize) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        ScopedThreads { threads: if threads == 0 { cores() } else { threads } }
    }
}

impl Parallel for ScopedThreads {
    fn each(&self, parts: usize, run: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= parts {
                    return;
                }
                run(part);
            }
        };
        // The scope waits for its threads, and passes on a panic of any of them.
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(parts) {
                scope.spawn(work);
            }
            work();
        });
    }
}

/// `run` of each item, in the items' order.
pub fn map<T: Send, R: Send>(parallel: &dyn Parallel, items: Vec<T>, run: impl Fn(T) -> R + Sync) -> Vec<R> {
    let slots: Vec<Mutex<(Option<T>, Option<R>)>> =
        items.into_iter().map(|item| Mutex::new((Some(item), None))).collect();
    parallel.each(slots.len(), &|part| {
        // Each part is called once, so nobody else waits for this lock.
        let mut slot = slots[part].lock();
        if let Some(item) = slot.0.take() {
            slot.1 = Some(run(item));
        }
    });
    slots.into_iter().filter_map(|slot| slot.into_inner().1).collect()
}

#[cfg(test)]
mod tests;
