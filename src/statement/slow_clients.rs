//! Clients that do not take the rows of their statement, in the order in which they stopped.
//!
//! What a query has read ahead, what it reads from and what it encodes stays in memory for as long as its client takes nothing: its
//! socket is full, or it has asked for some rows of a cursor or a portal, and does not ask for the next. Where memory is short, what has
//! waited the longest is ended.
//!
//! Does not know: when memory is short, sockets, what the rows are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::{Error, Result, SqlState};
use crate::io::Clock;

/// Those of a server.
pub struct SlowClients {
    clock: Arc<dyn Clock>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// In the order in which they began to wait, and since when.
    clients: BTreeMap<u64, (Duration, End)>,
}

/// Ends what waits, which may just have gone on by itself.
type End = Box<dyn FnOnce() + Send>;

impl SlowClients {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<SlowClients> {
        Arc::new(SlowClients { clock, waiting: Mutex::default() })
    }

    /// Waits for `ready`, that the client takes more. Errors: 53400 where it is ended instead.
    pub async fn wait<T>(self: &Arc<Self>, ready: impl Future<Output = T>) -> Result<T> {
        let (sender, ended) = oneshot::channel();
        let end = move || _ = sender.send(());
        let _entry = self.enter(Box::new(end));
        tokio::select! {
            biased;
            Ok(()) = ended => Err(too_slow()),
            ready = ready => Ok(ready),
        }
    }

    /// Holds what a client may ask for once more, or not.
    pub fn leave_open<T: Send + 'static>(self: &Arc<Self>, held: T) -> LeftOpen<T> {
        let held = Arc::new(Mutex::new(Some(held)));
        let ended = held.clone();
        // Taken out before it is dropped: what it holds may be much.
        let end = move || drop(ended.lock().take());
        LeftOpen { held, _entry: self.enter(Box::new(end)) }
    }

    fn enter(self: &Arc<Self>, end: End) -> Entry {
        let mut waiting = self.waiting.lock();
        waiting.next += 1;
        let number = waiting.next;
        waiting.clients.insert(number, (self.clock.monotonic(), end));
        Entry { clients: self.clone(), number }
    }

    /// Ends what has waited the longest, if it has for so long; whether there was any.
    pub fn end_first(&self, waited: Duration) -> bool {
        let now = self.clock.monotonic();
        let end = {
            let mut waiting = self.waiting.lock();
            let first = waiting.clients.first_entry();
            first.filter(|first| now.saturating_sub(first.get().0) >= waited).map(|first| first.remove().1)
        };
        end.map(|end| end()).is_some()
    }
}

/// What a client left open.
pub struct LeftOpen<T> {
    held: Arc<Mutex<Option<T>>>,
    _entry: Entry,
}

impl<T> LeftOpen<T> {
    /// Errors: 53400 where it was ended meanwhile.
    pub fn take(self) -> Result<T> {
        self.held.lock().take().ok_or_else(too_slow)
    }
}

/// A client that waits; dropping it takes it out.
struct Entry {
    clients: Arc<SlowClients>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        // What it would have ended goes when the lock is free again.
        let _end = self.clients.waiting.lock().clients.remove(&self.number);
    }
}

/// Of what was ended.
pub(super) fn too_slow() -> Error {
    Error::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "the statement was ended because its client does not read")
        .with_detail("The server is short of memory, and what the statement holds was needed.")
        .with_hint("Read faster, ask for fewer rows, or raise memory.limit_bytes.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SystemClock;

    #[tokio::test]
    async fn the_one_that_waits_the_longest_is_ended() {
        let clients = SlowClients::new(Arc::new(SystemClock::new()));
        assert!(!clients.end_first(Duration::ZERO), "nobody waits");
        let wait = |clients: &Arc<SlowClients>| {
            let clients = clients.clone();
            tokio::spawn(async move { clients.wait(std::future::pending::<()>()).await })
        };
        let first = wait(&clients);
        tokio::task::yield_now().await;
        let second = wait(&clients);
        tokio::task::yield_now().await;
        assert!(!clients.end_first(Duration::from_secs(3600)), "nobody waits for so long");
        assert!(clients.end_first(Duration::ZERO));
        let first = tokio::time::timeout(Duration::from_secs(5), first).await.expect("it waits on").unwrap();
        assert_eq!(first.unwrap_err().state(), SqlState::CONFIGURATION_LIMIT_EXCEEDED);
        assert!(!second.is_finished());
        assert!(clients.end_first(Duration::ZERO));
        second.await.unwrap().unwrap_err();
        assert!(!clients.end_first(Duration::ZERO));
    }

    #[test]
    fn what_is_left_open_is_ended_like_a_client_that_waits() {
        let clients = SlowClients::new(Arc::new(SystemClock::new()));
        let (first, second) = (Arc::new(1), Arc::new(2));
        let left = [&first, &second].map(|held| clients.leave_open(held.clone()));
        assert!(!clients.end_first(Duration::from_secs(3600)));
        assert!(clients.end_first(Duration::ZERO));
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 2), "it is gone at once");
        let [ended, kept] = left.map(LeftOpen::take);
        assert_eq!(ended.unwrap_err().state(), SqlState::CONFIGURATION_LIMIT_EXCEEDED);
        assert_eq!(*kept.unwrap(), 2);
        assert!(!clients.end_first(Duration::ZERO), "what was asked for again waits no longer");
        drop(clients.leave_open(first.clone()));
        assert!(!clients.end_first(Duration::ZERO));
        assert_eq!(Arc::strong_count(&first), 1);
    }

    #[tokio::test]
    async fn who_goes_on_or_away_does_not_wait() {
        let clients = SlowClients::new(Arc::new(SystemClock::new()));
        assert_eq!(clients.wait(async { 7 }).await.unwrap(), 7);
        drop(clients.wait(std::future::pending::<()>()));
        let gone = tokio::time::timeout(Duration::from_millis(1), clients.wait(std::future::pending::<()>()));
        gone.await.unwrap_err();
        assert!(!clients.end_first(Duration::ZERO));
    }
}
