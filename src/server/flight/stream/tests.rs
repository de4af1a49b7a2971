//! Streams that are read, that are not, and that end early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array};
use futures::stream;

use super::*;
use crate::io::SystemClock;

const MESSAGE_BYTES: usize = 64 << 10;

fn batch(rows: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    RecordBatch::try_from_iter_with_nullable([("id", ids, true)]).unwrap()
}

/// An endless query that counts its batches, and what says that it was dropped.
fn endless(drawn: Arc<AtomicUsize>, dropped: Arc<AtomicBool>) -> RowStream {
    struct Held(Arc<AtomicBool>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let held = Held(dropped);
    stream::repeat_with(move || {
        let _held = &held;
        drawn.fetch_add(1, Ordering::SeqCst);
        Ok(batch(8192))
    })
    .boxed()
}

struct Running {
    messages: BoxStream<'static, Result<FlightData, Status>>,
    slow: Arc<SlowClients>,
    cancel: watch::Sender<bool>,
    shutdown: watch::Sender<bool>,
    drawn: Arc<AtomicUsize>,
    dropped: Arc<AtomicBool>,
    read_whole: Arc<AtomicBool>,
}

fn run(rows: Option<RowStream>, timeout: Option<Duration>) -> Running {
    let (cancel, cancelled) = watch::channel(false);
    let (shutdown, stopping) = watch::channel(false);
    let (drawn, dropped) = (Arc::default(), Arc::default());
    let read_whole = Arc::<AtomicBool>::default();
    let rows = rows.unwrap_or_else(|| endless(Arc::clone(&drawn), Arc::clone(&dropped)));
    let stop = Stop { cancelled, shutdown: stopping, timeout };
    let whole = read_whole.clone();
    let done = move || whole.store(true, Ordering::SeqCst);
    let slow = SlowClients::new(Arc::new(SystemClock::new()));
    let messages = send(rows, batch(0).schema(), MESSAGE_BYTES, slow.clone(), stop, done);
    Running { messages, slow, cancel, shutdown, drawn, dropped, read_whole }
}

async fn eventually(what: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

/// The error at the end of a stream, behind what had been encoded already.
async fn failure(mut messages: BoxStream<'static, Result<FlightData, Status>>) -> Status {
    loop {
        if let Err(status) = messages.next().await.expect("an error before the end") {
            assert!(messages.next().await.is_none());
            return status;
        }
    }
}

#[tokio::test]
async fn small_batches_that_are_there_go_out_together() {
    let rows: Vec<_> = (0..1000).map(|_| Ok(batch(10))).collect();
    let running = run(Some(stream::iter(rows).boxed()), None);
    let messages: Vec<_> = running.messages.collect().await;
    // 80,000 bytes: a schema and two messages.
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(Result::is_ok));
    assert!(running.read_whole.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_reader_that_does_not_read_costs_a_few_messages() {
    let mut running = run(None, None);
    for _ in 0..5 {
        running.messages.next().await.unwrap().unwrap();
    }
    eventually(|| running.drawn.load(Ordering::SeqCst) >= 5).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let drawn = running.drawn.load(Ordering::SeqCst);
    assert!(drawn <= 5 + MESSAGES_WAITING_MAX + 1, "{drawn} batches drawn");
    drop(running.messages);
    eventually(|| running.dropped.load(Ordering::SeqCst)).await;
    assert!(!running.read_whole.load(Ordering::SeqCst));
}

#[tokio::test]
async fn cancel_ends_the_query_of_a_reader_that_does_not_read() {
    let running = run(None, None);
    running.cancel.send(true).unwrap();
    eventually(|| running.dropped.load(Ordering::SeqCst)).await;
    let status = failure(running.messages).await;
    assert_eq!((status.code(), status.message().starts_with("57014")), (tonic::Code::Cancelled, true));
}

#[tokio::test]
async fn shutdown_and_the_statement_timeout_end_it_too() {
    let running = run(None, None);
    running.shutdown.send(true).unwrap();
    eventually(|| running.dropped.load(Ordering::SeqCst)).await;
    assert_eq!(failure(running.messages).await.code(), tonic::Code::Unavailable);

    let running = run(None, Some(Duration::from_millis(20)));
    eventually(|| running.dropped.load(Ordering::SeqCst)).await;
    assert!(failure(running.messages).await.message().contains("statement timeout"));
}

#[tokio::test]
async fn one_that_does_not_read_can_be_ended_for_its_memory() {
    let mut running = run(None, None);
    running.messages.next().await.unwrap().unwrap();
    eventually(|| running.slow.end_first(Duration::from_millis(10))).await;
    eventually(|| running.dropped.load(Ordering::SeqCst)).await;
    assert_eq!(failure(running.messages).await.metadata().get("sqlstate").unwrap(), "53400");
    assert!(!running.slow.end_first(Duration::ZERO), "it waits for nobody any more");
}

#[tokio::test]
async fn a_failed_or_panicking_query_is_no_end() {
    let error = Error::new(SqlState::DIVISION_BY_ZERO, "division by zero");
    let running = run(Some(stream::iter([Ok(batch(1)), Err(error)]).boxed()), None);
    assert_eq!(failure(running.messages).await.metadata().get("sqlstate").unwrap(), "22012");
    let running = run(Some(stream::once(async { panic!("a defect") }).boxed()), None);
    assert_eq!(failure(running.messages).await.code(), tonic::Code::Internal);
}
