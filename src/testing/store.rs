//! An object store in memory that fails and crashes with a [`SimDisk`]: its calls are among the disk's calls.
//!
//! A put is durable when it returns and all or nothing before, as object stores and the durable local one promise; so
//! objects survive a crash. Multipart uploads and copies are refused: the tier uses neither.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::{FaultEffect, SimDisk};

const NAME: &str = "SimStore";

/// Clones share the objects.
#[derive(Debug, Clone)]
pub struct SimStore {
    disk: SimDisk,
    objects: Arc<InMemory>,
}

impl SimStore {
    /// An empty store on the machine that `disk` belongs to.
    pub fn new(disk: SimDisk) -> Self {
        SimStore { disk, objects: Arc::new(InMemory::new()) }
    }

    /// The same objects on another machine, apart from here on.
    pub fn fork(&self, disk: SimDisk) -> Self {
        SimStore { disk, objects: Arc::new(self.objects.fork()) }
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

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.call("put", self.objects.put_opts(location, payload, opts)).await
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
            let listed = store.call("list_objects", all).await?;
            Ok::<_, Error>(stream::iter(listed.into_iter().map(Ok)))
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
