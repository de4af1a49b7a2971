//! One chunk of keyed state: keys, columns, and a probe table over stored hashes. Rows are dense; removing one moves the
//! last into its place.

use hashbrown::HashTable;

use super::bytes::{KIND_CHUNK, Reader, Writer, damaged};
use super::column::{Column, ColumnType};
use super::key::hash_key;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Chunk {
    hashes: Vec<u64>,
    keys: Column,
    columns: Vec<Column>,
    probe: HashTable<u32>,
}

impl Chunk {
    pub fn new(key: ColumnType, columns: &[ColumnType]) -> Self {
        Chunk {
            hashes: Vec::new(),
            keys: Column::new(key),
            columns: columns.iter().map(|column| Column::new(*column)).collect(),
            probe: HashTable::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub fn key(&self, row: usize) -> &[u8] {
        self.keys.key(row)
    }

    pub fn hash(&self, row: usize) -> u64 {
        self.hashes[row]
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

    pub fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.probe
            .find(hash, |row| self.hashes[*row as usize] == hash && self.keys.key(*row as usize) == key)
            .map(|row| *row as usize)
    }

    /// The key's row; a new one has zeros and empty strings in all columns.
    pub fn find_or_insert(&mut self, hash: u64, key: &[u8]) -> usize {
        match self.find(hash, key) {
            Some(row) => row,
            None => self.insert(hash, key),
        }
    }

    fn insert(&mut self, hash: u64, key: &[u8]) -> usize {
        let row = self.hashes.len();
        self.hashes.push(hash);
        self.keys.push_key(key);
        self.columns.iter_mut().for_each(Column::push_default);
        let hashes = &self.hashes;
        self.probe.insert_unique(hash, row as u32, |row| hashes[*row as usize]);
        row
    }

    pub fn remove(&mut self, hash: u64, key: &[u8]) {
        let Some(row) = self.find(hash, key) else { return };
        if let Ok(entry) = self.probe.find_entry(hash, |found| *found as usize == row) {
            entry.remove();
        }
        let last = self.hashes.len() - 1;
        if row != last
            && let Some(moved) = self.probe.find_mut(self.hashes[last], |found| *found as usize == last)
        {
            *moved = row as u32;
        }
        self.hashes.swap_remove(row);
        self.keys.swap_remove(row);
        self.columns.iter_mut().for_each(|column| column.swap_remove(row));
    }

    /// Appends row `row` of `from`, whose key is not here yet.
    pub fn push_from(&mut self, from: &Chunk, row: usize) {
        let place = self.hashes.len();
        let hash = from.hashes[row];
        self.hashes.push(hash);
        self.keys.push_from(&from.keys, row);
        for (to, from) in self.columns.iter_mut().zip(&from.columns) {
            to.push_from(from, row);
        }
        let hashes = &self.hashes;
        self.probe.insert_unique(hash, place as u32, |row| hashes[*row as usize]);
    }

    pub fn memory_bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Column::memory_bytes).sum();
        self.hashes.capacity() * 8 + self.keys.memory_bytes() + columns + self.probe.allocation_size()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(KIND_CHUNK);
        writer.number(self.len() as u64);
        self.keys.write(&mut writer);
        self.columns.iter().for_each(|column| column.write(&mut writer));
        writer.finish()
    }

    /// Hashes are recomputed: the hash function is part of the format's version.
    pub fn from_bytes(key: ColumnType, columns: &[ColumnType], bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, KIND_CHUNK)?;
        let rows = usize::try_from(reader.number()?).map_err(|_| damaged())?;
        if rows > bytes.len() && !matches!(key, ColumnType::Fixed(0)) {
            return Err(damaged());
        }
        let keys = Column::read(key, rows, &mut reader)?;
        let columns = columns.iter().map(|column| Column::read(*column, rows, &mut reader)).collect::<Result<_>>()?;
        reader.finish()?;
        let hashes: Vec<u64> = (0..rows).map(|row| hash_key(keys.key(row))).collect();
        let mut probe = HashTable::with_capacity(rows);
        for (row, hash) in hashes.iter().enumerate() {
            probe.insert_unique(*hash, row as u32, |row: &u32| hashes[*row as usize]);
        }
        Ok(Chunk { hashes, keys, columns, probe })
    }
}
