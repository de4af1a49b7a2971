//! The disk's side of group commit: one record and one fdatasync per group, then publish, then acknowledge.
//!
//! Disk calls block, so it wants a thread of its own. When the disk fails, the group goes to a new segment, again and
//! again: what was sequenced cannot be taken back, so it is written once the disk works. Writers wait for that for a
//! bounded time, then they get the disk's error, and so does whoever comes, until the group is written.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::combine::combine;
use super::group::{Group, Waiter};
use super::record::{KIND_COMMIT, encode_body};
use super::sequencer::{Shared, log_ended};
use super::timestamp::CommitTime;
use crate::error::{Error, Result};
use crate::io::Clock;
use crate::types::CommitNumber;
use crate::wal::WalWriter;

/// Waits between the attempts to write a group; the last one again and again.
const RETRY_AFTER: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(10), Duration::from_millis(100), Duration::from_secs(1)];

/// Owns the log. Ends when the sequencer is shut down, or with the error that ended the log.
pub struct LogWriter {
    shared: Arc<Shared>,
    wal: WalWriter,
    clock: Arc<dyn Clock>,
    time: CommitTime,
    truncated_to: CommitNumber,
    /// How long writers wait for a disk that fails.
    patience: Duration,
    ended: watch::Sender<bool>,
}

impl LogWriter {
    pub(super) fn new(
        shared: Arc<Shared>,
        wal: WalWriter,
        clock: Arc<dyn Clock>,
        last_timestamp_us: i64,
        patience: Duration,
        ended: watch::Sender<bool>,
    ) -> Self {
        let time = CommitTime::new(&*clock, last_timestamp_us);
        LogWriter { shared, wal, clock, time, truncated_to: CommitNumber(0), patience, ended }
    }

    /// Writes groups until [`Sequencer::shutdown`](super::Sequencer::shutdown) and the queue is empty.
    pub async fn run(mut self) -> Result<()> {
        loop {
            self.truncate();
            match self.shared.take_group() {
                (Some(group), _) => self.commit(group).await?,
                (None, true) => self.shared.work.notified().await,
                (None, false) => return Ok(()),
            }
        }
    }

    async fn commit(&mut self, mut group: Group) -> Result<()> {
        let mut waiters = std::mem::take(&mut group.waiters);
        match self.commit_group(group, &mut waiters).await {
            Ok(number) => {
                for waiter in waiters {
                    // Nobody may be listening any more; the commit is durable all the same.
                    let _ = waiter.send(Ok(number));
                }
                Ok(())
            }
            Err(error) => {
                for waiter in waiters {
                    let _ = waiter.send(Err(error.clone()));
                }
                self.shared.fail(&error);
                Err(error)
            }
        }
    }

    async fn commit_group(&mut self, mut group: Group, waiters: &mut Vec<Waiter>) -> Result<CommitNumber> {
        let timestamp_us = self.time.next(&*self.clock);
        let writes = group.parts.len();
        let row_ids = group.parts.iter().map(|part| part.first_row_id);
        let encoded = std::mem::take(&mut group.encoded);
        let body = encode_body(timestamp_us, row_ids.zip(encoded.iter().map(Vec::as_slice)));
        // A large load is in memory often enough.
        drop(encoded);
        // Before it is durable: what cannot be published must not be found by replay either.
        let commit = Arc::new(combine(group.number, timestamp_us, group.parts)?);
        let bytes = self.append(group.number, &body, timestamp_us, waiters).await?;
        self.shared.counting.committed(writes as u64, bytes);
        self.shared.publish(&commit);
        Ok(group.number)
    }

    /// Until it is written, or the server stops. Errors: the disk's, where it does not work when the server stops.
    async fn append(
        &mut self,
        number: CommitNumber,
        body: &[u8],
        now_us: i64,
        waiters: &mut Vec<Waiter>,
    ) -> Result<u64> {
        let mut waits = RETRY_AFTER.into_iter();
        let mut failing_since = None;
        let mut stalled = false;
        loop {
            let written = self.wal.append(number, KIND_COMMIT, body, now_us);
            self.shared.counting.set_syncs(self.wal.syncs());
            let error = match written {
                Ok(bytes) => {
                    if stalled {
                        tracing::info!(commit = number.0, "the log can be written again");
                        self.shared.resume();
                    }
                    return Ok(bytes);
                }
                Err(error) => error,
            };
            let since = *failing_since.get_or_insert_with(|| self.clock.monotonic());
            let wait = waits.next();
            if wait.is_none() && self.shared.is_refusing() {
                return Err(error);
            }
            if !stalled {
                tracing::warn!(commit = number.0, %error, "writing the log failed, trying a new segment");
            }
            self.shared.counting.retried();
            if self.clock.monotonic() - since >= self.patience {
                let waiting = still_pending(&error);
                for waiter in waiters.drain(..) {
                    let _ = waiter.send(Err(waiting.clone()));
                }
                self.shared.stall(&waiting, not_taken(&error));
                stalled = true;
            }
            let wait = wait.or(RETRY_AFTER.last().copied()).unwrap_or_default();
            if !wait.is_zero() {
                self.clock.sleep(wait).await;
            }
        }
    }

    /// A failure costs disk space alone; the next truncation tries again.
    fn truncate(&mut self) {
        let keep_after = self.shared.keep_after();
        if keep_after <= self.truncated_to {
            return;
        }
        self.truncated_to = keep_after;
        match self.wal.truncate(keep_after) {
            Ok(0) => {}
            Ok(files) => tracing::debug!(files, keep_after = keep_after.0, "removed segments of the log"),
            Err(error) => tracing::warn!(%error, "could not remove a segment of the log"),
        }
    }
}

/// For writers whose commit has its place in the order already.
fn still_pending(error: &Error) -> Error {
    error
        .clone()
        .with_detail("The log cannot be written. The commit is kept in memory, and may still become durable.")
        .with_hint("Once the disk can be written again, look whether the rows are there.")
}

/// For writers that come while the disk fails.
fn not_taken(error: &Error) -> Error {
    error
        .clone()
        .with_detail("The log cannot be written. Nothing of this write was kept.")
        .with_hint("Writes are taken again by themselves once the disk can be written.")
}

impl Drop for LogWriter {
    /// Whoever still waits would wait for ever.
    fn drop(&mut self) {
        self.shared.fail(&log_ended());
        self.ended.send_replace(true);
    }
}
