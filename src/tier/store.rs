//! The tier's side of the object store: putting files and manifests, finding the newest manifest, removing orphans.
//!
//! Does not know: memtables, commits in flight, when to flush.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use super::parquet::{encode_rows, encode_tombstones, read_all, read_tombstones};
use super::{ColdRows, DataFile, FileSettings, Manifest, StoredForm, TombstoneFile};
use crate::error::{Error, Result, SqlState};
use crate::types::{CommitNumber, RelationId, RowId};

/// So many manifests stay, the newest among them.
const MANIFESTS_KEPT: usize = 8;

/// Files and manifests in one object store.
#[derive(Debug)]
pub struct Tier {
    store: Arc<dyn ObjectStore>,
}

/// The newest manifest that could be read, and what could not.
#[derive(Debug, Default)]
pub struct LoadedManifest {
    pub manifest: Manifest,
    /// Newer manifests that are damaged, newest first, each with what is wrong. Not empty: the log may have been
    /// truncated behind one of them, so that whoever replays it must insist on finding no gap.
    pub damaged: Vec<Error>,
}

impl Tier {
    pub fn new(store: Arc<dyn ObjectStore>) -> Arc<Tier> {
        Arc::new(Tier { store })
    }

    /// What DataFusion reads under [`super::TIER_URL`].
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    /// The newest valid manifest; the empty one where there is none. Errors: a format from the future, the store's.
    pub async fn load(&self) -> Result<LoadedManifest> {
        let mut loaded = LoadedManifest::default();
        for number in self.manifest_numbers().await?.into_iter().rev() {
            match self.read_manifest(number).await {
                Ok(manifest) => return Ok(LoadedManifest { manifest, ..loaded }),
                Err(error) if error.state() == SqlState::DATA_CORRUPTED => loaded.damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        match loaded.damaged.pop() {
            Some(error) => Err(error.with_hint("No manifest can be read; restore the object store from a copy.")),
            None => Ok(loaded),
        }
    }

    async fn read_manifest(&self, number: u64) -> Result<Manifest> {
        let path = Manifest::path(number);
        let bytes = self.store.get(&Path::from(path.as_str())).await?.bytes().await?;
        Manifest::from_bytes(&path, &bytes)
    }

    /// Puts the manifest if its number is free. Errors: 55006 where another server took the number.
    pub async fn publish(&self, manifest: &Manifest) -> Result<()> {
        let path = Path::from(Manifest::path(manifest.number));
        let bytes = manifest.to_bytes()?;
        let payload = PutPayload::from(bytes.clone());
        match self.store.put_opts(&path, payload, PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            // A request whose answer was lost and that was sent again finds its own object.
            Err(object_store::Error::AlreadyExists { .. }) if self.holds(&path, &bytes).await => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => Err(Error::new(
                SqlState::OBJECT_IN_USE,
                format!("manifest {} was written by another server", manifest.number),
            )
            .with_hint("Two servers use the same object store; stop one of them.")),
            Err(error) => Err(Error::from(error).with_context(format!("putting \"{path}\""))),
        }
    }

    async fn holds(&self, path: &Path, bytes: &[u8]) -> bool {
        match self.store.get(path).await {
            Ok(found) => found.bytes().await.is_ok_and(|found| found.as_ref() == bytes),
            Err(_) => false,
        }
    }

    async fn manifest_numbers(&self) -> Result<Vec<u64>> {
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
        let (row_id_min, row_id_max) = row_id_range(batches)?;
        let encoded = encode_rows(form, batches, sort_columns, settings)?;
        let bytes = encoded.bytes.len() as u64;
        self.put(&path, encoded.bytes).await?;
        Ok(DataFile {
            path,
            rows: encoded.rows,
            bytes,
            row_id_min,
            row_id_max,
            commit_min: commits.0,
            commit_max: commits.1,
            columns: encoded.columns,
            field_ids: form.field_ids_to_note(),
        })
    }

    pub async fn write_tombstones(&self, path: String, tombstones: &[(RowId, CommitNumber)]) -> Result<TombstoneFile> {
        let encoded = encode_tombstones(tombstones)?;
        let bytes = encoded.len() as u64;
        self.put(&path, encoded).await?;
        Ok(TombstoneFile { path, rows: tombstones.len() as u64, bytes })
    }

    async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let put = self.store.put(&Path::from(path), PutPayload::from(bytes)).await;
        put.map(|_| ()).map_err(|error| Error::from(error).with_context(format!("putting \"{path}\"")))
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

    pub async fn read_tombstones(&self, file: &TombstoneFile) -> Result<Vec<(RowId, CommitNumber)>> {
        read_tombstones(self.store.clone(), &file.path, file.bytes).await
    }

    /// Removes files that the manifest does not name: of dropped tables, and of flushes that never came to their
    /// manifest. At start-up only, while nothing else reads or writes. Returns how many.
    pub async fn remove_orphans(&self, manifest: &Manifest) -> Result<usize> {
        let named: HashSet<&str> = manifest.paths().collect();
        let objects: Vec<_> = self.store.list(Some(&Path::from("data"))).try_collect().await?;
        let mut removed = 0;
        for object in objects.iter().filter(|object| !named.contains(object.location.as_ref())) {
            self.remove(&object.location).await?;
            removed += 1;
        }
        Ok(removed)
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::from(error).with_context(format!("removing \"{path}\""))),
        }
    }

    /// Path of the `part`th file of rows that the flush to manifest `number` writes for a table.
    pub fn rows_path(table: RelationId, number: u64, part: usize) -> String {
        format!("data/{table}/{number:020}-{part:04}.parquet")
    }

    pub fn tombstones_path(table: RelationId, number: u64) -> String {
        format!("data/{table}/{number:020}-deleted.parquet")
    }
}

fn row_id_range(batches: &[RecordBatch]) -> Result<(RowId, RowId)> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    let columns = batches.iter().filter_map(|rows| rows.columns().last()?.as_primitive_opt::<Int64Type>());
    let mut range: Option<(RowId, RowId)> = None;
    for row_id in columns.flat_map(|column| column.values().iter().copied()) {
        range = Some(range.map_or((row_id, row_id), |(low, high)| (low.min(row_id), high.max(row_id))));
    }
    range.ok_or_else(|| Error::internal("a file without rows"))
}

#[cfg(test)]
mod tests;
