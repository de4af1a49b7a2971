//! Writing files: rows sorted by primary key, or else by the first timestamp column and row id.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use ::parquet::schema::types::ColumnPath;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::StoredForm;
use crate::error::{Error, Result};
use crate::tier::CommitMark;
use crate::tier::statistics::{ColumnBounds, holds_nan};
use crate::types::{CommitNumber, RowId};

/// How files are cut.
#[derive(Debug, Clone, Copy)]
pub struct FileSettings {
    pub row_group_rows: usize,
    pub file_rows_max: usize,
}

/// A file's bytes and what the manifest says of it.
pub(in crate::tier) struct EncodedRows {
    pub bytes: Vec<u8>,
    pub rows: u64,
    pub columns: Vec<ColumnBounds>,
}

/// Sorts the rows (the table's columns and `_row_id`) by `sort_columns`, then row id, and encodes them as one file.
pub(in crate::tier) fn encode_rows(
    form: &StoredForm,
    batches: &[RecordBatch],
    sort_columns: &[usize],
    settings: &FileSettings,
) -> Result<EncodedRows> {
    let rows = concat_batches(form.table_schema(), batches)?;
    let rows = form.to_stored(&sorted(rows, sort_columns)?)?;
    let user_columns = rows.num_columns().saturating_sub(1);
    let columns = rows.columns().iter().take(user_columns).map(ColumnBounds::of).collect::<Result<Vec<_>>>()?;
    let bytes = encode(&rows, properties(&rows, settings))?;
    Ok(EncodedRows { bytes, rows: rows.num_rows() as u64, columns })
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

/// No statistics for a float column that holds a NaN: Parquet's pass over it, and a NaN is greater than every number.
fn properties(rows: &RecordBatch, settings: &FileSettings) -> WriterPropertiesBuilder {
    let schema = rows.schema();
    let mut properties = base_properties().set_max_row_group_row_count(Some(settings.row_group_rows.max(1)));
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        if holds_nan(column) {
            let path = ColumnPath::new(vec![field.name().clone()]);
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    properties
}

fn encode(rows: &RecordBatch, properties: WriterPropertiesBuilder) -> Result<Vec<u8>> {
    let failed = |error: ParquetError| Error::internal(format!("encoding Parquet: {error}"));
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties.build())).map_err(failed)?;
    writer.write(rows).map_err(failed)?;
    writer.into_inner().map_err(failed)
}
