//! The local disk, as the write-ahead log sees it: append, sync, rename, sync of a directory, nothing else.
//!
//! Names are relative paths with `/`, below one root. Calls block; whoever makes them stands on a thread of its own.
//! What is durable when:
//!   * bytes appended to a file: after `AppendFile::sync`
//!   * a file's name (created, renamed, removed): after `sync_dir` of its directory

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the seam to the file system")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result, SqlState};

/// A root directory.
pub trait Disk: Send + Sync + 'static {
    /// A new empty file; `AlreadyExists` if the name is taken.
    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>>;
    /// The whole file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// `length` bytes from `offset` on; `UnexpectedEof` where the file ends before.
    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// Names (not paths) of the files in a directory, sorted; empty if there is no such directory.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Creates the directory and its parents where missing, durably.
    fn create_dir(&self, directory: &str) -> io::Result<()>;
    fn sync_dir(&self, directory: &str) -> io::Result<()>;
    /// fdatasync of a file that a former process wrote: what was read of it may be in the page cache alone.
    fn sync_file(&self, name: &str) -> io::Result<()>;
}

/// A file that only grows.
pub trait AppendFile: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// fdatasync. After an error nothing is known of the bytes since the last success.
    fn sync(&mut self) -> io::Result<()>;
}

/// Puts a whole file in the place of another, durably: whoever opens it sees the old bytes or the new ones.
///
/// Errors: 53100, 58030; the old file is then still there, unless only the directory's sync failed.
pub fn replace_file(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<()> {
    let (directory, base) = name.rsplit_once('/').unwrap_or(("", name));
    let (temporary, leftover) = (format!("{name}.new"), format!("{base}.new"));
    let replace = || {
        if disk.list(directory)?.contains(&leftover) {
            disk.remove(&temporary)?;
        }
        let mut file = disk.create(&temporary)?;
        file.append(bytes)?;
        file.sync()?;
        disk.rename(&temporary, name)?;
        disk.sync_dir(directory)
    };
    replace().map_err(|error| disk_error("write", name, error))
}

/// A disk's failure as a client sees it: 53100 where it is full, else 58030. `doing` is a verb, `name` the file.
pub fn disk_error(doing: &str, name: &str, error: io::Error) -> Error {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let state = if full { SqlState::DISK_FULL } else { SqlState::IO_ERROR };
    Error::new(state, format!("could not {doing} \"{name}\": {error}")).with_source(error)
}

/// A directory of the machine's file system, held by this process alone.
#[derive(Debug)]
pub struct OsDisk {
    root: PathBuf,
    /// Locked for as long as it is open; the kernel lets go of it when the process dies.
    _lock: Option<File>,
}

impl OsDisk {
    /// Creates the directory where missing, and takes its lock. Errors: 55006 if another process holds it.
    pub fn open(root: impl Into<PathBuf>) -> Result<OsDisk> {
        let root = root.into();
        let shown = root.display().to_string();
        create_dir_durably(&root).map_err(|error| disk_error("create directory", &shown, error))?;
        let path = root.join("LOCK");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| disk_error("open", &path.display().to_string(), error))?;
        match lock.try_lock() {
            Ok(()) => Ok(OsDisk { root, _lock: Some(lock) }),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(Error::new(SqlState::OBJECT_IN_USE, format!("data directory \"{shown}\" is in use"))
                    .with_detail("Another server holds its lock file.")
                    .with_hint("Stop the other server, or give this one another --data-dir."))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(disk_error("lock", &path.display().to_string(), error)),
        }
    }

    /// The directory as it is, for who reads it without a server; and whether one uses it. While it is open no server
    /// starts over it. Errors: 58030 if there is no such directory.
    pub fn look(root: impl Into<PathBuf>) -> Result<(OsDisk, bool)> {
        let root = root.into();
        if !root.is_dir() {
            return Err(Error::new(SqlState::IO_ERROR, format!("there is no directory \"{}\"", root.display()))
                .with_hint("Name a data directory: what a server was started with as --data-dir."));
        }
        let path = root.join("LOCK");
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((OsDisk { root, _lock: None }, false)),
            Err(error) => return Err(disk_error("open", &path.display().to_string(), error)),
        };
        match lock.try_lock() {
            Ok(()) => Ok((OsDisk { root, _lock: Some(lock) }, false)),
            Err(std::fs::TryLockError::WouldBlock) => Ok((OsDisk { root, _lock: None }, true)),
            Err(std::fs::TryLockError::Error(error)) => Err(disk_error("lock", &path.display().to_string(), error)),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Refuses names that would leave the root.
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let relative = Path::new(name);
        if relative.components().all(|part| matches!(part, Component::Normal(_))) {
            Ok(self.root.join(relative))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("not a name below the root: {name}")))
        }
    }
}

impl Disk for OsDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
        let file = OpenOptions::new().create_new(true).append(true).open(self.path(name)?)?;
        Ok(Box::new(OsFile { file }))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(name)?)
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        File::open(self.path(name)?)?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.path(directory)?) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from)?, self.path(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name)?)
    }

    fn create_dir(&self, directory: &str) -> io::Result<()> {
        create_dir_durably(&self.path(directory)?)
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        File::open(self.path(directory)?)?.sync_all()
    }

    fn sync_file(&self, name: &str) -> io::Result<()> {
        OpenOptions::new().append(true).open(self.path(name)?)?.sync_data()
    }
}

struct OsFile {
    file: File,
}

impl AppendFile for OsFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// A directory is durable once its parent is synced, and so is each of its missing parents.
fn create_dir_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir_durably(parent)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

#[cfg(test)]
mod tests;
