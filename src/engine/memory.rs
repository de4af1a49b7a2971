//! One limit for the memory of everything: who may hold how much of it is decided here, many times a second.
//!
//! ```text
//! limit = fixed (the program itself) + tables (hot rows, keys) + queries + writes on their way + state of views
//!                                        |                        |           |                     `- the rest; what does
//!                                        |                        |           |                        not fit leaves for disk
//!                                        |                        `- a quarter at most
//!                                        `- past an eighth of it everything is flushed, past a quarter writers wait
//! ```
//!
//! The program's own share is what is resident and counted by nobody. Memory that was freed and not given back is part of
//! it, so the limit holds for what the machine sees, and not only for what we count.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::dataflow::state::Residence;
use crate::io::machine;
use crate::settings::Settings;
use crate::statement::Handles;

/// How often shares are decided anew.
const PERIOD: Duration = Duration::from_millis(20);
/// State keeps this share of the limit, whatever else asks for memory: one part in so many.
const STATE_SHARE_MIN: u64 = 8;
/// What is not counted may grow by this share within a period.
const SLACK_SHARE: u64 = 16;
/// Rows of a step are this many bytes for each, while it runs.
const STEP_ROW_BYTES: u64 = 2048;

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
        settings.table.flush_total_bytes = settings.table.flush_total_bytes.min(limit / 8);
        settings.table.flush_bytes = settings.table.flush_bytes.min(limit / 16);
        settings.query.memory_bytes = settings.query.memory_bytes.min(usize::try_from(limit / 4).unwrap_or(usize::MAX));
        let step_rows = usize::try_from(limit / STEP_ROW_BYTES).unwrap_or(usize::MAX);
        settings.dataflow.rows_per_step_max = settings.dataflow.rows_per_step_max.min(step_rows);
        settings.server.copy_bytes_max =
            settings.server.copy_bytes_max.min(usize::try_from(limit / 4).unwrap_or(usize::MAX));
    }
    settings
}

/// Watches until `stop` says so.
pub async fn govern(handles: Arc<Handles>, residence: Arc<Residence>, limit: u64, mut stop: watch::Receiver<bool>) {
    handles.sequencer.admission().set_held_bytes_max(limit / 4);
    loop {
        decide(&handles, &residence, limit);
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            () = handles.clock.sleep(PERIOD) => {}
        }
    }
    handles.sequencer.admission().set_open(true);
}

fn decide(handles: &Handles, residence: &Residence, limit: u64) {
    let (hot, keyed) = handles.tables.memory_bytes();
    // What waits for views is mostly what is hot in the tables.
    let changes = hot.max(handles.dataflows.queued_bytes());
    let queries = handles.query.memory_used_bytes() as u64;
    let held = handles.sequencer.admission().held_bytes();
    let counted = changes + keyed + queries + held + residence.bytes() as u64;
    let uncounted = machine::resident_bytes().unwrap_or_default().saturating_sub(counted);
    let others = changes + keyed + queries + held + uncounted + limit / SLACK_SHARE;
    let state = limit.saturating_sub(others).max(limit / STATE_SHARE_MIN);
    residence.set_bytes_max(usize::try_from(state).unwrap_or(usize::MAX));
    handles.sequencer.admission().set_open(hot < limit / 4);
}
