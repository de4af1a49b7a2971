//! Appended state: order, merging, clones and bytes.

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::*;
use crate::dataflow::state::StateRef;
use crate::dataflow::state::page::tests::{carry_over, tiny_residence};
use crate::types::RelationId;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

fn delta(values: std::ops::Range<i64>, weight: i64) -> DeltaBatch {
    let count = (values.end - values.start) as usize;
    let rows = RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from_iter_values(values))]).unwrap();
    if weight == 1 { DeltaBatch::inserts(rows) } else { DeltaBatch::new(rows, vec![weight; count].into()).unwrap() }
}

fn contents(state: &LogState) -> Vec<(i64, i64)> {
    let batches = (0..).map_while(|index| state.batch(index).unwrap());
    let rows = batches.flat_map(|delta| {
        let values = delta.rows().column(0).as_primitive::<Int64Type>();
        (0..delta.num_rows()).map(|row| (values.value(row), delta.weight(row))).collect::<Vec<_>>()
    });
    rows.collect()
}

#[test]
fn ten_thousand_rows_one_by_one_are_few_batches() {
    let mut state = LogState::new(schema());
    for value in 0..10_000 {
        state.push(&delta(value..value + 1, 1)).unwrap();
    }
    assert_eq!(contents(&state), (0..10_000).map(|value| (value, 1)).collect::<Vec<_>>());
    assert!(state.batches.len() <= 14, "{} batches", state.batches.len());
    assert_eq!(state.rows(), 10_000);
}

#[test]
fn large_batches_are_taken_as_they_are() {
    let mut state = LogState::new(schema());
    let large = delta(0..40_000, 1);
    (0..3).for_each(|_| state.push(&large).unwrap());
    assert_eq!(state.batches.len(), 3);
    let (kept, given) = (state.batch(1).unwrap().unwrap().rows().column(0).to_data(), large.rows().column(0).to_data());
    assert!(kept.ptr_eq(&given), "the batch was copied");
}

#[test]
fn a_clone_keeps_what_it_had() {
    let mut state = LogState::new(schema());
    state.push(&delta(0..10, 1)).unwrap();
    let snapshot = state.clone();
    state.push(&delta(10..20, 2)).unwrap();
    assert_eq!(contents(&snapshot).len(), 10);
    assert_eq!(contents(&state)[10], (10, 2));
    assert_eq!((snapshot.rows(), state.rows()), (10, 30));
}

#[test]
fn a_log_that_left_memory_reads_back_and_damage_is_refused() {
    let mut state = LogState::new(schema());
    state.push(&delta(0..5, 1)).unwrap();
    state.push(&delta(5..7, 3)).unwrap();
    let before = contents(&state);
    let (store, residence) = tiny_residence();
    state.account().attach(&residence, RelationId(1));
    (0..2).for_each(|_| state.make_room(&residence).unwrap());
    assert_eq!((contents(&state), state.rows(), state.memory_bytes()), (before.clone(), 11, 0));
    let mut back = LogState::new(schema());
    carry_over(&store, StateRef::Log(&mut state), StateRef::Log(&mut back)).unwrap();
    assert_eq!((contents(&back), back.rows()), (before, 11));
    back.push(&delta(7..8, 1)).unwrap();
    assert_eq!((contents(&back).len(), contents(&state).len()), (8, 7));
    let bytes = state.batch(0).unwrap().unwrap().to_bytes().unwrap();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        assert!(DeltaBatch::from_bytes(&schema(), &damaged).is_err());
    }
}

#[test]
fn a_large_batch_leaves_in_pieces() {
    let mut state = LogState::new(schema());
    let rows = 2 * BATCH_BYTES_MAX / size_of::<i64>() + 1;
    state.push(&delta(0..rows as i64, 1)).unwrap();
    assert_eq!(state.batches.len(), 3);
    assert_eq!(state.memory_bytes(), rows * size_of::<i64>());
    assert_eq!(contents(&state), (0..rows as i64).map(|value| (value, 1)).collect::<Vec<_>>());
    // Neither are pieces merged beyond that size.
    state.push(&delta(0..rows as i64 / 3, 1)).unwrap();
    assert_eq!(state.batches.len(), 4);
}
