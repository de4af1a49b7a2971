//! The log as it is, damage and all: what offline readers show. A replay stops at the first damage; a survey names it and
//! goes on behind it.
//!
//! Where a replay refuses, a survey has damage; where it cuts a tail, a survey has that tail. `tests.rs` holds them together.

use super::DIRECTORY;
use super::format::{BadHeader, FORMAT_VERSION, HEADER_BYTES, Header, Predecessor, decode_record, header_crc};
use super::name::SegmentName;
use super::replay::{DroppedTail, WalRecord, dropped_tail, next_record};
use crate::error::Result;
use crate::io::{Disk, disk_error};
use crate::types::CommitNumber;

/// What a segment is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentRole {
    Counts,
    /// No other segment goes on from it: of an attempt that failed, or older than the log.
    Stale,
    /// It never got a header, so that no record was ever acknowledged from it.
    Headless,
    /// Its header does not read back.
    Unreadable,
}

/// One file of the log.
#[derive(Debug, Clone)]
pub struct SurveyedSegment {
    pub path: String,
    pub bytes: u64,
    pub role: SegmentRole,
    pub first_commit: CommitNumber,
    pub opened_us: Option<i64>,
    /// The segment that it continues, and how many bytes of that are valid.
    pub predecessor: Option<(String, u64)>,
    /// The last intact record's commit.
    pub last_commit: Option<CommitNumber>,
    /// Intact records that count.
    pub records: u64,
    /// Where they end: what a cut would leave.
    pub valid_bytes: u64,
}

/// Bytes that were acknowledged once and do not read back, or a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalDamage {
    pub path: String,
    pub offset: u64,
    pub what: String,
}

/// The whole log.
#[derive(Debug, Default)]
pub struct WalSurvey {
    /// By name.
    pub segments: Vec<SurveyedSegment>,
    pub damage: Vec<WalDamage>,
    pub dropped_tail: Option<DroppedTail>,
}

impl WalSurvey {
    pub fn last_commit(&self) -> Option<CommitNumber> {
        self.segments.iter().filter(|segment| segment.role == SegmentRole::Counts).filter_map(|s| s.last_commit).max()
    }

    /// The first commit that the log holds, or would hold next.
    pub fn first_commit(&self) -> Option<CommitNumber> {
        self.segments.iter().find(|segment| segment.role == SegmentRole::Counts).map(|segment| segment.first_commit)
    }
}

/// Shows every intact record that counts to `each`, in order. Errors: 58030, and those of `each`; never for damage.
pub fn survey(disk: &dyn Disk, each: &mut dyn FnMut(WalRecord<'_>) -> Result<()>) -> Result<WalSurvey> {
    let listed = disk.list(DIRECTORY).map_err(|error| disk_error("list", DIRECTORY, error))?;
    let mut names: Vec<SegmentName> = listed.iter().filter_map(|name| SegmentName::parse(name)).collect();
    names.sort();
    let mut survey = WalSurvey::default();
    let mut chain: Vec<(usize, Option<u64>)> = Vec::new();
    let mut wanted: Option<Predecessor> = None;
    for (position, name) in names.iter().enumerate().rev() {
        let file = disk.read(&name.path()).map_err(|error| disk_error("read", &name.path(), error))?;
        let header = Header::decode(&file);
        let mut segment = SurveyedSegment {
            path: name.path(),
            bytes: file.len() as u64,
            role: SegmentRole::Stale,
            first_commit: name.first_commit,
            opened_us: None,
            predecessor: None,
            last_commit: None,
            records: 0,
            valid_bytes: HEADER_BYTES as u64,
        };
        let is_wanted = chain.is_empty() || wanted.is_some_and(|wanted| wanted.name == *name);
        match header {
            Ok(header) => {
                segment.opened_us = Some(header.opened_us);
                segment.predecessor = header.predecessor.map(|before| (before.name.path(), before.valid_bytes));
                if is_wanted && header.first_commit == name.first_commit {
                    segment.role = SegmentRole::Counts;
                    chain.push((position, wanted.map(|wanted| wanted.valid_bytes)));
                    wanted = header.predecessor;
                } else if is_wanted {
                    segment.role = SegmentRole::Unreadable;
                    survey.damage(&segment.path, 0, "its header is another segment's");
                }
            }
            Err(BadHeader::Version(version)) => {
                segment.role = SegmentRole::Unreadable;
                let what =
                    format!("it has format {version}, and this version of Tidemark reads format {FORMAT_VERSION}");
                survey.damage(&segment.path, 8, &what);
            }
            Err(BadHeader::Unreadable) if chain.is_empty() && file.len() <= HEADER_BYTES => {
                segment.role = SegmentRole::Headless;
                survey.dropped_tail.get_or_insert_with(|| dropped_tail(&file, name, 0));
            }
            Err(BadHeader::Unreadable) if is_wanted => {
                segment.role = SegmentRole::Unreadable;
                survey.damage(&segment.path, 0, "its header does not read back");
            }
            Err(BadHeader::Unreadable) => segment.role = SegmentRole::Unreadable,
        }
        survey.segments.push(segment);
    }
    survey.segments.reverse();
    chain.reverse();
    let mut expected: Option<CommitNumber> = None;
    for (link, (position, valid_bytes)) in chain.iter().enumerate() {
        if let Some(name) = names.get(*position) {
            let is_last = link + 1 == chain.len();
            survey.read_segment(disk, name, *position, *valid_bytes, is_last, &mut expected, each)?;
        }
    }
    Ok(survey)
}

impl WalSurvey {
    fn damage(&mut self, path: &str, offset: u64, what: &str) {
        self.damage.push(WalDamage { path: path.to_string(), offset, what: what.to_string() });
    }

    #[expect(clippy::too_many_arguments, reason = "what a segment is read with, once")]
    fn read_segment(
        &mut self,
        disk: &dyn Disk,
        name: &SegmentName,
        position: usize,
        valid_bytes: Option<u64>,
        is_last: bool,
        expected: &mut Option<CommitNumber>,
        each: &mut dyn FnMut(WalRecord<'_>) -> Result<()>,
    ) -> Result<()> {
        let path = name.path();
        let first = name.first_commit;
        match *expected {
            Some(expected) if first > expected => {
                self.damage(&path, 0, &format!("commits {expected} to {} are missing before it", first.0 - 1));
            }
            Some(expected) if first < expected => self.damage(&path, 0, "it begins before its predecessor ends"),
            _ => {}
        }
        let whole = disk.read(&path).map_err(|error| disk_error("read", &path, error))?;
        let claimed = valid_bytes.map_or(whole.len(), |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if claimed > whole.len() {
            self.damage(&path, whole.len() as u64, &format!("it ends there, and should hold {claimed} bytes"));
        }
        let Some(file) = whole.get(..claimed.min(whole.len())).filter(|file| file.len() >= HEADER_BYTES) else {
            return Ok(());
        };
        let seed = header_crc(file);
        let (mut offset, mut next) = (HEADER_BYTES, first);
        let (mut records, mut damaged) = (0, false);
        while offset < file.len() {
            let Some(frame) = decode_record(seed, file, offset) else {
                let later = next_record(seed, file, offset, next);
                match later {
                    Some((at, later)) => {
                        let what =
                            format!("a record does not read back, and commit {} at offset {at} does", later.commit);
                        self.damage(&path, offset as u64, &what);
                        damaged = true;
                        (offset, next) = (at, later.commit);
                        continue;
                    }
                    None if is_last => {
                        self.dropped_tail.get_or_insert_with(|| dropped_tail(file, name, offset));
                    }
                    None => self.damage(&path, offset as u64, "a record does not read back"),
                }
                break;
            };
            if frame.commit != next {
                let what = format!("it holds commit {} where {next} was expected", frame.commit);
                self.damage(&path, offset as u64, &what);
            }
            let payload = file.get(frame.payload_offset..frame.end).unwrap_or_default();
            each(WalRecord { commit: frame.commit, kind: frame.kind, payload, path: &path, offset: offset as u64 })?;
            records += 1;
            next = frame.commit.next();
            offset = frame.end;
            if let Some(segment) = self.segments.get_mut(position) {
                segment.records = records;
                segment.last_commit = Some(frame.commit);
                if !damaged {
                    segment.valid_bytes = offset as u64;
                }
            }
        }
        *expected = Some(next);
        Ok(())
    }
}
