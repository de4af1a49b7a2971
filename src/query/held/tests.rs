//! Parts of a plan, and readings of them.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, StringViewArray, UInt64Array};
use arrow::datatypes::Int64Type;
use datafusion::catalog::MemTable;
use futures::TryStreamExt;

use super::*;
use crate::query::ContextInput;

#[test]
fn parts_are_few_enough_to_be_worth_it() {
    assert_eq!(parts(4, 1000), 1);
    assert_eq!(parts(4, 2 * PART_ROWS_MIN), 2);
    assert_eq!(parts(4, 100 * PART_ROWS_MIN), 4);
    assert_eq!(parts(64, 100 * PART_ROWS_MIN), PARTS_MAX);
    assert_eq!(parts(1, usize::MAX), 1);
}

#[test]
fn narrow_rows_come_in_larger_batches() {
    let narrow = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
    let wide = Schema::new((0..100).map(|n| Field::new(n.to_string(), DataType::Utf8, true)).collect::<Vec<_>>());
    assert_eq!(batch_rows(&narrow, 8192), BATCH_ROWS_MAX);
    assert_eq!(batch_rows(&wide, 8192), 8192);
    assert_eq!(batch_rows(&Schema::empty(), 8192), BATCH_ROWS_MAX);
}

#[tokio::test]
async fn rows_that_are_there_take_their_sql_types_form() {
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![7]));
    let names: ArrayRef = Arc::new(StringViewArray::from(vec!["a"]));
    let rows = RecordBatch::try_from_iter([("count", counts), ("name", names)]).unwrap();
    let held = HeldQuery::of_rows(&rows.schema(), vec![rows]).unwrap();
    let types: Vec<_> = held.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Decimal128(20, 0), DataType::Utf8]);
    let read: Vec<RecordBatch> = held.read(0).await.unwrap().try_collect().await.unwrap();
    assert_eq!(read[0].schema(), held.schema());
    assert_eq!(held.parts(), 1);
}

async fn held(sql: &str, rows: usize) -> HeldQuery {
    let context = datafusion::prelude::SessionContext::new();
    let partitions = (0..3).map(|partition| {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(partition * 100..partition * 100 + 100));
        vec![RecordBatch::try_from_iter([("id", ids)]).unwrap()]
    });
    let partitions: Vec<_> = partitions.collect();
    let table = MemTable::try_new(partitions[0][0].schema(), partitions).unwrap();
    context.register_table("readings", Arc::new(table)).unwrap();
    let plan = context.sql(sql).await.unwrap().into_unoptimized_plan();
    let running = RunningQueries::new(context.runtime_env());
    let context = QueryContext::new(context.state(), ContextInput::of_tables(Default::default()));
    HeldQuery::plan(&Handle::current(), running, &context, plan, rows, None).await.unwrap()
}

async fn ids(held: &HeldQuery, part: usize) -> Vec<i64> {
    let batches: Vec<RecordBatch> = held.read(part).await.unwrap().try_collect().await.unwrap();
    let mut ids: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn each_part_is_read_by_itself_and_again() {
    let held = held("SELECT id FROM readings WHERE id % 2 = 0", 2 * PART_ROWS_MIN).await;
    assert_eq!(held.parts(), 2);
    let (first, second) = (ids(&held, 0).await, ids(&held, 1).await);
    assert_eq!((ids(&held, 0).await, ids(&held, 1).await), (first.clone(), second.clone()));
    let mut all = [first, second].concat();
    all.sort_unstable();
    assert_eq!(all, (0..300).step_by(2).collect::<Vec<i64>>());
}

#[tokio::test]
async fn what_needs_all_partitions_is_one_part_and_can_be_read_again() {
    let rows = 100 * PART_ROWS_MIN;
    let sorted = held("SELECT id FROM readings ORDER BY id LIMIT 3", rows).await;
    let grouped = held("SELECT id % 3 AS id, count(*) FROM readings GROUP BY 1", rows).await;
    let joined = held("SELECT a.id FROM readings a JOIN readings b ON a.id = b.id + 298", rows).await;
    for _ in 0..2 {
        assert_eq!((sorted.parts(), ids(&sorted, 0).await), (1, vec![0, 1, 2]));
        assert_eq!((grouped.parts(), ids(&grouped, 0).await), (1, vec![0, 1, 2]));
        assert_eq!((joined.parts(), ids(&joined, 0).await), (1, vec![298, 299]));
    }
}
