//! Group commit: gives writes their place in the one order of commits.
//!
//! A writer joins the open group under the sequencing lock and goes on at once; [`LogWriter`] writes group after group,
//! and a writer that wants to know waits for its [`Durable`]. While one group is being synced the next one fills.
//!
//! Does not know: SQL, views, sessions, tables' contents.
//!
//! Invariants:
//!   * durable head < number of the open group; both only grow
//!   * a commit is published once, in order, never before it is durable, and acknowledged after that
//!   * the sequencing lock and the publish lock are never held together: neither `apply`, `publish` nor what runs
//!     `at_head` may call the sequencer

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use super::admission::Admission;
use super::counters::{CommitCounters, Counting};
use super::group::{Group, Groups};
use super::log_writer::LogWriter;
use super::record::{encode_write, first_row_ids};
use super::write::{Commit, SequencedWrite, Write};
use crate::error::{Error, Result, SqlState};
use crate::io::{Clock, Disk};
use crate::settings::WalSettings;
use crate::types::{CommitNumber, RowId};
use crate::wal::{WalTail, WalWriter};

/// Where the order of commits goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequencerStart {
    pub next_commit: CommitNumber,
    pub next_row_id: RowId,
    pub last_timestamp_us: i64,
}

impl Default for SequencerStart {
    /// An empty database's.
    fn default() -> Self {
        SequencerStart { next_commit: CommitNumber(1), next_row_id: 1, last_timestamp_us: 0 }
    }
}

/// Who receives durable commits, in order. Called under the publish lock by the thread that syncs: it must be quick, and
/// must not call the sequencer.
pub trait Publish: Send + Sync {
    fn publish(&self, commit: &Arc<Commit>);
}

/// The order of commits. The disk's side is [`LogWriter`].
pub struct Sequencer {
    admission: Admission,
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
}

impl Sequencer {
    /// `tail` is what replay returned. Run the writer on a thread of its own.
    pub fn new(
        settings: WalSettings,
        clock: Arc<dyn Clock>,
        start: SequencerStart,
        publisher: Arc<dyn Publish>,
        disk: Arc<dyn Disk>,
        tail: WalTail,
    ) -> (Arc<Sequencer>, LogWriter) {
        let (ended_sender, ended) = watch::channel(false);
        let wal = WalWriter::new(disk, settings.segment_bytes_max, tail);
        let durable_head = start.next_commit.0.saturating_sub(1);
        let shared = Arc::new(Shared {
            group_bytes_max: settings.group_bytes_max,
            groups: Mutex::new(Groups::new(start.next_commit, start.next_row_id)),
            work: Notify::new(),
            publish_lock: Mutex::new(()),
            publisher,
            durable_head: AtomicU64::new(durable_head),
            keep_after: AtomicU64::new(0),
            held_after: AtomicU64::new(u64::MAX),
            counting: Counting::default(),
        });
        let patience = Duration::from_millis(settings.write_timeout_ms);
        let writer = LogWriter::new(shared.clone(), wal, clock, start.last_timestamp_us, patience, ended_sender);
        (Arc::new(Sequencer { admission: Admission::default(), shared, ended }), writer)
    }

    /// Takes a place for `write`: commit number and row ids. `apply` runs under the sequencing lock, in the order of
    /// commits, and makes the write part of sequenced state; if it refuses, nothing happened. Returns at once; the
    /// write is durable when the returned future says so, and goes on to become so if that is dropped.
    ///
    /// Errors: those of `apply`; 57P01 when shutting down; the disk's error once the log has failed.
    pub fn sequence<R>(
        &self,
        write: Write,
        apply: impl FnOnce(&SequencedWrite<'_>) -> Result<R>,
    ) -> Result<(R, Durable)> {
        let encoded = encode_write(&write)?;
        let (waiter, outcome) = oneshot::channel();
        let mut groups = self.shared.groups.lock();
        let commit = groups.admit(&write, encoded.len() as u64, self.shared.group_bytes_max)?;
        let first_row_id = groups.next_row_id;
        let (first_row_ids, next_row_id) = first_row_ids(&write, first_row_id);
        let result = apply(&SequencedWrite { commit, write: &write, first_row_ids })?;
        groups.next_row_id = next_row_id;
        groups.push(write, first_row_id, encoded, waiter);
        drop(groups);
        self.shared.work.notify_one();
        Ok((result, Durable { commit, outcome }))
    }

    /// The gate that writers pass before they sequence.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The last commit that is durable and published.
    pub fn durable_head(&self) -> CommitNumber {
        self.shared.durable_head()
    }

    /// Runs `f` under the publish lock with the durable head: what it captures is exactly the state at that commit.
    pub fn at_head<R>(&self, f: impl FnOnce(CommitNumber) -> R) -> R {
        let _publishing = self.shared.publish_lock.lock();
        f(self.shared.durable_head())
    }

    /// The row id that the next insert gets: what a manifest must remember, for the WAL may forget the ids given so far.
    pub fn next_row_id(&self) -> RowId {
        self.shared.groups.lock().next_row_id
    }

    /// No write is taken from here on; those that wait still become durable.
    pub fn refuse(&self, error: &Error) {
        self.shared.groups.lock().refuse(error.clone());
        self.shared.work.notify_one();
    }

    /// Segments that hold no commit later than `keep_after` may go; the writer removes them when it gets to it.
    pub fn truncate_wal(&self, keep_after: CommitNumber) {
        self.shared.keep_after.fetch_max(keep_after.0, Ordering::AcqRel);
        self.shared.work.notify_one();
    }

    /// Keeps the commits later than `after`, whatever is truncated: a checkpoint needs them. `None` keeps none.
    pub fn hold_wal(&self, after: Option<CommitNumber>) {
        self.shared.held_after.store(after.map_or(u64::MAX, |after| after.0), Ordering::Release);
        self.shared.work.notify_one();
    }

    /// Takes no more writers, makes the groups it has durable, and returns when the writer has ended.
    pub async fn shutdown(&self) {
        self.shared.groups.lock().refuse(Error::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down"));
        self.shared.work.notify_one();
        let mut ended = self.ended.clone();
        // An error means that the writer is gone, which is what was waited for.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    pub fn counters(&self) -> CommitCounters {
        self.shared.counting.read()
    }
}

/// Waits for a write to be durable and published; gives its commit number. An error means that nobody knows: the commit
/// may be found after a restart.
#[derive(Debug)]
pub struct Durable {
    commit: CommitNumber,
    outcome: oneshot::Receiver<Result<CommitNumber>>,
}

impl Durable {
    /// The commit that the write is part of, durable or not.
    pub fn commit(&self) -> CommitNumber {
        self.commit
    }
}

impl Future for Durable {
    type Output = Result<CommitNumber>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(context).map(|outcome| outcome.unwrap_or_else(|_| Err(log_ended())))
    }
}

/// What a writer gets whose commit was under way when the log's writer went.
pub(super) fn log_ended() -> Error {
    Error::new(SqlState::ADMIN_SHUTDOWN, "the server stopped before the commit was known to be durable")
        .with_hint("After the restart, look whether the rows are there.")
}

/// What the sequencer and its writer share.
pub(super) struct Shared {
    group_bytes_max: u64,
    /// The sequencing lock.
    groups: Mutex<Groups>,
    /// Rung for a new write, a truncation, a shutdown.
    pub work: Notify,
    publish_lock: Mutex<()>,
    publisher: Arc<dyn Publish>,
    durable_head: AtomicU64,
    keep_after: AtomicU64,
    held_after: AtomicU64,
    pub counting: Counting,
}

impl Shared {
    /// The next group to write, and whether one may still come.
    pub fn take_group(&self) -> (Option<Group>, bool) {
        let mut groups = self.groups.lock();
        (groups.take(), !groups.is_refusing())
    }

    pub fn publish(&self, commit: &Arc<Commit>) {
        let _publishing = self.publish_lock.lock();
        self.publisher.publish(commit);
        self.durable_head.store(commit.number.0, Ordering::Release);
    }

    pub fn durable_head(&self) -> CommitNumber {
        CommitNumber(self.durable_head.load(Ordering::Acquire))
    }

    /// What tables no longer need and nobody holds.
    pub fn keep_after(&self) -> CommitNumber {
        let (keep_after, held_after) =
            (self.keep_after.load(Ordering::Acquire), self.held_after.load(Ordering::Acquire));
        CommitNumber(keep_after.min(held_after))
    }

    pub fn is_refusing(&self) -> bool {
        self.groups.lock().is_refusing()
    }

    /// The disk goes on failing. Whoever waits gets `waiting`, and may find the commit there later; whoever comes gets
    /// `coming`, and nothing of the write is kept.
    pub fn stall(&self, waiting: &Error, coming: Error) {
        let waiters = {
            let mut groups = self.groups.lock();
            groups.stall(coming);
            groups.take_waiters()
        };
        for waiter in waiters {
            // Nobody may be listening any more.
            let _ = waiter.send(Err(waiting.clone()));
        }
    }

    /// The disk works again.
    pub fn resume(&self) {
        self.groups.lock().resume();
    }

    /// The log is over: everyone who waits, and everyone who comes, gets `error`.
    pub fn fail(&self, error: &Error) {
        let mut groups = self.groups.lock();
        groups.refuse(error.clone());
        while let Some(group) = groups.take() {
            for waiter in group.waiters {
                // Nobody may be listening any more.
                let _ = waiter.send(Err(error.clone()));
            }
        }
    }
}
