//! Window functions over partitions of many rows: a change reads what is around it, or what is behind it, and all values stay those of
//! the whole partition.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::by_sql::sql;
use super::integer;
use super::views::*;
use crate::delta::DeltaBatch;
use crate::testing::oracle::{self, Call, OrderKey, Row, Value};

/// Windows over readings, and the same by loops; a partition in which a call raises has no rows.
struct Windows {
    name: &'static str,
    sql: &'static str,
    oracle: fn(&[Row]) -> Vec<Row>,
    /// How many partitions raise.
    failed: fn(&[Row]) -> usize,
}

const BY_N: &[OrderKey] = &[(3, false, false)];
const BY_N_DOWN: &[OrderKey] = &[(3, true, true)];
const BY_TIME: &[OrderKey] = &[(4, false, false)];

fn none_fails(_: &[Row]) -> usize {
    0
}

/// Rows whose integer is in a range around that of the row at `place`; NULL is in the range of NULL alone.
fn near(members: &[Row], place: usize, column: usize, (below, above): (i64, i64)) -> Vec<Row> {
    let own = integer(&members[place][column]);
    oracle::filter(members, |row| {
        Some(match (own, integer(&row[column])) {
            (Some(own), Some(other)) => (own - below..=own + above).contains(&other),
            (own, other) => own == other,
        })
    })
}

/// Rows up to the last that the order does not tell apart from the one at `place`.
fn so_far(members: &[Row], place: usize, order: &[OrderKey]) -> Vec<Row> {
    let ranks = oracle::ranks(members, order);
    members.iter().zip(&ranks).filter(|(_, rank)| rank[1] <= ranks[place][1]).map(|(row, _)| row.clone()).collect()
}

fn has_zero(members: &[Row]) -> bool {
    members.iter().any(|row| matches!(&row[2], Value::Float(x) if *x == 0.0))
}

fn without_zeros(readings: &[Row], values: impl Fn(&[Row], usize) -> Row) -> Vec<Row> {
    let good: Vec<Row> =
        oracle::partitions(readings, &[0], BY_N).into_iter().filter(|members| !has_zero(members)).flatten().collect();
    oracle::window(&good, &[0], BY_N, values)
}

fn with_zeros(readings: &[Row]) -> usize {
    oracle::partitions(readings, &[0], BY_N).iter().filter(|members| has_zero(members)).count()
}

fn windows() -> Vec<Windows> {
    vec![
        Windows {
            name: "all rows so far",
            sql: "SELECT device, site, x, n, time, sum(n) OVER w AS a, avg(x) OVER w AS b, count(*) FILTER (WHERE site = 'a') OVER w AS c, \
                  min(x) OVER w AS d, max(site) OVER w AS e, bit_xor(n) OVER w AS f, last(site, time) OVER w AS l, rank() OVER w AS g, dense_rank() OVER w AS h \
                  FROM readings WINDOW w AS (PARTITION BY device ORDER BY n)",
            oracle: |readings| {
                oracle::window(readings, &[0], BY_N, |members, place| {
                    let rows = so_far(members, place, BY_N);
                    let is_a = |row: &Row| Some(matches!(&row[1], Value::Text(site) if site == "a"));
                    let ranks = oracle::ranks(members, BY_N)[place];
                    vec![
                        oracle::value_of(&rows, Call::Sum(3)),
                        oracle::value_of(&rows, Call::Avg(2)),
                        oracle::value_of(&oracle::filter(&rows, is_a), Call::CountAll),
                        oracle::value_of(&rows, Call::Min(2)),
                        oracle::value_of(&rows, Call::Max(1)),
                        oracle::value_of(&rows, Call::BitXor(3)),
                        oracle::value_of(&rows, Call::Last(1, 4)),
                        Value::Integer(ranks[1]),
                        Value::Integer(ranks[2]),
                    ]
                })
            },
            failed: none_fails,
        },
        Windows {
            name: "rows so far, and neighbours",
            sql: "SELECT device, site, x, n, time, row_number() OVER w AS a, first_value(site) OVER w AS b, \
                  sum(n) OVER (PARTITION BY device ORDER BY n DESC ROWS UNBOUNDED PRECEDING) AS c, \
                  count(x) OVER (PARTITION BY device ORDER BY n DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 2 FOLLOWING) AS d, lag(n, 3) OVER w AS e, \
                  max(n) OVER (PARTITION BY device ORDER BY n DESC ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) AS f \
                  FROM readings WINDOW w AS (PARTITION BY device ORDER BY n DESC)",
            oracle: |readings| {
                oracle::window(readings, &[0], BY_N_DOWN, |members, place| {
                    let until = |end: usize| &members[..members.len().min(end)];
                    let around = &members[place.saturating_sub(2)..members.len().min(place + 2)];
                    vec![
                        Value::Integer(place as i64 + 1),
                        members[0][1].clone(),
                        oracle::value_of(until(place + 1), Call::Sum(3)),
                        oracle::value_of(until(place + 3), Call::Count(2)),
                        place.checked_sub(3).map_or(Value::Null, |before| members[before][3].clone()),
                        oracle::value_of(around, Call::Max(3)),
                    ]
                })
            },
            failed: none_fails,
        },
        Windows {
            name: "so far without partitions",
            sql: "SELECT device, site, x, n, time, sum(n) OVER w AS a, rank() OVER w AS b FROM readings WINDOW w AS (ORDER BY n)",
            oracle: |readings| {
                oracle::window(readings, &[], BY_N, |members, place| {
                    let rank = oracle::ranks(members, BY_N)[place][1];
                    vec![oracle::value_of(&so_far(members, place, BY_N), Call::Sum(3)), Value::Integer(rank)]
                })
            },
            failed: none_fails,
        },
        Windows {
            name: "ranges of integers",
            sql: "SELECT device, site, x, n, time, sum(x) OVER (PARTITION BY device ORDER BY n RANGE BETWEEN 3 PRECEDING AND 1 FOLLOWING) AS a, \
                  count(*) OVER (PARTITION BY device ORDER BY n RANGE BETWEEN 2 FOLLOWING AND 4 FOLLOWING) AS b, \
                  min(x) OVER (PARTITION BY device ORDER BY n RANGE BETWEEN CURRENT ROW AND CURRENT ROW) AS c \
                  FROM readings",
            oracle: |readings| {
                oracle::window(readings, &[0], BY_N, |members, place| {
                    let near = |below, above| near(members, place, 3, (below, above));
                    let ahead = oracle::filter(&near(0, 4), |row| {
                        let own = integer(&members[place][3]);
                        Some(own.is_none() || integer(&row[3]) > own.map(|own| own + 1))
                    });
                    vec![
                        oracle::value_of(&near(3, 1), Call::Sum(2)),
                        oracle::value_of(&ahead, Call::CountAll),
                        oracle::value_of(&near(0, 0), Call::Min(2)),
                    ]
                })
            },
            failed: none_fails,
        },
        Windows {
            name: "ranges of integers downwards",
            sql: "SELECT device, site, x, n, time, sum(x) OVER (PARTITION BY device ORDER BY n DESC RANGE 3 PRECEDING) AS a, \
                  median(x) OVER (PARTITION BY device ORDER BY n DESC RANGE BETWEEN 2 PRECEDING AND 2 FOLLOWING) AS b \
                  FROM readings",
            oracle: |readings| {
                oracle::window(readings, &[0], BY_N_DOWN, |members, place| {
                    let near = |below, above| near(members, place, 3, (below, above));
                    vec![
                        oracle::value_of(&near(0, 3), Call::Sum(2)),
                        oracle::value_of(&near(2, 2), Call::Between(2, 50, oracle::Order::Ascending)),
                    ]
                })
            },
            failed: none_fails,
        },
        Windows {
            name: "ranges of time",
            sql: "SELECT device, site, x, n, time, \
                  avg(x) OVER (PARTITION BY device ORDER BY time RANGE BETWEEN INTERVAL '4 microseconds' PRECEDING AND CURRENT ROW) AS a, \
                  count(*) OVER (PARTITION BY device ORDER BY time RANGE BETWEEN INTERVAL '1 day' PRECEDING AND INTERVAL '2 microseconds' FOLLOWING) AS b \
                  FROM readings",
            oracle: |readings| {
                oracle::window(readings, &[0], BY_TIME, |members, place| {
                    let near = |below, above| near(members, place, 4, (below, above));
                    vec![
                        oracle::value_of(&near(4, 0), Call::Avg(2)),
                        oracle::value_of(&near(86_400_000_000, 2), Call::CountAll),
                    ]
                })
            },
            failed: none_fails,
        },
        Windows {
            name: "so far, where a call raises",
            sql: "SELECT device, site, x, n, time, sum(6 / x::int) OVER (PARTITION BY device ORDER BY n) AS a FROM readings",
            oracle: |readings| {
                without_zeros(readings, |members, place| {
                    let shares = oracle::project(&so_far(members, place, BY_N), share);
                    vec![oracle::value_of(&shares, Call::Sum(0))]
                })
            },
            failed: with_zeros,
        },
        Windows {
            name: "a range, where a call raises",
            sql: "SELECT device, site, x, n, time, sum(6 / x::int) OVER (PARTITION BY device ORDER BY n RANGE 2 PRECEDING) AS a \
                  FROM readings",
            oracle: |readings| {
                without_zeros(readings, |members, place| {
                    let shares = oracle::project(&near(members, place, 3, (2, 0)), share);
                    vec![oracle::value_of(&shares, Call::Sum(0))]
                })
            },
            failed: with_zeros,
        },
    ]
}

/// Of six.
fn share(row: &Row) -> Row {
    let share = |x: &Value| if let Value::Float(x) = x { Value::Integer(6 / *x as i64) } else { Value::Null };
    vec![share(&row[2])]
}

/// What happens to a table of many rows.
#[derive(Debug, Clone)]
enum Change {
    Insert(Row),
    /// Behind all others of its device.
    Append(Row),
    Delete(Index),
    /// So many rows of a device, from some row on in the order of n.
    DeleteRun(Index, usize),
    Commit,
}

fn of_device(device: i64) -> impl Strategy<Value = Row> {
    let integer =
        |values: std::ops::Range<i64>| prop_oneof![12 => values.prop_map(Value::Integer), 1 => Just(Value::Null)];
    let site = prop::sample::select(vec![Value::Null, Value::Text("a".into()), Value::Text("b".into())]);
    // Zero is rare: a partition with one raises.
    let x = prop_oneof![20 => (1..7_i64).prop_map(|x| Value::Float(x as f64)), 1 => Just(Value::Null)];
    (site, x, integer(0..150), integer(0..200))
        .prop_map(move |(site, x, n, time)| vec![Value::Integer(device), site, x, n, time])
}

fn row() -> impl Strategy<Value = Row> {
    let zero = |mut row: Row| {
        row[2] = Value::Float(0.0);
        row
    };
    prop_oneof![12 => of_device(1), 3 => of_device(2), 1 => of_device(1).prop_map(zero)]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => row().prop_map(Change::Insert),
        4 => row().prop_map(Change::Append),
        5 => any::<Index>().prop_map(Change::Delete),
        1 => (any::<Index>(), 1..80_usize).prop_map(|(from, rows)| Change::DeleteRun(from, rows)),
        10 => Just(Change::Commit),
    ]
}

fn greatest(rows: &[Row], column: usize) -> i64 {
    rows.iter().filter_map(|row| integer(&row[column])).max().unwrap_or(0)
}

fn is_same(left: &Row, right: &Row) -> bool {
    left.iter().zip(right).all(|(left, right)| left.compare_bits(right).is_eq())
}

fn changed(rows: &mut Vec<Row>, change: &Change) -> Vec<(i64, Row)> {
    match change {
        Change::Insert(row) => {
            rows.push(row.clone());
            vec![(1, row.clone())]
        }
        Change::Append(row) => {
            let mut row = row.clone();
            (row[3], row[4]) = (Value::Integer(greatest(rows, 3) + 1), Value::Integer(greatest(rows, 4) + 1));
            rows.push(row.clone());
            vec![(1, row)]
        }
        Change::Delete(place) if !rows.is_empty() => vec![(-1, rows.swap_remove(place.index(rows.len())))],
        Change::DeleteRun(place, count) if !rows.is_empty() => {
            let first = rows[place.index(rows.len())].clone();
            let of_device = oracle::filter(rows, |row| Some(integer(&row[0]) == integer(&first[0])));
            let members = oracle::partitions(&of_device, &[], BY_N).remove(0);
            let from = members.iter().position(|row| is_same(row, &first)).unwrap();
            let gone: Vec<Row> = members.into_iter().skip(from).take(*count).collect();
            for row in &gone {
                let place = rows.iter().position(|other| is_same(other, row)).unwrap();
                rows.swap_remove(place);
            }
            gone.into_iter().map(|row| (-1, row)).collect()
        }
        _ => Vec::new(),
    }
}

fn check(windows: &Windows, before: &[Row], history: &[Change]) -> Result<(), TestCaseError> {
    let mut stepper = Stepper::new(sql(windows.sql).root);
    let mut view: BTreeMap<String, i64> = BTreeMap::new();
    let mut rows = before.to_vec();
    let mut pending: Vec<(i64, Row)> = before.iter().map(|row| (1, row.clone())).collect();
    for change in [Change::Commit].iter().chain(history).chain([&Change::Commit]) {
        if !matches!(change, Change::Commit) {
            pending.extend(changed(&mut rows, change));
            continue;
        }
        for line in stepper.step(READINGS, &std::mem::take(&mut pending)) {
            let (weight, line) = line.split_once(" | ").unwrap();
            *view.entry(line.to_owned()).or_default() += weight.parse::<i64>().unwrap();
        }
        view.retain(|_, weight| *weight != 0);
        let lines = view.iter().flat_map(|(line, weight)| std::iter::repeat_n(line.clone(), *weight as usize));
        prop_assert_eq!(lines.collect::<Vec<_>>(), oracle::render(&(windows.oracle)(&rows)), "{}", windows.name);
        prop_assert_eq!(stepper.errors().len(), (windows.failed)(&rows), "{}", windows.name);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn windows_over_many_rows_are_their_queries(
        before in prop::collection::vec(prop_oneof![12 => of_device(1), 3 => of_device(2)], 0..300),
        history in prop::collection::vec(change(), 0..40),
    ) {
        windows().iter().try_for_each(|windows| check(windows, &before, &history))?;
    }
}

/// Rows of state that one more row reads, with this n, in a partition of so many whose n are even.
fn rows_read(query: &str, size: i64, n: i64) -> u64 {
    let row = |n: i64| {
        vec![Value::Integer(1), Value::Text("a".into()), Value::Float(3.0), Value::Integer(n), Value::Integer(n)]
    };
    let rows: Vec<Row> = (0..size).map(|place| row(2 * place)).collect();
    let mut worker = TestWorker::new(0);
    worker.create(VIEW, &sql(query), &[(READINGS, batch_of(&readings_schema(), &rows))], false).unwrap();
    worker.read(VIEW).unwrap();
    let before = worker.dataflows.stats()[0].rows_read;
    worker.commit(vec![(READINGS, DeltaBatch::inserts(batch_of(&readings_schema(), &[row(n)])))]);
    worker.read(VIEW).unwrap();
    worker.dataflows.stats()[0].rows_read - before
}

#[test]
fn a_change_of_a_long_partition_reads_what_is_around_it_or_behind_it() {
    const SIZE: i64 = 20_000;
    const FEW: u64 = 400;
    let over = |calls: &str| format!("SELECT device, n, {calls} FROM readings");
    let so_far = over(
        "sum(x) OVER (PARTITION BY device ORDER BY n) AS a, count(*) OVER (PARTITION BY device ORDER BY n) AS b, \
         rank() OVER (PARTITION BY device ORDER BY n) AS c, dense_rank() OVER (PARTITION BY device ORDER BY n) AS d",
    );
    let by_rows = over(
        "row_number() OVER (PARTITION BY device ORDER BY n) AS a, first_value(x) OVER (PARTITION BY device ORDER BY n) AS b, \
         lag(n, 2) OVER (PARTITION BY device ORDER BY n) AS c",
    );
    let down = over("avg(x) OVER (PARTITION BY device ORDER BY n DESC) AS a");
    let everything = over("sum(n) OVER (ORDER BY n) AS a");
    let ranges = over(
        "sum(x) OVER (PARTITION BY device ORDER BY n RANGE BETWEEN 6 PRECEDING AND 4 FOLLOWING) AS a, \
         median(x) OVER (PARTITION BY device ORDER BY time RANGE BETWEEN INTERVAL '9 microseconds' PRECEDING AND CURRENT ROW) AS b",
    );
    let raising = over("sum(6 / x::int) OVER (PARTITION BY device ORDER BY n RANGE 2 PRECEDING) AS a");
    let raising_so_far = over("sum(6 / x::int) OVER (PARTITION BY device ORDER BY n) AS a");
    // The last of the order, and what is near.
    let [last, middle, first] = [2 * SIZE + 1, SIZE + 1, -1];
    for (query, n) in [
        (&so_far, last),
        (&by_rows, last),
        (&down, first),
        (&everything, last),
        (&raising_so_far, last),
        (&ranges, last),
        (&ranges, middle),
        (&ranges, first),
        (&raising, middle),
    ] {
        let read = rows_read(query, SIZE, n);
        assert!(read < FEW, "{query}: {read} rows for one at {n}");
    }
    // Before and after the change, all that is behind it.
    for query in [&so_far, &by_rows, &everything, &raising_so_far] {
        let read = rows_read(query, SIZE, SIZE * 3 / 2 + 1);
        let behind = (SIZE / 4) as u64;
        assert!(read >= 2 * behind && read < 2 * behind + FEW, "{query}: {read} rows");
    }
}
