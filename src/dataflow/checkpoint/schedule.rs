//! When checkpoints are made, and what of the log is kept for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::writer::{Checkpoints, Written};
use crate::commit::Sequencer;
use crate::dataflow::Dataflows;
use crate::error::{Error, Result, SqlState};
use crate::io::Clock;
use crate::settings::CheckpointSettings;

/// How often it is looked whether one is due.
const POLL: Duration = Duration::from_millis(250);
/// Longest wait after checkpoints that failed.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(60);

/// Makes checkpoints of running views.
pub struct Checkpointer {
    settings: CheckpointSettings,
    checkpoints: Checkpoints,
    dataflows: Dataflows,
    sequencer: Arc<Sequencer>,
    clock: Arc<dyn Clock>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Checkpointer {
    /// From now on the log keeps what the checkpoints need.
    pub fn new(
        settings: CheckpointSettings,
        checkpoints: Checkpoints,
        dataflows: Dataflows,
        sequencer: Arc<Sequencer>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Checkpointer> {
        sequencer.hold_wal(checkpoints.replay_after());
        let turn = tokio::sync::Mutex::default();
        Arc::new(Checkpointer { settings, checkpoints, dataflows, sequencer, clock, turn })
    }

    /// Makes one now. Errors: 53100, 58030; 57P01 when the worker has ended.
    pub async fn checkpoint(&self) -> Result<Written> {
        let _turn = self.turn.lock().await;
        if self.checkpoints.replay_after().is_none() {
            // Before the image is taken: a flush must not truncate what comes behind it.
            self.sequencer.hold_wal(Some(self.sequencer.durable_head()));
        }
        let image = self.dataflows.push_checkpoint().await.map_err(|_| worker_ended())?;
        let written = self.checkpoints.write(image);
        self.sequencer.hold_wal(self.checkpoints.replay_after());
        written
    }

    /// Makes one whenever it is due, until `stop` says so or its sender is gone.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let (mut last_at, mut last_bytes) = (self.clock.monotonic(), self.sequencer.counters().bytes);
        let mut last_commit = self.checkpoints.newest();
        let mut retry_wait = Duration::from_secs(1);
        let mut wait = POLL;
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.clock.sleep(wait) => {}
            }
            wait = POLL;
            let bytes = self.sequencer.counters().bytes - last_bytes;
            let age = self.clock.monotonic().saturating_sub(last_at);
            let is_due = age >= Duration::from_millis(self.settings.interval_ms) || bytes >= self.settings.log_bytes;
            if !is_due || Some(self.sequencer.durable_head()) == last_commit {
                continue;
            }
            match self.checkpoint().await {
                Ok(written) => {
                    tracing::debug!(
                        number = written.number,
                        commit = written.commit.0,
                        bytes = written.bytes,
                        "checkpoint"
                    );
                    last_commit = Some(written.commit);
                    (last_at, last_bytes) = (self.clock.monotonic(), self.sequencer.counters().bytes);
                    retry_wait = Duration::from_secs(1);
                }
                Err(error) if error.state() == SqlState::ADMIN_SHUTDOWN => return,
                Err(error) => {
                    tracing::warn!(%error, "a checkpoint failed, trying again");
                    self.give_up_the_log(bytes);
                    wait = retry_wait;
                    retry_wait = (retry_wait * 2).min(RETRY_WAIT_MAX);
                }
            }
        }
    }

    /// A log that grows without end is worse than a slow start.
    fn give_up_the_log(&self, bytes: u64) {
        if bytes > self.settings.log_bytes_max && self.checkpoints.replay_after().is_some() {
            tracing::warn!(bytes, "the log is no longer kept for checkpoints; the next start makes views again");
            if let Err(error) = self.checkpoints.forget() {
                tracing::warn!(%error, "could not remove checkpoints");
            }
            self.sequencer.hold_wal(None);
        }
    }
}

fn worker_ended() -> Error {
    Error::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down")
}
