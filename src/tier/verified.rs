//! An object store that checks what it reads of the manifest's files before anyone sees it.
//!
//! A range that is asked for is widened to whole blocks, read, and compared with the file's checksums. What does not fit
//! is damage and is named with its place; so is a file that is shorter than the manifest says. Other objects, and files
//! from before there were checksums, pass as they are.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result as StoreResult, coalesce_ranges,
};
use parking_lot::RwLock;

use super::Checksums;
use crate::error::Error;

const NAME: &str = "tier";

/// What a file must be.
#[derive(Debug, Clone)]
struct Known {
    bytes: u64,
    checksums: Checksums,
}

/// The store behind it, and what is known of its files.
#[derive(Debug)]
pub(super) struct VerifiedStore {
    store: Arc<dyn ObjectStore>,
    files: RwLock<HashMap<Path, Known>>,
}

impl VerifiedStore {
    pub fn new(store: Arc<dyn ObjectStore>) -> VerifiedStore {
        VerifiedStore { store, files: RwLock::default() }
    }

    /// From now on reads of this file are checked.
    pub fn know(&self, path: &str, bytes: u64, checksums: &Checksums) {
        self.files.write().insert(Path::from(path), Known { bytes, checksums: checksums.clone() });
    }

    pub fn forget(&self, path: &Path) {
        self.files.write().remove(path);
    }

    fn known(&self, path: &Path) -> Option<Known> {
        self.files.read().get(path).cloned()
    }

    /// A range of a known file, checked, and what the store says of the file.
    async fn read(&self, path: &Path, known: &Known, range: Range<u64>) -> StoreResult<(Bytes, ObjectMeta)> {
        let wide = known.checksums.widen(range.clone(), known.bytes);
        let options = GetOptions { range: Some(GetRange::Bounded(wide.clone())), ..GetOptions::default() };
        let found = match self.store.get_opts(path, options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Err(missing(path)),
            Err(error) => return Err(self.cut_short(path, known).await.unwrap_or(error)),
        };
        let meta = found.meta.clone();
        if meta.size != known.bytes {
            return Err(wrong_size(path, meta.size, known));
        }
        let bytes = found.bytes().await?;
        if bytes.len() as u64 != wide.end - wide.start {
            return Err(damaged(path, wide.start, format!("{} bytes could be read from there", bytes.len())));
        }
        if let Some(offset) = known.checksums.first_bad(wide.start, &bytes) {
            return Err(damaged(path, offset, "the checksum of the block that begins there does not fit".to_string()));
        }
        let (from, to) = (range.start - wide.start, range.end - wide.start);
        Ok((bytes.slice(from as usize..to as usize), meta))
    }

    /// Why a range could not be read, if it is because the file ends before it.
    async fn cut_short(&self, path: &Path, known: &Known) -> Option<object_store::Error> {
        let head = GetOptions { head: true, ..GetOptions::default() };
        let size = self.store.get_opts(path, head).await.ok()?.meta.size;
        (size != known.bytes).then(|| wrong_size(path, size, known))
    }
}

fn wrong_size(path: &Path, size: u64, known: &Known) -> object_store::Error {
    damaged(path, size.min(known.bytes), format!("{size} bytes are there, and {} were written", known.bytes))
}

fn missing(path: &Path) -> object_store::Error {
    let error = Error::corrupted(format!("file \"{path}\" is missing"))
        .with_detail("The manifest names it, and rows stand in it.")
        .with_hint("Restore the file from a copy. \"tidemark check\" lists what else is damaged.");
    object_store::Error::Generic { store: NAME, source: Box::new(error) }
}

fn damaged(path: &Path, offset: u64, why: String) -> object_store::Error {
    let error = Error::corrupted(format!("file \"{path}\" is damaged at offset {offset}"))
        .with_detail(format!("Of this file {why}."))
        .with_hint("Restore the file from a copy. \"tidemark check\" lists what else is damaged.");
    object_store::Error::Generic { store: NAME, source: Box::new(error) }
}

impl fmt::Display for VerifiedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "verified {}", self.store)
    }
}

#[async_trait]
impl ObjectStore for VerifiedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        self.store.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        let Some(known) = self.known(location).filter(|_| !options.head) else {
            return self.store.get_opts(location, options).await;
        };
        let range = match &options.range {
            Some(range) => range
                .as_range(known.bytes)
                .map_err(|error| object_store::Error::Generic { store: NAME, source: Box::new(error) })?,
            None => 0..known.bytes,
        };
        let (bytes, meta) = self.read(location, &known, range.clone()).await?;
        let payload = GetResultPayload::Stream(stream::once(async move { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: Default::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        let Some(known) = self.known(location) else { return self.store.get_ranges(location, ranges).await };
        let read = |range| async { self.read(location, &known, range).await.map(|(bytes, _)| bytes) };
        coalesce_ranges(ranges, read, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;
    use crate::error::SqlState;

    #[tokio::test]
    async fn ranges_are_checked_and_what_is_damaged_is_named() {
        let bytes: Vec<u8> = (0..300_000u32).map(|at| (at / 3) as u8).collect();
        let path = Path::from("data/16384/x.parquet");
        let store = Arc::new(InMemory::new());
        let verified = VerifiedStore::new(store.clone());
        verified.know(path.as_ref(), bytes.len() as u64, &Checksums::of(&bytes));
        store.put(&path, bytes.clone().into()).await.unwrap();
        assert_eq!(verified.get(&path).await.unwrap().bytes().await.unwrap(), bytes);
        for range in [0..1, 65_535..65_537, 10..299_999, 299_999..300_000] {
            let read = verified.get_range(&path, range.clone()).await.unwrap();
            assert_eq!(read, bytes[range.start as usize..range.end as usize]);
        }
        let ranges = verified.get_ranges(&path, &[5..9, 200_000..200_004]).await.unwrap();
        assert_eq!(ranges, [&bytes[5..9], &bytes[200_000..200_004]]);

        let mut flipped = bytes.clone();
        flipped[100_000] ^= 4;
        store.put(&path, flipped.into()).await.unwrap();
        assert!(verified.get_range(&path, 0..65_536).await.is_ok(), "another block");
        let error = Error::from(verified.get_range(&path, 70_000..70_010).await.unwrap_err());
        assert_eq!(error.state(), SqlState::DATA_CORRUPTED);
        assert_eq!(error.message(), "file \"data/16384/x.parquet\" is damaged at offset 65536");
        store.put(&path, bytes[..299_000].to_vec().into()).await.unwrap();
        let error = Error::from(verified.get_range(&path, 0..8).await.unwrap_err());
        assert_eq!(error.state(), SqlState::DATA_CORRUPTED);
    }
}
