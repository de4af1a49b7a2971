//! Commits from the log, as they were published when they were live.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::combine::combine;
use super::record::{KIND_COMMIT, SequencedPart, decode_body, first_row_ids};
use super::sequencer::SequencerStart;
use super::write::Commit;
use crate::error::{Error, Result, SqlState};
use crate::io::Disk;
use crate::types::{CommitNumber, RowId};
use crate::wal::{self, DroppedTail, WalRecord, WalTail};

/// What a replay found. Of commits up to `after` it knows nothing but their number.
#[derive(Debug)]
pub struct Replayed {
    /// Every commit later than this one was handed out.
    pub after: CommitNumber,
    /// The last commit of the log; `after` if there is none later.
    pub last_commit: CommitNumber,
    /// Of the last commit handed out.
    pub last_timestamp_us: Option<i64>,
    /// The highest row id given in the commits handed out.
    pub max_row_id: Option<RowId>,
    /// Commits handed out, and the bytes of their records.
    pub records: u64,
    pub bytes: u64,
    /// What a crash left of an unacknowledged write, to be told to the user.
    pub dropped_tail: Option<DroppedTail>,
    /// For [`Sequencer::new`](super::Sequencer::new).
    pub tail: WalTail,
}

impl Replayed {
    /// Where the sequencer goes on; `manifest` is what the manifest knows of commits that the log forgot.
    pub fn start(&self, manifest: SequencerStart) -> SequencerStart {
        SequencerStart {
            next_commit: manifest.next_commit.max(self.last_commit.next()),
            next_row_id: manifest.next_row_id.max(self.max_row_id.map_or(0, |id| id + 1)),
            last_timestamp_us: manifest.last_timestamp_us.max(self.last_timestamp_us.unwrap_or(i64::MIN)),
        }
    }
}

/// Hands every durable commit later than `after` to `each`, in order; where the log still has them, also those between
/// `wanted_after` and `after`.
/// Errors: XX001 for a damaged log, 0A000 for one of a later version, and those of `each`.
pub fn replay(
    disk: &Arc<dyn Disk>,
    after: CommitNumber,
    wanted_after: CommitNumber,
    each: &mut dyn FnMut(Arc<Commit>) -> Result<()>,
) -> Result<Replayed> {
    let mut last_timestamp_us = None;
    let mut max_row_id: Option<RowId> = None;
    let replayed = wal::replay(&**disk, after, wanted_after, &mut |record| {
        let (timestamp_us, parts) = decode(&record)?;
        last_timestamp_us = Some(timestamp_us);
        max_row_id = max_row_id.max(parts.iter().filter_map(last_row_id).max());
        each(Arc::new(combine(record.commit, timestamp_us, parts)?))
    })?;
    Ok(Replayed {
        after: replayed.after,
        last_commit: replayed.last_commit.map_or(after, |last| last.max(after)),
        last_timestamp_us,
        max_row_id,
        records: replayed.records,
        bytes: replayed.bytes,
        dropped_tail: replayed.dropped_tail,
        tail: replayed.tail,
    })
}

/// Hands durable commits later than `after` to `each`, in order, until it has enough, after a [`replay`] of the same log.
pub fn reread(
    disk: &Arc<dyn Disk>,
    after: CommitNumber,
    each: &mut dyn FnMut(Arc<Commit>) -> ControlFlow<()>,
) -> Result<()> {
    wal::reread(&**disk, after, &mut |record| Ok(each(Arc::new(read_record(&record)?))))
}

/// A record as the commit that it is, for whoever reads a log without replaying it. Errors: XX001, 0A000.
pub fn read_record(record: &WalRecord<'_>) -> Result<Commit> {
    let (timestamp_us, parts) = decode(record)?;
    combine(record.commit, timestamp_us, parts)
}

fn decode(record: &WalRecord<'_>) -> Result<(i64, Vec<SequencedPart>)> {
    if record.kind != KIND_COMMIT {
        return Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("a record of kind {} in the log", record.kind),
        )
        .with_detail(format!("It stands in \"{}\" at offset {}.", record.path, record.offset))
        .with_hint("Start the version of Tidemark that wrote it, or a later one."));
    }
    decode_body(record.payload)
        .map_err(|error| error.with_context(format!("\"{}\", offset {}", record.path, record.offset)))
}

/// `None` for a writer that inserted nothing.
fn last_row_id(part: &SequencedPart) -> Option<RowId> {
    let (_, next) = first_row_ids(&part.write, part.first_row_id);
    (next > part.first_row_id).then(|| next - 1)
}
