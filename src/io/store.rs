//! The object store on a local disk, durably, and the choice of a store by URL.
//!
//! `object_store`'s own local store never syncs. Here an object is on disk, with its name, when its put returns:
//! temporary file, fsync, rename (or hard link, where it must be absent before), fsync of the directory. Reads and
//! lists are the crate's.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the seam to the file system")]

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};

use crate::error::{Error, Result, SqlState};

/// Objects as files below one directory.
#[derive(Debug)]
pub struct DurableLocalStore {
    root: PathBuf,
    files: Arc<LocalFileSystem>,
    next_temporary: AtomicU64,
}

impl DurableLocalStore {
    /// Creates the directory where missing.
    pub fn open(root: &FsPath) -> Result<DurableLocalStore> {
        let failed = |error: io::Error| {
            Error::new(SqlState::IO_ERROR, format!("could not open object store \"{}\"", root.display()))
                .with_detail(error.to_string())
        };
        create_dir_durably(root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        let files = Arc::new(LocalFileSystem::new_with_prefix(&root)?);
        Ok(DurableLocalStore { root, files, next_temporary: AtomicU64::new(0) })
    }

    /// A name that lists leave out (`#` and digits at the end), and that no other process uses.
    fn temporary_for(&self, target: &FsPath) -> PathBuf {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let mut name = target.as_os_str().to_os_string();
        name.push(format!("#{}{number:06}", std::process::id()));
        PathBuf::from(name)
    }
}

impl fmt::Display for DurableLocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableLocalStore({})", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableLocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        let create = match opts.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            PutMode::Update(_) => return Err(not_supported("conditional update")),
        };
        let target = self.files.path_to_filesystem(location)?;
        let temporary = self.temporary_for(&target);
        let name = location.to_string();
        let put = move || {
            put_durably(&target, &temporary, &payload, create).map_err(|error| store_error(&name, error))?;
            Ok(PutResult { e_tag: None, version: None })
        };
        blocking(put).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        Err(not_supported("multipart upload"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> StoreResult<()> {
        Err(not_supported("copy"))
    }
}

/// On a thread for blocking calls where there is a runtime, as `object_store` does itself.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> StoreResult<T> + Send + 'static) -> StoreResult<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

fn put_durably(target: &FsPath, temporary: &FsPath, payload: &PutPayload, create: bool) -> io::Result<()> {
    let directory = target.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    create_dir_durably(directory)?;
    let put = write_synced(temporary, payload).and_then(|()| {
        if create {
            // A hard link fails where the name exists, atomically; a rename would replace it.
            fs::hard_link(temporary, target)?;
            fs::remove_file(temporary)
        } else {
            fs::rename(temporary, target)
        }
    });
    if put.is_err() {
        // Best effort: a temporary file that stays is never listed.
        fs::remove_file(temporary).ok();
    }
    put?;
    File::open(directory)?.sync_all()
}

fn write_synced(path: &FsPath, payload: &PutPayload) -> io::Result<()> {
    let mut file = File::create(path)?;
    for chunk in payload.iter() {
        file.write_all(chunk)?;
    }
    file.sync_all()
}

/// Creates what is missing of a path, and syncs each directory that got a new entry.
fn create_dir_durably(directory: &FsPath) -> io::Result<()> {
    if directory.as_os_str().is_empty() || directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(FsPath::new("."));
    create_dir_durably(parent)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

fn store_error(path: &str, error: io::Error) -> object_store::Error {
    let path = path.to_string();
    match error.kind() {
        io::ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path, source: error.into() },
        io::ErrorKind::NotFound => object_store::Error::NotFound { path, source: error.into() },
        io::ErrorKind::PermissionDenied => object_store::Error::PermissionDenied { path, source: error.into() },
        _ => object_store::Error::Generic { store: "DurableLocalStore", source: error.into() },
    }
}

fn not_supported(what: &str) -> object_store::Error {
    object_store::Error::NotSupported { source: format!("{what} is not needed here").into() }
}

/// The store that a URL names, only if it is there already; `None` where it is not. Errors: as [`open_store`].
pub fn open_existing_store(url: &str, default_dir: &FsPath) -> Result<Option<Arc<dyn ObjectStore>>> {
    let directory = match url.split_once("://") {
        None if url.is_empty() => default_dir,
        None => FsPath::new(url),
        Some(("file", rest)) => FsPath::new(rest),
        Some(_) => return open_store(url, default_dir).map(Some),
    };
    if directory.is_dir() { open_store(url, default_dir).map(Some) } else { Ok(None) }
}

/// The store that a URL names: empty for `default_dir`, `file:///path` or a path, `memory://`.
///
/// Errors: 0A000 for stores that are not built in, 22023 for anything else, 58030 where the directory cannot be made.
pub fn open_store(url: &str, default_dir: &FsPath) -> Result<Arc<dyn ObjectStore>> {
    let Some((scheme, rest)) = url.split_once("://") else {
        let directory = if url.is_empty() { default_dir } else { FsPath::new(url) };
        return Ok(Arc::new(DurableLocalStore::open(directory)?));
    };
    match scheme {
        "file" if rest.starts_with('/') => Ok(Arc::new(DurableLocalStore::open(FsPath::new(rest))?)),
        "file" => Err(Error::new(SqlState::INVALID_PARAMETER, format!("object store \"{url}\" names a host"))
            .with_hint("Write file:///absolute/path, or the path alone.")),
        "memory" => Ok(Arc::new(InMemory::new())),
        "s3" | "s3a" | "az" | "azure" | "abfs" | "abfss" | "gs" | "gcs" => {
            Err(Error::not_built(format!("object store {scheme}://"))
                .with_hint("Use a local path, file:///path, or memory:// for now."))
        }
        _ => Err(Error::new(SqlState::INVALID_PARAMETER, format!("unknown object store \"{url}\""))
            .with_hint("Use a local path, file:///path, or memory://.")),
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        if let Some(ours) = ours(&error) {
            return ours;
        }
        let state = if is_full(&error) { SqlState::DISK_FULL } else { SqlState::IO_ERROR };
        Error::new(state, "the object store failed").with_detail(error.to_string()).with_source(error)
    }
}

/// An error of ours that travelled as the store's.
fn ours(error: &object_store::Error) -> Option<Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return Some(ours.clone());
        }
        cause = error.source();
    }
    None
}

fn is_full(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
