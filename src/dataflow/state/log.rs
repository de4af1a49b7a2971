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

use super::bytes::{KIND_LOG, Reader, Writer, damaged};
use crate::delta::{DeltaBatch, Weights};
use crate::error::Result;

/// Batches are merged up to this many rows.
const BATCH_ROWS_MAX: usize = 1 << 16;

#[derive(Debug, Clone)]
pub struct LogState {
    schema: SchemaRef,
    batches: Arc<Vec<DeltaBatch>>,
    rows: u64,
    memory_bytes: usize,
}

impl LogState {
    pub fn new(schema: SchemaRef) -> Self {
        LogState { schema, batches: Arc::default(), rows: 0, memory_bytes: 0 }
    }

    /// Rows, each as often as its weight says.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The n-th batch; `None` past the last.
    pub fn batch(&self, index: usize) -> Option<&DeltaBatch> {
        self.batches.get(index)
    }

    /// Takes the batch by reference, or merges it with those before it that are not much larger: a row is copied as
    /// often as its batch can double.
    pub fn push(&mut self, delta: &DeltaBatch) -> Result<()> {
        if delta.is_empty() {
            return Ok(());
        }
        self.rows += weight_of(delta);
        let batches = Arc::make_mut(&mut self.batches);
        let mut first = batches.len();
        let mut rows = delta.num_rows();
        while let Some(before) = first.checked_sub(1).map(|before| batches[before].num_rows())
            && before <= rows
            && before + rows <= BATCH_ROWS_MAX
        {
            rows += before;
            first -= 1;
        }
        let mut merged = batches.split_off(first);
        self.memory_bytes -= merged.iter().map(DeltaBatch::memory_bytes).sum::<usize>();
        merged.push(delta.clone());
        let merged = DeltaBatch::concat(&self.schema, &merged)?;
        self.memory_bytes += merged.memory_bytes();
        batches.push(merged);
        Ok(())
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(KIND_LOG);
        writer.number(self.batches.len() as u64);
        for delta in self.batches.iter() {
            let mut rows = Vec::new();
            let mut stream = StreamWriter::try_new(&mut rows, &self.schema)?;
            stream.write(delta.rows())?;
            stream.finish()?;
            drop(stream);
            writer.bytes(&rows);
            match delta.weights() {
                Weights::AllOne => writer.bytes(&[]),
                Weights::Each(weights) => {
                    writer.bytes(&weights.values().iter().flat_map(|weight| weight.to_le_bytes()).collect::<Vec<_>>());
                }
            }
        }
        Ok(writer.finish())
    }

    pub fn from_bytes(schema: SchemaRef, bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, KIND_LOG)?;
        let mut state = LogState::new(schema);
        for _ in 0..reader.number()? {
            let mut stream = StreamReader::try_new(reader.bytes()?, None).map_err(|_| damaged())?;
            let rows = stream.next().ok_or_else(damaged)?.map_err(|_| damaged())?;
            if rows.schema() != state.schema {
                return Err(damaged());
            }
            let (weights, rest) = reader.bytes()?.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(damaged());
            }
            let delta = match weights.is_empty() {
                true => DeltaBatch::inserts(rows),
                false => DeltaBatch::new(rows, weights.iter().map(|weight| i64::from_le_bytes(*weight)).collect())?,
            };
            state.rows += weight_of(&delta);
            state.memory_bytes += delta.memory_bytes();
            Arc::make_mut(&mut state.batches).push(delta);
        }
        reader.finish()?;
        Ok(state)
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
