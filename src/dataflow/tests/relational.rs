//! Joins that depend on matches, set operations, first rows of an order, and window functions, for the properties in
//! [`super`].

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::functions_window::expr_fn as functions;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, col, lit,
};

use super::views::*;
use super::{Case, devices, integer, readings};
use crate::functions::session_state;
use crate::plan::{MatchKind, Node, RankKind, SetKind};
use crate::testing::oracle::{self, Call, Row, Value};

pub fn cases() -> Vec<Case> {
    let mut cases = joins();
    cases.extend(subqueries());
    cases.extend(sets());
    cases.extend(tops());
    cases.extend(windows());
    cases
}

fn on_device() -> Vec<(Expr, Expr)> {
    vec![(col("device"), col("id"))]
}

/// Few rows whatever the size of the tables, because every change meets all of them.
fn few_devices() -> Node {
    filter(devices(), col("id").lt(lit(3_i32)))
}

fn few(devices: &[Row]) -> Vec<Row> {
    oracle::filter(devices, |row| integer(&row[0]).map(|id| id < 3))
}

fn less(left: &Value, right: &Value) -> Option<bool> {
    Some(integer(left)? < integer(right)?)
}

fn joins() -> Vec<Case> {
    let full = |filter| plan(match_join(MatchKind::Full, readings(), devices(), on_device(), filter));
    vec![
        Case {
            name: "full join",
            plan: full(None),
            oracle: |readings, devices| oracle::full_join(readings, devices, &[(0, 0)], (5, 2), |_| Some(true)),
        },
        Case {
            name: "full join with a residual, as a join",
            plan: full(Some(col("n").gt(lit(1_i64)))),
            oracle: |readings, devices| {
                oracle::full_join(readings, devices, &[(0, 0)], (5, 2), |row| integer(&row[3]).map(|n| n > 1))
            },
        },
        Case {
            name: "cross join",
            plan: plan(join(readings(), few_devices(), vec![], None)),
            oracle: |readings, devices| oracle::join(readings, &few(devices), &[]),
        },
        Case {
            name: "inequality join",
            plan: plan(join(readings(), few_devices(), vec![], Some(col("device").lt(col("id"))))),
            oracle: |readings, devices| {
                oracle::filter(&oracle::join(readings, &few(devices), &[]), |row| less(&row[0], &row[5]))
            },
        },
        Case {
            name: "inequality left join",
            plan: plan(left_join(readings(), few_devices(), vec![], Some(col("device").lt(col("id"))))),
            oracle: |readings, devices| {
                oracle::left_join(readings, &few(devices), &[], 2, |row| less(&row[0], &row[5]))
            },
        },
        Case {
            name: "full join on texts, of groups",
            plan: plan(match_join(
                MatchKind::Full,
                aggregate(readings(), vec![col("site")], vec![(crate::plan::AggregateFunction::CountAll, vec![])]),
                devices(),
                vec![(col("site"), col("name"))],
                None,
            )),
            oracle: |readings, devices| {
                let groups = oracle::group(readings, &[1], &[Call::CountAll]);
                oracle::full_join(&groups, devices, &[(0, 1)], (2, 2), |_| Some(true))
            },
        },
    ]
}

fn subqueries() -> Vec<Case> {
    let residual = || Some(col("n").gt(lit(1_i64)).and(col("site").lt(col("name"))));
    fn decides(row: &Row) -> Option<bool> {
        let text = match (&row[1], &row[6]) {
            (Value::Null, _) | (_, Value::Null) => None,
            (left, right) => Some(left.compare(right).is_lt()),
        };
        match (integer(&row[3]).map(|n| n > 1), text) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }
    let of = |kind, filter| plan(match_join(kind, readings(), devices(), on_device(), filter));
    let ids = || project(devices(), vec![col("id")]);
    let few_ids = || filter(ids(), col("id").gt_eq(lit(2_i32)).or(col("id").is_null()));
    fn some_ids(devices: &[Row]) -> Vec<Value> {
        let wanted = |id: &Value| id.is_null() || integer(id).is_some_and(|id| id >= 2);
        devices.iter().map(|row| row[0].clone()).filter(wanted).collect()
    }
    vec![
        Case {
            name: "semi join",
            plan: of(MatchKind::Semi, None),
            oracle: |readings, devices| oracle::semi_join(readings, devices, &[(0, 0)], false, |_| Some(true)),
        },
        Case {
            name: "semi join with a residual",
            plan: of(MatchKind::Semi, residual()),
            oracle: |readings, devices| oracle::semi_join(readings, devices, &[(0, 0)], false, decides),
        },
        Case {
            name: "anti join",
            plan: of(MatchKind::Anti, None),
            oracle: |readings, devices| oracle::semi_join(readings, devices, &[(0, 0)], true, |_| Some(true)),
        },
        Case {
            name: "anti join with a residual",
            plan: of(MatchKind::Anti, residual()),
            oracle: |readings, devices| oracle::semi_join(readings, devices, &[(0, 0)], true, decides),
        },
        Case {
            name: "mark join",
            plan: of(MatchKind::Mark, None),
            oracle: |readings, devices| {
                oracle::project(readings, |row| {
                    let matches = oracle::join(std::slice::from_ref(row), devices, &[(0, 0)]);
                    row.iter().cloned().chain([Value::Boolean(!matches.is_empty())]).collect()
                })
            },
        },
        Case {
            name: "mark join with a residual",
            plan: of(MatchKind::Mark, residual()),
            oracle: |readings, devices| {
                oracle::project(readings, |row| {
                    let matches = oracle::filter(&oracle::join(std::slice::from_ref(row), devices, &[(0, 0)]), decides);
                    row.iter().cloned().chain([Value::Boolean(!matches.is_empty())]).collect()
                })
            },
        },
        Case {
            name: "NOT IN",
            plan: plan(not_in(MatchKind::Anti, readings(), few_ids(), (col("device"), col("id")))),
            oracle: |readings, devices| {
                let ids = some_ids(devices);
                oracle::filter(readings, |row| oracle::is_in(&row[0], &ids).map(|found| !found))
            },
        },
        Case {
            name: "IN as a value",
            plan: plan(not_in(MatchKind::Mark, readings(), few_ids(), (col("device"), col("id")))),
            oracle: |readings, devices| {
                let ids = some_ids(devices);
                oracle::project(readings, |row| {
                    let answer = oracle::is_in(&row[0], &ids).map_or(Value::Null, Value::Boolean);
                    row.iter().cloned().chain([answer]).collect()
                })
            },
        },
        Case {
            name: "EXISTS of anything",
            plan: plan(match_join(MatchKind::Semi, readings(), few_ids(), vec![], None)),
            oracle: |readings, devices| if some_ids(devices).is_empty() { vec![] } else { readings.to_vec() },
        },
    ]
}

fn sets() -> Vec<Case> {
    let of = |kind| {
        let left = project(readings(), vec![col("device"), col("site")]);
        plan(set_operation(kind, left, devices()))
    };
    fn pairs(readings: &[Row]) -> Vec<Row> {
        oracle::project(readings, |row| row[..2].to_vec())
    }
    vec![
        Case {
            name: "intersect",
            plan: of(SetKind::Intersect),
            oracle: |readings, devices| {
                oracle::set_operation(&pairs(readings), devices, |l, r| usize::from(l > 0 && r > 0))
            },
        },
        Case {
            name: "intersect all",
            plan: of(SetKind::IntersectAll),
            oracle: |readings, devices| oracle::set_operation(&pairs(readings), devices, |l, r| l.min(r)),
        },
        Case {
            name: "except",
            plan: of(SetKind::Except),
            oracle: |readings, devices| {
                oracle::set_operation(&pairs(readings), devices, |l, r| usize::from(l > 0 && r == 0))
            },
        },
        // More often on the right than on the left: nothing is owed.
        Case {
            name: "except all",
            plan: of(SetKind::ExceptAll),
            oracle: |readings, devices| oracle::set_operation(&pairs(readings), devices, |l, r| l.saturating_sub(r)),
        },
        Case {
            name: "except all, of floats",
            plan: plan(set_operation(
                SetKind::ExceptAll,
                project(readings(), vec![col("x")]),
                project(filter(readings(), col("n").gt(lit(2_i64))), vec![col("x")]),
            )),
            oracle: |readings, _| {
                let some = oracle::filter(readings, |row| integer(&row[3]).map(|n| n > 2));
                let column = |rows: &[Row]| oracle::project(rows, |row| vec![row[2].clone()]);
                oracle::set_operation(&column(readings), &column(&some), |l, r| l.saturating_sub(r))
            },
        },
    ]
}

fn tops() -> Vec<Case> {
    vec![
        Case {
            name: "the first rows",
            plan: plan(top(
                readings(),
                vec![],
                vec![(col("n"), true, true), (col("site"), false, false)],
                (RankKind::RowNumber, 0, 3),
                false,
            )),
            oracle: |readings, _| oracle::top(readings, &[], &[(3, true, true), (1, false, false)], (0, 0, 3), false),
        },
        Case {
            name: "the next rows",
            plan: plan(top(readings(), vec![], vec![(col("x"), false, false)], (RankKind::RowNumber, 2, 2), false)),
            oracle: |readings, _| oracle::top(readings, &[], &[(2, false, false)], (0, 2, 2), false),
        },
        Case {
            name: "the first rows of each device, numbered",
            plan: plan(top(
                readings(),
                vec![col("device")],
                vec![(col("time"), true, false)],
                (RankKind::RowNumber, 0, 2),
                true,
            )),
            oracle: |readings, _| oracle::top(readings, &[0], &[(4, true, false)], (0, 0, 2), true),
        },
        Case {
            name: "the first ranks of each site",
            plan: plan(top(
                readings(),
                vec![col("site"), col("n")],
                vec![(col("x"), false, true)],
                (RankKind::Rank, 0, 2),
                true,
            )),
            oracle: |readings, _| oracle::top(readings, &[1, 3], &[(2, false, true)], (1, 0, 2), true),
        },
        Case {
            name: "the first dense ranks of each device",
            plan: plan(top(
                readings(),
                vec![col("device")],
                vec![(col("n"), false, false), (col("site"), true, true)],
                (RankKind::DenseRank, 0, 2),
                false,
            )),
            oracle: |readings, _| oracle::top(readings, &[0], &[(3, false, false), (1, true, true)], (2, 0, 2), false),
        },
        Case {
            name: "one row of each group of floats",
            plan: plan(top(readings(), vec![col("x")], vec![], (RankKind::RowNumber, 0, 1), false)),
            oracle: |readings, _| oracle::top(readings, &[2], &[], (0, 0, 1), false),
        },
    ]
}

/// Over (PARTITION BY device ORDER BY time, and the other columns if `whole`).
fn over(call: Expr, whole: bool, frame: WindowFrame) -> Expr {
    let mut order = vec![col("time").sort(true, false)];
    if whole {
        order.extend(["device", "site", "x", "n"].map(|name| col(name).sort(true, false)));
    }
    call.partition_by(vec![col("device")]).order_by(order).window_frame(frame).build().unwrap()
}

/// An aggregate of ours as a window function.
fn ours(name: &str, arg: Expr) -> Expr {
    let state = session_state(Default::default(), Default::default()).build();
    let function = state.aggregate_functions().get(name).unwrap().clone();
    Expr::from(datafusion::logical_expr::expr::WindowFunction::new(
        WindowFunctionDefinition::AggregateUDF(function),
        vec![arg],
    ))
}

fn rows(before: u64, after: u64) -> WindowFrame {
    WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(ScalarValue::UInt64(Some(before))),
        WindowFrameBound::Following(ScalarValue::UInt64(Some(after))),
    )
}

fn so_far() -> WindowFrame {
    WindowFrame::new(Some(false))
}

const BY_TIME: &[oracle::OrderKey] = &[(4, false, false)];

/// Calls that look a few rows back and ahead, and their values of the row at a place among `members`.
fn near(partition: bool) -> Vec<(Expr, DataType)> {
    let over = |call: Expr, frame: WindowFrame| {
        let order = ["time", "device", "site", "x", "n"].map(|name| col(name).sort(true, false)).to_vec();
        let partition = if partition { vec![col("device")] } else { vec![] };
        call.partition_by(partition).order_by(order).window_frame(frame).build().unwrap()
    };
    vec![
        (over(functions::lag(col("n"), Some(2), None), so_far()), DataType::Int64),
        (over(functions::lead(col("site"), Some(1), None), so_far()), DataType::Utf8),
        (over(ours("count", col("n")), rows(3, 1)), DataType::Int64),
        (over(ours("avg", col("x")), rows(1, 0)), DataType::Float64),
    ]
}

fn near_values(members: &[Row], place: usize) -> Row {
    let at = |place: Option<usize>, column: usize| {
        place.and_then(|place| members.get(place)).map_or(Value::Null, |row| row[column].clone())
    };
    let frame =
        |before: usize, after: usize| &members[place.saturating_sub(before)..members.len().min(place + after + 1)];
    vec![
        at(place.checked_sub(2), 3),
        at(Some(place + 1), 1),
        oracle::value_of(frame(3, 1), Call::Count(3)),
        oracle::value_of(frame(1, 0), Call::Avg(2)),
    ]
}

fn windows() -> Vec<Case> {
    vec![
        Case {
            name: "near neighbours of each device",
            plan: plan(window(readings(), near(true))),
            oracle: |readings, _| oracle::window(readings, &[0], BY_TIME, near_values),
        },
        Case {
            name: "near neighbours of all",
            plan: plan(window(readings(), near(false))),
            oracle: |readings, _| oracle::window(readings, &[], BY_TIME, near_values),
        },
        Case {
            name: "ranks of each device",
            plan: plan(window(
                readings(),
                vec![
                    (over(functions::rank(), false, so_far()), DataType::Int64),
                    (over(functions::dense_rank(), false, so_far()), DataType::Int64),
                    (over(ours("count", col("n")), false, so_far()), DataType::Int64),
                ],
            )),
            oracle: |readings, _| {
                oracle::window(readings, &[0], BY_TIME, |members, place| {
                    let ranks = oracle::ranks(members, BY_TIME);
                    let peers: Vec<Row> = members
                        .iter()
                        .zip(&ranks)
                        .filter(|(_, other)| other[1] <= ranks[place][1])
                        .map(|(row, _)| row.clone())
                        .collect();
                    let [_, rank, dense] = ranks[place];
                    vec![Value::Integer(rank), Value::Integer(dense), oracle::value_of(&peers, Call::Count(3))]
                })
            },
        },
        Case {
            name: "neighbours and frames of rows of each device",
            plan: plan(window(
                readings(),
                vec![
                    (over(functions::row_number(), true, so_far()), DataType::Int64),
                    (over(functions::lag(col("n"), Some(1), None), true, so_far()), DataType::Int64),
                    (over(functions::lead(col("site"), Some(2), None), true, so_far()), DataType::Utf8),
                    (over(functions::first_value(col("n")), true, rows(1, 1)), DataType::Int64),
                    (over(functions::last_value(col("site")), true, rows(1, 1)), DataType::Utf8),
                    (over(ours("sum", col("device")), true, rows(1, 2)), DataType::Int64),
                    (over(ours("min", col("n")), true, rows(2, 0)), DataType::Int64),
                    (over(ours("max", col("site")), true, rows(0, 2)), DataType::Utf8),
                    (over(ours("avg", col("x")), true, rows(1, 1)), DataType::Float64),
                ],
            )),
            oracle: |readings, _| {
                oracle::window(readings, &[0], BY_TIME, |members, place| {
                    let at = |place: Option<usize>, column: usize| {
                        place.and_then(|place| members.get(place)).map_or(Value::Null, |row| row[column].clone())
                    };
                    let frame = |before: usize, after: usize| {
                        &members[place.saturating_sub(before)..members.len().min(place + after + 1)]
                    };
                    let ends = |column: usize| {
                        let frame = frame(1, 1);
                        (frame[0][column].clone(), frame[frame.len() - 1][column].clone())
                    };
                    vec![
                        Value::Integer(place as i64 + 1),
                        at(place.checked_sub(1), 3),
                        at(Some(place + 2), 1),
                        ends(3).0,
                        ends(1).1,
                        oracle::value_of(frame(1, 2), Call::Sum(0)),
                        oracle::value_of(frame(2, 0), Call::Min(3)),
                        oracle::value_of(frame(0, 2), Call::Max(1)),
                        oracle::value_of(frame(1, 1), Call::Avg(2)),
                    ]
                })
            },
        },
    ]
}
