//! Live rows of a PRIMARY KEY table, found by key in memory: sequenced state, so that an upsert of what was written lately
//! never reads a file.
//!
//! Rows stand in chunks of columns, beside the row form of their keys; a hash table over the stored hashes points to
//! (chunk, row). New rows come as a chunk of their own; the last chunks are merged geometrically, which drops their
//! dead rows, and a chunk of which less than half lives is rewritten. So the garbage is at most as large as the live.
//!
//! Chunks whose rows are all in files may leave memory, those first that nobody asked for lately (the clock algorithm).
//! All hot rows stay: a key that is not here is in a file (`cold_keys`), or nowhere; nowhere where nothing ever left.
//!
//! Does not know: commits; it holds one state, the newest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{Row, Rows};
use hashbrown::HashTable;
use rustc_hash::FxHashSet;

use super::key_form::{KeyForm, hash_of};
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
    row_id_max: RowId,
    /// Whether a row was looked up since the clock's hand last passed.
    touched: AtomicBool,
}

/// Rows by key.
pub(super) struct KeyedRows {
    schema: SchemaRef,
    form: Arc<KeyForm>,
    entries: HashTable<Entry>,
    chunks: Vec<Chunk>,
    /// Whether all live rows are here.
    complete: bool,
    /// Where the clock's hand stands among the chunks.
    hand: usize,
}

/// New rows whose keys were checked, ready to be put in.
pub(super) struct CheckedInserts {
    rows: RecordBatch,
    keys: Rows,
    hashes: Vec<u64>,
}

impl KeyedRows {
    /// `schema` with `_row_id` last.
    pub fn new(schema: SchemaRef, form: Arc<KeyForm>) -> KeyedRows {
        KeyedRows { schema, form, entries: HashTable::new(), chunks: Vec::new(), complete: true, hand: 0 }
    }

    /// Rows in memory.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a key that is not here is nowhere.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The table has live rows that are not here.
    pub fn set_incomplete(&mut self) {
        self.complete = false;
    }

    /// All live rows in memory.
    pub fn live_batches(&self) -> Result<Vec<RecordBatch>> {
        self.chunks.iter().map(Chunk::live_rows).collect()
    }

    fn convert(&self, columns: &[ArrayRef]) -> Result<(Rows, Vec<u64>)> {
        let keys = self.form.encode(columns)?;
        let hashes = keys.iter().map(hash_of).collect();
        Ok((keys, hashes))
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

    /// For each key (columns in key order) the index of its row in the returned batch, `None` where it is not here.
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
                self.chunks[chunk].touched.store(true, Ordering::Relaxed);
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

    /// Refuses (23505) a new row whose key a live row has that is here, unless that row is among `deleted`, or two new
    /// rows of one key. `table` is for the message.
    pub fn check(&self, rows: RecordBatch, deleted: &FxHashSet<RowId>, table: &str) -> Result<CheckedInserts> {
        let (keys, hashes) = self.convert(&self.form.columns_of(&rows))?;
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
        let names: Vec<&str> =
            self.form.columns().iter().map(|column| self.schema.field(*column).name().as_str()).collect();
        let values: Vec<String> = self
            .form
            .columns_of(rows)
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
        let (keys, hashes) = self.convert(&self.form.columns_of(rows))?;
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
        self.chunks.push(Chunk::new(rows, keys)?);
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
        let (keys, _) = self.convert(&self.form.columns_of(&rows))?;
        let mut next_row = 0;
        for old in at..at + count {
            let Some(chunk) = self.chunks.get(old) else { continue };
            for row in (0..chunk.live.len()).filter(|row| chunk.live[*row]) {
                let hash = hash_of(chunk.keys.row(row));
                let same = |entry: &Entry| entry.chunk as usize == old && entry.row as usize == row;
                if let Some(entry) = self.entries.find_mut(hash, same) {
                    entry.chunk = at as u32;
                    entry.row = next_row | MOVED;
                }
                next_row += 1;
            }
        }
        let merged = Chunk::new(rows, keys)?;
        for row in 0..merged.live_count {
            let hash = hash_of(merged.keys.row(row));
            let same = |entry: &Entry| entry.chunk as usize == at && entry.row == row as u32 | MOVED;
            if let Some(entry) = self.entries.find_mut(hash, same) {
                entry.row = row as u32;
            }
        }
        self.chunks.splice(at..at + count, [merged]);
        Ok(())
    }

    /// Lets one chunk leave memory whose rows are all in files: their ids are below `cold_end`. One that was looked up
    /// since the hand last passed is spared once. Returns the bytes that are free now; 0: there is none that may leave.
    pub fn evict(&mut self, cold_end: RowId) -> usize {
        for _ in 0..2 * self.chunks.len() {
            self.hand = (self.hand + 1) % self.chunks.len();
            let chunk = &self.chunks[self.hand];
            if chunk.live_count == 0 || chunk.row_id_max >= cold_end || chunk.touched.swap(false, Ordering::Relaxed) {
                continue;
            }
            return self.let_go(self.hand);
        }
        0
    }

    /// The chunk stays as an empty one, so that the others keep their places.
    fn let_go(&mut self, at: usize) -> usize {
        let empty = Chunk {
            rows: RecordBatch::new_empty(self.schema.clone()),
            keys: self.form.empty(),
            live: Vec::new(),
            live_count: 0,
            row_id_max: RowId::MIN,
            touched: AtomicBool::new(false),
        };
        let Some(place) = self.chunks.get_mut(at) else { return 0 };
        let before = self.entries.capacity();
        let gone = std::mem::replace(place, empty);
        for row in (0..gone.live.len()).filter(|row| gone.live[*row]) {
            let same = |entry: &Entry| entry.chunk as usize == at && entry.row as usize == row;
            if let Ok(occupied) = self.entries.find_entry(hash_of(gone.keys.row(row)), same) {
                occupied.remove();
            }
        }
        if self.entries.len() * 4 < before {
            self.entries.shrink_to(self.entries.len() * 2, |entry| entry.hash);
        }
        self.complete = false;
        gone.memory_bytes() + (before - self.entries.capacity().min(before)) * size_of::<Entry>()
    }

    /// Bytes that rows, keys and the hash table hold.
    pub fn memory_bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::memory_bytes).sum::<usize>() + self.entries.capacity() * size_of::<Entry>()
    }
}

/// Marks an entry that already points into the chunk that is being made, so that it is not taken for one of the
/// chunk's former rows. Chunks are far smaller.
const MOVED: u32 = 1 << 31;

impl Chunk {
    /// All alive.
    fn new(rows: RecordBatch, keys: Rows) -> Result<Chunk> {
        let row_id_max = row_ids(&rows)?.values().iter().copied().max().unwrap_or(RowId::MIN);
        let live_count = rows.num_rows();
        Ok(Chunk { keys, live: vec![true; live_count], live_count, row_id_max, touched: AtomicBool::new(true), rows })
    }

    fn memory_bytes(&self) -> usize {
        batch_bytes(&self.rows) + self.keys.size() + self.live.len()
    }

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

#[cfg(test)]
mod tests;
