//! Start-up: the newest manifest, the log behind it, and what was found.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;

use super::rebuild::Behind;
use crate::commit::{JUMP_CONFIRMED_AFTER, Replayed, SequencerStart, is_believed, replay};
use crate::error::{Error, Result, SqlState};
use crate::io::{Clock, Disk, disk_error};
use crate::table::Tables;
use crate::tier::{Manifest, Tier, WriterId};
use crate::types::CommitNumber;
use crate::wal;

/// What a start found and did.
#[derive(Debug, Clone)]
pub struct Recovered {
    pub manifest: u64,
    pub head: CommitNumber,
    pub tables: usize,
    pub views: usize,
    pub commits_replayed: u64,
    pub bytes_replayed: u64,
    /// Commit of the checkpoint that views were read from.
    pub checkpoint: Option<CommitNumber>,
    /// Views that are made again from their tables, while clients can connect already.
    pub views_to_rebuild: usize,
    /// Checkpoints that could not be read.
    pub damaged_checkpoints: Vec<String>,
    /// What was cut from the log's end, in words.
    pub dropped_tail: Option<String>,
    /// Newer manifests that could not be read.
    pub damaged_manifests: Vec<String>,
    /// Files in no manifest, removed.
    pub orphans_removed: usize,
    /// The object store was another data directory's.
    pub taken_over: bool,
    /// What is odd about the wall clock, in words.
    pub clock_warning: Option<String>,
    /// What the limit of memory is too small for, in words.
    pub memory_warning: Option<String>,
    /// Until tables were readable.
    pub tables_took: Duration,
    /// Until views were in their place as well, and clients could connect.
    pub took: Duration,
}

/// Views that a start made again from their tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    pub views: usize,
    /// From the start on.
    pub took: Duration,
}

impl fmt::Display for Rebuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.views == 1 { "view was" } else { "views were" };
        write!(
            f,
            "{} {word} made again from their tables, {:.3} s after the start",
            self.views,
            self.took.as_secs_f64()
        )
    }
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "recovered: {} tables and {} views at commit {} (manifest {}, replayed {} commits, {} bytes of log) in {:.3} s",
            self.tables,
            self.views,
            self.head,
            self.manifest,
            self.commits_replayed,
            self.bytes_replayed,
            self.tables_took.as_secs_f64(),
        )?;
        match self.checkpoint {
            Some(commit) => write!(f, ", views from the checkpoint at commit {commit}")?,
            None => write!(f, ", views")?,
        }
        write!(f, " in {:.3} s", (self.took - self.tables_took).as_secs_f64())?;
        if self.views_to_rebuild > 0 {
            write!(f, ", {} of them to be made again from their tables", self.views_to_rebuild)?;
        }
        for damaged in &self.damaged_checkpoints {
            write!(f, "\nwarning: skipped a damaged checkpoint: {damaged}")?;
        }
        for damaged in &self.damaged_manifests {
            write!(f, "\nwarning: skipped a damaged manifest: {damaged}")?;
        }
        if self.taken_over {
            write!(
                f,
                "\nwarning: took over the object store from another data directory; what only that one's log held is not here"
            )?;
        }
        for warning in self.clock_warning.iter().chain(&self.memory_warning) {
            write!(f, "\nwarning: {warning}")?;
        }
        if let Some(dropped) = &self.dropped_tail {
            write!(f, "\nwarning: {dropped}")?;
        }
        Ok(())
    }
}

/// Brings the tables to the last durable commit. Commits later than `checkpoint` go to `behind`, for views, as far as it has
/// room; those that are not in the log any more are missing there, and [`Replayed::after`] says so.
pub async fn recover(
    disk: &Arc<dyn Disk>,
    clock: &dyn Clock,
    tier: &Tier,
    tables: &Tables,
    writer: &WriterId,
    checkpoint: Option<CommitNumber>,
    behind: &mut Behind,
) -> Result<(Recovered, SequencerStart, Replayed)> {
    let started = clock.monotonic();
    let loaded = tier.load().await?;
    let manifest = &loaded.manifest;
    let taken_over = other_directory(&**disk, manifest, writer)?;
    tables.restore(manifest).await?;
    let after = manifest.replay_after();
    let mut expected: Option<CommitNumber> = None;
    let replayed = replay(disk, after, checkpoint.unwrap_or(after), &mut |commit| {
        let expected = expected.replace(commit.number.next()).unwrap_or(commit.number.min(after.next()));
        if commit.number != expected {
            return Err(Error::corrupted(format!(
                "commits {expected} to {} are missing from the log",
                commit.number.0 - 1
            ))
            .with_detail(format!("The newest readable manifest covers commits up to {after}."))
            .with_hint("Restore the data directory and the object store from the same moment."));
        }
        tables.apply_commit(&commit)?;
        if checkpoint.is_some_and(|checkpoint| commit.number > checkpoint) {
            let _ = behind.push(commit);
        }
        Ok(())
    })?;
    // Only what can be started from is claimed: a claim is a sound manifest, and hides the damaged ones before it.
    tables.adopt(tier.claim(&loaded, writer).await?).await;
    // Nobody else can publish any more. Behind a damaged manifest the files that only it names are not orphans.
    let orphans_removed = if loaded.damaged.is_empty() { tier.remove_orphans(manifest).await? } else { 0 };
    let start = replayed.start(SequencerStart {
        next_commit: manifest.commit.next(),
        next_row_id: manifest.next_row_id,
        last_timestamp_us: manifest.last_timestamp_us,
    });
    let catalog = tables.durable().catalog;
    let recovered = Recovered {
        manifest: manifest.number,
        head: CommitNumber(start.next_commit.0 - 1),
        tables: catalog.tables().count(),
        views: catalog.materialized_views().count(),
        commits_replayed: replayed.records as u64,
        bytes_replayed: replayed.bytes as u64,
        checkpoint: None,
        views_to_rebuild: 0,
        damaged_checkpoints: Vec::new(),
        dropped_tail: replayed.dropped_tail.as_ref().map(ToString::to_string),
        damaged_manifests: loaded.damaged.iter().map(ToString::to_string).collect(),
        orphans_removed,
        taken_over,
        clock_warning: clock_warning(clock.now_us(), start.last_timestamp_us),
        memory_warning: None,
        tables_took: clock.monotonic() - started,
        took: clock.monotonic() - started,
    };
    Ok((recovered, start, replayed))
}

/// A wall clock that does not go with the last commit's time, which only grows.
fn clock_warning(wall_us: i64, last_us: i64) -> Option<String> {
    const AHEAD_US: i64 = 600_000_000;
    let moment = |us: i64| DateTime::from_timestamp_micros(us).map_or_else(|| us.to_string(), |time| time.to_rfc3339());
    if last_us.saturating_sub(wall_us) > AHEAD_US {
        return Some(format!(
            "the last commit is of {}, and the clock says {}; commits go on from the later time, and rows expire by the earlier one",
            moment(last_us),
            moment(wall_us)
        ));
    }
    (!is_believed(wall_us, last_us)).then(|| {
        format!(
            "the clock says {}, more than a year after the last commit, of {}; it is believed if it still says so in {} minutes",
            moment(wall_us),
            moment(last_us),
            JUMP_CONFIRMED_AFTER.as_secs() / 60
        )
    })
}

/// Whether the manifest is another data directory's. An empty directory takes it over, as after the loss of a machine; a
/// log that knows other commits must not go on behind it.
fn other_directory(disk: &dyn Disk, manifest: &Manifest, writer: &WriterId) -> Result<bool> {
    let theirs = &manifest.writer.directory;
    if theirs.is_empty() || *theirs == writer.directory {
        return Ok(false);
    }
    let log = disk.list(wal::DIRECTORY).map_err(|error| disk_error("list", wal::DIRECTORY, error))?;
    if log.is_empty() {
        return Ok(true);
    }
    Err(Error::new(SqlState::OBJECT_IN_USE, "the object store belongs to another data directory")
        .with_detail(format!(
            "Manifest {} was written from another one, which has taken over the object store. The log of this one goes on \
             behind an older manifest.",
            manifest.number
        ))
        .with_hint("Start the server over the other data directory, or give this one an object store of its own."))
}
