//! Late rows and closed groups over random histories: whatever commits a step covers, with memory for state and without, a view shows each
//! closed group once, with the rows that were on time, and tells of the others.

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::col;

use crate::dataflow::tests::views::*;
use crate::delta::DeltaBatch;
use crate::plan::{AggregateFunction, Closing, Node, TABLE_WATERMARK};
use crate::testing::SimRng;
use crate::testing::oracle::{self, Call, Row, Value};
use crate::types::WATERMARK;

const SEED: u64 = 20261126;
const DELAY: i64 = 3;

fn marked_schema() -> SchemaRef {
    schema(&[
        ("time", TIME),
        ("device", arrow::datatypes::DataType::Int32),
        ("n", arrow::datatypes::DataType::Int64),
        (WATERMARK, TIME),
    ])
}

/// The window of a row is its time.
fn closed_groups() -> Node {
    let source = source(READINGS, &marked_schema());
    let late = Node::Late { id: 0, input: Box::new(source), window: col("time"), passed: col(WATERMARK) };
    let calls = vec![(AggregateFunction::CountAll, vec![]), (AggregateFunction::Max, vec![col("n")])];
    let groups = aggregate(late, vec![col("device"), col("time")], calls);
    let closing = Closing { relation: READINGS, key: 1, bound: col(TABLE_WATERMARK) };
    numbered(Node::Close { id: 0, input: Box::new(groups), closing })
}

fn check(commits_per_step_max: usize, rng: &SimRng) {
    let mut worker = TestWorker::new(commits_per_step_max);
    let closing = plan(closed_groups());
    worker.create(VIEW, &closing, &[(READINGS, batch_of(&marked_schema(), &[]))], true).unwrap();
    worker.create(VIEW_ABOVE, &plan(source(VIEW, &closing.schema())), &[], false).unwrap();
    let (mut watermark, mut punctual, mut late): (Option<i64>, Vec<Row>, i64) = (None, Vec::new(), 0);
    for now in 0..150_i64 {
        let rows: Vec<Row> = (0..rng.below(4))
            .map(|_| {
                let time = now + rng.below(4) as i64 - rng.below(9) as i64;
                let mark = watermark.map_or(Value::Null, Value::Integer);
                vec![
                    Value::Integer(time),
                    Value::Integer(rng.below(2) as i64),
                    Value::Integer(rng.below(9) as i64),
                    mark,
                ]
            })
            .collect();
        let newest =
            rows.iter().filter_map(|row| if let Value::Integer(time) = row[0] { Some(time) } else { None }).max();
        let is_late = |row: &Row| matches!((&row[0], watermark), (Value::Integer(time), Some(mark)) if *time < mark);
        late += rows.iter().filter(|row| is_late(row)).count() as i64;
        punctual.extend(rows.iter().filter(|row| !is_late(row)).cloned());
        let next = watermark.max(newest.map(|newest| newest - DELAY));
        let moved = next.filter(|_| next != watermark).map(|at_us| (READINGS, at_us));
        watermark = next;
        let delta = DeltaBatch::inserts(batch_of(&marked_schema(), &rows));
        worker.commit_with(if rows.is_empty() { vec![] } else { vec![(READINGS, delta)] }, moved);
        if rng.one_in(3) || now == 149 {
            let closed =
                |row: &&Row| matches!((&row[0], watermark), (Value::Integer(time), Some(mark)) if *time < mark);
            let closed: Vec<Row> = punctual.iter().filter(closed).cloned().collect();
            let expected = oracle::render(&oracle::group(&closed, &[1, 0], &[Call::CountAll, Call::Max(2)]));
            assert_eq!(oracle::render(&worker.rows(VIEW)), expected, "at {now}, seed {SEED}");
            assert_eq!(oracle::render(&worker.rows(VIEW_ABOVE)), expected, "above at {now}");
            let snapshot = worker.read(VIEW).unwrap();
            assert_eq!(snapshot.late_rows().unwrap().map(|row| row.weight).sum::<i64>(), late, "late rows at {now}");
        }
    }
    let stats = worker.dataflows.stats();
    let view = stats.iter().find(|view| view.view == VIEW).unwrap();
    assert_eq!((view.accepted_rows, view.late_rows), (punctual.len() as u64, late as u64));
    assert!(late > 10, "{late} rows were late: nothing was tried");
    worker.finish();
}

#[test]
fn each_window_is_shown_once_with_the_rows_that_were_on_time() {
    let rng = SimRng::new(SEED);
    for commits_per_step_max in [0, 1, 3] {
        check(commits_per_step_max, &rng);
    }
}
