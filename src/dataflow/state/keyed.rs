//! Keyed state: chunks chosen by bits of the key's hash. When chunks grow past about half a megabyte their number doubles, and
//! each is split in two.

use std::sync::Arc;

use super::bytes::{KIND_KEYED, Reader, Writer, damaged};
use super::chunk::Chunk;
use super::column::ColumnType;
use super::key::{Keys, hash_key};
use crate::error::Result;

/// Chunks are split when they are on average larger than this: one and the rows that change it fit a core's cache.
const CHUNK_BYTES: usize = 1 << 19;
/// The bits of the hash that choose a chunk start here: the probe table uses those below, which must differ within a
/// chunk.
const PARTITION_SHIFT: u32 = 32;
const PARTITION_BITS_MAX: u32 = 20;

#[derive(Debug, Clone)]
pub struct KeyedState {
    layout: Arc<Layout>,
    partition_bits: u32,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Layout {
    key: ColumnType,
    columns: Vec<ColumnType>,
}

#[derive(Debug, Clone)]
enum Slot {
    Resident(Arc<Chunk>),
    Evicted(Arc<Vec<u8>>),
}

impl KeyedState {
    pub fn new(key: ColumnType, columns: Vec<ColumnType>) -> Self {
        let empty = Slot::Resident(Arc::new(Chunk::new(key, &columns)));
        KeyedState { layout: Arc::new(Layout { key, columns }), partition_bits: 0, slots: vec![empty] }
    }

    pub fn chunk_count(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub fn chunk_of(&self, hash: u64) -> usize {
        (hash >> PARTITION_SHIFT) as usize & (self.slots.len() - 1)
    }

    /// Where the rows of each chunk begin, with the end of the last, and the rows in that order, by counting sort.
    pub fn rows_by_chunk(&self, keys: &Keys) -> (Vec<usize>, Vec<u32>) {
        let mut starts = vec![0; self.chunk_count() + 1];
        keys.hashes.iter().for_each(|hash| starts[self.chunk_of(*hash) + 1] += 1);
        for chunk in 1..starts.len() {
            starts[chunk] += starts[chunk - 1];
        }
        let mut next = starts.clone();
        let mut order = vec![0_u32; keys.len()];
        for (row, hash) in keys.hashes.iter().enumerate() {
            let place = &mut next[self.chunk_of(*hash)];
            order[*place] = row as u32;
            *place += 1;
        }
        (starts, order)
    }

    /// Reads an evicted chunk back without keeping it.
    pub fn chunk(&self, index: usize) -> Result<Arc<Chunk>> {
        match &self.slots[index] {
            Slot::Resident(chunk) => Ok(chunk.clone()),
            Slot::Evicted(bytes) => Ok(Arc::new(self.layout.read(bytes)?)),
        }
    }

    pub fn chunk_mut(&mut self, index: usize) -> Result<&mut Chunk> {
        ChunkWriter { layout: &self.layout, slot: &mut self.slots[index] }.open()
    }

    /// All chunks, to be written independently of one another.
    pub fn writers(&mut self) -> impl Iterator<Item = ChunkWriter<'_>> {
        let layout = &*self.layout;
        self.slots.iter_mut().map(move |slot| ChunkWriter { layout, slot })
    }

    pub fn evict(&mut self, index: usize) {
        if let Slot::Resident(chunk) = &self.slots[index] {
            self.slots[index] = Slot::Evicted(Arc::new(chunk.to_bytes()));
        }
    }

    /// Rows in memory and out of it.
    pub fn rows(&self) -> Result<usize> {
        let count = |slot: &Slot| match slot {
            Slot::Resident(chunk) => Ok(chunk.len()),
            Slot::Evicted(bytes) => Ok(self.layout.read(bytes)?.len()),
        };
        self.slots.iter().map(count).sum()
    }

    pub fn memory_bytes(&self) -> usize {
        self.slots
            .iter()
            .map(|slot| match slot {
                Slot::Resident(chunk) => chunk.memory_bytes(),
                Slot::Evicted(bytes) => bytes.len(),
            })
            .sum()
    }

    /// Called between steps: more chunks, if those that there are have grown too large.
    pub fn rebalance(&mut self) -> Result<()> {
        while self.partition_bits < PARTITION_BITS_MAX && self.memory_bytes() / self.slots.len() > CHUNK_BYTES {
            self.double()?;
        }
        Ok(())
    }

    /// Chunk i becomes chunks i and i + n, by the next bit of the hash.
    fn double(&mut self) -> Result<()> {
        let count = self.slots.len();
        let mut lower = Vec::with_capacity(count * 2);
        let mut upper = Vec::with_capacity(count);
        for index in 0..count {
            let chunk = self.chunk(index)?;
            let is_upper = |row: &u32| (hash_key(chunk.key(*row as usize)) >> PARTITION_SHIFT) as usize & count != 0;
            let (high, low): (Vec<u32>, Vec<u32>) = (0..chunk.len() as u32).partition(is_upper);
            lower.push(Slot::Resident(Arc::new(chunk.take(&low))));
            upper.push(Slot::Resident(Arc::new(chunk.take(&high))));
        }
        lower.append(&mut upper);
        self.slots = lower;
        self.partition_bits += 1;
        Ok(())
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(KIND_KEYED);
        writer.number(u64::from(self.partition_bits));
        for slot in &self.slots {
            match slot {
                Slot::Resident(chunk) => writer.bytes(&chunk.to_bytes()),
                Slot::Evicted(bytes) => writer.bytes(bytes),
            }
        }
        writer.finish()
    }

    /// Chunks come back evicted, and are read when they are touched.
    pub fn from_bytes(key: ColumnType, columns: Vec<ColumnType>, bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, KIND_KEYED)?;
        let partition_bits = u32::try_from(reader.number()?).map_err(|_| damaged())?;
        if partition_bits > PARTITION_BITS_MAX {
            return Err(damaged());
        }
        let slots = (0..1_u64 << partition_bits)
            .map(|_| Ok(Slot::Evicted(Arc::new(reader.bytes()?.to_vec()))))
            .collect::<Result<_>>()?;
        reader.finish()?;
        Ok(KeyedState { layout: Arc::new(Layout { key, columns }), partition_bits, slots })
    }
}

/// A chunk that may be written.
pub struct ChunkWriter<'a> {
    layout: &'a Layout,
    slot: &'a mut Slot,
}

impl<'a> ChunkWriter<'a> {
    /// Brings the chunk back if it was evicted, and copies it if a clone of the state holds it.
    pub fn open(self) -> Result<&'a mut Chunk> {
        if let Slot::Evicted(bytes) = &*self.slot {
            *self.slot = Slot::Resident(Arc::new(self.layout.read(bytes)?));
        }
        match self.slot {
            Slot::Resident(chunk) => Ok(Arc::make_mut(chunk)),
            Slot::Evicted(_) => Err(damaged()),
        }
    }
}

impl Layout {
    fn read(&self, bytes: &[u8]) -> Result<Chunk> {
        Chunk::from_bytes(self.key, &self.columns, bytes)
    }
}

#[cfg(test)]
mod tests;
