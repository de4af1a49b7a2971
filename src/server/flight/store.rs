//! What the server remembers for clients between two calls: by a random id, bounded in number and in age.
//!
//! A value that a call is working with ([`Store::get`] gave it out) does not age, and does not make room for others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Result, SqlState};
use crate::io::{Clock, Rng, SystemRng};

/// Cannot be guessed: who knows it was given it.
pub(super) type Id = [u8; 16];

pub(super) struct Store<T> {
    /// For errors: `results`, with the setting that bounds them.
    what: &'static str,
    entries_max: usize,
    idle_max: Duration,
    clock: Arc<dyn Clock>,
    entries: Mutex<HashMap<Id, Entry<T>>>,
}

struct Entry<T> {
    value: Arc<T>,
    used: Duration,
}

impl<T> Store<T> {
    pub fn new(what: &'static str, entries_max: usize, idle_max_ms: u64, clock: Arc<dyn Clock>) -> Self {
        let idle_max = Duration::from_millis(idle_max_ms);
        Store { what, entries_max, idle_max, clock, entries: Mutex::default() }
    }

    /// Remembers a value. Where there are too many, the one that was not used for the longest time goes.
    ///
    /// Errors: 54000 where all of them are in use.
    pub fn put(&self, value: Arc<T>) -> Result<Id> {
        let id = new_id();
        let now = self.clock.monotonic();
        let mut entries = self.entries.lock();
        sweep(&mut entries, now, self.idle_max);
        if entries.len() >= self.entries_max {
            let idle = entries.iter().filter(|(_, entry)| !entry.is_in_use());
            let oldest = idle.min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id);
            match oldest {
                Some(oldest) => entries.remove(&oldest),
                None => {
                    return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("too many {}", self.what))
                        .with_detail(format!("All {} are being read.", self.entries_max)));
                }
            };
        }
        entries.insert(id, Entry { value, used: now });
        Ok(id)
    }

    /// The value, which is used now.
    pub fn get(&self, id: &[u8]) -> Option<Arc<T>> {
        let id = Id::try_from(id).ok()?;
        let now = self.clock.monotonic();
        let mut entries = self.entries.lock();
        sweep(&mut entries, now, self.idle_max);
        let entry = entries.get_mut(&id)?;
        entry.used = now;
        Some(entry.value.clone())
    }

    pub fn remove(&self, id: &[u8]) -> Option<Arc<T>> {
        let id = Id::try_from(id).ok()?;
        self.entries.lock().remove(&id).map(|entry| entry.value)
    }

    /// Forgets what nobody used for too long.
    pub fn sweep(&self) {
        sweep(&mut self.entries.lock(), self.clock.monotonic(), self.idle_max);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries.lock().clear();
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }
}

impl<T> Entry<T> {
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.value) > 1
    }
}

fn sweep<T>(entries: &mut HashMap<Id, Entry<T>>, now: Duration, idle_max: Duration) {
    entries.retain(|_, entry| {
        if entry.is_in_use() {
            entry.used = now;
        }
        now.saturating_sub(entry.used) < idle_max
    });
}

fn new_id() -> Id {
    let (high, low) = (SystemRng.next_u64(), SystemRng.next_u64());
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

#[cfg(test)]
mod tests;
