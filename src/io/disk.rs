//! The local disk, as the write-ahead log sees it: append, sync, rename, sync of a directory, nothing else.
//!
//! Names are relative paths with `/`, below one root. Calls block; whoever makes them stands on a thread of its own.
//! What is durable when:
//!   * bytes appended to a file: after `AppendFile::sync`
//!   * a file's name (created, renamed, removed): after `sync_dir` of its directory

use std::io;

/// A root directory.
pub trait Disk: Send + Sync + 'static {
    /// A new empty file; `AlreadyExists` if the name is taken.
    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>>;
    /// The whole file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Names (not paths) of the files in a directory, sorted; empty if there is no such directory.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Creates the directory and its parents where missing, durably.
    fn create_dir(&self, directory: &str) -> io::Result<()>;
    fn sync_dir(&self, directory: &str) -> io::Result<()>;
}

/// A file that only grows.
pub trait AppendFile: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// fdatasync. After an error nothing is known of the bytes since the last success.
    fn sync(&mut self) -> io::Result<()>;
}
