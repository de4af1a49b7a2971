//! Files of pages: segments that are appended to, and removed as a whole once nobody holds a page of them.
//!
//! ```text
//! magic (4) | version (1) | zeros (3) | page | page | ...      each page is an envelope of `state`, with its checksum
//! ```
//!
//! Invariants:
//!   * a segment that a former process wrote is never appended to
//!   * a segment is there for as long as a page of it is held

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::DIRECTORY;
use super::files::StateFile;
use crate::dataflow::state::{PageStore, Place};
use crate::error::{Error, Result, SqlState};
use crate::io::{AppendFile, Disk, disk_error};

pub(super) const MAGIC: [u8; 8] = *b"TMPG\x01\0\0\0";
/// The next page begins a new segment.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// When there are more segments than this, small ones are moved together.
const SEGMENTS_MIN: usize = 32;

/// All segments of one data directory.
pub struct PageFiles {
    disk: Arc<dyn Disk>,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    segments: BTreeMap<u64, Segment>,
    next: u64,
    current: Option<Current>,
    /// Full ones whose bytes are not yet synced.
    unsynced: Vec<(u64, Box<dyn AppendFile>)>,
    /// Those that are synced now.
    syncing: Vec<u64>,
    /// Names since the directory was synced.
    new_names: bool,
    bytes_written: u64,
}

struct Current {
    number: u64,
    file: Box<dyn AppendFile>,
}

/// Bytes of a segment, and how many of them are of pages that somebody holds.
#[derive(Default)]
struct Segment {
    bytes: u64,
    held: u64,
    /// It could not be synced, or did not read back: what it holds must be written elsewhere before a checkpoint may name it.
    distrusted: bool,
}

impl PageFiles {
    /// `segments`: numbers of the files that are there already.
    pub fn new(disk: Arc<dyn Disk>, segments: &[u64]) -> Result<Arc<PageFiles>> {
        disk.create_dir(DIRECTORY).map_err(|error| disk_error("create directory", DIRECTORY, error))?;
        let next = segments.iter().max().map_or(1, |last| last + 1);
        let segments = segments.iter().map(|number| (*number, Segment::default())).collect();
        Ok(Arc::new(PageFiles { disk, files: Mutex::new(Files { segments, next, ..Files::default() }) }))
    }

    /// Makes every page written so far durable. Errors: 53100, 58030; what was written is then not durable, and its
    /// segments are not written to any more.
    pub fn sync(&self) -> Result<()> {
        let (mut unsynced, new_names) = {
            let mut files = self.files.lock();
            let mut unsynced = std::mem::take(&mut files.unsynced);
            // Closed, so that pages can be written while this one is synced.
            unsynced.extend(files.current.take().map(|current| (current.number, current.file)));
            files.syncing = unsynced.iter().map(|(number, _)| *number).collect();
            (unsynced, std::mem::take(&mut files.new_names))
        };
        let synced = self.sync_files(&mut unsynced, new_names);
        self.files.lock().syncing.clear();
        if synced.is_err() {
            let mut files = self.files.lock();
            files.new_names |= new_names;
            for (number, _) in unsynced {
                files.segments.entry(number).or_default().distrusted = true;
            }
        }
        synced
    }

    fn sync_files(&self, unsynced: &mut [(u64, Box<dyn AppendFile>)], new_names: bool) -> Result<()> {
        for (number, file) in unsynced {
            file.sync().map_err(|error| disk_error("sync", &StateFile::Pages(*number).path(), error))?;
        }
        if new_names {
            self.disk.sync_dir(DIRECTORY).map_err(|error| disk_error("sync directory", DIRECTORY, error))?;
        }
        Ok(())
    }

    /// Removes segments that nobody holds a page of. A failure costs disk space alone.
    pub fn remove_unheld(&self) {
        let unheld: BTreeSet<u64> = {
            let mut files = self.files.lock();
            let Files { segments, current, unsynced, syncing, .. } = &mut *files;
            let in_use = |number: &u64| {
                current.as_ref().is_some_and(|current| current.number == *number) || syncing.contains(number)
            };
            let unheld = segments.iter().filter(|(number, segment)| segment.held == 0 && !in_use(number));
            let unheld: BTreeSet<u64> = unheld.map(|(number, _)| *number).collect();
            segments.retain(|number, _| !unheld.contains(number));
            unsynced.retain(|(number, _)| !unheld.contains(number));
            unheld
        };
        for number in unheld {
            let path = StateFile::Pages(number).path();
            match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path, %error, "could not remove a file of pages");
                }
                _ => {}
            }
        }
    }

    /// Bytes of pages written since the start.
    pub fn bytes_written(&self) -> u64 {
        self.files.lock().bytes_written
    }

    /// The segment that pages go to; a new one where none is open.
    fn open<'a>(&self, files: &'a mut Files) -> Result<&'a mut Current> {
        if files.current.is_none() {
            let number = files.next;
            files.next += 1;
            let path = StateFile::Pages(number).path();
            let mut file = self.disk.create(&path).map_err(|error| disk_error("create", &path, error))?;
            files.new_names = true;
            files.segments.insert(number, Segment { bytes: MAGIC.len() as u64, ..Segment::default() });
            file.append(&MAGIC).map_err(|error| disk_error("write", &path, error))?;
            files.current = Some(Current { number, file });
        }
        files.current.as_mut().ok_or_else(|| Error::internal("no segment of pages"))
    }
}

impl PageFiles {
    /// Closes the segment that is written to if it is full; whether the next page begins a new one.
    fn is_at_end(&self) -> bool {
        let files = &mut *self.files.lock();
        let full = |number: u64| files.segments.get(&number).is_none_or(|segment| segment.bytes >= SEGMENT_BYTES_MAX);
        if let Some(current) = files.current.take_if(|current| full(current.number)) {
            files.unsynced.push((current.number, current.file));
        }
        files.current.is_none()
    }

    fn append(&self, bytes: &[u8]) -> Result<Place> {
        let length = u32::try_from(bytes.len()).map_err(|_| Error::internal("a page of more than 4 GiB"))?;
        let mut files = self.files.lock();
        let current = self.open(&mut files)?;
        let number = current.number;
        if let Err(error) = current.file.append(bytes) {
            // Where it ends is not known any more.
            files.current = None;
            return Err(disk_error("write", &StateFile::Pages(number).path(), error));
        }
        files.bytes_written += u64::from(length);
        let segment = files.segments.entry(number).or_default();
        let offset = segment.bytes;
        segment.bytes += u64::from(length);
        segment.held += u64::from(length);
        Ok(Place { segment: number, offset, length })
    }
}

impl PageStore for PageFiles {
    /// What leaves memory again and again must not fill the disk until the next checkpoint: it could then not be written either.
    fn write(&self, bytes: &[u8]) -> Result<Place> {
        if self.is_at_end() {
            self.remove_unheld();
        }
        let written = self.append(bytes);
        if written.as_ref().is_err_and(|error| error.state() == SqlState::DISK_FULL) {
            self.remove_unheld();
            return self.append(bytes);
        }
        written
    }

    fn read(&self, place: Place) -> Result<Vec<u8>> {
        read(&*self.disk, place)
    }

    fn hold(&self, place: Place) -> Result<()> {
        let mut files = self.files.lock();
        let segment = files
            .segments
            .get_mut(&place.segment)
            .ok_or_else(|| Error::corrupted(format!("\"{}\" is missing", StateFile::Pages(place.segment).path())))?;
        segment.held += u64::from(place.length);
        segment.bytes = segment.bytes.max(place.offset + u64::from(place.length));
        Ok(())
    }

    fn release(&self, place: Place) {
        if let Some(segment) = self.files.lock().segments.get_mut(&place.segment) {
            segment.held = segment.held.saturating_sub(u64::from(place.length));
        }
    }

    fn is_sparse(&self, place: Place) -> bool {
        let files = self.files.lock();
        if files.current.as_ref().is_some_and(|current| current.number == place.segment) {
            return false;
        }
        let many = files.segments.len() > SEGMENTS_MIN;
        files.segments.get(&place.segment).is_some_and(|segment| {
            segment.distrusted || segment.held < segment.bytes / 2 || (many && segment.bytes < SEGMENT_BYTES_MAX / 4)
        })
    }

    fn distrust(&self, place: Place) {
        let mut files = self.files.lock();
        if let Some(segment) = files.segments.get_mut(&place.segment) {
            segment.distrusted = true;
        }
        // Nothing more goes there.
        if let Some(current) = files.current.take_if(|current| current.number == place.segment) {
            files.unsynced.push((current.number, current.file));
        }
    }
}

/// A page's bytes, unchecked. Errors: XX001 where the file is missing or cut short; 58030.
pub(super) fn read(disk: &dyn Disk, place: Place) -> Result<Vec<u8>> {
    read_at(disk, &StateFile::Pages(place.segment).path(), place.offset, place.length as usize)
}

pub(super) fn read_at(disk: &dyn Disk, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
    disk.read_at(path, offset, length).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::corrupted(format!("\"{path}\" is missing")),
        io::ErrorKind::UnexpectedEof => Error::corrupted(format!("\"{path}\" is cut short")),
        _ => disk_error("read", path, error),
    })
}

impl fmt::Debug for PageFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageFiles({} segments)", self.files.lock().segments.len())
    }
}

#[cfg(test)]
mod tests;
