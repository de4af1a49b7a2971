//! Reading files without DataFusion: a stream of batches, in the table's form.
//!
//! Used where rows are read as a whole (backfill, digests), or by their place in the file (keys); queries read the same files
//! through DataFusion's Parquet source, which prunes.

use std::ops::Range;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use ::parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::stored::from_stored;
use crate::error::{Error, Result};
use crate::tier::CommitMark;
use crate::types::{CommitNumber, RowId};

/// Rows of cold files, some columns of them.
pub type ColdRows = BoxStream<'static, Result<RecordBatch>>;

/// One object as a Parquet file.
struct StoredFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { Ok(self.store.get_range(&self.path, range).await?) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { Ok(self.store.get_ranges(&self.path, &ranges).await?) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let bytes = self.bytes;
            let pages = options.map_or(PageIndexPolicy::Skip, ArrowReaderOptions::offset_index_policy);
            let reader = ParquetMetaDataReader::new().with_offset_index_policy(pages);
            Ok(Arc::new(reader.load_and_finish(self, bytes).await?))
        }
        .boxed()
    }
}

/// What a file says of its pages, kept so that rows of it can be read again and again.
#[derive(Debug, Clone)]
pub struct OpenFile {
    metadata: ArrowReaderMetadata,
}

impl OpenFile {
    /// Bytes that it holds.
    pub fn memory_bytes(&self) -> usize {
        self.metadata.metadata().memory_size()
    }
}

/// Reads where a file's pages are.
pub(in crate::tier) async fn open(store: Arc<dyn ObjectStore>, path: &str, bytes: u64) -> Result<OpenFile> {
    let mut file = StoredFile { store, path: Path::from(path), bytes };
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
    let metadata = ArrowReaderMetadata::load_async(&mut file, options).await;
    Ok(OpenFile { metadata: metadata.map_err(|error| unreadable(path, error))? })
}

/// The rows of an open file that stand at `places`, ascending ranges of row numbers. Only pages with such rows are read.
/// `schema` is the table's form of the columns `projection` (ascending positions in the file).
pub(in crate::tier) fn read_places(
    store: Arc<dyn ObjectStore>,
    path: &str,
    bytes: u64,
    file: &OpenFile,
    projection: Vec<usize>,
    schema: SchemaRef,
    places: impl Iterator<Item = Range<usize>>,
) -> Result<ColdRows> {
    let rows = usize::try_from(file.metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
    let name = path.to_string();
    let stored = StoredFile { store, path: Path::from(path), bytes };
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(stored, file.metadata.clone());
    let mask = ProjectionMask::roots(builder.parquet_schema(), projection);
    let stream = builder
        .with_projection(mask)
        .with_row_selection(RowSelection::from_consecutive_ranges(places, rows))
        .build()
        .map_err(|error| unreadable(&name, error))?;
    let rows = stream
        .map_err(move |error| unreadable(&name, error))
        .and_then(move |rows| futures::future::ready(from_stored(&schema, rows.columns(), rows.num_rows())));
    Ok(rows.boxed())
}

/// All rows of a file. `schema` is the table's form of the columns `projection` (ascending positions in the file).
pub(in crate::tier) async fn read_all(
    store: Arc<dyn ObjectStore>,
    path: &str,
    bytes: u64,
    projection: Vec<usize>,
    schema: SchemaRef,
    batch_rows: usize,
) -> Result<ColdRows> {
    let name = path.to_string();
    let file = StoredFile { store, path: Path::from(path), bytes };
    let builder = ParquetRecordBatchStreamBuilder::new(file).await.map_err(|error| unreadable(&name, error))?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), projection);
    let stream = builder
        .with_projection(mask)
        .with_batch_size(batch_rows.max(1))
        .build()
        .map_err(|error| unreadable(&name, error))?;
    let rows = stream
        .map_err(move |error| unreadable(&name, error))
        .and_then(move |rows| futures::future::ready(from_stored(&schema, rows.columns(), rows.num_rows())));
    Ok(rows.boxed())
}

/// Decodes a whole file, whatever its columns, and counts its rows.
pub(in crate::tier) async fn count_rows(store: Arc<dyn ObjectStore>, path: &str, bytes: u64) -> Result<u64> {
    let file = StoredFile { store, path: Path::from(path), bytes };
    let builder = ParquetRecordBatchStreamBuilder::new(file).await.map_err(|error| unreadable(path, error))?;
    let mut stream = builder.build().map_err(|error| unreadable(path, error))?;
    let mut rows = 0;
    while let Some(batch) = stream.try_next().await.map_err(|error| unreadable(path, error))? {
        rows += batch.num_rows() as u64;
    }
    Ok(rows)
}

/// All of a tombstone file.
pub(in crate::tier) async fn read_tombstones(
    store: Arc<dyn ObjectStore>,
    path: &str,
    bytes: u64,
) -> Result<Vec<(RowId, CommitNumber)>> {
    let rows = read_integers(store, path, bytes, super::writer::tombstone_schema()).await?;
    Ok(rows.into_iter().map(|[row_id, commit]| (row_id, CommitNumber(commit as u64))).collect())
}

/// All of a file of commits' marks.
pub(in crate::tier) async fn read_marks(
    store: Arc<dyn ObjectStore>,
    path: &str,
    bytes: u64,
) -> Result<Vec<CommitMark>> {
    let rows = read_integers(store, path, bytes, super::writer::mark_schema()).await?;
    let mark = |[commit, timestamp_us, row_id_end]: [i64; 3]| CommitMark {
        commit: CommitNumber(commit as u64),
        timestamp_us,
        row_id_end,
    };
    Ok(rows.into_iter().map(mark).collect())
}

/// A file of integers that are not NULL.
async fn read_integers<const N: usize>(
    store: Arc<dyn ObjectStore>,
    path: &str,
    bytes: u64,
    schema: SchemaRef,
) -> Result<Vec<[i64; N]>> {
    let mut batches = read_all(store, path, bytes, (0..N).collect(), schema, 1 << 16).await?;
    let mut rows = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let columns: Vec<&[i64]> =
            batch.columns().iter().map(|column| &column.as_primitive::<Int64Type>().values()[..]).collect();
        let Ok(columns) = <[&[i64]; N]>::try_from(columns) else {
            return Err(Error::corrupted(format!("file \"{path}\" has other columns")));
        };
        rows.extend((0..batch.num_rows()).map(|row| columns.map(|column| column[row])));
    }
    Ok(rows)
}

/// What kept a file from being read: damage, or the store.
fn unreadable(path: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<object_store::Error>() {
            Ok(store) => Error::from(*store).with_context(format!("reading \"{path}\"")),
            Err(source) => Error::corrupted(format!("file \"{path}\" cannot be read")).with_detail(source.to_string()),
        },
        other => Error::corrupted(format!("file \"{path}\" cannot be read"))
            .with_detail(other.to_string())
            .with_source(other),
    }
}
