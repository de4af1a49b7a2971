//! Clients that do not take the rows of their statement, in the order in which they stopped.
//!
//! What a query has read ahead, what it reads from and what it encodes stays in memory for as long as its client's socket takes
//! nothing. Where memory is short, those who have waited the longest are ended.
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
    clients: BTreeMap<u64, (Duration, oneshot::Sender<()>)>,
}

impl SlowClients {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<SlowClients> {
        Arc::new(SlowClients { clock, waiting: Mutex::default() })
    }

    /// Waits for `ready`, that the client takes more. Errors: 53400 where it is ended instead.
    pub async fn wait<T>(self: &Arc<Self>, ready: impl Future<Output = T>) -> Result<T> {
        let (sender, ended) = oneshot::channel();
        let number = {
            let mut waiting = self.waiting.lock();
            waiting.next += 1;
            let number = waiting.next;
            waiting.clients.insert(number, (self.clock.monotonic(), sender));
            number
        };
        let _entry = Entry { clients: self.clone(), number };
        tokio::select! {
            biased;
            Ok(()) = ended => Err(too_slow()),
            ready = ready => Ok(ready),
        }
    }

    /// Ends the client that has waited the longest, if it has for so long; whether there was one.
    pub fn end_first(&self, waited: Duration) -> bool {
        let now = self.clock.monotonic();
        let mut waiting = self.waiting.lock();
        let first = waiting.clients.first_entry();
        let Some(first) = first.filter(|first| now.saturating_sub(first.get().0) >= waited) else { return false };
        // It may just have gone on by itself.
        let _ = first.remove().1.send(());
        true
    }
}

/// A client that waits; dropping it takes it out.
struct Entry {
    clients: Arc<SlowClients>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.clients.waiting.lock().clients.remove(&self.number);
    }
}

fn too_slow() -> Error {
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
