//! A query's batches on their way out of the query threads.
//!
//! The producer runs on the query runtime and waits in a bounded channel for its reader, so that a slow client costs one
//! or two batches and no more. Dropping the stream aborts the producer at its next await, or where an operator next asks for memory.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use futures::{poll, stream::BoxStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Sleep;

use super::engine::QueryResult;
use super::running::Wanted;
use crate::error::{Error, Result, SqlState};

/// Batches of a result, made as they are asked for. Dropping it cancels the query.
pub type RowStream = BoxStream<'static, Result<RecordBatch>>;

/// Batches that may wait for a reader.
const BATCHES_WAITING_MAX: usize = 2;

/// When a statement must be done; `None`: never. Runs from when it is made.
pub struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    pub fn after(timeout: Option<Duration>) -> Deadline {
        Deadline(timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout))))
    }

    /// `work`, or 57014 if it is not done by then.
    pub async fn bound<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        match &mut self.0 {
            None => Ok(work.await),
            Some(over) => tokio::select! {
                biased;
                () = over => Err(timed_out()),
                done = work => Ok(done),
            },
        }
    }
}

fn timed_out() -> Error {
    Error::statement_timeout()
}

/// What running raised. DataFusion says in words alone that the spill directory is full.
pub fn run_error(error: DataFusionError) -> Error {
    let text = error.to_string();
    if text.contains("max_temp_directory_size") {
        return Error::new(SqlState::DISK_FULL, "the query needs more disk than it may spill to")
            .with_detail(text)
            .with_hint("Select fewer columns or rows, or raise query.spill_bytes.");
    }
    Error::from(error)
}

/// Runs `work` on the query threads; dropping the future aborts it, and a panic is this statement's error alone.
pub async fn on_query_threads<T: Send + 'static>(
    threads: &Handle,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let mut tasks = JoinSet::new();
    tasks.spawn_on(work, threads);
    match tasks.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(failure)) => Err(Error::internal(failure)),
        None => Err(Error::internal("a query task vanished")),
    }
}

/// What a query gave at once, and what is still to come.
pub struct Begun {
    schema: SchemaRef,
    first: Vec<Result<RecordBatch>>,
    rest: Option<SendableRecordBatchStream>,
}

impl Begun {
    /// Takes the batches that are there without waiting, a few at most: a short result then needs no task of its own. An
    /// error among them is told to who reads so far, as one that comes later is.
    pub async fn new(mut batches: SendableRecordBatchStream) -> Begun {
        let (schema, mut first) = (batches.schema(), Vec::new());
        while first.len() < BATCHES_WAITING_MAX {
            match poll!(batches.next()) {
                Poll::Ready(Some(Ok(batch))) => first.push(Ok(batch)),
                Poll::Ready(Some(Err(error))) => {
                    first.push(Err(run_error(error)));
                    return Begun { schema, first, rest: None };
                }
                Poll::Ready(None) => return Begun { schema, first, rest: None },
                Poll::Pending => break,
            }
        }
        Begun { schema, first, rest: Some(batches) }
    }

    /// `wanted` goes with whoever reads the rows.
    pub fn result(self, threads: &Handle, deadline: Deadline, wanted: Option<Wanted>) -> QueryResult {
        let first = futures::stream::iter(self.first);
        let rows = match self.rest {
            None => first.boxed(),
            Some(rest) => first.chain(stream_rows(threads, rest, deadline, wanted)).boxed(),
        };
        QueryResult { schema: self.schema, rows }
    }
}

struct Reader {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    /// Aborts the producer when dropped; asked for its end when the channel closes, because a panic shows only there.
    producer: JoinSet<()>,
    deadline: Deadline,
    _wanted: Option<Wanted>,
}

/// Starts a producer for `batches` on the query threads and gives its reading end.
pub fn stream_rows(
    threads: &Handle,
    mut batches: SendableRecordBatchStream,
    deadline: Deadline,
    wanted: Option<Wanted>,
) -> RowStream {
    let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
    let mut producer = JoinSet::new();
    producer.spawn_on(
        async move {
            while let Some(batch) = batches.next().await {
                let failed = batch.is_err();
                if sender.send(batch.map_err(run_error)).await.is_err() || failed {
                    return;
                }
            }
        },
        threads,
    );
    let reader = Reader { batches: receiver, producer, deadline, _wanted: wanted };
    futures::stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Some(Ok(batch)) => Some((Ok(batch), Some(reader))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    })
    .boxed()
}

impl Reader {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        match self.deadline.bound(self.batches.recv()).await {
            Err(timed_out) => Some(Err(timed_out)),
            Ok(Some(batch)) => Some(batch),
            Ok(None) => match self.producer.join_next().await {
                Some(Err(failure)) => Some(Err(Error::internal(failure))),
                _ => None,
            },
        }
    }
}
