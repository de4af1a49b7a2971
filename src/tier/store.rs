//! The tier's side of the object store: putting files and manifests, finding the newest manifest, removing orphans.
//!
//! A put whose answer is lost may have happened, and may still happen. So what has an unknown outcome is read back; what
//! is not there then keeps its number, so that either the late put or the next attempt gets it, and nothing that it names
//! is removed while the server lives.
//!
//! Does not know: memtables, commits in flight, when to flush.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use super::parquet::{
    count_rows, encode_marks, encode_rows, encode_tombstones, open, read_all, read_marks, read_places, read_tombstones,
};
use super::verified::VerifiedStore;
use super::{
    Checksums, ColdRows, CommitMark, DataFile, EncodedRows, FileSettings, HistoryFile, Manifest, OpenFile, StoredForm,
    TombstoneFile, WriterId,
};
use crate::error::{Error, Result, SqlState};
use crate::types::{CommitNumber, RelationId, RowId};

/// So many manifests stay, the newest among them.
pub const MANIFESTS_KEPT: usize = 8;

/// Files and manifests in one object store.
#[derive(Debug)]
pub struct Tier {
    store: Arc<VerifiedStore>,
}

/// What became of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is there.
    Done,
    /// Its number is taken by an earlier attempt of the same writer, whose outcome was unknown. The next number is free.
    ByEarlierAttempt,
}

/// The newest manifest that could be read, and what could not.
#[derive(Debug, Default)]
pub struct LoadedManifest {
    pub manifest: Manifest,
    /// Newer manifests that are damaged, newest first, each with what is wrong. Not empty: the log may have been
    /// truncated behind one of them, so that whoever replays it must insist on finding no gap.
    pub damaged: Vec<Error>,
    /// The highest number that any manifest has, damaged or not.
    pub newest: u64,
}

impl Tier {
    pub fn new(store: Arc<dyn ObjectStore>) -> Arc<Tier> {
        Arc::new(Tier { store: Arc::new(VerifiedStore::new(store)) })
    }

    /// What DataFusion reads under [`super::TIER_URL`].
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    /// The newest valid manifest; the empty one where there is none. Errors: a format from the future, the store's.
    pub async fn load(&self) -> Result<LoadedManifest> {
        let numbers = self.manifest_numbers().await?;
        let mut loaded = LoadedManifest { newest: numbers.last().copied().unwrap_or(0), ..LoadedManifest::default() };
        for number in numbers.into_iter().rev() {
            match self.read_manifest(number).await {
                Ok(manifest) => {
                    self.know(&manifest);
                    return Ok(LoadedManifest { manifest, ..loaded });
                }
                Err(error) if error.state() == SqlState::DATA_CORRUPTED => loaded.damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        match loaded.damaged.pop() {
            Some(error) => Err(error.with_hint("No manifest can be read; restore the object store from a copy.")),
            None => Ok(loaded),
        }
    }

    /// Errors: XX001, 0A000, the store's.
    pub async fn read_manifest(&self, number: u64) -> Result<Manifest> {
        let path = Manifest::path(number);
        let bytes = self.store.get(&Path::from(path.as_str())).await?.bytes().await?;
        Manifest::from_bytes(&path, &bytes)
    }

    /// From now on reads of the manifest's files are checked against its checksums.
    fn know(&self, manifest: &Manifest) {
        for table in manifest.tables.values() {
            let data = table.files.iter().map(|file| (&file.path, file.bytes, &file.checksums));
            let tombstones = table.tombstone_files.iter().map(|file| (&file.path, file.bytes, &file.checksums));
            for (path, bytes, checksums) in data.chain(tombstones) {
                if let Some(checksums) = checksums {
                    self.store.know(path, bytes, checksums);
                }
            }
        }
        for file in &manifest.history {
            self.store.know(&file.path, file.bytes, &file.checksums);
        }
    }

    /// Puts the manifest if its number is free. Errors: 55006 where another server took the number; the store's, after
    /// which the manifest may be there or come yet: try again under the same number.
    pub async fn publish(&self, manifest: &Manifest) -> Result<Published> {
        let path = Path::from(Manifest::path(manifest.number));
        let bytes = manifest.to_bytes()?;
        let payload = PutPayload::from(bytes.clone());
        let failed = match self.store.put_opts(&path, payload, PutMode::Create.into()).await {
            Ok(_) => return self.check_newest(manifest.number).await,
            Err(error) => error,
        };
        match self.read_back(&path).await {
            // A request whose answer was lost, or that was sent again, finds its own object.
            Ok(Some(found)) if found.as_ref() == bytes => self.check_newest(manifest.number).await,
            Ok(Some(found)) => match Manifest::from_bytes(path.as_ref(), &found) {
                Ok(found) if found.writer == manifest.writer => Ok(Published::ByEarlierAttempt),
                _ => Err(fenced(manifest.number)),
            },
            // Also where a store says that the name is taken, and it is not: S3 does while two try at once (409).
            _ => Err(Error::from(failed).with_context(format!("putting \"{path}\""))),
        }
    }

    /// Puts a manifest like the loaded one under the next number, in the name of `writer`: from here on nobody else can
    /// publish without noticing. Errors: as [`Tier::publish`].
    pub async fn claim(&self, loaded: &LoadedManifest, writer: &WriterId) -> Result<Manifest> {
        let number = loaded.newest + 1;
        let manifest = Manifest { number, writer: writer.clone(), ..loaded.manifest.clone() };
        self.publish(&manifest).await?;
        Ok(manifest)
    }

    /// A number may be free because others took it, went on, and pruned their manifest: then there are newer ones.
    async fn check_newest(&self, number: u64) -> Result<Published> {
        match self.manifest_numbers().await?.last() {
            Some(newest) if *newest > number => Err(fenced(*newest)),
            _ => Ok(Published::Done),
        }
    }

    /// Errors: 55006 where another server published after manifest `number`, as one does that starts.
    pub async fn check_fence(&self, number: u64, writer: &WriterId) -> Result<()> {
        let Some(newest) = self.manifest_numbers().await?.last().copied().filter(|newest| *newest > number) else {
            return Ok(());
        };
        match self.read_manifest(newest).await {
            Ok(found) if found.writer == *writer => Ok(()),
            Ok(_) => Err(fenced(newest)),
            Err(error) => Err(error),
        }
    }

    /// `None` where there is no such object.
    async fn read_back(&self, path: &Path) -> Result<Option<bytes::Bytes>> {
        match self.store.get(path).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All manifests' numbers, ascending.
    pub async fn manifest_numbers(&self) -> Result<Vec<u64>> {
        let objects: Vec<_> = self.store.list(Some(&Path::from("manifest"))).try_collect().await?;
        let mut numbers: Vec<u64> =
            objects.iter().filter_map(|object| Manifest::number_of(object.location.as_ref())).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Removes all but the newest few manifests.
    pub async fn prune_manifests(&self) -> Result<()> {
        let numbers = self.manifest_numbers().await?;
        let surplus = numbers.len().saturating_sub(MANIFESTS_KEPT);
        for number in numbers.into_iter().take(surplus) {
            self.remove(&Path::from(Manifest::path(number))).await?;
        }
        Ok(())
    }

    /// Sorts and writes rows (the table's columns and `_row_id`) as one file. The caller says the path, the range of
    /// the rows' commits, and by which columns to sort before the row id.
    pub async fn write_rows(
        &self,
        path: String,
        form: &StoredForm,
        batches: &[RecordBatch],
        sort_columns: &[usize],
        settings: &FileSettings,
        commits: (CommitNumber, CommitNumber),
    ) -> Result<DataFile> {
        self.put_rows(path, form, encode_rows(form, batches, sort_columns, settings)?, commits).await
    }

    /// Writes what has been encoded.
    pub async fn put_rows(
        &self,
        path: String,
        form: &StoredForm,
        encoded: EncodedRows,
        commits: (CommitNumber, CommitNumber),
    ) -> Result<DataFile> {
        let bytes = encoded.bytes.len() as u64;
        let checksums = self.put(&path, encoded.bytes).await?;
        Ok(DataFile {
            path,
            checksums: Some(checksums),
            rows: encoded.rows,
            bytes,
            row_id_min: encoded.row_id_min,
            row_id_max: encoded.row_id_max,
            commit_min: commits.0,
            commit_max: commits.1,
            columns: encoded.columns,
            field_ids: form.field_ids_to_note(),
        })
    }

    pub async fn write_tombstones(&self, path: String, tombstones: &[(RowId, CommitNumber)]) -> Result<TombstoneFile> {
        let encoded = encode_tombstones(tombstones)?;
        let bytes = encoded.len() as u64;
        let checksums = Some(self.put(&path, encoded).await?);
        Ok(TombstoneFile { path, rows: tombstones.len() as u64, bytes, checksums })
    }

    /// `marks`: in the order of commits, at least one.
    pub async fn write_marks(&self, path: String, marks: &[CommitMark]) -> Result<HistoryFile> {
        let encoded = encode_marks(marks)?;
        let bytes = encoded.len() as u64;
        let checksums = self.put(&path, encoded).await?;
        let commit_max = marks.last().map(|mark| mark.commit).unwrap_or_default();
        Ok(HistoryFile { path, rows: marks.len() as u64, bytes, commit_max, checksums })
    }

    async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<Checksums> {
        let (checksums, length) = (Checksums::of(&bytes), bytes.len() as u64);
        let put = self.store.put(&Path::from(path), PutPayload::from(bytes)).await;
        put.map_err(|error| Error::from(error).with_context(format!("putting \"{path}\"")))?;
        self.store.know(path, length, &checksums);
        Ok(checksums)
    }

    /// A file's rows. `projection`: ascending positions in the file; `schema`: those columns in the table's form.
    pub async fn read_rows(
        &self,
        file: &DataFile,
        projection: Vec<usize>,
        schema: SchemaRef,
        batch_rows: usize,
    ) -> Result<ColdRows> {
        read_all(self.store.clone(), &file.path, file.bytes, projection, schema, batch_rows).await
    }

    /// Where a file's pages are.
    pub async fn open(&self, file: &DataFile) -> Result<OpenFile> {
        open(self.store.clone(), &file.path, file.bytes).await
    }

    /// The rows of an open file at `places`, ascending ranges of row numbers; otherwise as [`Tier::read_rows`].
    pub fn read_places(
        &self,
        file: &DataFile,
        open: &OpenFile,
        projection: Vec<usize>,
        schema: SchemaRef,
        places: impl Iterator<Item = Range<usize>>,
    ) -> Result<ColdRows> {
        read_places(self.store.clone(), &file.path, file.bytes, open, projection, schema, places)
    }

    pub async fn read_tombstones(&self, file: &TombstoneFile) -> Result<Vec<(RowId, CommitNumber)>> {
        read_tombstones(self.store.clone(), &file.path, file.bytes).await
    }

    pub async fn read_marks(&self, file: &HistoryFile) -> Result<Vec<CommitMark>> {
        read_marks(self.store.clone(), &file.path, file.bytes).await
    }

    /// Reads a file of the manifest whole: its checksums, its form, its number of rows. Errors: XX001, the store's.
    pub async fn check_file(&self, path: &str, bytes: u64, rows: u64) -> Result<()> {
        const CHUNK_BYTES: u64 = 8 << 20;
        let location = Path::from(path);
        let mut at = 0;
        while at < bytes {
            let end = (at + CHUNK_BYTES).min(bytes);
            self.store.get_range(&location, at..end).await?;
            at = end;
        }
        let found = count_rows(self.store.clone(), path, bytes).await?;
        if found != rows {
            return Err(Error::corrupted(format!("file \"{path}\" is damaged"))
                .with_detail(format!("It holds {found} rows, and the manifest says {rows}.")));
        }
        Ok(())
    }

    /// Files below `data/` that the manifest does not name, with their bytes.
    pub async fn orphans(&self, manifest: &Manifest) -> Result<Vec<(String, u64)>> {
        let named: HashSet<&str> = manifest.paths().collect();
        let objects: Vec<_> = self.store.list(Some(&Path::from("data"))).try_collect().await?;
        let orphans = objects.iter().filter(|object| !named.contains(object.location.as_ref()));
        Ok(orphans.map(|object| (object.location.to_string(), object.size)).collect())
    }

    /// Removes files that the manifest does not name: of dropped tables, and of flushes that never came to their
    /// manifest. At start-up only, while nothing else reads or writes. Returns how many.
    pub async fn remove_orphans(&self, manifest: &Manifest) -> Result<usize> {
        let orphans = self.orphans(manifest).await?;
        for (path, _) in &orphans {
            self.remove(&Path::from(path.as_str())).await?;
        }
        Ok(orphans.len())
    }

    /// One that no kept manifest names and nobody reads.
    pub async fn remove_file(&self, path: &str) -> Result<()> {
        self.remove(&Path::from(path)).await
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        self.store.forget(path);
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::from(error).with_context(format!("removing \"{path}\""))),
        }
    }

    /// Path of the `part`th file of rows that attempt `attempt` at manifest `number` writes for a table. What an attempt
    /// of unknown outcome wrote may count, so that no other may write there.
    pub fn rows_path(table: RelationId, number: u64, attempt: u32, part: usize) -> String {
        format!("data/{table}/{}-{part:04}.parquet", stem(number, attempt))
    }

    pub fn history_path(number: u64, attempt: u32) -> String {
        format!("data/history/{}.parquet", stem(number, attempt))
    }

    pub fn tombstones_path(table: RelationId, number: u64, attempt: u32) -> String {
        format!("data/{table}/{}-deleted.parquet", stem(number, attempt))
    }
}

fn stem(number: u64, attempt: u32) -> String {
    match attempt {
        0 => format!("{number:020}"),
        attempt => format!("{number:020}.{attempt}"),
    }
}

fn fenced(number: u64) -> Error {
    Error::new(SqlState::OBJECT_IN_USE, format!("manifest {number} was written by another server"))
        .with_detail("Another server has taken over the object store; this one writes no more.")
        .with_hint("Stop one of the two. Reads of this server go on, of what it had.")
}

#[cfg(test)]
mod tests;
