//! Writing files: rows sorted by primary key, or else by the first timestamp column and row id.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use ::parquet::schema::types::ColumnPath;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, max, min, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use futures::{Stream, TryStreamExt};

use super::StoredForm;
use crate::error::{Error, Result};
use crate::tier::statistics::{BoundsBuilder, ColumnBounds, holds_nan};
use crate::tier::{CommitMark, DataFile};
use crate::types::{CommitNumber, RowId};

/// How files are cut.
#[derive(Debug, Clone, Copy)]
pub struct FileSettings {
    pub row_group_rows: usize,
    pub file_rows_max: usize,
}

/// A file's bytes and what the manifest says of it.
pub struct EncodedRows {
    pub(in crate::tier) bytes: Vec<u8>,
    pub(in crate::tier) rows: u64,
    pub(in crate::tier) row_id_min: RowId,
    pub(in crate::tier) row_id_max: RowId,
    pub(in crate::tier) columns: Vec<ColumnBounds>,
}

/// Sorts the rows (the table's columns and `_row_id`) by `sort_columns`, then row id, and encodes them as one file.
pub(in crate::tier) fn encode_rows(
    form: &StoredForm,
    batches: &[RecordBatch],
    sort_columns: &[usize],
    settings: &FileSettings,
) -> Result<EncodedRows> {
    let rows = sorted(concat_batches(form.table_schema(), batches)?, sort_columns)?;
    let with_nan: Vec<bool> = rows.columns().iter().map(holds_nan).collect();
    let mut encoder = RowsEncoder::new(form, &with_nan, settings)?;
    encoder.add(&rows)?;
    encoder.finish()
}

/// Encodes rows (the table's columns and `_row_id`) that come in the order of the file, as one file; of what came it holds what is
/// compressed. `files` are those that the rows are from. `None` where no row comes. Errors: those of `rows`.
pub async fn encode_in_order(
    form: &StoredForm,
    mut rows: impl Stream<Item = Result<RecordBatch>> + Unpin,
    files: &[DataFile],
    settings: &FileSettings,
) -> Result<Option<EncodedRows>> {
    let mut encoder = RowsEncoder::new(form, &form.may_hold_nan(files)?, settings)?;
    while let Some(rows) = rows.try_next().await? {
        encoder.add(&rows)?;
    }
    if encoder.rows == 0 { Ok(None) } else { encoder.finish().map(Some) }
}

struct RowsEncoder<'a> {
    form: &'a StoredForm,
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
    row_ids: Option<(RowId, RowId)>,
    /// Of the table's columns.
    bounds: Vec<BoundsBuilder>,
}

impl<'a> RowsEncoder<'a> {
    /// `may_hold_nan`: for each column whether one may come, which has no statistics then: Parquet's pass over a NaN, which is
    /// greater than every number.
    fn new(form: &'a StoredForm, may_hold_nan: &[bool], settings: &FileSettings) -> Result<Self> {
        let schema = form.file_schema();
        let mut properties = base_properties().set_max_row_group_row_count(Some(settings.row_group_rows.max(1)));
        for (field, _) in schema.fields().iter().zip(may_hold_nan).filter(|(_, may)| **may) {
            let path = ColumnPath::new(vec![field.name().clone()]);
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        let user_columns = schema.fields().iter().take(schema.fields().len().saturating_sub(1));
        let bounds = user_columns.map(|field| BoundsBuilder::new(field.data_type())).collect::<Result<_>>()?;
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties.build())).map_err(failed)?;
        Ok(RowsEncoder { form, writer, rows: 0, row_ids: None, bounds })
    }

    fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        let rows = self.form.to_stored(rows)?;
        for (bounds, column) in self.bounds.iter_mut().zip(rows.columns()) {
            bounds.add(column)?;
        }
        let row_ids = rows.columns().last().and_then(|column| column.as_primitive_opt::<Int64Type>());
        let row_ids = row_ids.ok_or_else(|| Error::internal("rows without their ids"))?;
        if let Some((low, high)) = min(row_ids).zip(max(row_ids)) {
            self.row_ids = Some(self.row_ids.map_or((low, high), |(min, max)| (min.min(low), max.max(high))));
        }
        self.rows += rows.num_rows() as u64;
        self.writer.write(&rows).map_err(failed)
    }

    fn finish(self) -> Result<EncodedRows> {
        let (row_id_min, row_id_max) = self.row_ids.ok_or_else(|| Error::internal("a file without rows"))?;
        let columns = self.bounds.into_iter().map(BoundsBuilder::finish).collect::<Result<_>>()?;
        let bytes = self.writer.into_inner().map_err(failed)?;
        Ok(EncodedRows { bytes, rows: self.rows, row_id_min, row_id_max, columns })
    }
}

/// Sorted by row id.
pub(in crate::tier) fn encode_tombstones(tombstones: &[(RowId, CommitNumber)]) -> Result<Vec<u8>> {
    let row_ids = Int64Array::from_iter_values(tombstones.iter().map(|(row_id, _)| *row_id));
    let commits = Int64Array::from_iter_values(tombstones.iter().map(|(_, commit)| commit.0 as i64));
    let columns: Vec<ArrayRef> = vec![Arc::new(row_ids), Arc::new(commits)];
    let rows = RecordBatch::try_new(tombstone_schema(), columns)?;
    encode(&rows, base_properties())
}

/// In the order of commits.
pub(in crate::tier) fn encode_marks(marks: &[CommitMark]) -> Result<Vec<u8>> {
    let commits = Int64Array::from_iter_values(marks.iter().map(|mark| mark.commit.0 as i64));
    let times = Int64Array::from_iter_values(marks.iter().map(|mark| mark.timestamp_us));
    let row_ids = Int64Array::from_iter_values(marks.iter().map(|mark| mark.row_id_end));
    let columns: Vec<ArrayRef> = vec![Arc::new(commits), Arc::new(times), Arc::new(row_ids)];
    encode(&RecordBatch::try_new(mark_schema(), columns)?, base_properties())
}

pub(super) fn tombstone_schema() -> SchemaRef {
    integers(&["row_id", "commit"])
}

pub(super) fn mark_schema() -> SchemaRef {
    integers(&["commit", "timestamp_us", "row_id_end"])
}

fn integers(names: &[&str]) -> SchemaRef {
    let column = |name: &&str| Field::new(*name, DataType::Int64, false);
    Arc::new(Schema::new(names.iter().map(column).collect::<Vec<_>>()))
}

fn sorted(rows: RecordBatch, sort_columns: &[usize]) -> Result<RecordBatch> {
    let row_id = rows.num_columns().saturating_sub(1);
    let by = sort_columns.iter().chain([&row_id]).filter_map(|column| rows.columns().get(*column));
    let by: Vec<SortColumn> = by.map(|values| SortColumn { values: values.clone(), options: None }).collect();
    let order = lexsort_to_indices(&by, None)?;
    Ok(take_record_batch(&rows, &order)?)
}

fn base_properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_created_by(format!("tidemark {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Page)
}

fn encode(rows: &RecordBatch, properties: WriterPropertiesBuilder) -> Result<Vec<u8>> {
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties.build())).map_err(failed)?;
    writer.write(rows).map_err(failed)?;
    writer.into_inner().map_err(failed)
}

fn failed(error: ParquetError) -> Error {
    Error::internal(format!("encoding Parquet: {error}"))
}
