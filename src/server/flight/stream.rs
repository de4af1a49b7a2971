//! A result on its way to one client.
//!
//! A task of its own draws batches, encodes them and waits in a bounded channel for gRPC, which waits for the client's
//! flow-control window: a slow reader costs a few messages and no more. The task ends, and with it the query, when the
//! client goes away, cancels, takes longer than `statement_timeout`, does not read while memory is short, or the server
//! stops, whether the client reads or not.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use futures::stream::BoxStream;
use futures::{StreamExt, poll};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::Status;

use super::encode::{Encoder, bytes_of, cut};
use super::status::status;
use crate::error::{Error, Result, SqlState};
use crate::session::{RowStream, SlowClients};

/// Messages that may wait for the client.
const MESSAGES_WAITING_MAX: usize = 2;
/// Batches smaller than this part of a message are put together, as far as they are there already.
const SMALL_PART: usize = 4;

/// What ends a stream from outside.
pub(super) struct Stop {
    pub cancelled: watch::Receiver<bool>,
    pub shutdown: watch::Receiver<bool>,
    pub timeout: Option<Duration>,
}

impl Stop {
    async fn reason(self) -> Error {
        let Stop { mut cancelled, mut shutdown, timeout } = self;
        let late = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = is_set(&mut cancelled) => Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"),
            () = is_set(&mut shutdown) => shutting_down(),
            () = late => Error::statement_timeout(),
        }
    }
}

pub(super) fn shutting_down() -> Error {
    Error::new(SqlState::ADMIN_SHUTDOWN, "terminating connection because the server is shutting down")
}

/// Ends when the switch says true. One whose other end is gone says nothing any more.
pub(super) async fn is_set(switch: &mut watch::Receiver<bool>) {
    if switch.wait_for(|set| *set).await.is_err() {
        std::future::pending().await
    }
}

struct Outgoing<F> {
    messages: mpsc::Receiver<FlightData>,
    /// Aborted when dropped; its outcome is asked for when the channel closes.
    task: JoinSet<Result<()>>,
    read_whole: F,
}

/// The schema, then the rows, in messages of about `message_bytes`. `read_whole` is called once all of them went out.
pub(super) fn send<F: FnOnce() + Send + 'static>(
    rows: RowStream,
    schema: SchemaRef,
    message_bytes: usize,
    slow: Arc<SlowClients>,
    stop: Stop,
    read_whole: F,
) -> BoxStream<'static, Result<FlightData, Status>> {
    let (sender, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
    let mut task = JoinSet::new();
    task.spawn(async move {
        tokio::select! {
            biased;
            error = stop.reason() => Err(error),
            sent = send_all(rows, schema, message_bytes, &sender, &slow) => sent,
        }
    });
    let outgoing = Outgoing { messages, task, read_whole };
    futures::stream::unfold(Some(outgoing), |outgoing| async move {
        let mut outgoing = outgoing?;
        if let Some(message) = outgoing.messages.recv().await {
            return Some((Ok(message), Some(outgoing)));
        }
        let outcome = match outgoing.task.join_next().await {
            Some(Ok(outcome)) => outcome,
            Some(Err(failure)) => Err(Error::internal(failure)),
            None => Err(Error::internal("a result's task vanished")),
        };
        match outcome {
            Ok(()) => {
                (outgoing.read_whole)();
                None
            }
            Err(error) => Some((Err(status(&error)), None)),
        }
    })
    .boxed()
}

async fn send_all(
    mut rows: RowStream,
    schema: SchemaRef,
    message_bytes: usize,
    sender: &mpsc::Sender<FlightData>,
    slow: &Arc<SlowClients>,
) -> Result<()> {
    let mut out = Out { encoder: Encoder::new(), message_bytes, sender, slow, waiting: Vec::new(), waiting_bytes: 0 };
    out.send(out.encoder.schema(&schema)).await?;
    loop {
        let next = if out.waiting.is_empty() {
            rows.next().await
        } else {
            match poll!(pin!(rows.next())) {
                Poll::Ready(next) => next,
                // What is there does not wait for a slow query.
                Poll::Pending => {
                    out.flush(&schema).await?;
                    continue;
                }
            }
        };
        match next.transpose()? {
            Some(batch) => out.take(batch, &schema).await?,
            None => return out.flush(&schema).await,
        }
    }
}

struct Out<'a> {
    encoder: Encoder,
    message_bytes: usize,
    sender: &'a mpsc::Sender<FlightData>,
    slow: &'a Arc<SlowClients>,
    /// Small batches that will go out as one message.
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
}

impl Out<'_> {
    async fn take(&mut self, batch: RecordBatch, schema: &SchemaRef) -> Result<()> {
        let bytes = bytes_of(&batch);
        if bytes >= self.message_bytes / SMALL_PART {
            self.flush(schema).await?;
            return self.rows(&batch).await;
        }
        self.waiting_bytes += bytes;
        self.waiting.push(batch);
        match self.waiting_bytes >= self.message_bytes {
            true => self.flush(schema).await,
            false => Ok(()),
        }
    }

    async fn flush(&mut self, schema: &SchemaRef) -> Result<()> {
        self.waiting_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        match waiting.as_slice() {
            [] => Ok(()),
            [one] => self.rows(one).await,
            several => self.rows(&concat_batches(schema, several)?).await,
        }
    }

    async fn rows(&mut self, batch: &RecordBatch) -> Result<()> {
        for part in cut(batch, self.message_bytes) {
            let message = self.encoder.rows(&part)?;
            self.send(message).await?;
        }
        Ok(())
    }

    async fn send(&self, message: FlightData) -> Result<()> {
        let message = match self.sender.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(gone()),
            Err(TrySendError::Full(message)) => message,
        };
        self.slow.wait(self.sender.send(message)).await?.map_err(|_| gone())
    }
}

fn gone() -> Error {
    Error::new(SqlState::CONNECTION_FAILURE, "connection to client lost")
}

#[cfg(test)]
mod tests;
