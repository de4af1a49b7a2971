//! Gathers a source's rows into writes: a commit for every few rows would cost a sync each.
//!
//! Does not know: commits. Whoever runs a source gives the function that commits a [`Write`].

use std::sync::Arc;
use std::time::Duration;

use arrow::compute::concat_batches;
use futures::future::BoxFuture;

use super::source::{SourceBatch, SourceReader};
use crate::commit::{SourcePosition, TableWrite, Write};
use crate::error::Result;
use crate::io::Clock;
use crate::types::RelationId;

/// When gathered rows become a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatcherLimits {
    pub rows_max: usize,
    pub bytes_max: usize,
    /// The oldest row waits no longer.
    pub age_max: Duration,
}

impl Default for BatcherLimits {
    fn default() -> Self {
        BatcherLimits { rows_max: 65_536, bytes_max: 8 << 20, age_max: Duration::from_millis(100) }
    }
}

/// The rows of one source that are not in a write yet.
pub struct Batcher {
    source: RelationId,
    schema_version: u32,
    limits: BatcherLimits,
    gathered: Vec<SourceBatch>,
    rows: usize,
    bytes: usize,
    /// Monotonic time at which the first of `gathered` came.
    since: Duration,
}

impl Batcher {
    pub fn new(source: RelationId, schema_version: u32, limits: BatcherLimits) -> Self {
        Batcher { source, schema_version, limits, gathered: Vec::new(), rows: 0, bytes: 0, since: Duration::ZERO }
    }

    /// `now` is the clock's monotonic time.
    pub fn add(&mut self, batch: SourceBatch, now: Duration) {
        if self.gathered.is_empty() {
            self.since = now;
        }
        self.rows += batch.rows.num_rows();
        self.bytes += batch.rows.get_array_memory_size();
        self.gathered.push(batch);
    }

    pub fn is_full(&self) -> bool {
        self.rows >= self.limits.rows_max || self.bytes >= self.limits.bytes_max
    }

    /// How long more rows may be waited for; `None` if there is none yet.
    pub fn remaining(&self, now: Duration) -> Option<Duration> {
        let age = now.saturating_sub(self.since);
        (!self.gathered.is_empty()).then(|| self.limits.age_max.saturating_sub(age))
    }

    /// All gathered rows, with the last one's position.
    pub fn take(&mut self) -> Result<Option<Write>> {
        let gathered = std::mem::take(&mut self.gathered);
        (self.rows, self.bytes) = (0, 0);
        let Some(last) = gathered.last() else { return Ok(None) };
        let position = SourcePosition { source: self.source, position: last.position.clone() };
        let rows = concat_batches(&last.rows.schema(), gathered.iter().map(|batch| &batch.rows))?;
        let table =
            TableWrite { table: self.source, schema_version: self.schema_version, inserts: Some(rows), deletes: None };
        Ok(Some(Write { tables: vec![table], positions: vec![position], ..Write::default() }))
    }
}

/// Commits a write and waits until it is durable.
pub type CommitWrite = Box<dyn FnMut(Write) -> BoxFuture<'static, Result<()>> + Send>;

/// Reads a source to its end, or until the future is dropped. While a write is being made durable nothing is read: a
/// slow disk slows the source down, and memory stays bounded.
pub async fn run(
    mut reader: Box<dyn SourceReader>,
    mut batcher: Batcher,
    clock: Arc<dyn Clock>,
    mut commit: CommitWrite,
) -> Result<()> {
    loop {
        let read = match batcher.remaining(clock.monotonic()) {
            None => Some(reader.next().await?),
            Some(remaining) => tokio::select! {
                biased;
                () = clock.sleep(remaining) => None,
                batch = reader.next() => Some(batch?),
            },
        };
        let at_end = matches!(read, Some(None));
        let is_due = read.is_none();
        if let Some(Some(batch)) = read {
            batcher.add(batch, clock.monotonic());
        }
        if (is_due || at_end || batcher.is_full())
            && let Some(write) = batcher.take()?
        {
            commit(write).await?;
        }
        if at_end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
