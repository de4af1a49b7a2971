//! An object store in memory that fails and crashes with a [`SimDisk`]: its calls are among the disk's calls.
//!
//! A put is durable when it returns and all or nothing before, as object stores and the durable local one promise; so
//! objects survive a crash. Multipart uploads and copies are refused: the tier uses neither. [`StoreTrouble`] is what real
//! stores do beside that.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use super::{FaultEffect, SimClock, SimDisk};
use crate::io::Clock;

const NAME: &str = "SimStore";

/// How every call goes until it is taken back.
#[derive(Clone)]
pub enum StoreTrouble {
    /// Nothing is done: the network is gone, or the store asks to slow down (503).
    Unavailable,
    /// A put that must be the first is told that another is under way (409, which arrives as "already exists"), and has no
    /// effect.
    Conflict,
    /// A put that must be the first is told that it is not (412), and has no effect.
    PreconditionFailed,
    /// Puts have their effect, and their answer is lost.
    TimeoutAfterSuccess,
    /// Puts are answered by a timeout, and have their effect at [`SimStore::land_late_puts`].
    TimeoutBeforeSuccess,
    /// Listings break off in the middle.
    PartialList,
    /// Every call takes this long.
    Slow(SimClock, Duration),
}

/// Clones share the objects.
#[derive(Clone)]
pub struct SimStore {
    disk: SimDisk,
    objects: Arc<InMemory>,
    trouble: Arc<Mutex<Option<StoreTrouble>>>,
    late: Arc<Mutex<Vec<LatePut>>>,
}

type LatePut = (Path, PutPayload, PutOptions);

impl SimStore {
    /// An empty store on the machine that `disk` belongs to.
    pub fn new(disk: SimDisk) -> Self {
        SimStore::of(disk, InMemory::new())
    }

    /// The same objects on another machine, apart from here on.
    pub fn fork(&self, disk: SimDisk) -> Self {
        SimStore::of(disk, self.objects.fork())
    }

    fn of(disk: SimDisk, objects: InMemory) -> Self {
        SimStore { disk, objects: Arc::new(objects), trouble: Arc::default(), late: Arc::default() }
    }

    /// `None`: everything works again.
    pub fn trouble(&self, trouble: Option<StoreTrouble>) {
        *self.trouble.lock() = trouble;
    }

    /// Puts that timed out arrive now.
    pub async fn land_late_puts(&self) {
        let late = std::mem::take(&mut *self.late.lock());
        for (location, payload, options) in late {
            // Refused where it had to be the first and is not; nobody is there to be told.
            let _ = self.objects.put_opts(&location, payload, options).await;
        }
    }

    /// Every object with its bytes, as no call of the simulated machine sees them.
    pub async fn contents(&self) -> BTreeMap<String, Bytes> {
        let mut contents = BTreeMap::new();
        let listed: Vec<ObjectMeta> = self.objects.list(None).try_collect().await.unwrap_or_default();
        for object in listed {
            if let Ok(found) = self.objects.get(&object.location).await
                && let Ok(bytes) = found.bytes().await
            {
                contents.insert(object.location.to_string(), bytes);
            }
        }
        contents
    }

    /// One call: has its effect, unless a fault was ordered for it.
    async fn call<T>(&self, operation: &str, effect: impl Future<Output = Result<T>>) -> Result<T> {
        let trouble = self.trouble.lock().clone();
        match trouble {
            Some(StoreTrouble::Unavailable) => return Err(generic(std::io::Error::other("simulated 503"))),
            Some(StoreTrouble::Slow(clock, duration)) => clock.sleep(duration).await,
            _ => {}
        }
        let result = match self.disk.call_elsewhere(operation).map_err(generic)? {
            None => effect.await,
            Some(when) => {
                if when == FaultEffect::After {
                    // Its outcome is what nobody is told.
                    let _ = effect.await;
                }
                Err(generic(std::io::Error::other("simulated fault")))
            }
        };
        self.disk.called_elsewhere(operation);
        result
    }
}

fn generic(error: std::io::Error) -> Error {
    Error::Generic { store: NAME, source: error.into() }
}

fn not_supported(what: &str) -> Error {
    Error::NotSupported { source: format!("{what} is not simulated").into() }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let path = location.to_string();
        let source = || std::io::Error::other("simulated").into();
        let is_create = opts.mode == PutMode::Create;
        let trouble = self.trouble.lock().clone();
        match trouble {
            Some(StoreTrouble::Conflict) if is_create => {
                self.call("put", async { Err(Error::AlreadyExists { path, source: source() }) }).await
            }
            Some(StoreTrouble::PreconditionFailed) if is_create => {
                self.call("put", async { Err(Error::Precondition { path, source: source() }) }).await
            }
            Some(StoreTrouble::TimeoutAfterSuccess) => {
                self.call("put", self.objects.put_opts(location, payload, opts)).await?;
                Err(generic(std::io::ErrorKind::TimedOut.into()))
            }
            Some(StoreTrouble::TimeoutBeforeSuccess) => {
                self.late.lock().push((location.clone(), payload, opts));
                Err(generic(std::io::ErrorKind::TimedOut.into()))
            }
            _ => self.call("put", self.objects.put_opts(location, payload, opts)).await,
        }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(not_supported("multipart upload"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.call("get", self.objects.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.call("get_ranges", self.objects.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .and_then(move |location| {
                let store = store.clone();
                async move {
                    store.call("delete", store.objects.delete(&location)).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let prefix = prefix.cloned();
        let listed = async move {
            let all = store.objects.list(prefix.as_ref()).try_collect::<Vec<_>>();
            let mut listed: Vec<Result<ObjectMeta>> =
                store.call("list_objects", all).await?.into_iter().map(Ok).collect();
            if matches!(*store.trouble.lock(), Some(StoreTrouble::PartialList)) {
                listed.truncate(listed.len() / 2);
                listed.push(Err(generic(std::io::Error::other("simulated end of a listing"))));
            }
            Ok::<_, Error>(stream::iter(listed))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.call("list_objects", self.objects.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_supported("copy"))
    }
}

#[cfg(test)]
mod tests;
