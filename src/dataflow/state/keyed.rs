//! Keyed state: chunks chosen by bits of the key's hash. When chunks grow past about half a megabyte their number doubles, and
//! each is split in two.

use std::sync::Arc;

use super::bytes::damaged;
use super::chunk::{Chunk, ChunkLayout};
use super::column::ColumnType;
use super::key::{Keys, hash_key};
use super::page::{LeftPage, Page, PageMut, PageStore};
use super::residence::{Account, Residence};
use super::stored::{StateReader, StateWriter};
use crate::error::Result;

/// Chunks are split when they are on average larger than this: one and the rows that change it fit a core's cache.
pub const CHUNK_BYTES: usize = 1 << 19;
/// The bits of the hash that choose a chunk start here: the probe table uses those below, which must differ within a
/// chunk.
const PARTITION_SHIFT: u32 = 32;
const PARTITION_BITS_MAX: u32 = 20;

#[derive(Debug, Clone)]
pub struct KeyedState {
    layout: Arc<ChunkLayout>,
    account: Arc<Account>,
    /// Where eviction goes on.
    hand: usize,
    partition_bits: u32,
    pages: Vec<Arc<Page<Chunk>>>,
}

impl KeyedState {
    pub fn new(key: ColumnType, columns: Vec<ColumnType>) -> Self {
        let (layout, account) = (Arc::new(ChunkLayout { key, columns }), Arc::default());
        let pages = vec![Page::new(Chunk::new(&layout), &account)];
        KeyedState { layout, account, hand: 0, partition_bits: 0, pages }
    }

    pub fn chunk_count(&self) -> usize {
        self.pages.len()
    }

    #[inline]
    pub fn chunk_of(&self, hash: u64) -> usize {
        (hash >> PARTITION_SHIFT) as usize & (self.pages.len() - 1)
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

    /// Reads a chunk that is not in memory without keeping it.
    pub fn chunk(&self, index: usize) -> Result<Arc<Chunk>> {
        self.pages[index].peek(&self.layout)
    }

    pub fn chunk_mut(&mut self, index: usize) -> Result<PageMut<'_, Chunk>> {
        Page::open(&mut self.pages[index], &self.layout)
    }

    /// Runs `write` on one chunk, as [`ChunkWriter::write`] does.
    pub fn write<R>(&mut self, index: usize, write: impl FnOnce(&mut Chunk) -> Result<R>) -> Result<R> {
        ChunkWriter { layout: &self.layout, page: &mut self.pages[index] }.write(write)
    }

    /// All chunks, to be written independently of one another.
    pub fn writers(&mut self) -> impl Iterator<Item = ChunkWriter<'_>> {
        let layout = &*self.layout;
        self.pages.iter_mut().map(move |page| ChunkWriter { layout, page })
    }

    /// Rows in memory and out of it.
    pub fn rows(&self) -> usize {
        self.pages.iter().map(|page| page.rows()).sum()
    }

    /// What is in memory, copies that clones hold included.
    pub fn memory_bytes(&self) -> usize {
        self.account.bytes()
    }

    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Called between steps: more chunks, if those that there are have grown too large.
    pub fn rebalance(&mut self) -> Result<()> {
        while self.partition_bits < PARTITION_BITS_MAX && self.bytes() / self.pages.len() > CHUNK_BYTES {
            self.double()?;
        }
        Ok(())
    }

    /// In memory and at rest.
    fn bytes(&self) -> usize {
        self.pages.iter().map(|page| page.bytes()).sum()
    }

    /// Chunk i becomes chunks i and i + n, by the next bit of the hash.
    fn double(&mut self) -> Result<()> {
        let count = self.pages.len();
        let mut lower = Vec::with_capacity(count * 2);
        let mut upper = Vec::with_capacity(count);
        for index in 0..count {
            let chunk = self.chunk(index)?;
            let is_upper = |row: &u32| (hash_key(chunk.key(*row as usize)) >> PARTITION_SHIFT) as usize & count != 0;
            let (high, low): (Vec<u32>, Vec<u32>) = (0..chunk.len() as u32).partition(is_upper);
            for (rows, half) in [(low, &mut lower), (high, &mut upper)] {
                let mut page = Page::new(chunk.take(&rows), &self.account);
                Page::leave_if_full(&mut page, &self.layout);
                half.push(page);
            }
        }
        lower.append(&mut upper);
        self.leave();
        self.pages = lower;
        self.partition_bits += 1;
        Ok(())
    }

    /// Lets chunks go that have not been touched for long, until there is room.
    pub fn make_room(&mut self, residence: &Residence) -> Result<()> {
        Page::sweep(self.pages.iter_mut(), &mut self.hand, &self.layout, residence)
    }

    /// The state is of no use any more: clones alone hold its chunks.
    pub fn leave(&self) {
        self.pages.iter().for_each(|page| page.leave());
    }

    /// In a clone: what it alone keeps.
    pub fn left(&self) -> Vec<LeftPage> {
        Page::left(self.pages.iter())
    }

    /// In a clone: lets go what has left the state.
    pub fn evict_left(&mut self, store: &Arc<dyn PageStore>) -> Result<()> {
        Page::evict_left(self.pages.iter_mut(), &self.layout, store)
    }

    /// Writes the chunks that are not at rest, and where each is.
    pub fn settle(self, writer: &mut StateWriter) -> Result<()> {
        writer.number(u64::from(self.partition_bits));
        self.pages.into_iter().try_for_each(|page| writer.page(&page, &self.layout))
    }

    /// Takes over what [`KeyedState::settle`] wrote of a state of the same columns; chunks are read when they are touched.
    pub fn restore(&mut self, reader: &mut StateReader<'_>) -> Result<()> {
        let partition_bits = u32::try_from(reader.number()?).map_err(|_| damaged())?;
        if partition_bits > PARTITION_BITS_MAX {
            return Err(damaged());
        }
        let pages = (0..1_u64 << partition_bits).map(|_| reader.page(&self.account));
        (self.pages, self.partition_bits) = (pages.collect::<Result<_>>()?, partition_bits);
        Ok(())
    }
}

/// A chunk that may be written.
pub struct ChunkWriter<'a> {
    layout: &'a ChunkLayout,
    page: &'a mut Arc<Page<Chunk>>,
}

impl ChunkWriter<'_> {
    /// Runs `write` on the chunk, in memory, and copied first if a clone of the state holds it. Where memory is full, a
    /// chunk that was not there before goes again, and so does one that was copied: a checkpoint on its way holds the other.
    pub fn write<R>(self, write: impl FnOnce(&mut Chunk) -> Result<R>) -> Result<R> {
        let stays = self.page.resident_bytes().is_some() && Arc::strong_count(self.page) == 1;
        let written = write(&mut *Page::open(self.page, self.layout)?)?;
        if !stays {
            Page::leave_if_full(self.page, self.layout);
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests;
