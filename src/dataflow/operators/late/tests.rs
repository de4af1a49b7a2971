//! Late rows and closed groups over random histories: whatever commits a step covers, with memory for state and without, a view shows each
//! closed group once, with the rows that were on time, and tells of the others.

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, ExprFunctionExt, WindowFrame, WindowFunctionDefinition, col};

use crate::dataflow::tests::views::*;
use crate::delta::DeltaBatch;
use crate::functions::session_state;
use crate::plan::{AggregateFunction, Closing, Node, RankKind, TABLE_WATERMARK};
use crate::testing::SimRng;
use crate::testing::oracle::{self, Call, Row, Value};
use crate::types::WATERMARK;

const SEED: u64 = 20261126;
const DELAY: i64 = 3;

fn marked_schema() -> SchemaRef {
    schema(&[("time", TIME), ("device", DataType::Int32), ("n", DataType::Int64), (WATERMARK, TIME)])
}

/// A view, and what it shows of the rows (time, device, n) that were on time and whose window is closed.
struct Form {
    root: Node,
    oracle: fn(&[Row]) -> Vec<Row>,
}

/// The window of a row is its time.
fn on_time() -> Node {
    let source = source(READINGS, &marked_schema());
    Node::Late { id: 0, input: Box::new(source), window: col("time"), passed: col(WATERMARK) }
}

fn close(groups: Node) -> Node {
    let closing = Closing { relation: READINGS, key: 1, bound: col(TABLE_WATERMARK) };
    Node::Close { id: 0, input: Box::new(groups), closing }
}

/// Device, time, and how many rows there are.
fn closed_groups() -> Node {
    let calls = vec![(AggregateFunction::CountAll, vec![]), (AggregateFunction::Max, vec![col("n")])];
    close(aggregate(on_time(), vec![col("device"), col("time")], calls))
}

fn groups_of(closed: &[Row]) -> Vec<Row> {
    oracle::group(closed, &[1, 0], &[Call::CountAll, Call::Max(2)])
}

fn forms() -> [Form; 4] {
    let distinct = distinct_values(project(on_time(), vec![col("device"), col("time"), col("n")]), 2, 2);
    let calls = vec![(AggregateFunction::Count, vec![col("n")]), (AggregateFunction::Sum, vec![col("n")])];
    let order = vec![(col("a0"), true, false)];
    let first = top(closed_groups(), vec![col("time")], order, (RankKind::RowNumber, 0, 1), true);
    [
        Form { root: closed_groups(), oracle: groups_of },
        Form {
            root: close(aggregate(distinct, vec![col("device"), col("time")], calls)),
            oracle: |closed| oracle::group(closed, &[1, 0], &[Call::CountDistinct(2), Call::SumDistinct(2)]),
        },
        Form {
            root: first,
            oracle: |closed| oracle::top(&groups_of(closed), &[1], &[(2, true, false)], (0, 0, 1), true),
        },
        Form {
            root: window(closed_groups(), vec![(count_of_window(), DataType::Int64)]),
            oracle: |closed| {
                oracle::window(&groups_of(closed), &[1], &[], |members, _| {
                    vec![oracle::value_of(members, Call::Count(3))]
                })
            },
        },
    ]
}

/// How many groups of the window have a greatest n.
fn count_of_window() -> Expr {
    let state = session_state(Default::default(), Default::default()).build();
    let count = WindowFunctionDefinition::AggregateUDF(state.aggregate_functions()["count"].clone());
    let call = Expr::from(WindowFunction::new(count, vec![col("a1")]));
    call.partition_by(vec![col("time")]).window_frame(WindowFrame::new(None)).build().unwrap()
}

fn check(commits_per_step_max: usize, rng: &SimRng, form: &Form) {
    let mut worker = TestWorker::new(commits_per_step_max);
    let closing = plan(numbered(form.root.clone()));
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
            let expected = oracle::render(&(form.oracle)(&closed));
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
    // The late rows, and the source, are below.
    let above = view.operators.split_last_chunk::<2>().unwrap().0;
    let kept: Vec<usize> = above.iter().map(|operator| operator.state_bytes).collect();
    assert!(kept.iter().all(|bytes| *bytes < 4_000), "kept of closed windows: {kept:?} bytes");
    worker.finish();
}

#[test]
fn each_window_is_shown_once_with_the_rows_that_were_on_time() {
    let rng = SimRng::new(SEED);
    for form in forms() {
        for commits_per_step_max in [0, 1, 3] {
            check(commits_per_step_max, &rng, &form);
        }
    }
}
