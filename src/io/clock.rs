//! Time, as the core sees it.

#![expect(clippy::disallowed_methods, reason = "this is the seam to the machine's clock")]

use std::time::Duration;

use futures::future::BoxFuture;

/// Wall time, monotonic time, and waiting.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970-01-01 00:00:00 UTC. May jump either way.
    fn now_us(&self) -> i64;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock. [`Clock::sleep`] needs a tokio runtime with time.
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    #[expect(clippy::new_without_default, reason = "reading the clock is not a default")]
    pub fn new() -> Self {
        SystemClock { started: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        chrono::Utc::now().timestamp_micros()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
