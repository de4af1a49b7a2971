//! Reading the log back: which segments count, how far, and what was lost at the end.
//!
//! ```text
//! newest segment with a readable header -> its predecessor -> ... -> one whose predecessor is gone, or that has none
//! ```
//!
//! Only the last segment may end in bytes that are not a record: the one write that was under way. Anything else that
//! does not read back is damage, and refused: starting without it would lose acknowledged commits in silence.

use std::fmt;
use std::io::ErrorKind;
use std::ops::ControlFlow;

use super::DIRECTORY;
use super::format::{
    BadHeader, FORMAT_VERSION, Frame, HEADER_BYTES, Header, Predecessor, decode_record, header_crc, peek_record,
};
use super::name::SegmentName;
use super::writer::WalTail;
use crate::error::{Error, Result, SqlState};
use crate::io::{Disk, disk_error};
use crate::types::CommitNumber;

/// How far behind a bad record a later one is believed to be a record and not payload.
const COMMITS_AHEAD_MAX: u64 = 1 << 32;

/// One intact record.
#[derive(Debug)]
pub struct WalRecord<'a> {
    pub commit: CommitNumber,
    pub kind: u8,
    pub payload: &'a [u8],
    /// File and place, for messages.
    pub path: &'a str,
    pub offset: u64,
}

/// What a replay found.
#[derive(Debug, Default)]
pub struct WalReplayed {
    /// Every commit later than this one was handed out.
    pub after: CommitNumber,
    /// The last intact record's commit, handed out or not.
    pub last_commit: Option<CommitNumber>,
    /// Records handed out, and their bytes.
    pub records: u64,
    pub bytes: u64,
    pub dropped_tail: Option<DroppedTail>,
    pub tail: WalTail,
}

/// Bytes at the end of the log that are no record: what a crash left of the write that was under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedTail {
    pub path: String,
    pub offset: u64,
    pub bytes: u64,
    /// All of them zero, as file systems leave bytes that were allocated and not written.
    pub zero_filled: bool,
}

impl fmt::Display for DroppedTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.zero_filled { "zero-filled" } else { "torn" };
        write!(f, "dropped a {kind} tail of {} bytes of \"{}\" at offset {}", self.bytes, self.path, self.offset)
    }
}

/// Hands every record of a commit later than `after` to `each`, in order, and makes durable what it read. Where the log
/// still has them, also those between `wanted_after` and `after`.
/// Errors: XX001 for damage and for missing commits, 0A000 for a later format, and those of `each`.
pub fn replay(
    disk: &dyn Disk,
    after: CommitNumber,
    wanted_after: CommitNumber,
    each: &mut dyn FnMut(WalRecord<'_>) -> Result<()>,
) -> Result<WalReplayed> {
    let mut replayed = WalReplayed::default();
    let chain = find_chain(disk, &mut replayed)?;
    let reaches = |wanted: CommitNumber| chain.first().is_some_and(|link| link.name.first_commit <= wanted.next());
    let after = if wanted_after < after && reaches(wanted_after) { wanted_after } else { after };
    replayed.after = after;
    let mut expected: Option<CommitNumber> = None;
    for (position, link) in chain.iter().enumerate() {
        let first = link.name.first_commit;
        let missing_from = expected.unwrap_or(CommitNumber(1)).max(after.next());
        if first > missing_from {
            return Err(missing_commits(missing_from, first, &link.name));
        }
        if expected.is_some_and(|expected| first < expected) {
            return Err(damaged(&link.name, 0, "it begins before its predecessor ends"));
        }
        let is_last = position + 1 == chain.len();
        let mut each = |record: WalRecord<'_>| each(record).map(ControlFlow::Continue);
        let valid_bytes = read_segment(disk, link, is_last, after, &mut replayed, &mut each)?;
        expected = Some(replayed.last_commit.map_or(first, CommitNumber::next).max(first));
        replayed.tail.predecessor = Some(Predecessor { name: link.name, valid_bytes });
    }
    replayed.tail.chain = chain.iter().map(|link| link.name).collect();
    if let Some(last) = chain.last() {
        make_durable(disk, &last.name)?;
    }
    Ok(replayed)
}

/// Hands records of commits later than `after` to `each`, in order, until it has enough. For whoever has replayed the log
/// before: only the segments that may hold such commits are read, and nothing is made durable.
/// Errors: those of [`replay`].
pub fn reread(
    disk: &dyn Disk,
    after: CommitNumber,
    each: &mut dyn FnMut(WalRecord<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut replayed = WalReplayed::default();
    let chain = find_chain(disk, &mut replayed)?;
    let passed = chain.partition_point(|link| link.name.first_commit <= after.next()).saturating_sub(1);
    for (position, link) in chain.iter().enumerate().skip(passed) {
        let mut flow = ControlFlow::Continue(());
        read_segment(disk, link, position + 1 == chain.len(), after, &mut replayed, &mut |record| {
            flow = each(record)?;
            Ok(flow)
        })?;
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

/// A segment and how many of its bytes its successor calls valid.
struct Link {
    name: SegmentName,
    valid_bytes: Option<u64>,
}

/// The segments that count, oldest first. Those that do not go to `replayed.tail.stale`.
fn find_chain(disk: &dyn Disk, replayed: &mut WalReplayed) -> Result<Vec<Link>> {
    let listed = disk.list(DIRECTORY).map_err(|error| disk_error("list", DIRECTORY, error))?;
    let mut names: Vec<SegmentName> = listed.iter().filter_map(|name| SegmentName::parse(name)).collect();
    names.sort();
    let mut chain: Vec<Link> = Vec::new();
    let mut wanted: Option<Predecessor> = None;
    for name in names.iter().rev() {
        if !chain.is_empty() && wanted.is_none_or(|wanted| wanted.name != *name) {
            replayed.tail.stale.push(*name);
            continue;
        }
        match read_header(disk, name)? {
            Ok(header) => {
                chain.push(Link { name: *name, valid_bytes: wanted.map(|wanted| wanted.valid_bytes) });
                wanted = header.predecessor;
            }
            Err(file) if chain.is_empty() => {
                replayed.dropped_tail.get_or_insert_with(|| dropped_tail(&file, name, 0));
                replayed.tail.stale.push(*name);
            }
            Err(_) => return Err(damaged(name, 0, "its header does not read back")),
        }
    }
    chain.reverse();
    Ok(chain)
}

/// The file itself where the segment never got its header: no record was ever written to it.
fn read_header(disk: &dyn Disk, name: &SegmentName) -> Result<Result<Header, Vec<u8>>> {
    let path = name.path();
    let decoded = match disk.read_at(&path, 0, HEADER_BYTES) {
        Ok(bytes) => Header::decode(&bytes),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(BadHeader::Unreadable),
        Err(error) => return Err(disk_error("read", &path, error)),
    };
    match decoded {
        Ok(header) if header.first_commit == name.first_commit => Ok(Ok(header)),
        Ok(_) => Err(damaged(name, 0, "its header is another segment's")),
        Err(BadHeader::Version(version)) => {
            Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("\"{}\" has format {version}", name.path()))
                .with_detail(format!("This version of Tidemark reads format {FORMAT_VERSION}."))
                .with_hint("Start the version of Tidemark that wrote it, or a later one."))
        }
        Err(BadHeader::Unreadable) => match read_file(disk, name)? {
            file if file.len() <= HEADER_BYTES => Ok(Err(file)),
            _ => Err(damaged(name, 0, "its header does not read back, and bytes follow it")),
        },
    }
}

/// Returns the segment's valid bytes, or how many were read when `each` had enough.
fn read_segment(
    disk: &dyn Disk,
    link: &Link,
    is_last: bool,
    after: CommitNumber,
    replayed: &mut WalReplayed,
    each: &mut dyn FnMut(WalRecord<'_>) -> Result<ControlFlow<()>>,
) -> Result<u64> {
    let file = read_file(disk, &link.name)?;
    let file = valid_part(&file, link)?;
    let seed = header_crc(file);
    let path = link.name.path();
    let mut offset = HEADER_BYTES;
    let mut expected = link.name.first_commit;
    while offset < file.len() {
        let Some(frame) = decode_record(seed, file, offset) else {
            if !is_last {
                return Err(damaged(&link.name, offset, "a record does not read back"));
            }
            refuse_damage(seed, file, offset, expected, &link.name)?;
            replayed.dropped_tail.get_or_insert_with(|| dropped_tail(file, &link.name, offset));
            return Ok(offset as u64);
        };
        if frame.commit != expected {
            let what = format!("it holds commit {} where {expected} was expected", frame.commit);
            return Err(damaged(&link.name, offset, &what));
        }
        replayed.last_commit = Some(frame.commit);
        if frame.commit > after {
            let payload = &file[frame.payload_offset..frame.end];
            let (commit, kind) = (frame.commit, frame.kind);
            let flow = each(WalRecord { commit, kind, payload, path: &path, offset: offset as u64 })?;
            replayed.records += 1;
            replayed.bytes += (frame.end - offset) as u64;
            if flow.is_break() {
                return Ok(frame.end as u64);
            }
        }
        expected = frame.commit.next();
        offset = frame.end;
    }
    Ok(offset as u64)
}

/// The bytes that the successor calls valid; all of them for the last segment.
fn valid_part<'a>(file: &'a [u8], link: &Link) -> Result<&'a [u8]> {
    let valid_bytes = link.valid_bytes.map_or(file.len(), |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    file.get(..valid_bytes)
        .filter(|valid| valid.len() >= HEADER_BYTES)
        .ok_or_else(|| damaged(&link.name, file.len(), &format!("it ends there, and should hold {valid_bytes} bytes")))
}

/// One torn write leaves one bad record at the end. An intact one behind it means that the bad one was acknowledged.
fn refuse_damage(seed: u32, file: &[u8], bad: usize, expected: CommitNumber, name: &SegmentName) -> Result<()> {
    match next_record(seed, file, bad, expected) {
        Some((offset, later)) => {
            let what = format!("a record does not read back, and commit {} at offset {offset} does", later.commit);
            Err(damaged(name, bad, &what))
        }
        None => Ok(()),
    }
}

/// The first intact record behind a bad one.
pub(super) fn next_record(seed: u32, file: &[u8], bad: usize, expected: CommitNumber) -> Option<(usize, Frame)> {
    (bad + 1..file.len()).find_map(|offset| {
        let (commit, ..) = peek_record(file, offset)?;
        let plausible = commit >= expected && commit.0 - expected.0 <= COMMITS_AHEAD_MAX;
        if !plausible {
            return None;
        }
        decode_record(seed, file, offset).map(|frame| (offset, frame))
    })
}

/// A process that died leaves bytes in the page cache that a power failure would still take. Nobody may see a commit
/// that can vanish.
fn make_durable(disk: &dyn Disk, name: &SegmentName) -> Result<()> {
    disk.sync_file(&name.path()).map_err(|error| disk_error("sync", &name.path(), error))?;
    disk.sync_dir(DIRECTORY).map_err(|error| disk_error("sync", DIRECTORY, error))
}

fn read_file(disk: &dyn Disk, name: &SegmentName) -> Result<Vec<u8>> {
    disk.read(&name.path()).map_err(|error| disk_error("read", &name.path(), error))
}

pub(super) fn dropped_tail(file: &[u8], name: &SegmentName, offset: usize) -> DroppedTail {
    let tail = file.get(offset..).unwrap_or_default();
    let zero_filled = !tail.is_empty() && tail.iter().all(|byte| *byte == 0);
    DroppedTail { path: name.path(), offset: offset as u64, bytes: tail.len() as u64, zero_filled }
}

fn damaged(name: &SegmentName, offset: usize, what: &str) -> Error {
    Error::corrupted(format!("write-ahead log \"{}\" is damaged at offset {offset}", name.path()))
        .with_detail(format!("In this file {what}."))
        .with_hint("Restore the file from a copy. Do not remove it: acknowledged commits stand in it.")
}

fn missing_commits(from: CommitNumber, to: CommitNumber, name: &SegmentName) -> Error {
    Error::corrupted(format!("commits {from} to {} are missing from the write-ahead log", to.0 - 1))
        .with_detail(format!("The oldest segment that continues them is \"{}\".", name.path()))
        .with_hint("Restore the missing segments from a copy.")
}
