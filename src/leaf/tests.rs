use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::physical_plan::statistics::StatisticsContext;
use datafusion::physical_plan::{collect, displayable, execute_stream_partitioned};
use datafusion::prelude::SessionContext;

use super::*;

/// Batches of one row, which count how many were read.
#[derive(Debug)]
struct Numbers {
    from: i64,
    rows: usize,
    read: Arc<AtomicUsize>,
}

impl Part for Numbers {
    fn rows(&self) -> usize {
        self.rows
    }

    fn read(&self) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
        let (from, read) = (self.from, self.read.clone());
        Box::new((0..self.rows as i64).map(move |row| {
            read.fetch_add(1, Ordering::Relaxed);
            Ok(RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(vec![from + row]))])?)
        }))
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn leaf(read: &Arc<AtomicUsize>) -> LeafExec {
    let part = |from, rows| Arc::new(Numbers { from, rows, read: read.clone() }) as Arc<dyn Part>;
    LeafExec::new("NumbersExec", "numbers", schema(), vec![part(0, 3), part(100, 4)])
}

fn rows(leaf: &LeafExec, partition: Option<usize>) -> Precision<usize> {
    let args = StatisticsArgs::new().with_partition(partition);
    StatisticsContext::new().compute(leaf, &args).unwrap().num_rows
}

async fn values(leaf: LeafExec) -> Vec<i64> {
    let batches = collect(Arc::new(leaf), SessionContext::new().task_ctx()).await.unwrap();
    let mut values: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    values.sort_unstable();
    values
}

#[tokio::test]
async fn a_partition_for_each_part_and_all_rows() {
    let read = Arc::default();
    let whole = leaf(&read);
    assert_eq!(displayable(&whole).one_line().to_string().trim(), "NumbersExec: numbers, parts=2, columns=[n]");
    let partitions = execute_stream_partitioned(Arc::new(leaf(&read)), SessionContext::new().task_ctx()).unwrap();
    assert_eq!(partitions.len(), 2);
    assert_eq!(values(whole).await, [0, 1, 2, 100, 101, 102, 103]);
}

#[tokio::test]
async fn the_planner_is_told_about_how_many_rows_there_are() {
    let whole = leaf(&Arc::default());
    // An exact number would answer count(*), and deleted rows are among these.
    assert_eq!(rows(&whole, None), Precision::Inexact(7));
    assert_eq!(rows(&whole, Some(1)), Precision::Inexact(4));
    assert_eq!(rows(&whole.fetching(Some(2)), None), Precision::Inexact(4));
}

#[tokio::test]
async fn what_is_read_and_what_is_wanted_is_counted() {
    let read = Arc::default();
    let whole = leaf(&read);
    let context = SessionContext::new().task_ctx();
    let plan: Arc<dyn ExecutionPlan> = Arc::new(whole);
    collect(plan.clone(), context.clone()).await.unwrap();
    assert_eq!(plan.metrics().and_then(|metrics| metrics.output_rows()), Some(7));
    assert_eq!(read.swap(0, Ordering::Relaxed), 7);

    let two = plan.with_fetch(Some(2)).unwrap();
    assert_eq!(two.fetch(), Some(2));
    collect(two.clone(), context).await.unwrap();
    assert_eq!(two.metrics().and_then(|metrics| metrics.output_rows()), Some(4));
    assert_eq!(read.load(Ordering::Relaxed), 4, "rows that nobody wants are not read");
}
