//! Appending records, one durable one after the other, and removing segments that nobody needs.
//!
//! Invariants:
//!   * at most one record of a segment is not synced, its last
//!   * a segment's header and name are durable before its first record is written
//!   * after any failure the segment gets no further byte; the next attempt opens a new one
//!   * segments are removed oldest first, and the last one never

use std::io;
use std::sync::Arc;

use super::DIRECTORY;
use super::format::{FRAME_BYTES, HEADER_BYTES, Header, Predecessor, encode_frame, header_crc};
use super::name::SegmentName;
use crate::error::Result;
use crate::io::{AppendFile, Disk, disk_error};
use crate::types::CommitNumber;

/// A segment all of whose commits were flushed is closed early if it is at least this large, so that it can go.
const EARLY_CLOSE_BYTES: u64 = 1 << 20;

/// Where replay ended, and a writer goes on.
#[derive(Debug, Clone, Default)]
pub struct WalTail {
    /// The last segment and its valid bytes.
    pub(super) predecessor: Option<Predecessor>,
    /// Segments that hold valid records, oldest first; `predecessor` is the last.
    pub(super) chain: Vec<SegmentName>,
    /// Segments that were overridden, or never got a header.
    pub(super) stale: Vec<SegmentName>,
}

/// The one writer of the log.
pub struct WalWriter {
    disk: Arc<dyn Disk>,
    segment_bytes_max: u64,
    current: Option<OpenSegment>,
    tail: WalTail,
    directory_exists: bool,
    /// The last file that was made: its name is not used again, not even once it is removed.
    last_made: Option<SegmentName>,
    /// Commits up to here are not needed.
    keep_after: CommitNumber,
    syncs: u64,
}

struct OpenSegment {
    name: SegmentName,
    file: Box<dyn AppendFile>,
    /// Where its records' checksums start from.
    seed: u32,
    durable_bytes: u64,
    last_commit: CommitNumber,
}

/// A payload of up to this size is written in one piece with its frame; a larger one is not copied for it.
const WHOLE_BYTES_MAX: usize = 1 << 20;

impl WalWriter {
    pub fn new(disk: Arc<dyn Disk>, segment_bytes_max: u64, tail: WalTail) -> Self {
        WalWriter {
            disk,
            segment_bytes_max,
            current: None,
            tail,
            directory_exists: false,
            last_made: None,
            keep_after: CommitNumber(0),
            syncs: 0,
        }
    }

    /// Writes one record and syncs it; returns its bytes. After an error the segment is abandoned, and the same record
    /// may be tried again: it goes to a new one. `now_us` marks a segment that this opens.
    pub fn append(&mut self, commit: CommitNumber, kind: u8, payload: &[u8], now_us: i64) -> Result<u64> {
        if self.current.as_ref().is_some_and(|segment| segment.durable_bytes >= self.segment_bytes_max) {
            self.close_current();
        }
        let mut segment = match self.current.take() {
            Some(segment) => segment,
            None => self.open_segment(commit, now_us)?,
        };
        let frame = encode_frame(segment.seed, segment.durable_bytes, commit, kind, payload);
        let written = append_record(&mut *segment.file, &frame, payload).and_then(|()| segment.file.sync());
        self.syncs += 1;
        match written {
            Ok(()) => {
                let bytes = (frame.len() + payload.len()) as u64;
                segment.durable_bytes += bytes;
                segment.last_commit = commit;
                self.current = Some(segment);
                Ok(bytes)
            }
            Err(error) => {
                let path = segment.name.path();
                self.current = Some(segment);
                self.abandon_current();
                Err(disk_error("write", &path, error))
            }
        }
    }

    /// Says that commits up to `keep_after` are not needed, and removes the segments that hold no others.
    /// Returns how many files went.
    pub fn truncate(&mut self, keep_after: CommitNumber) -> Result<usize> {
        self.keep_after = self.keep_after.max(keep_after);
        if self
            .current
            .as_ref()
            .is_some_and(|segment| segment.durable_bytes >= EARLY_CLOSE_BYTES && segment.last_commit <= self.keep_after)
        {
            self.close_current();
        }
        self.remove_unneeded()
    }

    /// Record syncs asked for, failed ones too.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    fn remove_unneeded(&mut self) -> Result<usize> {
        let mut removed = 0;
        while let Some(name) = self.tail.stale.last() {
            remove(&*self.disk, name)?;
            self.tail.stale.pop();
            removed += 1;
        }
        // The commits of a segment end where its successor's begin.
        while let [oldest, successor, ..] = self.tail.chain.as_slice() {
            if successor.first_commit > self.keep_after.next() {
                break;
            }
            remove(&*self.disk, oldest)?;
            self.tail.chain.remove(0);
            removed += 1;
        }
        Ok(removed)
    }

    /// What is durable of it stays valid; its successor will say so.
    fn close_current(&mut self) {
        if let Some(segment) = self.current.take() {
            self.tail.predecessor = Some(Predecessor { name: segment.name, valid_bytes: segment.durable_bytes });
        }
    }

    /// A segment without a durable record is as if it had never been: a disk that fails for long leaves no files behind.
    /// Should its removal not last, its successor is the newer one all the same.
    fn abandon_current(&mut self) {
        let is_empty = |segment: &OpenSegment| segment.durable_bytes == HEADER_BYTES as u64;
        match self.current.take_if(|segment| is_empty(segment)) {
            Some(segment) => {
                self.tail.chain.retain(|name| *name != segment.name);
                drop(segment.file);
                self.discard(segment.name);
            }
            None => self.close_current(),
        }
    }

    /// Removes a file that does not count; one that stays goes with the next truncation.
    fn discard(&mut self, name: SegmentName) {
        if remove(&*self.disk, &name).is_err() {
            self.tail.stale.push(name);
        }
    }

    fn open_segment(&mut self, first_commit: CommitNumber, opened_us: i64) -> Result<OpenSegment> {
        if !self.directory_exists {
            self.disk.create_dir(DIRECTORY).map_err(|error| disk_error("create directory", DIRECTORY, error))?;
            self.directory_exists = true;
        }
        let (name, mut file) = self.create_file(first_commit)?;
        let header = Header { first_commit, opened_us, predecessor: self.tail.predecessor }.encode();
        let opened = file.append(&header).and_then(|()| file.sync()).and_then(|()| self.disk.sync_dir(DIRECTORY));
        if let Err(error) = opened {
            drop(file);
            self.discard(name);
            return Err(disk_error("write", &name.path(), error));
        }
        self.tail.chain.push(name);
        let seed = header_crc(&header);
        Ok(OpenSegment { name, file, seed, durable_bytes: HEADER_BYTES as u64, last_commit: CommitNumber(0) })
    }

    /// The first free attempt's name behind all that were ever tried: of two files of failed attempts the later one must
    /// have the later name, whichever of their removals lasts.
    fn create_file(&mut self, first_commit: CommitNumber) -> Result<(SegmentName, Box<dyn AppendFile>)> {
        let mut name = match self.last_made {
            Some(last) if last.first_commit == first_commit => SegmentName { attempt: last.attempt + 1, ..last },
            _ => SegmentName { first_commit, attempt: 0 },
        };
        loop {
            match self.disk.create(&name.path()) {
                Ok(file) => {
                    self.last_made = Some(name);
                    return Ok((name, file));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => name.attempt += 1,
                Err(error) => return Err(disk_error("create", &name.path(), error)),
            }
        }
    }
}

fn remove(disk: &dyn Disk, name: &SegmentName) -> Result<()> {
    match disk.remove(&name.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk_error("remove", &name.path(), error)),
        _ => Ok(()),
    }
}

fn append_record(file: &mut dyn AppendFile, frame: &[u8; FRAME_BYTES], payload: &[u8]) -> io::Result<()> {
    if payload.len() > WHOLE_BYTES_MAX {
        file.append(frame)?;
        return file.append(payload);
    }
    file.append(&[&frame[..], payload].concat())
}
