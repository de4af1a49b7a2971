//! Record batches as Flight's messages: Arrow IPC straight from the arrays, cut into messages of about one size.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_flight::{FlightData, IpcMessage, SchemaAsIpc};
use bytes::Bytes;

use crate::error::{Error, Result};

/// Encodes one stream.
pub(super) struct Encoder {
    generator: IpcDataGenerator,
    options: IpcWriteOptions,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
}

impl Encoder {
    pub fn new() -> Encoder {
        Encoder {
            generator: IpcDataGenerator::default(),
            options: IpcWriteOptions::default(),
            dictionaries: DictionaryTracker::new(true),
            context: IpcWriteContext::default(),
        }
    }

    /// The first message of a stream.
    pub fn schema(&self, schema: &Schema) -> FlightData {
        SchemaAsIpc::new(schema, &self.options).into()
    }

    pub fn rows(&mut self, rows: &RecordBatch) -> Result<FlightData> {
        let (dictionaries, rows) =
            self.generator.encode(rows, &mut self.dictionaries, &self.options, &mut self.context)?;
        if !dictionaries.is_empty() {
            return Err(Error::internal("a dictionary in a result"));
        }
        Ok(rows.into())
    }
}

/// A schema by itself, as it stands in FlightInfo and in answers about prepared statements.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into()?;
    Ok(bytes)
}

/// Bytes that the rows take, whatever the buffers behind them hold besides.
pub(super) fn bytes_of(rows: &RecordBatch) -> usize {
    let bytes = |array: &dyn Array| array.to_data().get_slice_memory_size().unwrap_or(array.get_array_memory_size());
    rows.columns().iter().map(|column| bytes(column.as_ref())).sum()
}

/// Slices of about `message_bytes` (no more than half as much again), which share the batch's buffers.
pub(super) fn cut(rows: &RecordBatch, message_bytes: usize) -> impl Iterator<Item = RecordBatch> {
    let message_bytes = message_bytes.max(1);
    let messages = ((bytes_of(rows) + message_bytes / 2) / message_bytes).max(1);
    let step = rows.num_rows().div_ceil(messages).max(1);
    (0..rows.num_rows()).step_by(step).map(move |start| rows.slice(start, step.min(rows.num_rows() - start)))
}

#[cfg(test)]
mod tests;
