//! Appended state: rows that only ever come, with their weights, in the batches that brought them. The content of a view
//! that keeps what it is given and whose tables are APPEND ONLY: nothing is looked up, so nothing is hashed or sorted.
//!
//! ```text
//! batches: [65,536 rows] [41,000] [2,048] [512] [3]      small ones are merged, so that there are few
//! ```

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::bytes::{KIND_BATCH, Reader, Writer, damaged};
use super::page::{Content, LeftPage, Page, PageStore};
use super::residence::{Account, Residence};
use super::stored::{StateReader, StateWriter};
use crate::delta::{DeltaBatch, Weights, batch_bytes};
use crate::error::Result;

/// Batches are merged up to this many rows ...
const BATCH_ROWS_MAX: usize = 1 << 16;
/// ... and bytes; a larger one is cut, because it leaves memory, and comes back, as a whole.
const BATCH_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Clone)]
pub struct LogState {
    schema: SchemaRef,
    batches: Arc<Vec<Arc<Page<DeltaBatch>>>>,
    rows: u64,
    account: Arc<Account>,
    /// Where eviction goes on.
    hand: usize,
}

impl LogState {
    pub fn new(schema: SchemaRef) -> Self {
        LogState { schema, batches: Arc::default(), rows: 0, account: Arc::default(), hand: 0 }
    }

    /// Rows, each as often as its weight says.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What is in memory.
    pub fn memory_bytes(&self) -> usize {
        self.account.bytes()
    }

    pub fn account(&self) -> &Account {
        &self.account
    }

    pub fn batch_count(&self) -> usize {
        self.batches.len()
    }

    /// The n-th batch, read without being kept if it is not in memory; `None` past the last.
    pub fn batch(&self, index: usize) -> Result<Option<Arc<DeltaBatch>>> {
        self.batches.get(index).map(|page| page.peek(&self.schema)).transpose()
    }

    /// Takes the batch by reference, or merges it with those before it that are not much larger: a row is copied as
    /// often as its batch can double.
    pub fn push(&mut self, delta: &DeltaBatch) -> Result<()> {
        if delta.is_empty() {
            return Ok(());
        }
        self.rows += weight_of(delta);
        let (rows, bytes) = (delta.num_rows(), batch_bytes(delta.rows()));
        let piece_rows = match bytes > BATCH_BYTES_MAX {
            true => rows.div_ceil(bytes.div_ceil(BATCH_BYTES_MAX)),
            false => rows,
        };
        for start in (0..rows).step_by(piece_rows) {
            self.push_piece(&delta.slice(start, piece_rows.min(rows - start)))?;
        }
        Ok(())
    }

    fn push_piece(&mut self, delta: &DeltaBatch) -> Result<()> {
        let batches = Arc::make_mut(&mut self.batches);
        let mut first = batches.len();
        let (mut rows, mut bytes) = (delta.num_rows(), batch_bytes(delta.rows()));
        while let Some(before) = first.checked_sub(1).map(|before| &batches[before])
            && before.rows() <= rows
            && before.rows() + rows <= BATCH_ROWS_MAX
            && before.bytes() + bytes <= BATCH_BYTES_MAX
        {
            (rows, bytes) = (rows + before.rows(), bytes + before.bytes());
            first -= 1;
        }
        let mut merged = Vec::with_capacity(batches.len() - first + 1);
        for page in batches.split_off(first) {
            merged.push(DeltaBatch::clone(&*page.peek(&self.schema)?));
            page.leave();
        }
        merged.push(delta.clone());
        let mut page = Page::new(DeltaBatch::concat(&self.schema, &merged)?, &self.account);
        Page::leave_if_full(&mut page, &self.schema);
        batches.push(page);
        Ok(())
    }

    /// The log without the rows that `keep` leaves out of each batch; what it leaves as it is stays where it rests.
    pub fn retain(&mut self, keep: &dyn Fn(DeltaBatch) -> Result<DeltaBatch>) -> Result<()> {
        let mut batches = Vec::with_capacity(self.batches.len());
        for page in self.batches.iter() {
            let all = page.peek(&self.schema)?;
            let kept = keep(DeltaBatch::clone(&all))?;
            self.rows -= weight_of(&all) - weight_of(&kept);
            if kept.num_rows() == all.num_rows() {
                batches.push(page.clone());
                continue;
            }
            page.leave();
            if !kept.is_empty() {
                let mut page = Page::new(kept, &self.account);
                Page::leave_if_full(&mut page, &self.schema);
                batches.push(page);
            }
        }
        (self.batches, self.hand) = (Arc::new(batches), 0);
        Ok(())
    }

    /// Lets batches go that have not been touched for long, until there is room.
    pub fn make_room(&mut self, residence: &Residence) -> Result<()> {
        Page::sweep(Arc::make_mut(&mut self.batches).iter_mut(), &mut self.hand, &self.schema, residence)
    }

    /// The state is of no use any more: clones alone hold its batches.
    pub fn leave(&self) {
        self.batches.iter().for_each(|page| page.leave());
    }

    /// In a clone: what it alone keeps.
    pub fn left(&self) -> Vec<LeftPage> {
        Page::left(self.batches.iter())
    }

    /// In a clone: lets go what has left the state.
    pub fn evict_left(&mut self, store: &Arc<dyn PageStore>) -> Result<()> {
        Page::evict_left(Arc::make_mut(&mut self.batches).iter_mut(), &self.schema, store)
    }

    /// Writes the batches that are not at rest, and where each is.
    pub fn settle(self, writer: &mut StateWriter) -> Result<()> {
        writer.number(self.rows);
        writer.number(self.batches.len() as u64);
        self.batches.iter().try_for_each(|page| writer.page(page, &self.schema))
    }

    /// Takes over what [`LogState::settle`] wrote of a state of the same schema; batches are read when they are touched.
    pub fn restore(&mut self, reader: &mut StateReader<'_>) -> Result<()> {
        self.rows = reader.number()?;
        let batches = (0..reader.number()?).map(|_| reader.page(&self.account));
        self.batches = Arc::new(batches.collect::<Result<_>>()?);
        Ok(())
    }
}

impl Content for DeltaBatch {
    type Layout = SchemaRef;

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(KIND_BATCH, self.memory_bytes());
        writer.appended(|bytes| {
            let mut stream = StreamWriter::try_new(bytes, &self.schema())?;
            stream.write(self.rows())?;
            Ok(stream.finish()?)
        })?;
        match self.weights() {
            Weights::AllOne => writer.bytes(&[]),
            Weights::Each(weights) => {
                writer.bytes(&weights.values().iter().flat_map(|weight| weight.to_le_bytes()).collect::<Vec<_>>());
            }
        }
        Ok(writer.finish())
    }

    fn from_bytes(schema: &SchemaRef, bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, KIND_BATCH)?;
        let mut stream = StreamReader::try_new(reader.bytes()?, None).map_err(|_| damaged())?;
        let rows = stream.next().ok_or_else(damaged)?.map_err(|_| damaged())?;
        let (weights, rest) = reader.bytes()?.as_chunks::<8>();
        reader.finish()?;
        if rows.schema() != *schema || !rest.is_empty() {
            return Err(damaged());
        }
        match weights.is_empty() {
            true => Ok(DeltaBatch::inserts(rows)),
            false => DeltaBatch::new(rows, weights.iter().map(|weight| i64::from_le_bytes(*weight)).collect()),
        }
    }

    /// Of the rows alone: pieces of one batch share its buffers, which are gone with the last of them.
    fn memory_bytes(&self) -> usize {
        let weights = match self.weights() {
            Weights::AllOne => 0,
            Weights::Each(weights) => weights.len() * size_of::<i64>(),
        };
        batch_bytes(self.rows()) + weights
    }

    fn rows(&self) -> usize {
        self.num_rows()
    }
}

fn weight_of(delta: &DeltaBatch) -> u64 {
    match delta.weights() {
        Weights::AllOne => delta.num_rows() as u64,
        Weights::Each(weights) => weights.values().iter().map(|weight| weight.max(&0).unsigned_abs()).sum(),
    }
}

#[cfg(test)]
mod tests;
