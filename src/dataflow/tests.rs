//! Views against the oracle: whatever the history and the cuts into steps, a view is its query over the live rows.

mod by_sql;
mod expired;
mod frames;
mod pieces;
mod relational;
mod resumed;
mod subscriptions;
pub mod views;
mod wide;

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::stats::Precision;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

use self::views::*;
use crate::dataflow::ViewTable;
use crate::delta::DeltaBatch;
use crate::functions::SetFunction;
use crate::plan::AggregateFunction::{
    ArrayAgg, Avg, Count, CountAll, First, Last, Max, Min, Set, StddevPop, StringAgg, Sum, VarSamp,
};
use crate::plan::{Node, ViewPlan, aggregate_eagerly};
use crate::testing::oracle::{self, Call, Of, Row, Value};
use crate::types::RelationId;

fn readings() -> Node {
    source(READINGS, &readings_schema())
}

fn devices() -> Node {
    source(DEVICES, &devices_schema())
}

/// A view by hand, and the same query by loops over readings and devices.
struct Case {
    name: &'static str,
    plan: ViewPlan,
    oracle: fn(&[Row], &[Row]) -> Vec<Row>,
}

const ALL_CALLS: [Call; 9] = [
    Call::CountAll,
    Call::Count(2),
    Call::Sum(2),
    Call::Avg(2),
    Call::Min(2),
    Call::Max(2),
    Call::First(2, 4),
    Call::Last(1, 4),
    Call::Avg(3),
];

fn all_calls(input: Node, group: Vec<Expr>) -> Node {
    let calls = vec![
        (CountAll, vec![]),
        (Count, vec![col("x")]),
        (Sum, vec![col("x")]),
        (Avg, vec![col("x")]),
        (Min, vec![col("x")]),
        (Max, vec![col("x")]),
        (First, vec![col("x"), col("time")]),
        (Last, vec![col("site"), col("time")]),
        (Avg, vec![col("n")]),
    ];
    aggregate(input, group, calls)
}

fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(value) = value { Some(*value) } else { None }
}

fn cases_of_append_only_tables() -> Vec<Case> {
    let mut cases = cases();
    cases.extend(by_sql::of_append_only_tables());
    cases
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case {
            name: "filter",
            plan: plan(filter(readings(), col("n").gt(lit(2_i64)))),
            oracle: |readings, _| oracle::filter(readings, |row| integer(&row[3]).map(|n| n > 2)),
        },
        Case {
            name: "project",
            plan: plan(project(readings(), vec![col("site"), col("n").gt(lit(1_i64)).alias("large")])),
            oracle: |readings, _| {
                let large = |value: &Value| integer(value).map_or(Value::Null, |n| Value::Boolean(n > 1));
                oracle::project(readings, |row| vec![row[1].clone(), large(&row[3])])
            },
        },
        Case {
            name: "join",
            plan: plan(join(readings(), devices(), vec![(col("device"), col("id"))], None)),
            oracle: |readings, devices| oracle::join(readings, devices, &[(0, 0)]),
        },
        Case {
            name: "join with a residual, on text",
            plan: plan(join(
                readings(),
                devices(),
                vec![(col("site"), col("name"))],
                Some(col("device").lt(col("id"))),
            )),
            oracle: |readings, devices| {
                let joined = oracle::join(readings, devices, &[(1, 1)]);
                oracle::filter(&joined, |row| Some(integer(&row[0])? < integer(&row[5])?))
            },
        },
        Case {
            name: "group by an integer",
            plan: plan(all_calls(readings(), vec![col("device")])),
            oracle: |readings, _| oracle::group(readings, &[0], &ALL_CALLS),
        },
        Case {
            name: "group by text and a float",
            plan: plan(all_calls(readings(), vec![col("site"), col("x")])),
            oracle: |readings, _| oracle::group(readings, &[1, 2], &ALL_CALLS),
        },
        Case {
            name: "aggregate over everything",
            plan: plan(all_calls(readings(), vec![])),
            oracle: |readings, _| oracle::group(readings, &[], &ALL_CALLS),
        },
        Case {
            name: "having",
            plan: plan(project(
                filter(
                    aggregate(readings(), vec![col("device")], vec![(CountAll, vec![]), (Sum, vec![col("n")])]),
                    col("a0").gt(lit(1_i64)),
                ),
                vec![col("a1"), col("device")],
            )),
            oracle: |readings, _| {
                let groups = oracle::group(readings, &[0], &[Call::CountAll, Call::Sum(3)]);
                let groups = oracle::filter(&groups, |row| integer(&row[1]).map(|count| count > 1));
                oracle::project(&groups, |row| vec![row[2].clone(), row[0].clone()])
            },
        },
        Case {
            name: "group over a join",
            plan: plan(aggregate(
                join(readings(), devices(), vec![(col("device"), col("id"))], None),
                vec![col("name")],
                vec![(CountAll, vec![]), (Max, vec![col("time")]), (Sum, vec![col("device")])],
            )),
            oracle: |readings, devices| {
                let joined = oracle::join(readings, devices, &[(0, 0)]);
                oracle::group(&joined, &[6], &[Call::CountAll, Call::Max(4), Call::Sum(0)])
            },
        },
        Case {
            name: "group over a join, aggregated below it",
            plan: plan(numbered(eager(true))),
            oracle: |readings, devices| oracle::group(&oracle::join(readings, devices, &[(0, 0)]), &[6, 1], &ALL_CALLS),
        },
        Case {
            name: "group over a join, aggregated below it on the right",
            plan: plan(numbered(eager(false))),
            oracle: |readings, devices| oracle::group(&oracle::join(readings, devices, &[(0, 0)]), &[6, 1], &ALL_CALLS),
        },
        Case {
            name: "left join",
            plan: plan(left_join(readings(), devices(), vec![(col("device"), col("id"))], None)),
            oracle: |readings, devices| oracle::left_join(readings, devices, &[(0, 0)], 2, |_| Some(true)),
        },
        Case {
            name: "left join from the small side, with a residual",
            plan: plan(left_join(
                devices(),
                readings(),
                vec![(col("id"), col("device"))],
                Some(col("n").gt(lit(1_i64)).and(col("name").lt(col("site")))),
            )),
            oracle: |readings, devices| {
                let both = |left: Option<bool>, right: Option<bool>| match (left, right) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                };
                let less = |left: &Value, right: &Value| match (left, right) {
                    (Value::Null, _) | (_, Value::Null) => None,
                    (left, right) => Some(left.compare(right).is_lt()),
                };
                oracle::left_join(devices, readings, &[(0, 0)], 5, |row| {
                    both(integer(&row[5]).map(|n| n > 1), less(&row[1], &row[3]))
                })
            },
        },
        Case {
            name: "group over a left join, on floats and text",
            plan: plan(aggregate(
                left_join(
                    project(readings(), vec![col("x"), col("site")]),
                    devices(),
                    vec![(col("site"), col("name"))],
                    None,
                ),
                vec![col("id")],
                vec![(CountAll, vec![]), (Count, vec![col("name")]), (Sum, vec![col("x")])],
            )),
            oracle: |readings, devices| {
                let left = oracle::project(readings, |row| vec![row[2].clone(), row[1].clone()]);
                let joined = oracle::left_join(&left, devices, &[(1, 1)], 2, |_| Some(true));
                oracle::group(&joined, &[2], &[Call::CountAll, Call::Count(3), Call::Sum(0)])
            },
        },
        Case {
            name: "union of three",
            plan: plan(union(vec![
                project(readings(), vec![col("device"), col("site")]),
                devices(),
                project(filter(readings(), col("n").gt(lit(2_i64))), vec![col("device"), col("site")]),
            ])),
            oracle: |readings, devices| {
                let columns = |rows: &[Row]| oracle::project(rows, |row| row[..2].to_vec());
                let some = oracle::filter(readings, |row| integer(&row[3]).map(|n| n > 2));
                oracle::union(&[columns(readings), devices.to_vec(), columns(&some)])
            },
        },
        Case {
            name: "distinct aggregates beside others",
            plan: plan(aggregate(
                distinct_values(
                    project(readings(), vec![col("device"), col("x"), col("x").alias("y"), col("n")]),
                    1,
                    2,
                ),
                vec![col("device")],
                vec![
                    (Count, vec![col("x")]),
                    (Sum, vec![col("x")]),
                    (Count, vec![col("y")]),
                    (Sum, vec![col("y")]),
                    (Count, vec![col("n")]),
                    (Avg, vec![col("n")]),
                ],
            )),
            oracle: |readings, _| {
                let calls = [
                    Call::Count(2),
                    Call::Sum(2),
                    Call::CountDistinct(2),
                    Call::SumDistinct(2),
                    Call::CountDistinct(3),
                    Call::AvgDistinct(3),
                ];
                oracle::group(readings, &[0], &calls)
            },
        },
        Case {
            name: "distinct aggregates over everything",
            plan: plan(aggregate(
                distinct_values(project(readings(), vec![col("n").alias("m"), col("site"), col("n")]), 0, 1),
                vec![],
                vec![(Count, vec![col("m")]), (Count, vec![col("site")]), (Sum, vec![col("n")])],
            )),
            oracle: |readings, _| {
                oracle::group(readings, &[], &[Call::Count(3), Call::CountDistinct(1), Call::SumDistinct(3)])
            },
        },
        Case {
            name: "group with variance, deviation and texts",
            plan: plan(aggregate(
                readings(),
                vec![col("device")],
                vec![
                    (VarSamp, vec![col("n")]),
                    (StddevPop, vec![col("n")]),
                    (StringAgg, vec![col("site"), lit(", "), lit("al"), col("x")]),
                ],
            )),
            oracle: |readings, _| {
                oracle::group(
                    readings,
                    &[0],
                    &[Call::Variance(3, Of::Sample), Call::Deviation(3, Of::Population), Call::StringAgg(1, 2)],
                )
            },
        },
        Case {
            name: "group with arrays",
            plan: plan(aggregate(
                readings(),
                vec![col("device")],
                vec![
                    (ArrayAgg { distinct: false }, vec![col("x"), lit(true), lit("df"), col("n")]),
                    (ArrayAgg { distinct: false }, vec![col("site"), lit(true), lit("df"), col("time")]),
                    (ArrayAgg { distinct: true }, vec![col("n"), lit(true), lit("")]),
                ],
            )),
            oracle: |readings, _| {
                let calls = [Call::ArrayAgg(2, 3), Call::ArrayAgg(1, 4), Call::ArrayAggDistinct(3)];
                oracle::group(readings, &[0], &calls)
            },
        },
        Case {
            name: "group with percentiles and modes",
            plan: plan(aggregate(
                readings(),
                vec![col("device")],
                vec![
                    (Set(SetFunction::PercentileDisc), vec![col("x"), lit(0.25), lit("d")]),
                    (Set(SetFunction::PercentileDisc), vec![col("x"), lit(0.75), lit("d")]),
                    (Set(SetFunction::Mode), vec![col("site"), lit("a")]),
                    (Set(SetFunction::Mode), vec![col("n"), lit("a")]),
                ],
            )),
            oracle: |readings, _| {
                let calls = [Call::Percentile(2, 25), Call::Percentile(2, 75), Call::Mode(1), Call::Mode(3)];
                oracle::group(readings, &[0], &calls)
            },
        },
        Case {
            name: "each row once for each of its windows",
            plan: plan(unnest(project(readings(), vec![col("device"), hops(col("time"))]), 1)),
            oracle: |readings, _| {
                let windows = |row: &Row| {
                    let time = integer(&row[1]).unwrap_or(i64::MIN);
                    (-6..=6).filter(|start| start % 2 == 0 && *start <= time && time < start + 4).collect()
                };
                let times = oracle::project(readings, |row| vec![row[0].clone(), row[4].clone()]);
                oracle::project(&oracle::unnest(&times, windows), |row| vec![row[0].clone(), row[2].clone()])
            },
        },
    ];
    cases.extend(relational::cases());
    cases.extend(by_sql::cases());
    cases
}

/// Every call that can be split in two around a join, grouped by both sides.
fn eager(on_left: bool) -> Node {
    let (left, right) = if on_left { (readings(), devices()) } else { (devices(), readings()) };
    let keys = if on_left { (col("device"), col("id")) } else { (col("id"), col("device")) };
    let joined = join(left, right, vec![keys], None);
    let split = aggregate_eagerly(all_calls(joined, vec![col("name"), col("site")])).unwrap();
    let Node::Aggregate { input, .. } = &split else { panic!("not an aggregate") };
    assert!(input.inputs().iter().any(|input| matches!(input, Node::Aggregate { .. })), "it was not split");
    split
}

/// Starts of windows of 4 us, every 2 us.
fn hops(time: Expr) -> Expr {
    let width = |us: i64| {
        let interval = arrow::datatypes::IntervalMonthDayNano::new(0, 0, us * 1000);
        lit(datafusion::common::ScalarValue::IntervalMonthDayNano(Some(interval)))
    };
    let function = crate::functions::Window::functions().into_iter().find(|function| function.name() == "hop_starts");
    function.unwrap().call(vec![time, width(2), width(4)]).alias("window")
}

fn float() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        1 => Just(Value::Float(f64::NAN)),
        1 => Just(Value::Float(-0.0)),
        1 => Just(Value::Float(0.0)),
        1 => Just(Value::Float(f64::INFINITY)),
        1 => Just(Value::Float(1e18)),
        6 => (-20..20_i32).prop_map(|value| Value::Float(f64::from(value) / 10.0)),
    ]
}

fn integer_or_null(max: i64) -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 5 => (0..max).prop_map(Value::Integer)]
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), Just("".to_string()).prop_map(Value::Text), "[a-c]{1,2}".prop_map(Value::Text)]
}

fn reading() -> impl Strategy<Value = Row> {
    (integer_or_null(4), text(), float(), integer_or_null(5), integer_or_null(6))
        .prop_map(|(device, site, x, n, time)| vec![device, site, x, n, time])
}

fn device() -> impl Strategy<Value = Row> {
    (integer_or_null(4), text()).prop_map(|(id, name)| vec![id, name])
}

/// What happens to the tables; deletes and updates take the row at a place, counted around.
#[derive(Debug, Clone)]
enum Change {
    InsertReading(Row),
    InsertDevice(Row),
    DeleteReading(usize),
    DeleteDevice(usize),
    UpdateReading(usize, Row),
    /// Ends a commit.
    Commit,
    Read,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => reading().prop_map(Change::InsertReading),
        2 => device().prop_map(Change::InsertDevice),
        2 => any::<usize>().prop_map(Change::DeleteReading),
        1 => any::<usize>().prop_map(Change::DeleteDevice),
        2 => (any::<usize>(), reading()).prop_map(|(place, row)| Change::UpdateReading(place, row)),
        4 => Just(Change::Commit),
        1 => Just(Change::Read),
    ]
}

fn insert() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => reading().prop_map(Change::InsertReading),
        2 => device().prop_map(Change::InsertDevice),
        3 => Just(Change::Commit),
        1 => Just(Change::Read),
    ]
}

/// The tables, and their changes since the last commit.
#[derive(Default)]
struct Tables {
    readings: Vec<Row>,
    devices: Vec<Row>,
    pending: Vec<(RelationId, i64, Row)>,
}

impl Tables {
    fn apply(&mut self, change: Change) {
        match change {
            Change::InsertReading(row) => {
                self.pending.push((READINGS, 1, row.clone()));
                self.readings.push(row);
            }
            Change::InsertDevice(row) => {
                self.pending.push((DEVICES, 1, row.clone()));
                self.devices.push(row);
            }
            Change::DeleteReading(place) if !self.readings.is_empty() => {
                let row = self.readings.swap_remove(place % self.readings.len());
                self.pending.push((READINGS, -1, row));
            }
            Change::DeleteDevice(place) if !self.devices.is_empty() => {
                let row = self.devices.swap_remove(place % self.devices.len());
                self.pending.push((DEVICES, -1, row));
            }
            Change::UpdateReading(place, row) if !self.readings.is_empty() => {
                self.apply(Change::DeleteReading(place));
                self.apply(Change::InsertReading(row));
            }
            _ => {}
        }
    }

    fn deltas(&mut self) -> Vec<(RelationId, DeltaBatch)> {
        let pending = std::mem::take(&mut self.pending);
        let of = |table: RelationId| {
            let changes = pending.iter().filter(move |(changed, ..)| *changed == table);
            let (rows, weights): (Vec<Row>, Vec<i64>) = changes.map(|(_, weight, row)| (row.clone(), *weight)).unzip();
            let schema = if table == READINGS { readings_schema() } else { devices_schema() };
            (table, DeltaBatch::new(batch_of(&schema, &rows), weights.into()).unwrap())
        };
        [READINGS, DEVICES].into_iter().map(of).filter(|(_, delta)| !delta.is_empty()).collect()
    }
}

/// Runs a history over one view, and one that reads all of it, and compares both with the oracle at every read; what was read is
/// held to the end, and compared once more.
fn check(
    case: &Case,
    before: &[Change],
    history: &[Change],
    (commits_per_step_max, append_only): (usize, bool),
) -> Result<(), TestCaseError> {
    let mut worker = TestWorker::new(commits_per_step_max);
    let mut tables = Tables::default();
    before.iter().for_each(|change| tables.apply(change.clone()));
    tables.pending.clear();
    let backfill = [
        (READINGS, batch_of(&readings_schema(), &tables.readings)),
        (DEVICES, batch_of(&devices_schema(), &tables.devices)),
    ];
    worker.create(VIEW, &case.plan, &backfill, append_only).unwrap();
    let above = plan(source(VIEW, &std::sync::Arc::new(case.plan.root.schema().as_arrow().clone())));
    let middle = history.len() / 2;
    let mut held = Vec::new();
    for (index, change) in history.iter().chain([&Change::Read]).enumerate() {
        match change {
            Change::Commit => {
                let deltas = tables.deltas();
                worker.commit(deltas);
            }
            Change::Read => {
                let deltas = tables.deltas();
                worker.commit(deltas);
                let expected = oracle::render(&(case.oracle)(&tables.readings, &tables.devices));
                let snapshot = worker.read(VIEW).unwrap();
                prop_assert_eq!(oracle::render(&rows_read(&snapshot)), expected.clone(), "{}", case.name);
                held.push((snapshot, expected.clone()));
                if index > middle {
                    prop_assert_eq!(oracle::render(&worker.rows(VIEW_ABOVE)), expected, "above {}", case.name);
                    let digests = [VIEW, VIEW_ABOVE].map(|view| worker.read(view).unwrap().digest().unwrap());
                    prop_assert_eq!(digests[0], digests[1]);
                }
            }
            other => tables.apply(other.clone()),
        }
        if index == middle {
            let deltas = tables.deltas();
            worker.commit(deltas);
            worker.create(VIEW_ABOVE, &above, &[], false).unwrap();
        }
    }
    for (snapshot, expected) in held {
        prop_assert_eq!(oracle::render(&rows_read(&snapshot)), expected, "{} at {}", case.name, snapshot.commit());
    }
    worker.finish();
    Ok(())
}

proptest! {
    #[test]
    fn a_view_is_its_query_at_every_read(
        case in 0..cases().len(),
        before in prop::collection::vec(change(), 0..20),
        history in prop::collection::vec(change(), 0..60),
        commits_per_step_max in prop_oneof![Just(0usize), Just(1), Just(3)],
    ) {
        check(&cases()[case], &before, &history, (commits_per_step_max, false))?;
    }

    /// Over append-only tables min, max, first and last keep no multiset, and sketches are let stand.
    #[test]
    fn so_it_is_over_append_only_tables(
        case in 0..cases_of_append_only_tables().len(),
        before in prop::collection::vec(insert(), 0..20),
        history in prop::collection::vec(insert(), 0..60),
    ) {
        check(&cases_of_append_only_tables()[case], &before, &history, (0, true))?;
    }
}

#[test]
fn a_read_is_a_barrier_and_a_snapshot_stays_as_it_was() {
    let mut worker = TestWorker::new(0);
    let counts = plan(aggregate(readings(), vec![col("device")], vec![(CountAll, vec![])]));
    worker.create(VIEW, &counts, &[(READINGS, batch_of(&readings_schema(), &[]))], false).unwrap();
    let row = |device: i64| vec![Value::Integer(device), Value::Null, Value::Null, Value::Null, Value::Null];
    let insert = |device: i64| (READINGS, DeltaBatch::inserts(batch_of(&readings_schema(), &[row(device)])));
    worker.commit(vec![insert(1)]);
    let first = worker.read(VIEW).unwrap();
    worker.commit(vec![insert(1)]);
    worker.commit(vec![insert(2)]);
    let second = worker.read(VIEW).unwrap();
    assert_eq!((first.commit().0, second.commit().0), (1, 3));
    let lines = |snapshot| oracle::render(&rows_read(snapshot));
    assert_eq!(lines(&first), ["1 | 1"]);
    assert_eq!(lines(&second), ["1 | 2", "2 | 1"]);
    assert_eq!(worker.dataflows.stats()[0].rows, 2);
    let projected: Vec<_> = second.batches(Some(&[1]), 10).collect();
    assert_eq!(projected[0].as_ref().unwrap().num_columns(), 1);
}

#[test]
fn a_view_that_was_filled_before_its_commit_is_not_filled_again() {
    let mut worker = TestWorker::new(0);
    let row = [vec![Value::Integer(1), Value::Null, Value::Null, Value::Null, Value::Null]];
    let rows = || batch_of(&readings_schema(), &row);
    let counts = plan(aggregate(readings(), vec![col("device")], vec![(CountAll, vec![])]));
    worker.create(VIEW, &counts, &[(READINGS, rows())], false).unwrap();
    worker.commit(vec![(READINGS, DeltaBatch::inserts(rows()))]);
    // Without the table's rows it could not be.
    worker.create(VIEW, &counts, &[], false).unwrap();
    worker.commit(vec![(READINGS, DeltaBatch::inserts(rows()))]);
    assert_eq!(oracle::render(&worker.rows(VIEW)), ["1 | 3"]);
}

/// SELECT by key looks one group up, whatever the size of the view, and finds what a scan finds.
#[test]
fn a_row_is_found_by_its_key() {
    let worker = TestWorker::new(0);
    let rows: Vec<Row> = (0..1000).map(|n| views::reading(n % 50, n as f64, n % 7)).collect();
    let counts = aggregate(readings(), vec![col("device"), col("n")], vec![(CountAll, vec![])]);
    let shown = plan(project(filter(counts, col("a0").gt(lit(2_i64))), vec![col("a0"), col("n"), col("device")]));
    worker.create(VIEW, &shown, &[(READINGS, batch_of(&readings_schema(), &rows))], false).unwrap();
    let snapshot = worker.read(VIEW).unwrap();
    let all = worker.rows(VIEW);
    let found = |filters: &[Expr]| snapshot.find(filters).unwrap().map(|batch| oracle::render(&rows_of(&batch)));
    for device in 0..60 {
        for n in 0..8_i64 {
            let expected: Vec<Row> = all
                .iter()
                .filter(|row| (integer(&row[2]), integer(&row[1])) == (Some(device.into()), Some(n)))
                .cloned()
                .collect();
            let key = [col("device").eq(lit(device)), lit(n).eq(col("n")), col("a0").gt(lit(0_i64))];
            assert_eq!(found(&key), Some(oracle::render(&expected)));
        }
    }
    assert_eq!(found(&[col("device").eq(lit(1))]), None, "half a key");
    assert_eq!(found(&[col("device").eq(lit(1_i64)), col("n").eq(lit(1_i64))]), None, "a key of another type");
}

/// What a join's sides are chosen by.
#[test]
fn the_planner_is_told_about_how_many_rows_a_view_has() {
    let worker = TestWorker::new(0);
    let rows: Vec<Row> = (0..1000).map(|n| views::reading(n % 50, n as f64, n)).collect();
    let plan = plan(filter(readings(), col("n").gt_eq(lit(0_i64))));
    worker.create(VIEW, &plan, &[(READINGS, batch_of(&readings_schema(), &rows))], false).unwrap();
    let table = ViewTable::new("v", worker.read(VIEW).unwrap());
    let state = SessionContext::new().state();
    let scan = worker.block_on(table.scan(&state, None, &[], None)).unwrap();
    let statistics = StatisticsContext::new().compute(scan.as_ref(), &StatisticsArgs::new()).unwrap();
    assert_eq!(statistics.num_rows, Precision::Inexact(1000));
}

#[test]
fn a_wrong_row_can_be_planted() {
    let worker = TestWorker::new(0);
    let rows = [vec![Value::Integer(1), Value::Null, Value::Null, Value::Integer(1), Value::Null]];
    let table = || [(READINGS, batch_of(&readings_schema(), &rows))];
    let counts = plan(aggregate(readings(), vec![col("device")], vec![(CountAll, vec![])]));
    worker.create(VIEW, &counts, &table(), false).unwrap();
    worker.create(VIEW_ABOVE, &plan(filter(readings(), col("n").gt(lit(0_i64)))), &table(), false).unwrap();
    for (view, rows) in [(VIEW, 0), (VIEW_ABOVE, 2)] {
        worker.block_on(worker.dataflows.plant_wrong_row(view)).unwrap().unwrap();
        assert_eq!(worker.read(view).unwrap().rows().unwrap(), rows);
    }
}

#[test]
fn a_dropped_view_is_gone_and_an_unknown_one_refused() {
    let worker = TestWorker::new(0);
    let all = plan(readings());
    worker.create(VIEW, &all, &[(READINGS, batch_of(&readings_schema(), &[]))], false).unwrap();
    worker.dataflows.push_drop(VIEW);
    assert_eq!(worker.read(VIEW).unwrap_err().state(), crate::error::SqlState::UNDEFINED_TABLE);
    assert!(worker.create(VIEW, &all, &[], false).is_err(), "no backfill for its table");
}

/// The n-th of many rows.
fn nth_reading(n: i64) -> Row {
    vec![
        Value::Integer(n),
        Value::Text(format!("site {}", n % 100)),
        Value::Float(n as f64),
        Value::Integer(n),
        Value::Integer(n),
    ]
}

/// So many readings, and as many devices.
fn tables_of(size: i64) -> [(RelationId, RecordBatch); 2] {
    let rows: Vec<Row> = (0..size).map(nth_reading).collect();
    let devices: Vec<Row> = (0..size).map(|n| vec![Value::Integer(n), Value::Text(format!("device {n}"))]).collect();
    [(READINGS, batch_of(&readings_schema(), &rows)), (DEVICES, batch_of(&devices_schema(), &devices))]
}

/// Grows a view's state to these tables, then changes one row; returns the rows of state that this read.
fn rows_read_by_one_change(plan: &ViewPlan, tables: &[(RelationId, RecordBatch)]) -> u64 {
    let mut worker = TestWorker::new(0);
    worker.create(VIEW, plan, tables, false).unwrap();
    worker.read(VIEW).unwrap();
    let before = worker.dataflows.stats()[0].rows_read;
    let changed = batch_of(&readings_schema(), &[nth_reading(tables[0].1.num_rows() as i64 / 2)]);
    worker.commit(vec![(READINGS, DeltaBatch::deletes(changed.clone()))]);
    // A step of its own: within one step the two would cancel.
    worker.read(VIEW).unwrap();
    worker.commit(vec![(READINGS, DeltaBatch::inserts(changed))]);
    worker.read(VIEW).unwrap();
    worker.dataflows.stats()[0].rows_read - before
}

/// So that an operator or aggregate that is new is compared with the oracle, and what its changes read is counted.
#[test]
fn every_operator_and_aggregate_is_in_a_case() {
    // What goes by the time or by a watermark has tests of its own: no row of these histories has to come for it.
    const OPERATORS: [&str; 22] = [
        "source",
        "filter",
        "project",
        "join",
        "match_join left",
        "match_join full",
        "match_join semi",
        "match_join anti",
        "match_join mark",
        "set_operation intersect",
        "set_operation intersect_all",
        "set_operation except",
        "set_operation except_all",
        "top row_number",
        "top rank",
        "top dense_rank",
        "window",
        "union",
        "distinct_values",
        "unnest",
        "aggregate",
        "repeat",
    ];
    let (mut operators, mut functions) = (BTreeSet::new(), BTreeSet::new());
    for case in cases_of_append_only_tables() {
        let stored = case.plan.to_bytes().unwrap();
        let start = stored.windows(7).position(|bytes| bytes == b"{\"root\"").unwrap();
        let stored = serde_json::from_slice(&stored[start..]).unwrap();
        add_names(&stored, &mut operators, &mut functions);
    }
    assert_eq!(operators, BTreeSet::from(OPERATORS.map(str::to_owned)));
    let expected: BTreeSet<String> = crate::plan::aggregate_names().map(str::to_owned).collect();
    assert_eq!(functions, expected);
}

fn add_names(stored: &serde_json::Value, operators: &mut BTreeSet<String>, functions: &mut BTreeSet<String>) {
    if let Some(operator) = stored["operator"].as_str() {
        operators.insert([operator, stored["kind"].as_str().unwrap_or_default()].join(" ").trim().to_owned());
    }
    functions.extend(stored["function"].as_str().map(str::to_owned));
    match stored {
        serde_json::Value::Array(parts) => parts.iter().for_each(|part| add_names(part, operators, functions)),
        serde_json::Value::Object(parts) => parts.values().for_each(|part| add_names(part, operators, functions)),
        _ => {}
    }
}

#[test]
fn one_change_reads_no_more_of_a_large_state_than_of_a_small_one() {
    let sizes = [1_000, 100_000].map(tables_of);
    for case in cases() {
        // Groups of the case by site and x have one row each, as those by device.
        let [small, large] = sizes.each_ref().map(|tables| rows_read_by_one_change(&case.plan, tables));
        let keeps_state =
            ["group", "aggregate"].iter().any(|word| case.name.contains(word)) || case.name.ends_with("join");
        assert!(!keeps_state || small > 0, "{} reads nothing", case.name);
        assert!(large <= 4 * small, "{}: {small} rows of 1,000, {large} of 100,000", case.name);
    }
}
