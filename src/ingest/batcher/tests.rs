//! Writes by size, by age, and at the end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;

fn batch(rows: i32, position: u8) -> SourceBatch {
    let values: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows));
    SourceBatch { rows: RecordBatch::try_from_iter([("a", values)]).unwrap(), position: vec![position] }
}

fn batcher(rows_max: usize) -> Batcher {
    let limits = BatcherLimits { rows_max, ..BatcherLimits::default() };
    Batcher::new(RelationId(16384), 1, limits)
}

#[test]
fn a_write_holds_all_rows_and_the_last_position() {
    let mut batcher = batcher(10);
    assert!(batcher.take().unwrap().is_none());
    batcher.add(batch(4, 1), Duration::from_millis(5));
    assert!(!batcher.is_full());
    batcher.add(batch(6, 2), Duration::from_millis(50));
    assert!(batcher.is_full());
    assert_eq!(batcher.remaining(Duration::from_millis(45)), Some(Duration::from_millis(60)));
    let write = batcher.take().unwrap().unwrap();
    assert_eq!(write.tables[0].inserts.as_ref().unwrap().num_rows(), 10);
    assert_eq!(write.positions, [SourcePosition { source: RelationId(16384), position: vec![2] }]);
    assert_eq!(batcher.remaining(Duration::ZERO), None);
}

/// Batches that come 40 ms apart.
struct Slowly(VecDeque<SourceBatch>, Arc<FakeClock>);

#[async_trait]
impl SourceReader for Slowly {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.1.0.fetch_add(40_000, Ordering::Relaxed);
        Ok(self.0.pop_front())
    }
}

/// Moves only by what [`Slowly`] adds; a sleep that is due is over, another never ends.
#[derive(Default)]
struct FakeClock(AtomicU64);

impl Clock for FakeClock {
    fn now_us(&self) -> i64 {
        0
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() { Box::pin(std::future::ready(())) } else { Box::pin(std::future::pending()) }
    }
}

async fn rows_of_writes(batches: Vec<SourceBatch>, rows_max: usize) -> Vec<usize> {
    let clock = Arc::new(FakeClock::default());
    let reader = Box::new(Slowly(batches.into(), clock.clone()));
    let written = Arc::new(Mutex::new(Vec::new()));
    let log = written.clone();
    let commit: CommitWrite = Box::new(move |write| {
        log.lock().push(write.tables[0].inserts.as_ref().unwrap().num_rows());
        Box::pin(std::future::ready(Ok(())))
    });
    run(reader, batcher(rows_max), clock, commit).await.unwrap();
    let written = written.lock();
    written.clone()
}

#[tokio::test]
async fn full_old_and_last_rows_are_written() {
    let batches = || (1..=5).map(|n| batch(10, n)).collect::<Vec<_>>();
    assert_eq!(rows_of_writes(batches(), 20).await, [20, 20, 10], "by size");
    // 100 ms after the first batch came, at the fourth.
    assert_eq!(rows_of_writes(batches(), 1000).await, [40, 10], "by age");
    assert_eq!(rows_of_writes(Vec::new(), 20).await, [0; 0]);
}
