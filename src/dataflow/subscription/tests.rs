//! Queues by hand: what a slow reader costs, and how streams end.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::FutureExt;

use super::*;

const RELATION: RelationId = RelationId(16_384);

fn subject() -> Subject {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    Subject { relation: RELATION, name: "table \"readings\"".to_owned(), schema }
}

/// Rows of `n`, and a row id behind them as tables have.
fn delta(rows: &[(i64, i64)]) -> DeltaBatch {
    let (values, weights): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..values.len() as i64));
    let rows = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(values)) as ArrayRef), ("_row_id", ids)]);
    DeltaBatch::new(rows.unwrap(), weights.into()).unwrap()
}

fn read(change: &Change) -> (u64, Vec<(i64, i64)>) {
    assert_eq!(change.rows.rows().num_columns(), 1);
    let values = change.rows.rows().column(0).as_primitive::<Int64Type>();
    (change.commit.0, (0..change.rows.num_rows()).map(|row| (values.value(row), change.rows.weight(row))).collect())
}

#[test]
fn a_change_is_consolidated_and_what_goes_stands_before_what_comes() {
    let mut taps = Taps::new(1 << 20);
    let mut subscription = taps.subscribe(subject());
    taps.send(RELATION, CommitNumber(1), &[delta(&[(7, 1), (7, 1), (8, 1)]), delta(&[(8, -1), (5, -1), (6, 1)])]);
    // An update that changes nothing that is seen.
    taps.send(RELATION, CommitNumber(2), &[delta(&[(7, -1), (7, 1)])]);
    taps.send(RELATION, CommitNumber(3), &[delta(&[])]);
    taps.send(RELATION, CommitNumber(4), &[delta(&[(9, 1)])]);
    let change = subscription.take().unwrap().unwrap();
    assert_eq!(read(&change), (1, vec![(5, -1), (7, 2), (6, 1)]));
    assert_eq!(read(&subscription.next().now_or_never().unwrap().unwrap()), (4, vec![(9, 1)]));
    assert!(subscription.take().unwrap().is_none());
    assert!(subscription.next().now_or_never().is_none());
}

#[test]
fn a_slow_reader_is_cut_and_holds_nothing_and_the_others_go_on() {
    let one = delta(&[(1, 1)]).memory_bytes();
    let mut taps = Taps::new(3 * one);
    let (mut slow, mut fast) = (taps.subscribe(subject()), taps.subscribe(subject()));
    for commit in 1..=4 {
        taps.send(RELATION, CommitNumber(commit), &[delta(&[(commit as i64, 1)])]);
        assert_eq!(read(&fast.take().unwrap().unwrap()).0, commit);
        assert!(slow.queue.state.lock().bytes <= 3 * one);
    }
    assert!(slow.queue.state.lock().waiting.is_empty());
    for _ in 0..2 {
        let error = slow.take().unwrap_err();
        assert_eq!(error.state(), SqlState::CONFIGURATION_LIMIT_EXCEEDED);
        assert!(error.message().contains("table \"readings\""), "{error:?}");
        assert!(error.detail().unwrap().contains("It has not read a change yet."), "{error:?}");
    }
    taps.send(RELATION, CommitNumber(5), &[delta(&[(5, 1)])]);
    assert_eq!(read(&fast.take().unwrap().unwrap()), (5, vec![(5, 1)]));
}

#[test]
fn one_large_change_does_not_cut_a_reader_that_keeps_up() {
    let mut taps = Taps::new(1);
    let mut subscription = taps.subscribe(subject());
    for commit in 1..=2 {
        taps.send(RELATION, CommitNumber(commit), &[delta(&[(1, 1), (2, 1)])]);
        assert_eq!(read(&subscription.take().unwrap().unwrap()).0, commit);
    }
    taps.send(RELATION, CommitNumber(3), &[delta(&[(1, 1)])]);
    taps.send(RELATION, CommitNumber(4), &[delta(&[(1, 1)])]);
    let error = subscription.take().unwrap_err();
    assert!(error.detail().unwrap().contains("of commit 2."), "{error:?}");
}

#[test]
fn the_end_comes_behind_what_was_sent_and_wakes_who_waits() {
    let mut taps = Taps::new(1 << 20);
    let mut subscription = taps.subscribe(subject());
    taps.send(RELATION, CommitNumber(1), &[delta(&[(1, 1)])]);
    taps.end_dropped(RELATION);
    assert_eq!(read(&subscription.take().unwrap().unwrap()).0, 1);
    let error = subscription.next().now_or_never().unwrap().unwrap_err();
    assert_eq!(error.state(), SqlState::UNDEFINED_TABLE);
    assert_eq!(error.message(), "table \"readings\" was dropped while it was subscribed to");
    let mut waiting = taps.subscribe(subject());
    drop(taps);
    assert_eq!(waiting.next().now_or_never().unwrap().unwrap_err().state(), SqlState::ADMIN_SHUTDOWN);
}

#[test]
fn who_went_away_is_forgotten() {
    let mut taps = Taps::new(1 << 20);
    let (first, second) = (taps.subscribe(subject()), taps.subscribe(subject()));
    drop(first);
    assert!(taps.wants(RELATION));
    drop(second);
    assert!(!taps.wants(RELATION));
    assert!(taps.taps.is_empty());
}
