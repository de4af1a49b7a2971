//! Changelogs: what tables and views changed, commit by commit, kept so that a subscription can go on where another one
//! ended.
//!
//! ```text
//! changes/16390-...0042.log    changes of commits after 42 | 43 | 47 | covered to 60
//! changes/16390-...0060.log    changes of commits after 60 | 61 | ...            continues the one before
//! ```
//!
//! A record goes to the file when its step ends, and is synced with the next flush of the tables, before the log may
//! forget the commits: what a crash takes of a changelog is made again from the log, by stepping the views from where the
//! changelog ends. For that every step of a worker that keeps changes covers one commit.
//!
//! Does not know: SQL, readers, how views make their changes, time but that of commits.
//!
//! Invariants:
//!   * a changelog has every change after its oldest segment's base, up to its end, each once, in order
//!   * where that cannot be kept (a disk that fails, a view that stops, a start that cannot go back far enough), the
//!     changelog begins anew: a reader is refused, and never gets a part

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;

use self::segment::{DIRECTORY, RecordMeta, SegmentFile, SegmentHeader, SegmentName, encode_change, read_segment};
use super::subscription::{Change, normal_form};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result, SqlState};
use crate::io::{AppendFile, Disk, disk_error};
use crate::settings::DataflowSettings;
use crate::types::{CommitNumber, RelationId};

mod segment;
pub mod survey;

/// A segment is closed once it holds this much, or an eighth of what may be kept.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// Segments in the time that changes are kept for: what is kept longer than asked for is at most one of them.
const SEGMENTS_IN_RETENTION: u64 = 8;

/// The changelogs of a worker.
pub struct Changelogs {
    /// `None`: changes are not kept at all.
    disk: Option<Arc<dyn Disk>>,
    /// Of one relation.
    bytes_max: u64,
    logs: BTreeMap<RelationId, Changelog>,
    /// Whether anything is kept, for those who would wait for a sync.
    keeps: Arc<AtomicBool>,
}

struct Changelog {
    retention_us: u64,
    /// A table's columns without the row id behind them; `None`: all that come.
    columns: Option<usize>,
    /// Oldest first; the last one is written to if `writer` is there.
    segments: VecDeque<Segment>,
    writer: Option<Box<dyn AppendFile>>,
    /// The file is new, and its name not durable.
    unnamed: bool,
    unsynced: bool,
    /// The last commit that the files speak of.
    recorded: CommitNumber,
    /// The last commit that is taken in; nothing happened between `recorded` and it.
    covered: CommitNumber,
    /// Its relation is stepped.
    is_live: bool,
}

struct Segment {
    file: Arc<SegmentFile>,
    /// Changes after this commit are in it and those behind it.
    base: CommitNumber,
    bytes: u64,
    /// Time of the commit that it was opened for.
    opened_us: i64,
}

/// Changes to read, oldest first.
#[derive(Debug, Default)]
pub struct History {
    pub parts: VecDeque<HistoryPart>,
}

/// A file of a changelog, as far as it was written; stays readable for as long as this lives.
#[derive(Debug, Clone)]
pub struct HistoryPart {
    file: Arc<SegmentFile>,
    bytes: u64,
    after: CommitNumber,
}

impl HistoryPart {
    /// Reads the file: its changes after the commit asked for. Blocks.
    pub fn read(&self, schema: &SchemaRef) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        let read = read_segment(&self.file, Some(self.bytes), &mut |record, change| {
            if record.commit > self.after
                && let Some(delta) = change()?
            {
                let rows = normal_form(schema, &[delta])?;
                if !rows.is_empty() {
                    changes.push(Change { commit: record.commit, rows });
                }
            }
            Ok(())
        })?;
        match read.is_whole {
            true => Ok(changes),
            false => Err(Error::corrupted(format!("the changelog \"{}\" is damaged", self.file.path()))
                .with_hint("Subscribe without AS OF COMMIT: the snapshot comes first.")),
        }
    }
}

impl Changelogs {
    /// Keeps nothing.
    pub fn none() -> Self {
        Changelogs { disk: None, bytes_max: 0, logs: BTreeMap::new(), keeps: Arc::default() }
    }

    /// Finds what a former process kept of these relations, up to `head`; what it kept of others goes.
    pub fn open(
        disk: Arc<dyn Disk>,
        settings: &DataflowSettings,
        kept: &BTreeSet<RelationId>,
        head: CommitNumber,
    ) -> Result<Self> {
        let mut logs: BTreeMap<RelationId, Changelog> = BTreeMap::new();
        let listed = disk.list(DIRECTORY).map_err(|error| disk_error("list", DIRECTORY, error))?;
        // By relation, then by base.
        let names: BTreeSet<SegmentName> = listed.iter().filter_map(|name| SegmentName::parse(name)).collect();
        for name in names {
            let file = Arc::new(SegmentFile::new(disk.clone(), name));
            if !kept.contains(&name.relation) {
                file.doom();
                continue;
            }
            let mut opened_us = None;
            let read = read_segment(&file, None, &mut |record, _| {
                opened_us.get_or_insert(record.timestamp_us);
                Ok(())
            })?;
            let log = logs.entry(name.relation).or_insert_with(Changelog::new);
            let Some(header) = read.header else {
                // The one that was begun when the machine died.
                file.doom();
                continue;
            };
            if read.end > head {
                // Of commits that a restored log does not have.
                file.doom();
                log.begin_anew(CommitNumber(0));
                continue;
            }
            if header.continues.is_none_or(|before| log.segments.back().is_none_or(|last| last.base != before))
                || log.recorded != name.base
            {
                log.begin_anew(name.base);
            }
            log.recorded = read.end;
            log.covered = read.end;
            let opened_us = opened_us.unwrap_or(i64::MAX);
            log.segments.push_back(Segment { file, base: name.base, bytes: read.bytes, opened_us });
        }
        for segment in logs.values().filter_map(|log| log.segments.back()) {
            // What a former process did not sync may still go, and what continues it must not stay alone.
            let path = segment.file.path();
            disk.sync_file(&path).map_err(|error| disk_error("sync", &path, error))?;
            segment.file.sync_name().map_err(|error| disk_error("sync", DIRECTORY, error))?;
        }
        Ok(Changelogs { disk: Some(disk), bytes_max: settings.changelog_bytes_max, logs, keeps: Arc::default() })
    }

    /// Where views must be stepped from so that no changelog has a gap. Only what ends at `floor` or later can be
    /// continued; `None`: there is no such changelog.
    pub fn resumes_from(&self, floor: CommitNumber) -> Option<CommitNumber> {
        let ends = self.logs.values().filter(|log| !log.segments.is_empty()).map(|log| log.recorded);
        ends.filter(|end| *end >= floor).min()
    }

    /// Shared with those who ask whether anything is kept.
    pub(super) fn keeps(&self) -> Arc<AtomicBool> {
        self.keeps.clone()
    }

    pub(super) fn told_to(self, keeps: Arc<AtomicBool>) -> Self {
        keeps.store(self.is_keeping(), Ordering::Release);
        Changelogs { keeps, ..self }
    }

    pub fn is_keeping(&self) -> bool {
        !self.logs.is_empty()
    }

    pub fn wants(&self, relation: RelationId) -> bool {
        self.logs.get(&relation).is_some_and(|log| log.is_live)
    }

    /// Changes are kept for this long from now on; 0: no more.
    pub fn keep(&mut self, relation: RelationId, retention_us: u64, columns: Option<usize>) {
        if retention_us == 0 || self.disk.is_none() {
            self.forget(relation);
            return;
        }
        let log = self.logs.entry(relation).or_insert_with(Changelog::new);
        (log.retention_us, log.columns) = (retention_us, columns);
        self.keeps.store(true, Ordering::Release);
    }

    /// The relation is stepped from here on, having been at `at`. A changelog that ends before that begins anew; that it
    /// begins there is durable at once.
    pub fn join(&mut self, relation: RelationId, at: CommitNumber, timestamp_us: i64) {
        let Some(disk) = &self.disk else { return };
        let Some(log) = self.logs.get_mut(&relation).filter(|log| !log.is_live) else { return };
        log.is_live = true;
        if log.segments.is_empty() || log.recorded < at {
            log.begin_anew(at);
            let begun = log.sync(disk, relation, timestamp_us);
            log.unless_failed(relation, at, begun);
        }
    }

    /// The relation's rows have other columns from here on: what was kept is of no use.
    pub fn begin_anew(&mut self, relation: RelationId, at: CommitNumber, timestamp_us: i64, columns: usize) {
        self.stop(relation, at);
        if let Some(log) = self.logs.get_mut(&relation) {
            log.columns = Some(columns);
        }
        self.join(relation, at, timestamp_us);
    }

    /// The relation is not stepped any more.
    pub fn stop(&mut self, relation: RelationId, at: CommitNumber) {
        if let Some(log) = self.logs.get_mut(&relation) {
            log.begin_anew(at);
            log.is_live = false;
        }
    }

    /// The relation is no more, or not kept any more.
    pub fn forget(&mut self, relation: RelationId) {
        if let Some(mut log) = self.logs.remove(&relation) {
            log.begin_anew(CommitNumber(0));
        }
        self.keeps.store(!self.logs.is_empty(), Ordering::Release);
    }

    /// What a commit changed of one relation. Skips what is there already.
    pub fn append(&mut self, relation: RelationId, commit: CommitNumber, timestamp_us: i64, deltas: &[DeltaBatch]) {
        let Some(disk) = &self.disk else { return };
        let Some(log) = self.logs.get_mut(&relation) else { return };
        if !log.is_live || commit <= log.recorded || deltas.iter().all(DeltaBatch::is_empty) {
            return;
        }
        let payload = encode_change(deltas, log.columns);
        let payload = payload.and_then(|payload| log.write(disk, relation, commit, timestamp_us, &payload));
        log.unless_failed(relation, commit, payload);
    }

    /// Everything up to a commit is taken in. Lets go of what need not be kept any longer.
    pub fn advance(&mut self, commit: CommitNumber, timestamp_us: i64) {
        for log in self.logs.values_mut().filter(|log| log.is_live) {
            log.covered = log.covered.max(commit);
            log.expire(timestamp_us, self.bytes_max);
        }
    }

    /// Makes durable what was taken in, and how far. Must come before the log forgets those commits.
    pub fn sync(&mut self, timestamp_us: i64) {
        let Some(disk) = &self.disk else { return };
        for (relation, log) in self.logs.iter_mut().filter(|(_, log)| log.is_live) {
            let at = log.covered;
            let synced = log.sync(disk, *relation, timestamp_us);
            log.unless_failed(*relation, at, synced);
        }
    }

    /// The changes after `after` of a relation that is at commit `at`. `name`: of the relation, for messages.
    ///
    /// Errors: 22023 where they are not kept, naming the oldest commit that can be resumed from.
    pub fn history(&self, relation: RelationId, name: &str, after: CommitNumber, at: CommitNumber) -> Result<History> {
        let log = self.logs.get(&relation).filter(|log| log.is_live);
        let oldest = log.map_or(at, Changelog::oldest);
        if after < oldest {
            return Err(not_kept(name, after, oldest, log.is_some()));
        }
        let mut parts = VecDeque::new();
        for segment in log.into_iter().flat_map(|log| log.segments.iter().rev()) {
            parts.push_front(HistoryPart { file: segment.file.clone(), bytes: segment.bytes, after });
            if segment.base <= after {
                break;
            }
        }
        Ok(History { parts })
    }
}

fn not_kept(name: &str, after: CommitNumber, oldest: CommitNumber, is_kept: bool) -> Error {
    let message = format!("cannot resume from commit {after}: the changes since then were not kept");
    let hint = match is_kept {
        true => "Subscribe without AS OF COMMIT: the snapshot comes first. A longer subscribe_retention keeps more.",
        false => "Subscribe without AS OF COMMIT: the snapshot comes first. Set subscribe_retention to keep changes.",
    };
    Error::new(SqlState::INVALID_PARAMETER, message)
        .with_detail(format!("The oldest commit that {name} can be resumed from is {oldest}."))
        .with_hint(hint)
}

impl Changelog {
    fn new() -> Self {
        Changelog {
            retention_us: 0,
            columns: None,
            segments: VecDeque::new(),
            writer: None,
            unnamed: false,
            unsynced: false,
            recorded: CommitNumber(0),
            covered: CommitNumber(0),
            is_live: false,
        }
    }

    /// The oldest commit that can be resumed from.
    fn oldest(&self) -> CommitNumber {
        self.segments.front().map_or(self.recorded, |segment| segment.base)
    }

    /// Lets go of everything; changes after `at` will be kept.
    fn begin_anew(&mut self, at: CommitNumber) {
        self.segments.drain(..).for_each(|segment| segment.file.doom());
        self.writer = None;
        (self.unnamed, self.unsynced) = (false, false);
        (self.recorded, self.covered) = (at, at);
    }

    fn unless_failed(&mut self, relation: RelationId, at: CommitNumber, outcome: Result<()>) {
        if let Err(error) = outcome {
            tracing::warn!(relation = relation.0, %error, "changes could not be kept; they are kept from here on");
            self.begin_anew(at);
        }
    }

    /// Appends a record; an empty payload says how far the changelog goes.
    fn write(
        &mut self,
        disk: &Arc<dyn Disk>,
        relation: RelationId,
        commit: CommitNumber,
        timestamp_us: i64,
        payload: &[u8],
    ) -> Result<()> {
        if self.is_full(timestamp_us) {
            self.close()?;
        }
        if self.writer.is_none() {
            self.open_segment(disk, relation, timestamp_us)?;
        }
        let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back_mut()) else {
            return Err(Error::internal("no segment of the changelog is open"));
        };
        let record = segment.file.encode(segment.bytes, RecordMeta { commit, timestamp_us }, payload);
        self.unsynced = true;
        writer.append(&record).map_err(|error| disk_error("write", &segment.file.path(), error))?;
        segment.bytes += record.len() as u64;
        self.recorded = commit;
        self.covered = self.covered.max(commit);
        Ok(())
    }

    fn is_full(&self, now_us: i64) -> bool {
        let Some(segment) = self.segments.back().filter(|_| self.writer.is_some()) else { return false };
        let age_us = now_us.saturating_sub(segment.opened_us).max(0) as u64;
        let is_old = age_us > self.retention_us / SEGMENTS_IN_RETENTION;
        self.recorded > segment.base && (is_old || segment.bytes >= SEGMENT_BYTES_MAX)
    }

    fn open_segment(&mut self, disk: &Arc<dyn Disk>, relation: RelationId, opened_us: i64) -> Result<()> {
        let continues = self.segments.back().map(|segment| segment.base);
        disk.create_dir(DIRECTORY).map_err(|error| disk_error("create directory", DIRECTORY, error))?;
        let mut name = SegmentName { relation, base: self.recorded, attempt: 0 };
        let header = SegmentHeader { relation, base: name.base, continues }.encode();
        let (file, mut writer) = loop {
            let file = SegmentFile::new(disk.clone(), name).with_header(&header);
            match disk.create(&file.path()) {
                Ok(writer) => break (file, writer),
                // Somebody still reads it, or it could not be removed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => name.attempt += 1,
                Err(error) => return Err(disk_error("create", &file.path(), error)),
            }
        };
        let path = file.path();
        writer.append(&header).map_err(|error| disk_error("write", &path, error))?;
        let bytes = header.len() as u64;
        self.segments.push_back(Segment { file: Arc::new(file), base: name.base, bytes, opened_us });
        self.writer = Some(writer);
        self.unnamed = true;
        Ok(())
    }

    /// Synced, so that a later sync need not come back to it.
    fn close(&mut self) -> Result<()> {
        self.sync_file()?;
        self.writer = None;
        Ok(())
    }

    fn sync(&mut self, disk: &Arc<dyn Disk>, relation: RelationId, timestamp_us: i64) -> Result<()> {
        if self.recorded < self.covered || self.segments.is_empty() {
            self.write(disk, relation, self.covered, timestamp_us, &[])?;
        }
        self.sync_file()
    }

    fn sync_file(&mut self) -> Result<()> {
        let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back()) else { return Ok(()) };
        if self.unsynced {
            writer.sync().map_err(|error| disk_error("sync", &segment.file.path(), error))?;
            self.unsynced = false;
        }
        if self.unnamed {
            segment.file.sync_name().map_err(|error| disk_error("sync", DIRECTORY, error))?;
            self.unnamed = false;
        }
        Ok(())
    }

    /// The newest segment stays, and every one that has a change younger than what is to be kept.
    fn expire(&mut self, now_us: i64, bytes_max: u64) {
        let kept_from_us = now_us.saturating_sub(i64::try_from(self.retention_us).unwrap_or(i64::MAX));
        // Whatever a segment holds is older than its successor.
        while let Some(next) = self.segments.get(1) {
            let bytes: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
            if next.opened_us >= kept_from_us && bytes <= bytes_max {
                break;
            }
            if let Some(oldest) = self.segments.pop_front() {
                oldest.file.doom();
            }
        }
    }
}
