//! Over random histories, at every commit that is read, the rows are those that the condition lets through then; and no row is read
//! from state but when its moment comes.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::ScalarValue;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{Expr, cast, col, lit};

use crate::dataflow::tests::views::*;
use crate::delta::DeltaBatch;
use crate::functions::session_state;
use crate::plan::{AggregateFunction, Node, TimeComparison};
use crate::testing::SimRng;
use crate::testing::oracle::{self, Call, Row, Value};

/// Commits have their number as their time, in microseconds.
const WIDTH_US: i64 = 10;
const SEED: u64 = 20261126;

/// `time comparison now() - 10 us`.
fn temporal(comparison: TimeComparison) -> Node {
    let state = session_state(Default::default(), Default::default()).build();
    let width = IntervalMonthDayNano::new(0, 0, WIDTH_US * 1000);
    let now = state.udf("now").unwrap().call(vec![]);
    let bound: Expr = cast(now - lit(ScalarValue::IntervalMonthDayNano(Some(width))), TIME);
    let present = filter(source(READINGS, &readings_schema()), col("time").is_not_null());
    Node::Temporal { id: present.id() + 1, input: Box::new(present), value: col("time"), comparison, bound }
}

fn passes(comparison: TimeComparison, row: &Row, now_us: i64) -> bool {
    let Value::Integer(time) = row[4] else { return false };
    let bound = now_us - WIDTH_US;
    match comparison {
        TimeComparison::Above => time > bound,
        TimeComparison::AtLeast => time >= bound,
        TimeComparison::Below => time < bound,
        TimeComparison::AtMost => time <= bound,
    }
}

fn random_reading(rng: &SimRng, now_us: i64) -> Row {
    let mut row = reading(rng.below(3) as i64, rng.below(4) as f64, rng.below(2) as i64);
    if !rng.one_in(8) {
        row[4] = Value::Integer(now_us + rng.below(40) as i64 - 25);
    }
    row
}

fn check(comparison: TimeComparison, commits_per_step_max: usize, rng: &SimRng) {
    let mut worker = TestWorker::new(commits_per_step_max);
    let mut live: Vec<Row> = (0..10).map(|_| random_reading(rng, 0)).collect();
    let mut inserted = live.len() as u64;
    let counts = aggregate(temporal(comparison), vec![col("device")], vec![(AggregateFunction::CountAll, vec![])]);
    let tables = || [(READINGS, batch_of(&readings_schema(), &live))];
    worker.create(VIEW, &plan(temporal(comparison)), &tables(), false).unwrap();
    worker.create(VIEW_ABOVE, &plan(source(VIEW, &readings_schema())), &[], false).unwrap();
    worker.create(VIEW_ON_TOP, &plan(counts), &tables(), false).unwrap();
    for now_us in 1..=120 {
        let mut changes: Vec<(i64, Row)> = Vec::new();
        // Some commits bring nothing but their time.
        for _ in 0..rng.below(4) {
            match live.is_empty() || !rng.one_in(3) {
                true => changes.push((1, random_reading(rng, now_us))),
                false => changes.push((-1, live.swap_remove(rng.below(live.len() as u64) as usize))),
            }
        }
        live.extend(changes.iter().filter(|(weight, _)| *weight > 0).map(|(_, row)| row.clone()));
        inserted += changes.iter().filter(|(weight, _)| *weight > 0).count() as u64;
        let (weights, rows): (Vec<i64>, Vec<Row>) = changes.into_iter().unzip();
        let delta = DeltaBatch::new(batch_of(&readings_schema(), &rows), weights.into()).unwrap();
        worker.commit(if rows.is_empty() { vec![] } else { vec![(READINGS, delta)] });
        if rng.one_in(3) || now_us == 120 {
            let expected: Vec<Row> = live.iter().filter(|row| passes(comparison, row, now_us)).cloned().collect();
            let lines = oracle::render(&expected);
            assert_eq!(oracle::render(&worker.rows(VIEW)), lines, "{comparison:?} at {now_us}, seed {SEED}");
            assert_eq!(oracle::render(&worker.rows(VIEW_ABOVE)), lines, "above {comparison:?} at {now_us}");
            let counted = oracle::render(&oracle::group(&expected, &[0], &[Call::CountAll]));
            assert_eq!(oracle::render(&worker.rows(VIEW_ON_TOP)), counted, "counts of {comparison:?} at {now_us}");
        }
    }
    let read = worker.dataflows.stats().iter().find(|view| view.view == VIEW).unwrap().rows_read;
    assert!(read > 0 && read <= inserted, "{read} rows read of {inserted}");
    assert!(worker.dataflows.follows_time());
    worker.finish();
}

#[test]
fn rows_come_and_go_with_time() {
    let rng = SimRng::new(SEED);
    use TimeComparison::{Above, AtLeast, AtMost, Below};
    for comparison in [Above, AtLeast, Below, AtMost] {
        for commits_per_step_max in [0, 1, 3] {
            check(comparison, commits_per_step_max, &rng);
        }
    }
}
