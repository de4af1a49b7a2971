//! The body of a commit's record, version 2. All numbers little endian, lengths before what they measure.
//!
//! ```text
//! body  = version u8, timestamp in us i64, writers u32, then per writer: first row id i64, write
//! write = tables u32, each: relation u32, schema version u32, inserts, deletes (Arrow IPC, or empty)
//!         catalog changes (JSON, or empty)
//!         positions u32, each: source u32, position bytes
//!         tier changes u32, each: relation u32, flushed u64, manifest u64
//!         watermarks u32, each: relation u32, microseconds i64
//! ```
//!
//! Version 1 had no watermarks.
//!
//! A writer encodes its write before it takes its place in the order, in its own thread; the sequencer adds only the
//! first row id. The ids of all its inserts follow from it, in the order of its tables.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::write::{SourcePosition, TableWrite, TierChange, WatermarkAdvance, Write};
use crate::catalog::CatalogChange;
use crate::error::{Error, Result, SqlState};
use crate::types::{CommitNumber, ROW_ID, RelationId, RowId};

/// The kind of WAL record that holds a commit.
pub(super) const KIND_COMMIT: u8 = 1;
const BODY_VERSION: u8 = 2;

/// One writer's part of a commit.
#[derive(Debug)]
pub(super) struct SequencedPart {
    pub first_row_id: RowId,
    pub write: Write,
}

/// For each of the write's tables, the row id of its first insert; and the first id after all of them.
pub(super) fn first_row_ids(write: &Write, first_row_id: RowId) -> (Vec<RowId>, RowId) {
    let mut next = first_row_id;
    let mut firsts = Vec::with_capacity(write.tables.len());
    for table in &write.tables {
        firsts.push(next);
        next += table.inserts.as_ref().map_or(0, |rows| rows.num_rows() as i64);
    }
    (firsts, next)
}

/// Errors: internal, for deletes without row ids, and for batches of one table that differ in their columns. Refused here,
/// before anything happened: in a group they would end the log.
pub(super) fn encode_write(write: &Write) -> Result<Vec<u8>> {
    check_shapes(write)?;
    let mut out = Vec::new();
    put_u32(&mut out, write.tables.len());
    for table in &write.tables {
        out.extend(table.table.0.to_le_bytes());
        out.extend(table.schema_version.to_le_bytes());
        put_rows(&mut out, table.inserts.as_ref())?;
        put_rows(&mut out, table.deletes.as_ref())?;
    }
    let catalog = match write.catalog.as_slice() {
        [] => Vec::new(),
        changes => serde_json::to_vec(changes).map_err(Error::internal)?,
    };
    put_bytes(&mut out, &catalog);
    put_u32(&mut out, write.positions.len());
    for position in &write.positions {
        out.extend(position.source.0.to_le_bytes());
        put_bytes(&mut out, &position.position);
    }
    put_u32(&mut out, write.tier.len());
    for change in &write.tier {
        out.extend(change.table.0.to_le_bytes());
        out.extend(change.flushed.0.to_le_bytes());
        out.extend(change.manifest.to_le_bytes());
    }
    put_u32(&mut out, write.watermarks.len());
    for advance in &write.watermarks {
        out.extend(advance.table.0.to_le_bytes());
        out.extend(advance.at_us.to_le_bytes());
    }
    Ok(out)
}

/// `writes`: first row id and encoded write of each writer.
pub(super) fn encode_body<'a>(
    timestamp_us: i64,
    writes: impl ExactSizeIterator<Item = (RowId, &'a [u8])> + Clone,
) -> Vec<u8> {
    let bytes: usize = writes.clone().map(|(_, write)| write.len() + 8).sum();
    let mut out = Vec::with_capacity(bytes + 13);
    out.push(BODY_VERSION);
    out.extend(timestamp_us.to_le_bytes());
    put_u32(&mut out, writes.len());
    for (first_row_id, write) in writes {
        out.extend(first_row_id.to_le_bytes());
        out.extend_from_slice(write);
    }
    out
}

/// Timestamp and writers. Errors: 0A000 for a later version; XX001 for anything that does not decode, although its
/// checksum held.
pub(super) fn decode_body(body: &[u8]) -> Result<(i64, Vec<SequencedPart>)> {
    let mut input = Input { bytes: body };
    let version = match input.take(1)? {
        [version @ 1..=BODY_VERSION] => *version,
        version => {
            let shown = version.first().copied().unwrap_or_default();
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("a commit record has version {shown}"))
                .with_detail(format!("This version of Tidemark reads versions up to {BODY_VERSION}."))
                .with_hint("Start the version of Tidemark that wrote it, or a later one."));
        }
    };
    let timestamp_us = input.i64()?;
    let writers = input.u32()?;
    let mut parts = Vec::new();
    for _ in 0..writers {
        parts.push(SequencedPart { first_row_id: input.i64()?, write: decode_write(&mut input, version)? });
    }
    match input.bytes {
        [] => Ok((timestamp_us, parts)),
        rest => Err(malformed(format!("{} bytes follow its end", rest.len()))),
    }
}

fn decode_write(input: &mut Input<'_>, version: u8) -> Result<Write> {
    let mut write = Write::default();
    for _ in 0..input.u32()? {
        write.tables.push(TableWrite {
            table: RelationId(input.u32()?),
            schema_version: input.u32()?,
            inserts: input.rows()?,
            deletes: input.rows()?,
        });
    }
    let catalog = input.bytes()?;
    if !catalog.is_empty() {
        write.catalog = serde_json::from_slice::<Vec<CatalogChange>>(catalog).map_err(malformed)?;
    }
    for _ in 0..input.u32()? {
        let source = RelationId(input.u32()?);
        write.positions.push(SourcePosition { source, position: input.bytes()?.to_vec() });
    }
    for _ in 0..input.u32()? {
        let table = RelationId(input.u32()?);
        write.tier.push(TierChange { table, flushed: CommitNumber(input.u64()?), manifest: input.u64()? });
    }
    let watermarks = if version == 1 { 0 } else { input.u32()? };
    for _ in 0..watermarks {
        write.watermarks.push(WatermarkAdvance { table: RelationId(input.u32()?), at_us: input.i64()? });
    }
    Ok(write)
}

/// Types of the user's columns; `None` for a write without rows.
pub(super) fn column_types(write: &TableWrite) -> Option<Vec<DataType>> {
    let types = |rows: &RecordBatch| rows.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let inserts: Option<Vec<DataType>> = write.inserts.as_ref().map(types);
    inserts.or_else(|| {
        let mut types: Vec<DataType> = types(write.deletes.as_ref()?);
        types.pop();
        Some(types)
    })
}

fn check_shapes(write: &Write) -> Result<()> {
    let mut seen: Vec<(RelationId, u32, Vec<DataType>)> = Vec::new();
    for table in &write.tables {
        let id = table.table;
        if table.deletes.as_ref().is_some_and(|deletes| !has_row_ids(deletes)) {
            return Err(Error::internal(format!("deletes of table {id} without row ids")));
        }
        let inserts = TableWrite { deletes: None, ..table.clone() };
        let deletes = TableWrite { inserts: None, ..table.clone() };
        for types in [column_types(&inserts), column_types(&deletes)].into_iter().flatten() {
            let shape = (id, table.schema_version, types);
            if seen.iter().any(|other| other.0 == id && *other != shape) {
                return Err(Error::internal(format!("batches of table {id} differ in their columns")));
            }
            seen.push(shape);
        }
    }
    Ok(())
}

fn has_row_ids(deletes: &RecordBatch) -> bool {
    deletes
        .schema()
        .fields()
        .last()
        .is_some_and(|field| field.name() == ROW_ID && field.data_type() == &DataType::Int64)
        && deletes.columns().last().is_some_and(|column| column.null_count() == 0)
}

fn put_u32(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u32).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Length, then an Arrow IPC stream of one batch; length 0 for no batch.
fn put_rows(out: &mut Vec<u8>, rows: Option<&RecordBatch>) -> Result<()> {
    let length_at = out.len();
    out.extend(0u64.to_le_bytes());
    if let Some(rows) = rows {
        let mut writer = StreamWriter::try_new(&mut *out, &rows.schema())?;
        writer.write(rows)?;
        writer.finish()?;
        drop(writer);
        let length = (out.len() - length_at - 8) as u64;
        out[length_at..length_at + 8].copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

fn malformed(what: impl std::fmt::Display) -> Error {
    Error::corrupted("a commit record does not decode").with_detail(format!("{what}."))
}

/// What is left to decode.
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or_else(|| malformed(format!("{length} bytes expected, {} left", self.bytes.len())))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.u64()?).map_err(malformed)?;
        self.take(length)
    }

    fn rows(&mut self) -> Result<Option<RecordBatch>> {
        let bytes = self.bytes()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(malformed)?;
        let schema = reader.schema();
        let batches = reader.collect::<std::result::Result<Vec<_>, _>>().map_err(malformed)?;
        match <[RecordBatch; 1]>::try_from(batches) {
            Ok([one]) => Ok(Some(one)),
            Err(batches) => Ok(Some(concat_batches(&schema, &batches).map_err(malformed)?)),
        }
    }
}

#[cfg(test)]
mod tests;
