//! One limit for the memory of everything: who may hold how much of it is decided here, many times a second.
//!
//! ```text
//! limit = fixed (the program itself) + tables (hot rows, keys) + queries + writes on their way + state of views
//!                                        |                        |           |                     `- the rest; what does
//!                                        |                        |           |                        not fit leaves for disk
//!                                        |                        `- a quarter at most
//!                                        `- past an eighth of it everything is flushed, past a quarter writers wait;
//!                                           rows by key that are in files leave past an eighth
//! ```
//!
//! The program's own share is what is resident and counted by nobody: the program, what a step, a flush or a checkpoint
//! works with, and memory that was freed and not given back. So the limit holds for what the machine sees, and not only for
//! what we count. Near the limit what was freed is given back at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::io::machine;
use crate::settings::Settings;
use crate::statement::Handles;

/// How often shares are decided anew.
const PERIOD: Duration = Duration::from_millis(20);
/// State keeps this share of the limit, whatever else asks for memory: one part in so many.
const STATE_SHARE_MIN: u64 = 8;
/// Live rows of PRIMARY KEY tables and what finds them in files hold one part in so many at most; the rest is read from files.
const KEYED_SHARE: u64 = 8;
/// Flushed rows that slow readers of tables hold are one part in so many at most, where memory is short.
const LEFT_SHARE: u64 = 8;
/// What is not counted may grow by so much within a period: a load is there several times while it is committed, and a flush, a
/// step and a checkpoint hold a few pieces each. An eighth of the limit, this much at least, and never more than a quarter.
const RESERVE_BYTES_MIN: u64 = 64 << 20;
/// Rows of a step are this many bytes for each, while it runs.
const STEP_ROW_BYTES: u64 = 2048;

/// A client that took nothing for so long may be ended ...
const WAITED_MIN: Duration = Duration::from_secs(1);
/// ... and where the limit itself is passed, for so long.
const WAITED_MIN_BEYOND: Duration = Duration::from_millis(50);
/// Between two that are ended.
const ENDED_PAUSE: Duration = Duration::from_millis(50);

/// Gives what was freed back to the machine; the program's allocator knows how.
pub type GiveBack = fn();

/// Below this the program itself and what it works with are most of the limit, and may go beyond it.
const LIMIT_BYTES_SENSIBLE: u64 = 256 << 20;

/// Says so where the limit is less than the server can keep to.
pub fn warning(limit: Option<u64>) -> Option<String> {
    let limit = limit.filter(|limit| *limit < LIMIT_BYTES_SENSIBLE)?;
    Some(format!(
        "memory.limit_bytes is {} MiB; with less than {} MiB the server may hold more than its limit",
        limit >> 20,
        LIMIT_BYTES_SENSIBLE >> 20
    ))
}

/// The limit in bytes. `None` where there is none: nobody set one and the machine does not tell what it has.
pub fn limit_bytes(settings: &Settings) -> Option<u64> {
    match settings.memory.limit_bytes {
        0 => machine::memory_bytes().map(|bytes| bytes / 4 * 3),
        bytes => Some(bytes),
    }
}

/// The settings of those who share the limit, none of them above its share.
pub fn shared(settings: &Settings, limit: Option<u64>) -> Settings {
    let mut settings = settings.clone();
    if let Some(limit) = limit {
        let share = |parts: u64| usize::try_from(limit / parts).unwrap_or(usize::MAX);
        settings.table.flush_total_bytes = settings.table.flush_total_bytes.min(limit / 8);
        settings.table.flush_bytes = settings.table.flush_bytes.min(limit / 16);
        settings.table.piece_bytes_max = settings.table.piece_bytes_max.min(share(64));
        settings.table.compact_bytes_max = settings.table.compact_bytes_max.min(limit / 16);
        settings.table.keyed_restore_bytes = settings.table.keyed_restore_bytes.min(limit / 16);
        settings.query.memory_bytes = settings.query.memory_bytes.min(share(4));
        settings.dataflow.snapshot_bytes_max = settings.dataflow.snapshot_bytes_max.min(limit);
        settings.dataflow.rows_per_step_max = settings.dataflow.rows_per_step_max.min(share(STEP_ROW_BYTES));
        settings.server.copy_bytes_max = settings.server.copy_bytes_max.min(share(8));
        // A start reads a segment as a whole, and what is behind the checkpoint in pieces.
        settings.wal.segment_bytes_max = settings.wal.segment_bytes_max.min(limit / 8);
        settings.checkpoint.log_bytes = settings.checkpoint.log_bytes.min(limit / 8);
    }
    settings
}

/// What the process may grow by without being asked.
fn reserve_bytes(limit: u64) -> u64 {
    (limit / 8).max(RESERVE_BYTES_MIN.min(limit / 4))
}

/// Who holds what at one moment, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Holdings {
    /// Of the process, as the machine sees it.
    resident: u64,
    /// Rows that are not flushed yet, or wait for the views.
    changes: u64,
    /// Live rows of PRIMARY KEY tables, the marks of commits that can be read, and flushed rows that readers hold.
    keyed: u64,
    queries: u64,
    /// Writes on their way to their commit.
    writes: u64,
    /// Of views, in memory.
    state: u64,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shares {
    /// What state may hold in memory.
    state: u64,
    /// Whether writers are let in.
    admits: bool,
    /// What was freed should go back at once.
    gives_back: bool,
    /// A client that does not read should be ended.
    ends_clients: bool,
}

impl Shares {
    fn of(holdings: &Holdings, limit: u64) -> Shares {
        let Holdings { resident, changes, keyed, queries, writes, state } = *holdings;
        let counted_beside_state = changes + keyed + queries + writes;
        let uncounted = resident.saturating_sub(counted_beside_state + state);
        let reserve = reserve_bytes(limit);
        let others = counted_beside_state + uncounted + reserve;
        Shares {
            state: limit.saturating_sub(others).max(limit / STATE_SHARE_MIN),
            admits: changes < limit / 4,
            gives_back: resident > limit - reserve,
            // State alone fills memory up to the reserve.
            ends_clients: resident > limit - reserve / 2,
        }
    }
}

/// Who decides.
pub struct Governor {
    handles: Arc<Handles>,
    limit: u64,
    give_back: GiveBack,
    /// When a client was ended last.
    ended_at: Option<Duration>,
}

impl Governor {
    /// Decides for the first time: a start steps views before anyone can connect.
    pub fn new(handles: Arc<Handles>, limit: u64, give_back: GiveBack) -> Governor {
        handles.sequencer.admission().set_held_bytes_max(limit / 8);
        let mut governor = Governor { handles, limit, give_back, ended_at: None };
        governor.decide();
        governor
    }

    /// Watches until `stop` says so.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.handles.clock.sleep(PERIOD) => {}
            }
            self.decide();
        }
        self.handles.sequencer.admission().set_open(true);
    }

    fn decide(&mut self) {
        let mut holdings = self.holdings();
        if Shares::of(&holdings, self.limit).gives_back {
            (self.give_back)();
            self.handles.tables.keep_left_within(self.limit / LEFT_SHARE);
            holdings = self.holdings();
        }
        let shares = Shares::of(&holdings, self.limit);
        if shares.ends_clients {
            self.end_client(if holdings.resident > self.limit { WAITED_MIN_BEYOND } else { WAITED_MIN });
        }
        self.handles.tables.keep_keyed_within(usize::try_from(self.limit / KEYED_SHARE).unwrap_or(usize::MAX));
        let state = match self.handles.settings.dataflow.state_bytes_max {
            0 => shares.state,
            bytes_max => shares.state.min(bytes_max),
        };
        self.handles.residence.set_bytes_max(usize::try_from(state).unwrap_or(usize::MAX));
        self.handles.sequencer.admission().set_open(shares.admits);
    }

    /// One at a time: what it held is gone a moment later.
    fn end_client(&mut self, waited: Duration) {
        let now = self.handles.clock.monotonic();
        if self.ended_at.is_some_and(|ended_at| now.saturating_sub(ended_at) < ENDED_PAUSE) {
            return;
        }
        if self.handles.slow.end_first(waited) {
            self.ended_at = Some(now);
            tracing::warn!("memory is short: the statement whose client has not read for the longest was ended");
        }
    }

    fn holdings(&self) -> Holdings {
        let Handles { tables, dataflows, query, sequencer, residence, .. } = &*self.handles;
        let (hot, keyed) = tables.memory_bytes();
        Holdings {
            resident: machine::resident_bytes().unwrap_or_default(),
            // What waits for views is mostly what is hot in the tables.
            changes: hot.max(dataflows.queued_bytes()),
            keyed: keyed + tables.history_bytes() + tables.left_bytes(),
            queries: query.memory_used_bytes() as u64,
            writes: sequencer.admission().held_bytes(),
            state: residence.bytes() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMIT: u64 = 1024 * MIB;

    fn shares(holdings: Holdings) -> Shares {
        Shares::of(&holdings, LIMIT)
    }

    #[test]
    fn state_has_what_the_others_leave() {
        let fixed = Holdings { resident: 100 * MIB, ..Holdings::default() };
        assert_eq!(
            shares(fixed),
            Shares { state: (1024 - 100 - 128) * MIB, admits: true, gives_back: false, ends_clients: false }
        );
        // State itself takes nothing from its own share.
        let with_state = Holdings { resident: 500 * MIB, state: 400 * MIB, ..fixed };
        assert_eq!(shares(with_state).state, shares(fixed).state);
        for take in [
            |holdings: &mut Holdings, bytes| holdings.keyed = bytes,
            |holdings: &mut Holdings, bytes| holdings.queries = bytes,
            |holdings: &mut Holdings, bytes| holdings.writes = bytes,
            |holdings: &mut Holdings, bytes| holdings.changes = bytes,
        ] {
            let mut taken = Holdings { resident: 300 * MIB, ..Holdings::default() };
            take(&mut taken, 200 * MIB);
            assert_eq!(shares(taken).state, shares(fixed).state - 200 * MIB, "{taken:?}");
        }
    }

    #[test]
    fn state_keeps_an_eighth_whatever_the_others_hold() {
        let crowded = Holdings { resident: 2000 * MIB, queries: 256 * MIB, ..Holdings::default() };
        assert_eq!(shares(crowded).state, LIMIT / STATE_SHARE_MIN);
        assert_eq!(Shares::of(&crowded, 0), Shares { state: 0, admits: false, gives_back: true, ends_clients: true });
    }

    #[test]
    fn writers_wait_from_a_quarter_on() {
        let with = |changes| shares(Holdings { resident: changes, changes, ..Holdings::default() }).admits;
        assert!(with(LIMIT / 4 - 1));
        assert!(!with(LIMIT / 4));
    }

    /// What is worked with does not shrink with the limit.
    #[test]
    fn a_small_limit_has_a_larger_reserve() {
        let reserves = [1024, 512, 320, 256, 128].map(|mib| reserve_bytes(mib * MIB) / MIB);
        assert_eq!(reserves, [128, 64, 64, 64, 32]);
    }

    #[test]
    fn a_limit_that_is_too_small_is_said() {
        assert_eq!(warning(None), None);
        assert_eq!(warning(Some(256 * MIB)), None);
        assert!(warning(Some(255 * MIB)).is_some_and(|warning| warning.contains("is 255 MiB")));
    }

    #[test]
    fn what_was_freed_goes_back_near_the_limit_alone() {
        let with = |resident| shares(Holdings { resident, ..Holdings::default() }).gives_back;
        assert!(!with(896 * MIB));
        assert!(with(896 * MIB + 1));
    }

    #[test]
    fn clients_are_ended_once_half_of_the_reserve_is_gone() {
        let with = |resident| shares(Holdings { resident, ..Holdings::default() }).ends_clients;
        assert!(!with(960 * MIB));
        assert!(with(960 * MIB + 1));
    }

    #[test]
    fn nobody_is_set_above_its_share() {
        let limited = shared(&Settings::default(), Some(64 * MIB));
        assert_eq!(limited.table.flush_total_bytes, 8 * MIB);
        assert_eq!(limited.table.piece_bytes_max as u64, MIB);
        assert_eq!(limited.table.compact_bytes_max, 4 * MIB);
        assert_eq!(limited.table.keyed_restore_bytes, 4 * MIB);
        assert_eq!(limited.query.memory_bytes as u64, 16 * MIB);
        assert_eq!(limited.server.copy_bytes_max as u64, 8 * MIB);
        assert_eq!((limited.wal.segment_bytes_max, limited.checkpoint.log_bytes), (8 * MIB, 8 * MIB));
        assert_eq!(limited.dataflow.snapshot_bytes_max, 64 * MIB);
        assert_eq!(limited.dataflow.rows_per_step_max as u64, 64 * MIB / STEP_ROW_BYTES);
        assert_eq!(shared(&Settings::default(), None), Settings::default());
    }
}
