//! The live rows of a PRIMARY KEY table, found by key: sequenced state, so that an upsert never reads a file.
//!
//! Rows stand in chunks of columns, beside the row form of their keys; a hash table over the stored hashes points to
//! (chunk, row). New rows come as a chunk of their own; the last chunks are merged geometrically, which drops their
//! dead rows, and a chunk of which less than half lives is rewritten. So the garbage is at most as large as the live.
//!
//! Keys compare as GROUP BY does: -0 is 0, and every NaN is the same.
//!
//! Does not know: commits; it holds one state, the newest.

use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::row::{Row, RowConverter, Rows, SortField};
use hashbrown::HashTable;
use rustc_hash::{FxBuildHasher, FxHashSet};

use super::segment::row_ids;
use crate::delta::batch_bytes;
use crate::error::{Error, Result, SqlState};
use crate::types::RowId;

/// Chunks are merged up to this many rows.
const CHUNK_ROWS_MAX: usize = 1 << 16;
/// A chunk smaller than this is not rewritten for its dead rows alone.
const CHUNK_ROWS_MIN: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    chunk: u32,
    row: u32,
}

#[derive(Debug)]
struct Chunk {
    rows: RecordBatch,
    keys: Rows,
    live: Vec<bool>,
    live_count: usize,
}

/// Rows by key.
pub(super) struct KeyedRows {
    schema: SchemaRef,
    /// Positions of the key's columns.
    key: Vec<usize>,
    converter: RowConverter,
    entries: HashTable<Entry>,
    chunks: Vec<Chunk>,
}

/// New rows whose keys were checked, ready to be put in.
pub(super) struct CheckedInserts {
    rows: RecordBatch,
    keys: Rows,
    hashes: Vec<u64>,
}

impl KeyedRows {
    /// `schema` with `_row_id` last; `key` positions in it, in key order.
    pub fn new(schema: SchemaRef, key: &[usize]) -> Result<KeyedRows> {
        let fields = key.iter().map(|column| SortField::new(schema.field(*column).data_type().clone())).collect();
        Ok(KeyedRows {
            converter: RowConverter::new(fields)?,
            key: key.to_vec(),
            schema,
            entries: HashTable::new(),
            chunks: Vec::new(),
        })
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All live rows.
    pub fn live_batches(&self) -> Result<Vec<RecordBatch>> {
        self.chunks.iter().map(Chunk::live_rows).collect()
    }

    fn convert(&self, columns: &[ArrayRef]) -> Result<(Rows, Vec<u64>)> {
        let columns: Vec<ArrayRef> = columns.iter().map(canonical).collect();
        let keys = self.converter.convert_columns(&columns)?;
        let hashes = keys.iter().map(|key| FxBuildHasher.hash_one(key.data())).collect();
        Ok((keys, hashes))
    }

    fn key_columns(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.key.iter().map(|column| rows.column(*column).clone()).collect()
    }

    fn find(&self, hash: u64, key: Row<'_>) -> Option<Entry> {
        self.entries.find(hash, |entry| entry.hash == hash && self.key_of(entry) == Some(key)).copied()
    }

    fn key_of(&self, entry: &Entry) -> Option<Row<'_>> {
        Some(self.chunks.get(entry.chunk as usize)?.keys.row(entry.row as usize))
    }

    fn row_id_of(&self, entry: &Entry) -> Option<RowId> {
        let chunk = self.chunks.get(entry.chunk as usize)?;
        row_ids(&chunk.rows).ok()?.values().get(entry.row as usize).copied()
    }

    /// For each key (columns in key order) the index of its row in the returned batch, `None` where there is none.
    pub fn lookup(&self, keys: &[ArrayRef]) -> Result<(RecordBatch, Vec<Option<u32>>)> {
        let (keys, hashes) = self.convert(keys)?;
        let mut chunk_positions: Vec<Option<usize>> = vec![None; self.chunks.len()];
        let mut batches: Vec<&RecordBatch> = Vec::new();
        let mut picked: Vec<(usize, usize)> = Vec::new();
        let mut found = Vec::with_capacity(hashes.len());
        for (key, hash) in keys.iter().zip(hashes) {
            let Some(entry) = self.find(hash, key) else {
                found.push(None);
                continue;
            };
            let chunk = entry.chunk as usize;
            let position = *chunk_positions[chunk].get_or_insert_with(|| {
                batches.push(&self.chunks[chunk].rows);
                batches.len() - 1
            });
            found.push(Some(picked.len() as u32));
            picked.push((position, entry.row as usize));
        }
        if picked.is_empty() {
            return Ok((RecordBatch::new_empty(self.schema.clone()), found));
        }
        Ok((interleave_record_batch(&batches, &picked)?, found))
    }

    /// Refuses (23505) a new row whose key a live row has, unless that row is among `deleted`, or two new rows of one
    /// key. `table` is for the message.
    pub fn check(&self, rows: RecordBatch, deleted: &FxHashSet<RowId>, table: &str) -> Result<CheckedInserts> {
        let (keys, hashes) = self.convert(&self.key_columns(&rows))?;
        let mut seen: HashTable<usize> = HashTable::with_capacity(hashes.len());
        for (row, (key, hash)) in keys.iter().zip(&hashes).enumerate() {
            let live = self.find(*hash, key).and_then(|entry| self.row_id_of(&entry));
            if live.is_some_and(|row_id| !deleted.contains(&row_id)) {
                return Err(self.duplicate(&rows, row, table));
            }
            let same = |other: &usize| keys.row(*other) == key;
            if seen.find(*hash, same).is_some() {
                return Err(self.duplicate(&rows, row, table));
            }
            seen.insert_unique(*hash, row, |other| hashes.get(*other).copied().unwrap_or(0));
        }
        Ok(CheckedInserts { rows, keys, hashes })
    }

    fn duplicate(&self, rows: &RecordBatch, row: usize, table: &str) -> Error {
        let names: Vec<&str> = self.key.iter().map(|column| self.schema.field(*column).name().as_str()).collect();
        let values: Vec<String> = self
            .key_columns(rows)
            .iter()
            .map(|column| arrow::util::display::array_value_to_string(column, row).unwrap_or_default())
            .collect();
        Error::new(
            SqlState::UNIQUE_VIOLATION,
            format!("duplicate key value violates unique constraint \"{table}_pkey\""),
        )
        .with_detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
    }

    /// Takes out rows, given whole. One that is not there is passed over: it was checked by row id before.
    pub fn remove(&mut self, rows: &RecordBatch) -> Result<()> {
        let (keys, hashes) = self.convert(&self.key_columns(rows))?;
        let wanted = row_ids(rows)?;
        for ((key, hash), row_id) in keys.iter().zip(hashes).zip(wanted.values()) {
            let Some(entry) = self.find(hash, key).filter(|entry| self.row_id_of(entry) == Some(*row_id)) else {
                continue;
            };
            let same = |other: &Entry| other.chunk == entry.chunk && other.row == entry.row;
            if let Ok(occupied) = self.entries.find_entry(hash, same) {
                occupied.remove();
            }
            if let Some(chunk) = self.chunks.get_mut(entry.chunk as usize) {
                chunk.kill(entry.row as usize);
            }
            self.shrink(entry.chunk as usize)?;
        }
        Ok(())
    }

    pub fn insert(&mut self, inserts: CheckedInserts) -> Result<()> {
        let CheckedInserts { rows, keys, hashes } = inserts;
        let chunk = self.chunks.len() as u32;
        for (row, hash) in hashes.into_iter().enumerate() {
            self.entries.insert_unique(hash, Entry { hash, chunk, row: row as u32 }, |entry| entry.hash);
        }
        let live_count = rows.num_rows();
        self.chunks.push(Chunk { rows, keys, live: vec![true; live_count], live_count });
        while self.merge_last()? {}
        Ok(())
    }

    /// Merges the last two chunks' live rows where the two are small and of similar size.
    fn merge_last(&mut self) -> Result<bool> {
        let [.., earlier, later] = self.chunks.as_slice() else { return Ok(false) };
        if earlier.live_count > 2 * later.live_count.max(1) || earlier.live_count + later.live_count > CHUNK_ROWS_MAX {
            return Ok(false);
        }
        let both = [earlier.live_rows()?, later.live_rows()?];
        // Text beyond 2 GiB does not go into one batch: nothing depends on the merge but speed.
        let Ok(rows) = concat_batches(&self.schema, &both) else { return Ok(false) };
        self.replace_from(self.chunks.len() - 2, 2, rows)?;
        Ok(true)
    }

    /// Rewrites a chunk of which less than half lives.
    fn shrink(&mut self, at: usize) -> Result<()> {
        let Some(chunk) = self.chunks.get(at) else { return Ok(()) };
        if chunk.live.len() < CHUNK_ROWS_MIN || chunk.live_count * 2 >= chunk.live.len() {
            return Ok(());
        }
        let rows = chunk.live_rows()?;
        self.replace_from(at, 1, rows)
    }

    /// Puts `rows`, the live rows of `count` chunks from `at` in order, in their place as one chunk.
    fn replace_from(&mut self, at: usize, count: usize, rows: RecordBatch) -> Result<()> {
        let (keys, _) = self.convert(&self.key_columns(&rows))?;
        let mut next_row = 0;
        for old in at..at + count {
            let Some(chunk) = self.chunks.get(old) else { continue };
            for row in (0..chunk.live.len()).filter(|row| chunk.live[*row]) {
                let hash = FxBuildHasher.hash_one(chunk.keys.row(row).data());
                let same = |entry: &Entry| entry.chunk as usize == old && entry.row as usize == row;
                if let Some(entry) = self.entries.find_mut(hash, same) {
                    entry.chunk = at as u32;
                    entry.row = next_row | MOVED;
                }
                next_row += 1;
            }
        }
        let live_count = rows.num_rows();
        let merged = Chunk { rows, keys, live: vec![true; live_count], live_count };
        for row in 0..live_count {
            let hash = FxBuildHasher.hash_one(merged.keys.row(row).data());
            let same = |entry: &Entry| entry.chunk as usize == at && entry.row == row as u32 | MOVED;
            if let Some(entry) = self.entries.find_mut(hash, same) {
                entry.row = row as u32;
            }
        }
        self.chunks.splice(at..at + count, [merged]);
        Ok(())
    }

    /// Bytes that rows, keys and the hash table hold.
    pub fn memory_bytes(&self) -> usize {
        let chunks = self.chunks.iter().map(|chunk| batch_bytes(&chunk.rows) + chunk.keys.size());
        chunks.sum::<usize>() + self.entries.capacity() * size_of::<Entry>()
    }
}

/// Marks an entry that already points into the chunk that is being made, so that it is not taken for one of the
/// chunk's former rows. Chunks are far smaller.
const MOVED: u32 = 1 << 31;

impl Chunk {
    fn kill(&mut self, row: usize) {
        if let Some(live) = self.live.get_mut(row).filter(|live| **live) {
            *live = false;
            self.live_count -= 1;
        }
    }

    fn live_rows(&self) -> Result<RecordBatch> {
        if self.live_count == self.live.len() {
            return Ok(self.rows.clone());
        }
        let indices = (0..self.live.len() as u32).filter(|row| self.live[*row as usize]);
        Ok(take_record_batch(&self.rows, &UInt32Array::from_iter_values(indices))?)
    }
}

/// Floats as GROUP BY sees them: 0 for -0, one NaN.
fn canonical(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let floats: Float32Array =
                column.as_primitive::<Float32Type>().unary(|value| if value.is_nan() { f32::NAN } else { value + 0.0 });
            std::sync::Arc::new(floats)
        }
        DataType::Float64 => {
            let floats: Float64Array =
                column.as_primitive::<Float64Type>().unary(|value| if value.is_nan() { f64::NAN } else { value + 0.0 });
            std::sync::Arc::new(floats)
        }
        _ => column.clone(),
    }
}

#[cfg(test)]
mod tests;
