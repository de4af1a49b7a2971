//! Views of which rows expire: whatever the history and the cuts into steps, a view is its query's rows that are not before the
//! cutoff, and one above it is what it learned. Aggregates on whose keys the time depends keep nothing of what is gone.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::by_sql::sql;
use super::views::*;
use super::{Case, Change, Tables, change, integer, readings as all_readings};
use crate::catalog::Cutoff;
use crate::testing::oracle::{self, Call, Row, Value};

/// The position of the time among the columns stands behind the name.
fn cases() -> Vec<(Case, usize)> {
    let case = |name, text: &str, time, oracle| (Case { name, plan: sql(text), oracle }, time);
    vec![
        case("rows", "SELECT time, device FROM readings WHERE n > 1", 0, |readings, _| {
            let kept = oracle::filter(readings, |row| integer(&row[3]).map(|n| n > 1));
            oracle::project(&kept, |row| vec![row[4].clone(), row[0].clone()])
        }),
        case(
            "groups by the time, with all that is kept of them",
            "SELECT time, count(*), sum(n), min(x), max(x), last(site, x), string_agg(site, ', ' ORDER BY n, site), \
             percentile_disc(0.5) WITHIN GROUP (ORDER BY n DESC), count(DISTINCT n) AS apart FROM readings GROUP BY time",
            0,
            |readings, _| {
                let calls = [
                    Call::CountAll,
                    Call::Sum(3),
                    Call::Min(2),
                    Call::Max(2),
                    Call::Last(1, 2),
                    Call::StringAgg(1, 3),
                    Call::Percentile(3, 50),
                    Call::CountDistinct(3),
                ];
                oracle::group(readings, &[4], &calls)
            },
        ),
        case(
            "an expression of the groups' time, of two aggregates",
            "SELECT sum(n) AS n, time + INTERVAL '1 microsecond' AS until FROM \
             (SELECT device, time, count(*) AS n FROM readings GROUP BY device, time) AS s GROUP BY time HAVING sum(n) > 1",
            1,
            |readings, _| {
                let groups = oracle::group(readings, &[4], &[Call::CountAll]);
                let large = oracle::filter(&groups, |row| integer(&row[1]).map(|n| n > 1));
                let until = |row: &Row| integer(&row[0]).map_or(Value::Null, |time| Value::Integer(time + 1));
                oracle::project(&large, |row| {
                    let n = integer(&row[1]).unwrap_or_default();
                    vec![Value::Numeric { unscaled: n.into(), scale: 0 }, until(row)]
                })
            },
        ),
        case(
            "a time that is no key",
            "SELECT device, max(time) AS newest, count(*) FROM readings GROUP BY device",
            1,
            |readings, _| oracle::group(readings, &[0], &[Call::Max(4), Call::CountAll]),
        ),
        case(
            "a union",
            "SELECT time FROM readings UNION ALL SELECT time FROM readings GROUP BY time",
            0,
            |readings, _| {
                let mut rows = oracle::project(readings, |row| vec![row[4].clone()]);
                rows.extend(oracle::group(readings, &[4], &[]));
                rows
            },
        ),
        case(
            "joined groups",
            "SELECT s.time, s.n, d.name FROM (SELECT device, time, count(*) AS n FROM readings GROUP BY device, time) AS s \
             JOIN devices AS d ON d.id = s.device",
            0,
            |readings, devices| {
                let groups = oracle::group(readings, &[0, 4], &[Call::CountAll]);
                let joined = oracle::join(&groups, devices, &[(0, 0)]);
                oracle::project(&joined, |row| vec![row[1].clone(), row[2].clone(), row[4].clone()])
            },
        ),
    ]
}

fn is_shown(row: &Row, time: usize, before_us: i64) -> bool {
    integer(&row[time]).is_none_or(|time_us| time_us >= before_us)
}

/// Rows with how often each is there.
type Bag = BTreeMap<String, i64>;

fn add(bag: &mut Bag, rows: &[Row], weight: i64) {
    oracle::render(rows).into_iter().for_each(|row| *bag.entry(row).or_default() += weight);
    bag.retain(|_, count| *count != 0);
}

fn bag(rows: &[Row]) -> Bag {
    let mut bag = Bag::new();
    add(&mut bag, rows, 1);
    bag
}

/// A change of the tables, or rows from before a time expire.
#[derive(Debug, Clone)]
enum Event {
    Change(Change),
    Expire(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![12 => change().prop_map(Event::Change), 1 => (0..7_i64).prop_map(Event::Expire)]
}

fn check((case, time): &(Case, usize), history: &[Event], commits_per_step_max: usize) -> Result<(), TestCaseError> {
    let mut worker = TestWorker::new(commits_per_step_max);
    let mut tables = Tables::default();
    let empty = [(READINGS, batch_of(&readings_schema(), &[])), (DEVICES, batch_of(&devices_schema(), &[]))];
    worker.create(VIEW, &case.plan, &empty, false).unwrap();
    worker.create(VIEW_ABOVE, &plan(source(VIEW, &schema_of(&case.plan))), &[], false).unwrap();
    let (mut before_us, mut learned, mut shown) = (i64::MIN, Bag::new(), Vec::<Row>::new());
    for event in history.iter().chain([&Event::Change(Change::Read)]) {
        let all = |tables: &Tables| (case.oracle)(&tables.readings, &tables.devices);
        let since = |rows: Vec<Row>, before_us| -> Vec<Row> {
            rows.into_iter().filter(|row| is_shown(row, *time, before_us)).collect()
        };
        match event {
            Event::Change(change) if !matches!(change, Change::Read | Change::Commit) => {
                tables.apply(change.clone());
                continue;
            }
            Event::Change(_) | Event::Expire(_) => {
                worker.commit(tables.deltas());
                let next = since(all(&tables), before_us);
                add(&mut learned, &next, 1);
                add(&mut learned, &shown, -1);
                shown = next;
            }
        }
        if let Event::Expire(cutoff_us) = event {
            before_us = before_us.max(*cutoff_us);
            worker.expire(VIEW, Cutoff { column: *time, before_us });
            shown = since(shown, before_us);
        }
        if matches!(event, Event::Change(Change::Read)) {
            prop_assert_eq!(bag(&worker.rows(VIEW)), bag(&shown), "{} since {}", case.name, before_us);
            prop_assert_eq!(bag(&worker.rows(VIEW_ABOVE)), learned.clone(), "above {}", case.name);
        }
    }
    worker.finish();
    Ok(())
}

proptest! {
    #[test]
    fn a_view_is_its_query_since_the_cutoff(
        case in 0..cases().len(),
        history in prop::collection::vec(event(), 0..80),
        commits_per_step_max in prop_oneof![Just(0usize), Just(1), Just(3)],
    ) {
        check(&cases()[case], &history, commits_per_step_max)?;
    }
}

#[test]
fn groups_that_are_gone_are_not_kept() {
    let shapes = [
        (
            "SELECT time, count(*), string_agg(site, ','), min(x), mode() WITHIN GROUP (ORDER BY n) FROM readings GROUP BY time",
            0,
        ),
        (
            "SELECT n, until FROM (SELECT device, time + INTERVAL '1 microsecond' AS until, count(*) AS n FROM readings GROUP BY device, time) AS s",
            1,
        ),
        (
            "SELECT time, sum(n) FROM (SELECT device, time, count(*) AS n FROM readings GROUP BY device, time) AS s GROUP BY time HAVING sum(n) > 1",
            0,
        ),
    ];
    for (text, column) in shapes {
        let mut worker = TestWorker::new(0);
        worker.create(VIEW, &sql(text), &[(READINGS, batch_of(&readings_schema(), &[]))], false).unwrap();
        let row = |time: i64| {
            let text = Value::Text(format!("site {time}"));
            vec![Value::Integer(time), text, Value::Float(1.0), Value::Integer(time), Value::Integer(time)]
        };
        let rows = |times: std::ops::Range<i64>| {
            let rows: Vec<Row> = times.map(row).collect();
            vec![(READINGS, crate::delta::DeltaBatch::inserts(batch_of(&readings_schema(), &rows)))]
        };
        let kept = |worker: &TestWorker| {
            worker.read(VIEW).unwrap();
            worker.dataflows.stats()[0].operators.iter().map(|of| of.state_bytes).sum::<usize>()
        };
        worker.commit(rows(0..10_000));
        let first = kept(&worker);
        for round in 1..8 {
            worker.expire(VIEW, Cutoff { column, before_us: round * 10_000 - 100 });
            // Late rows are not kept either.
            worker.commit(rows(0..5_000));
            worker.commit(rows(round * 10_000..(round + 1) * 10_000));
        }
        assert!(kept(&worker) < first * 2, "{text}: {first} bytes in the first round, {} in the last", kept(&worker));
        worker.finish();
    }
}

/// What others make of a row depends on rows that are still shown.
#[test]
fn what_is_below_ranks_and_joins_stays() {
    let expiring = |text: &str, column| sql(text).expiring(column).len();
    assert_eq!(expiring("SELECT time, count(*) FROM readings GROUP BY time", 0), 1);
    assert_eq!(expiring("SELECT time, count(*) AS n FROM readings GROUP BY time ORDER BY n LIMIT 3", 0), 0);
    assert_eq!(expiring("SELECT device, max(time) FROM readings GROUP BY device", 1), 0);
    assert_eq!(plan(all_readings()).expiring(4).len(), 0);
}
