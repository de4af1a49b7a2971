//! Admission: writers wait here while memory is short, before anything of their write is sequenced.
//!
//! Does not know: why. Whoever watches memory opens and closes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::{Error, Result, SqlState};
use crate::io::Clock;

/// The gate that every writer passes.
#[derive(Debug)]
pub struct Admission {
    open: watch::Sender<bool>,
    held_bytes: Arc<AtomicU64>,
    held_bytes_max: Arc<AtomicU64>,
}

impl Default for Admission {
    fn default() -> Self {
        Admission {
            open: watch::channel(true).0,
            held_bytes: Arc::default(),
            held_bytes_max: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }
}

impl Admission {
    /// Returns once writers are let in: at once, or when memory is free again. Waits for ever if need be: for those who
    /// keep their place in what they read, and lose nothing by waiting.
    pub async fn admitted(&self) {
        if *self.open.borrow() {
            return;
        }
        // The sender lives as long as this.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    /// The same for a client, which is told after `patience`. Errors: 53200; nothing of the write was kept.
    pub async fn admitted_within(&self, clock: &dyn Clock, patience: Duration) -> Result<()> {
        tokio::select! {
            biased;
            () = self.admitted() => Ok(()),
            () = clock.sleep(patience) => Err(Error::new(SqlState::OUT_OF_MEMORY, "there is no memory for more rows")
                .with_detail(format!(
                    "Rows that are not flushed yet hold their whole share of memory.limit_bytes, and did not give way within \
                     {} ms. Nothing of this write was kept.",
                    patience.as_millis()
                ))
                .with_hint("Try again later; tidemark.memory shows who holds how much, and memory.write_timeout_ms is how long to wait.")),
        }
    }

    /// What a writer holds that is not sequenced yet, a COPY's rows for example.
    pub fn hold(&self) -> HeldBytes {
        HeldBytes { total: self.held_bytes.clone(), bytes_max: self.held_bytes_max.clone(), bytes: 0 }
    }

    /// What all writers together may hold.
    pub fn set_held_bytes_max(&self, bytes_max: u64) {
        self.held_bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    pub fn set_open(&self, open: bool) {
        self.open.send_if_modified(|is_open| std::mem::replace(is_open, open) != open);
    }
}

/// Counted to the gate until it is dropped.
#[derive(Debug)]
pub struct HeldBytes {
    total: Arc<AtomicU64>,
    bytes_max: Arc<AtomicU64>,
    bytes: u64,
}

impl HeldBytes {
    /// Errors: 53200 where all writers together would hold too much.
    pub fn add(&mut self, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        let (total, bytes_max) =
            (self.total.fetch_add(bytes, Ordering::Relaxed) + bytes, self.bytes_max.load(Ordering::Relaxed));
        if total <= bytes_max {
            return Ok(());
        }
        Err(Error::new(SqlState::OUT_OF_MEMORY, "too much is being loaded at a time")
            .with_detail(format!("Loads that are under way hold {total} bytes, and may hold {bytes_max}."))
            .with_hint("Load in smaller parts, fewer at a time, or raise memory.limit_bytes."))
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn writers_wait_while_it_is_closed() {
        let admission = Admission::default();
        assert!(admission.admitted().now_or_never().is_some());
        admission.set_open(false);
        let mut waiting = Box::pin(admission.admitted());
        assert!((&mut waiting).now_or_never().is_none());
        admission.set_open(true);
        waiting.await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_waits_for_a_while_and_is_told() {
        let (admission, clock) = (Admission::default(), crate::io::SystemClock::new());
        let patience = Duration::from_secs(30);
        admission.admitted_within(&clock, patience).await.unwrap();
        admission.set_open(false);
        let refused = admission.admitted_within(&clock, patience).await.unwrap_err();
        assert_eq!(refused.state(), SqlState::OUT_OF_MEMORY);
        assert!(refused.detail().unwrap().contains("within 30000 ms. Nothing of this write was kept"), "{refused:?}");
        let mut waiting = Box::pin(admission.admitted_within(&clock, patience));
        assert!((&mut waiting).now_or_never().is_none());
        admission.set_open(true);
        waiting.await.unwrap();
    }

    #[test]
    fn all_loads_together_are_bounded_and_give_back_what_they_held() {
        let admission = Admission::default();
        admission.set_held_bytes_max(100);
        let (mut one, mut other) = (admission.hold(), admission.hold());
        one.add(60).unwrap();
        assert_eq!(other.add(50).unwrap_err().state(), SqlState::OUT_OF_MEMORY);
        assert_eq!(admission.held_bytes(), 110);
        drop(other);
        assert_eq!(admission.held_bytes(), 60);
        one.add(40).unwrap();
    }
}
