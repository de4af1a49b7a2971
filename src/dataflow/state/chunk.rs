//! One chunk of keyed state: keys, columns, and a probe table that finds a key's row. Rows are dense; removing one moves
//! the last into its place.

use std::ops::Range;

use super::bytes::{KIND_CHUNK, Reader, Writer, damaged};
use super::column::{Column, ColumnType};
use super::key::{Keys, hash_key};
use super::page::Content;
use super::probe::Probe;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Chunk {
    keys: Column,
    columns: Vec<Column>,
    probe: Probe,
}

impl Chunk {
    pub fn new(layout: &ChunkLayout) -> Self {
        Chunk {
            keys: Column::new(layout.key),
            columns: layout.columns.iter().map(|column| Column::new(*column)).collect(),
            probe: Probe::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn key(&self, row: usize) -> &[u8] {
        self.keys.key(row)
    }

    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub fn columns_mut(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    pub fn key_and_columns_mut(&mut self, row: usize) -> (&[u8], &mut [Column]) {
        (self.keys.key(row), &mut self.columns)
    }

    pub fn find(&self, key: &[u8]) -> Option<usize> {
        self.probe.find(hash_key(key), |row| self.keys.key(row as usize) == key).map(|row| row as usize)
    }

    /// The key's row; a new one has zeros and empty strings in all columns.
    pub fn find_or_insert(&mut self, key: &[u8]) -> usize {
        if let Some(row) = self.find(key) {
            return row;
        }
        let row = self.len();
        self.keys.push_key(key);
        self.probe.insert(hash_key(key), row as u32);
        self.fill();
        row
    }

    /// Appends the row of each of `keys[range]` to `rows`, in their order; keys that are new get rows behind all others,
    /// with zeros and empty strings in all columns.
    pub fn rows_of(&mut self, keys: &Keys, range: Range<usize>, rows: &mut Vec<u32>) {
        if let Column::Fixed { width: 0, .. } = self.keys {
            // There is one key, the empty one.
            if !range.is_empty() {
                let row = self.find_or_insert(&[]) as u32;
                rows.extend(std::iter::repeat_n(row, range.len()));
            }
            return;
        }
        rows.reserve(range.len());
        let hashes = &keys.hashes[range.clone()];
        match (&mut self.keys, keys.fixed()) {
            (Column::Fixed { width: 8, rows: count, bytes }, Some((8, new))) => {
                place::<8>(&mut self.probe, bytes, &new[range.start * 8..range.end * 8], hashes, rows);
                *count = bytes.len() / 8;
            }
            (Column::Fixed { width: 16, rows: count, bytes }, Some((16, new))) => {
                place::<16>(&mut self.probe, bytes, &new[range.start * 16..range.end * 16], hashes, rows);
                *count = bytes.len() / 16;
            }
            (Column::Fixed { width: 24, rows: count, bytes }, Some((24, new))) => {
                place::<24>(&mut self.probe, bytes, &new[range.start * 24..range.end * 24], hashes, rows);
                *count = bytes.len() / 24;
            }
            (stored, _) => {
                for (hash, row) in hashes.iter().zip(range) {
                    let key = keys.get(row);
                    let found = self.probe.find(*hash, |row| stored.key(row as usize) == key).unwrap_or_else(|| {
                        let row = stored.len() as u32;
                        stored.push_key(key);
                        self.probe.insert(*hash, row);
                        row
                    });
                    rows.push(found);
                }
            }
        }
        self.fill();
    }

    /// Gives every key its row in all columns.
    fn fill(&mut self) {
        let rows = self.keys.len();
        self.columns.iter_mut().for_each(|column| column.grow(rows));
    }

    pub fn remove(&mut self, row: usize) {
        let last = self.len() - 1;
        self.probe.remove(hash_key(self.keys.key(row)), row as u32);
        if row != last {
            self.probe.renumber(hash_key(self.keys.key(last)), last as u32, row as u32);
        }
        self.keys.swap_remove(row);
        self.columns.iter_mut().for_each(|column| column.swap_remove(row));
    }

    /// A chunk of these rows, in this order.
    pub fn take(&self, rows: &[u32]) -> Chunk {
        Chunk::of(self.keys.take(rows), self.columns.iter().map(|column| column.take(rows)).collect())
    }

    fn of(keys: Column, columns: Vec<Column>) -> Chunk {
        let mut probe = Probe::with_capacity(keys.len());
        for row in 0..keys.len() {
            probe.insert(hash_key(keys.key(row)), row as u32);
        }
        Chunk { keys, columns, probe }
    }
}

/// What the chunks of one state have in common.
#[derive(Debug)]
pub struct ChunkLayout {
    pub key: ColumnType,
    pub columns: Vec<ColumnType>,
}

impl Content for Chunk {
    type Layout = ChunkLayout;

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(KIND_CHUNK, self.memory_bytes());
        writer.number(self.len() as u64);
        self.keys.write(&mut writer);
        self.columns.iter().for_each(|column| column.write(&mut writer));
        Ok(writer.finish())
    }

    /// The probe table is made again: the hash function is part of the format's version.
    fn from_bytes(layout: &ChunkLayout, bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, KIND_CHUNK)?;
        let rows = usize::try_from(reader.number()?).map_err(|_| damaged())?;
        if rows > bytes.len() && !matches!(layout.key, ColumnType::Fixed(0)) {
            return Err(damaged());
        }
        let keys = Column::read(layout.key, rows, &mut reader)?;
        let columns =
            layout.columns.iter().map(|column| Column::read(*column, rows, &mut reader)).collect::<Result<_>>()?;
        reader.finish()?;
        Ok(Chunk::of(keys, columns))
    }

    fn memory_bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Column::memory_bytes).sum();
        self.keys.memory_bytes() + columns + self.probe.memory_bytes()
    }

    fn rows(&self) -> usize {
        self.len()
    }
}

/// [`Chunk::rows_of`] for keys of `WIDTH` bytes, which compare as words.
fn place<const WIDTH: usize>(probe: &mut Probe, stored: &mut Vec<u8>, new: &[u8], hashes: &[u64], rows: &mut Vec<u32>) {
    let (new, _) = new.as_chunks::<WIDTH>();
    for (key, hash) in new.iter().zip(hashes) {
        let (keys, _) = stored.as_chunks::<WIDTH>();
        let row = match probe.find(*hash, |row| keys[row as usize] == *key) {
            Some(row) => row,
            None => {
                let row = keys.len() as u32;
                stored.extend_from_slice(key);
                probe.insert(*hash, row);
                row
            }
        };
        rows.push(row);
    }
}
