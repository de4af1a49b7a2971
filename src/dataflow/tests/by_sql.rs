//! Views by their SQL, for the properties in [`super`]: what the planner makes of grouping sets, joins on IS NOT DISTINCT
//! FROM, subqueries and windows, and the aggregates that [`super`] does not build by hand.

use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;

use super::views::*;
use super::{Case, integer};
use crate::error::Result;
use crate::functions::session_state;
use crate::plan::{Found, RelationLookup, RelationSource, ViewPlan, plan_view};
use crate::sql::parse_query;
use crate::testing::oracle::{self, Call, Of, Order, Row, Value};
use crate::types::RelationId;

/// The tables by their names, all of them APPEND ONLY or none.
struct Tables {
    append_only: bool,
}

impl RelationLookup for Tables {
    fn find(&self, name: &TableReference) -> Result<Option<Found>> {
        let of = |id: RelationId, schema: SchemaRef| {
            Found::Rows(std::sync::Arc::new(RelationSource { id, name: name.table().to_owned(), schema }))
        };
        Ok(match name.table() {
            "readings" => Some(of(READINGS, readings_schema())),
            "devices" => Some(of(DEVICES, devices_schema())),
            _ => None,
        })
    }

    fn is_append_only(&self, _: RelationId) -> bool {
        self.append_only
    }
}

pub(super) fn sql(sql: &str) -> ViewPlan {
    planned(sql, Tables { append_only: false })
}

fn planned(sql: &str, tables: Tables) -> ViewPlan {
    let state = session_state(Default::default(), Default::default()).build();
    plan_view(&state, &tables, &parse_query(sql).unwrap(), sql, None).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

/// A view over hopping windows, whose aggregate is split in two.
fn in_panes(text: &str) -> ViewPlan {
    let plan = sql(text);
    assert!(plan.explain().contains("tumble_start"), "{}", plan.explain());
    plan
}

pub fn cases() -> Vec<Case> {
    let mut cases = aggregates();
    cases.extend(groupings());
    cases.extend(joins());
    cases.extend(subqueries());
    cases.extend(own_extremes(false));
    cases.extend(windows());
    cases
}

/// What can stand over rows that only come, and no others.
pub fn of_append_only_tables() -> Vec<Case> {
    let sql = |text| planned(text, Tables { append_only: true });
    let mut cases = own_extremes(true);
    cases.extend([
        Case {
            name: "group with a sketch of distinct values",
            plan: sql(
                "SELECT device, approx_count_distinct(x) AS a, approx_count_distinct(site) AS b FROM readings GROUP BY device",
            ),
            oracle: |readings, _| oracle::group(readings, &[0], &[Call::CountDistinct(2), Call::CountDistinct(1)]),
        },
        Case {
            name: "sketches of distinct values over everything",
            plan: sql("SELECT approx_count_distinct(DISTINCT x), count(DISTINCT site) FROM readings"),
            oracle: |readings, _| oracle::group(readings, &[], &[Call::CountDistinct(2), Call::CountDistinct(1)]),
        },
    ]);
    cases
}

/// Rows joined with the extreme of their own group, which are first rows.
fn own_extremes(append_only: bool) -> Vec<Case> {
    let sql = |text| {
        let plan = planned(text, Tables { append_only });
        assert!(plan.explain().contains("Top: rank 1 to 1"), "{}", plan.explain());
        plan
    };
    /// As the query says it.
    fn at_extremes(rows: &[Row], keys: &[usize], call: Call, value: usize) -> Vec<Row> {
        let groups = oracle::group(rows, keys, &[call]);
        let mut on: Vec<(usize, usize)> = keys.iter().copied().zip(0..).collect();
        on.push((value, keys.len()));
        oracle::join(rows, &groups, &on)
    }
    fn own_columns(rows: &[Row], columns: usize) -> Vec<Row> {
        oracle::project(rows, |row| row[..columns].to_vec())
    }
    fn counts(readings: &[Row]) -> Vec<Row> {
        oracle::group(readings, &[1, 0], &[Call::CountAll, Call::Max(3), Call::Min(3)])
    }
    const COUNTS: &str =
        "WITH c AS (SELECT site, device, count(*) AS m, max(n) AS x, min(n) AS y FROM readings GROUP BY site, device)";
    vec![
        Case {
            name: "rows of the greatest n of their device, joined",
            plan: sql("SELECT r.*, g.most FROM readings r \
                 JOIN (SELECT device AS d, max(n) AS most FROM readings GROUP BY device) g ON r.n = g.most AND g.d = r.device"),
            oracle: |readings, _| {
                let rows = at_extremes(readings, &[0], Call::Max(3), 3);
                oracle::project(&rows, |row| [&row[..5], &row[6..]].concat())
            },
        },
        Case {
            name: "rows of the least x of their site and device, in a subquery that reads the outer row",
            plan: sql("SELECT * FROM readings r WHERE x = \
                 (SELECT min(x) FROM readings q WHERE q.device = r.device AND r.site = q.site)"),
            oracle: |readings, _| own_columns(&at_extremes(readings, &[0, 1], Call::Min(2), 2), 5),
        },
        Case {
            name: "rows of the latest time of their device, where there is one",
            plan: sql("SELECT device, x FROM readings r WHERE EXISTS \
                 (SELECT 1 FROM (SELECT device AS d, max(time) AS latest FROM readings GROUP BY device) \
                 WHERE d = r.device AND latest = r.time)"),
            oracle: |readings, _| {
                let rows = at_extremes(readings, &[0], Call::Max(4), 4);
                oracle::project(&rows, |row| vec![row[0].clone(), row[2].clone()])
            },
        },
        Case {
            name: "rows of the least n of all",
            plan: sql("SELECT * FROM readings WHERE n = (SELECT min(n) FROM readings)"),
            oracle: |readings, _| own_columns(&at_extremes(readings, &[], Call::Min(3), 3), 5),
        },
        Case {
            name: "groups with most rows of each site",
            plan: sql(&format!(
                "{COUNTS} SELECT c.device, c.m, c.site FROM c \
                 JOIN (SELECT max(m) AS most, site FROM c GROUP BY site) b ON c.site = b.site AND c.m >= b.most"
            )),
            oracle: |readings, _| {
                let rows = at_extremes(&counts(readings), &[0], Call::Max(2), 2);
                oracle::project(&rows, |row| vec![row[1].clone(), row[2].clone(), row[0].clone()])
            },
        },
        Case {
            name: "groups with the greatest maximum of each site, with their counts",
            plan: sql(&format!(
                "{COUNTS} SELECT c.site, c.device, c.m, c.x, c.y FROM c \
                 JOIN (SELECT max(x) AS most, site FROM c GROUP BY site) b ON c.site = b.site AND c.x = b.most WHERE c.m > 1"
            )),
            oracle: |readings, _| {
                let rows = own_columns(&at_extremes(&counts(readings), &[0], Call::Max(3), 3), 5);
                oracle::filter(&rows, |row| Some(integer(&row[2]).is_some_and(|m| m > 1)))
            },
        },
        Case {
            name: "groups with the least minimum of each site, of some devices",
            plan: sql(&format!(
                "{COUNTS}, e AS (SELECT * FROM c WHERE device > 1) SELECT e.site, e.device, e.m, e.x, e.y FROM e \
                 WHERE y = (SELECT min(f.y) FROM e f WHERE f.site = e.site)"
            )),
            oracle: |readings, _| {
                let some = oracle::filter(&counts(readings), |row| integer(&row[1]).map(|device| device > 1));
                own_columns(&at_extremes(&some, &[0], Call::Min(4), 4), 5)
            },
        },
        Case {
            name: "windows with most rows of each site",
            plan: sql("WITH w AS (SELECT site, window_start, count(*) AS m FROM (SELECT *, \
                 unnest(hop_starts(time, INTERVAL '2 microseconds', INTERVAL '6 microseconds')) AS window_start \
                 FROM readings) GROUP BY site, window_start) \
                 SELECT w.site, w.window_start, w.m FROM w JOIN (SELECT site, max(m) AS most FROM w GROUP BY site) b \
                 ON w.site = b.site AND b.most <= w.m"),
            oracle: |readings, _| {
                let windows = |row: &Row| {
                    let time = integer(&row[4]).unwrap_or(i64::MIN);
                    (-6..=6).filter(|start| start % 2 == 0 && *start <= time && time < start + 6).collect()
                };
                let counts = oracle::group(&oracle::unnest(readings, windows), &[1, 5], &[Call::CountAll]);
                own_columns(&at_extremes(&counts, &[0], Call::Max(2), 2), 3)
            },
        },
    ]
}

const REGRESSIONS: [Call; 12] = [
    Call::Regression("covar_pop", 3, 0),
    Call::Regression("covar_samp", 3, 0),
    Call::Regression("corr", 3, 0),
    Call::Regression("regr_slope", 3, 0),
    Call::Regression("regr_intercept", 3, 0),
    Call::Regression("regr_r2", 3, 0),
    Call::Regression("regr_avgx", 3, 0),
    Call::Regression("regr_avgy", 3, 0),
    Call::Regression("regr_sxx", 3, 0),
    Call::Regression("regr_syy", 3, 0),
    Call::Regression("regr_sxy", 3, 0),
    Call::Regression("regr_count", 3, 0),
];

fn aggregates() -> Vec<Case> {
    vec![
        Case {
            name: "group with every variance and deviation",
            plan: sql(
                "SELECT device, var_pop(n), var_samp(n), stddev_pop(n), stddev_samp(n) FROM readings GROUP BY device",
            ),
            oracle: |readings, _| {
                let calls = [
                    Call::Variance(3, Of::Population),
                    Call::Variance(3, Of::Sample),
                    Call::Deviation(3, Of::Population),
                    Call::Deviation(3, Of::Sample),
                ];
                oracle::group(readings, &[0], &calls)
            },
        },
        Case {
            name: "aggregate of bits, over everything",
            plan: sql("SELECT bit_and(n), bit_or(n), bit_xor(n) FROM readings"),
            oracle: |readings, _| oracle::group(readings, &[], &[Call::BitAnd(3), Call::BitOr(3), Call::BitXor(3)]),
        },
        Case {
            name: "group with bits",
            plan: sql("SELECT device, bit_and(n), bit_or(n), bit_xor(n) FROM readings GROUP BY device"),
            oracle: |readings, _| oracle::group(readings, &[0], &[Call::BitAnd(3), Call::BitOr(3), Call::BitXor(3)]),
        },
        Case {
            name: "group with regressions",
            plan: sql(
                "SELECT site, covar_pop(n, device), covar_samp(n, device), corr(n, device), regr_slope(n, device), \
                 regr_intercept(n, device), regr_r2(n, device), regr_avgx(n, device), regr_avgy(n, device), \
                 regr_sxx(n, device), regr_syy(n, device), regr_sxy(n, device), regr_count(n, device) \
                 FROM readings GROUP BY site",
            ),
            oracle: |readings, _| oracle::group(readings, &[1], &REGRESSIONS),
        },
        Case {
            name: "aggregate with percentiles between values, over everything",
            plan: sql("SELECT percentile_cont(0.4) WITHIN GROUP (ORDER BY x) AS a, median(x) AS b, \
                 percentile_cont(0.9) WITHIN GROUP (ORDER BY x DESC) AS c FROM readings"),
            oracle: |readings, _| {
                let calls = [
                    Call::Between(2, 40, Order::Ascending),
                    Call::Between(2, 50, Order::Ascending),
                    Call::Between(2, 90, Order::Descending),
                ];
                oracle::group(readings, &[], &calls)
            },
        },
        Case {
            name: "group with approximate percentiles",
            plan: sql(
                "SELECT device, approx_percentile(x, 0.25) AS a, approx_percentile(x, 0.75) AS b FROM readings GROUP BY device",
            ),
            oracle: |readings, _| oracle::group(readings, &[0], &[Call::Approximate(2, 25), Call::Approximate(2, 75)]),
        },
        Case {
            name: "group with filters, distinct ones too",
            plan: sql("SELECT device, count(*) FILTER (WHERE n > 1) AS a, sum(n) FILTER (WHERE site = 'a') AS b, \
                 count(DISTINCT n) FILTER (WHERE site >= 'b') AS c FROM readings GROUP BY device"),
            oracle: |readings, _| {
                let text = |row: &Row, is: fn(&str) -> bool| matches!(&row[1], Value::Text(site) if is(site));
                let kept = |keep: bool, value: &Value| if keep { value.clone() } else { Value::Null };
                let columns = oracle::project(readings, |row| {
                    vec![
                        row[0].clone(),
                        kept(integer(&row[3]).is_some_and(|n| n > 1), &Value::Integer(1)),
                        kept(text(row, |site| site == "a"), &row[3]),
                        kept(text(row, |site| site >= "b"), &row[3]),
                    ]
                });
                oracle::group(&columns, &[0], &[Call::Count(1), Call::Sum(2), Call::CountDistinct(3)])
            },
        },
    ]
}

fn groupings() -> Vec<Case> {
    /// The groups of some of the first two columns, NULL in the place of the other ones.
    fn of(readings: &[Row], keys: &[usize]) -> Vec<Row> {
        let groups = oracle::group(readings, keys, &[Call::CountAll, Call::Sum(3)]);
        oracle::project(&groups, |row| {
            let key = |column: usize| {
                keys.iter().position(|key| *key == column).map_or(Value::Null, |place| row[place].clone())
            };
            vec![key(0), key(1), row[keys.len()].clone(), row[keys.len() + 1].clone()]
        })
    }
    vec![
        Case {
            name: "group by rollup",
            plan: sql("SELECT device, site, count(*), sum(n) FROM readings GROUP BY ROLLUP (device, site)"),
            oracle: |readings, _| oracle::union(&[of(readings, &[0, 1]), of(readings, &[0]), of(readings, &[])]),
        },
        Case {
            name: "group by grouping sets",
            plan: sql(
                "SELECT device, site, count(*), sum(n) FROM readings GROUP BY GROUPING SETS ((site), (device, site))",
            ),
            oracle: |readings, _| oracle::union(&[of(readings, &[1]), of(readings, &[0, 1])]),
        },
        Case {
            name: "group by hopping windows, in panes",
            plan: in_panes(
                "SELECT device, window_start, count(*) AS a, count(x) AS b, sum(x) AS c, avg(x) AS d, min(x) AS e, \
                 max(x) AS f, first(x, time) AS g, last(site, time) AS h, avg(n) AS i FROM (SELECT *, \
                 unnest(hop_starts(time, INTERVAL '2 microseconds', INTERVAL '6 microseconds')) AS window_start \
                 FROM readings) GROUP BY device, window_start",
            ),
            oracle: |readings, _| {
                let windows = |row: &Row| {
                    let time = integer(&row[4]).unwrap_or(i64::MIN);
                    (-6..=6).filter(|start| start % 2 == 0 && *start <= time && time < start + 6).collect()
                };
                oracle::group(&oracle::unnest(readings, windows), &[0, 5], &super::ALL_CALLS)
            },
        },
        Case {
            name: "union of distinct rows",
            plan: sql("SELECT device, site FROM readings UNION SELECT id, name FROM devices"),
            oracle: |readings, devices| {
                let all = oracle::union(&[oracle::project(readings, |row| row[..2].to_vec()), devices.to_vec()]);
                oracle::group(&all, &[0, 1], &[])
            },
        },
    ]
}

fn joins() -> Vec<Case> {
    /// NULL is a value like others.
    fn same(left: &Value, right: &Value) -> Option<bool> {
        Some(left.compare(right).is_eq())
    }
    vec![
        Case {
            name: "join where NULL is NULL",
            plan: sql("SELECT * FROM readings r JOIN devices d ON r.device IS NOT DISTINCT FROM d.id"),
            oracle: |readings, devices| {
                oracle::filter(&oracle::join(readings, devices, &[]), |row| same(&row[0], &row[5]))
            },
        },
        Case {
            name: "left join where NULL is NULL, on text",
            plan: sql("SELECT * FROM readings r LEFT JOIN devices d ON r.site IS NOT DISTINCT FROM d.name"),
            oracle: |readings, devices| oracle::left_join(readings, devices, &[], 2, |row| same(&row[1], &row[6])),
        },
        Case {
            name: "full join where NULL is NULL",
            plan: sql("SELECT * FROM readings r FULL JOIN devices d ON r.device IS NOT DISTINCT FROM d.id"),
            oracle: |readings, devices| oracle::full_join(readings, devices, &[], (5, 2), |row| same(&row[0], &row[5])),
        },
        Case {
            name: "join of a join",
            plan: sql(
                "SELECT r.*, d.*, e.id AS other, e.name AS other_name FROM readings r JOIN devices d ON r.device = d.id \
                 JOIN devices e ON d.name = e.name",
            ),
            oracle: |readings, devices| oracle::join(&oracle::join(readings, devices, &[(0, 0)]), devices, &[(6, 1)]),
        },
        Case {
            name: "left join with a join",
            plan: sql("SELECT d.*, j.device, j.n, j.other FROM devices d LEFT JOIN \
                 (SELECT device, n, e.name AS other FROM readings JOIN devices e ON device = e.id) j ON d.id = j.device"),
            oracle: |readings, devices| {
                let joined = oracle::join(readings, devices, &[(0, 0)]);
                let joined = oracle::project(&joined, |row| vec![row[0].clone(), row[3].clone(), row[6].clone()]);
                oracle::left_join(devices, &joined, &[(0, 0)], 3, |_| Some(true))
            },
        },
    ]
}

fn subqueries() -> Vec<Case> {
    vec![
        Case {
            name: "a group's value beside the row",
            plan: sql("SELECT id, (SELECT max(n) FROM readings r WHERE r.device = d.id) AS most FROM devices d"),
            oracle: |readings, devices| {
                oracle::project(devices, |device| {
                    let own = oracle::join(std::slice::from_ref(device), readings, &[(0, 0)]);
                    vec![device[0].clone(), oracle::value_of(&own, Call::Max(5))]
                })
            },
        },
        Case {
            name: "groups that are read twice",
            plan: sql("WITH c AS (SELECT device, count(*) AS m, max(n) AS most FROM readings GROUP BY device) \
                 SELECT a.device, a.m, a.most, b.m AS n, b.most AS greatest FROM c a JOIN c b ON a.device = b.device"),
            oracle: |readings, _| {
                let groups = oracle::group(readings, &[0], &[Call::CountAll, Call::Max(3)]);
                let pairs = oracle::join(&groups, &groups, &[(0, 0)]);
                oracle::project(&pairs, |row| [&row[..3], &row[4..]].concat())
            },
        },
        Case {
            name: "whether a value is among others",
            plan: sql("SELECT device, n, n IN (SELECT id FROM devices) AS among, \
                 n NOT IN (SELECT id FROM devices d WHERE d.name = r.site) AS not_among, \
                 EXISTS (SELECT 1 FROM devices d WHERE d.id = r.device) AS known FROM readings r"),
            oracle: |readings, devices| {
                let boolean = |truth: Option<bool>| truth.map_or(Value::Null, Value::Boolean);
                oracle::project(readings, |row| {
                    let all: Vec<Value> = devices.iter().map(|device| device[0].clone()).collect();
                    let of_site = oracle::join(std::slice::from_ref(row), devices, &[(1, 1)]);
                    let of_site: Vec<Value> = of_site.iter().map(|row| row[5].clone()).collect();
                    let is_known = !oracle::join(std::slice::from_ref(row), devices, &[(0, 0)]).is_empty();
                    vec![
                        row[0].clone(),
                        row[3].clone(),
                        boolean(oracle::is_in(&row[3], &all)),
                        boolean(oracle::is_in(&row[3], &of_site).map(|is_in| !is_in)),
                        Value::Boolean(is_known),
                    ]
                })
            },
        },
        Case {
            name: "a row looked up by its key",
            plan: sql("SELECT device, n, (SELECT name FROM (SELECT id, max(name) AS name FROM devices GROUP BY id) d \
                 WHERE d.id = r.device) AS name FROM readings r"),
            oracle: |readings, devices| {
                oracle::project(readings, |row| {
                    let own = oracle::join(std::slice::from_ref(row), devices, &[(0, 0)]);
                    vec![row[0].clone(), row[3].clone(), oracle::value_of(&own, Call::Max(6))]
                })
            },
        },
        Case {
            name: "rows beside the value of one row",
            plan: sql("SELECT n FROM readings WHERE device = (SELECT id FROM devices WHERE id = 2 GROUP BY id)"),
            oracle: |readings, devices| {
                let is_two = |value: &Value| integer(value) == Some(2);
                let there = devices.iter().any(|row| is_two(&row[0]));
                let own = oracle::filter(readings, |row| Some(there && is_two(&row[0])));
                oracle::project(&own, |row| vec![row[3].clone()])
            },
        },
    ]
}

fn windows() -> Vec<Case> {
    const BY_N: &[oracle::OrderKey] = &[(3, false, false)];
    /// Rows whose n is at most so far below that of the row at `place`; NULL is in the range of NULL alone.
    fn near(members: &[Row], place: usize, below: i64) -> Vec<Row> {
        let own = integer(&members[place][3]);
        oracle::filter(members, |row| {
            Some(match (own, integer(&row[3])) {
                (Some(own), Some(other)) => (own - below..=own).contains(&other),
                (own, other) => own == other,
            })
        })
    }
    fn list(values: Vec<Value>) -> Value {
        if values.is_empty() { Value::Null } else { Value::List(values) }
    }
    vec![
        Case {
            name: "values of a range",
            plan: sql("SELECT device, site, x, n, time, nth_value(x, 2) OVER w AS second, \
                 first_value(site) OVER (PARTITION BY device ORDER BY n RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS first, \
                 last_value(time) OVER (PARTITION BY device ORDER BY n RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS last \
                 FROM readings WINDOW w AS (PARTITION BY device ORDER BY n)"),
            oracle: |readings, _| {
                oracle::window(readings, &[0], BY_N, |members, place| {
                    let near = near(members, place, 1);
                    let peers = oracle::ranks(members, BY_N);
                    let so_far: Vec<&Row> = (0..members.len())
                        .filter(|other| peers[*other][1] <= peers[place][1])
                        .map(|other| &members[other])
                        .collect();
                    let second = so_far.get(1).map_or(Value::Null, |row| row[2].clone());
                    vec![second, near[0][1].clone(), near[near.len() - 1][4].clone()]
                })
            },
        },
        Case {
            name: "texts and arrays of frames",
            plan: sql("SELECT device, site, x, n, time, \
                 string_agg(site, '') OVER (PARTITION BY device ORDER BY n ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS t, \
                 array_agg(time) OVER (PARTITION BY device ORDER BY n RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS a, \
                 array_agg(n) FILTER (WHERE site = 'a') OVER (PARTITION BY device ORDER BY n ROWS 2 PRECEDING) AS f \
                 FROM readings"),
            oracle: |readings, _| {
                oracle::window(readings, &[0], BY_N, |members, place| {
                    let frame = |before: usize, after: usize| {
                        &members[place.saturating_sub(before)..members.len().min(place + after + 1)]
                    };
                    let texts = frame(1, 1).iter().filter_map(|row| match &row[1] {
                        Value::Text(text) => Some(text.as_str()),
                        _ => None,
                    });
                    let texts: Vec<&str> = texts.collect();
                    let text = if texts.is_empty() { Value::Null } else { Value::Text(texts.concat()) };
                    let times = near(members, place, 1).iter().map(|row| row[4].clone()).collect();
                    let is_a = |row: &&Row| matches!(&row[1], Value::Text(site) if site == "a");
                    let some = frame(2, 0).iter().filter(is_a).map(|row| row[3].clone()).collect();
                    vec![text, list(times), list(some)]
                })
            },
        },
        Case {
            name: "bits and medians of moving frames",
            plan: sql(
                "SELECT device, site, x, n, time, bit_and(n) OVER w AS a, bit_or(n) OVER w AS o, median(x) OVER w AS m \
                 FROM readings WINDOW w AS (PARTITION BY device ORDER BY n RANGE BETWEEN 1 PRECEDING AND CURRENT ROW)",
            ),
            oracle: |readings, _| {
                oracle::window(readings, &[0], BY_N, |members, place| {
                    let near = near(members, place, 1);
                    let calls = [Call::BitAnd(3), Call::BitOr(3), Call::Between(2, 50, Order::Ascending)];
                    calls.iter().map(|call| oracle::value_of(&near, *call)).collect()
                })
            },
        },
        Case {
            name: "shares and quarters of each device",
            plan: sql("SELECT device, n, percent_rank() OVER w AS share, cume_dist() OVER w AS reached FROM readings \
                 WINDOW w AS (PARTITION BY device ORDER BY n)"),
            oracle: |readings, _| {
                let rows = oracle::project(readings, |row| vec![row[0].clone(), row[3].clone()]);
                oracle::window(&rows, &[0], &[(1, false, false)], |members, place| {
                    let ranks = oracle::ranks(members, &[(1, false, false)]);
                    let (count, rank) = (members.len() as f64, ranks[place][1]);
                    let reached = ranks.iter().filter(|ranks| ranks[1] <= rank).count() as f64;
                    let share = if members.len() == 1 { 0.0 } else { (rank - 1) as f64 / (count - 1.0) };
                    vec![Value::Float(share), Value::Float(reached / count)]
                })
            },
        },
        Case {
            name: "neighbours and frames of rows of a join",
            plan: sql("SELECT device, site, x, n, time, id, name, lag(id) OVER w AS before, \
                 sum(device) OVER (PARTITION BY site ORDER BY n ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS around \
                 FROM readings JOIN devices ON device = id WINDOW w AS (PARTITION BY site ORDER BY n)"),
            oracle: |readings, devices| {
                let joined = oracle::join(readings, devices, &[(0, 0)]);
                oracle::window(&joined, &[1], BY_N, |members, place| {
                    let before = place.checked_sub(1).map_or(Value::Null, |before| members[before][5].clone());
                    let around = &members[place.saturating_sub(1)..members.len().min(place + 2)];
                    vec![before, oracle::value_of(around, Call::Sum(0))]
                })
            },
        },
        Case {
            name: "sums over a range of values",
            plan: sql("SELECT device, site, x, n, time, \
                 sum(device) OVER (PARTITION BY device ORDER BY n RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS near, \
                 count(x) OVER (PARTITION BY device ORDER BY n RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS rest \
                 FROM readings"),
            oracle: |readings, _| {
                oracle::window(readings, &[0], BY_N, |members, place| {
                    let own = integer(&members[place][3]);
                    let near = near(members, place, 1);
                    // NULL is last.
                    let rest = oracle::filter(members, |row| {
                        Some(match (own, integer(&row[3])) {
                            (Some(own), Some(other)) => other >= own,
                            (_, other) => other.is_none(),
                        })
                    });
                    vec![oracle::value_of(&near, Call::Sum(0)), oracle::value_of(&rest, Call::Count(2))]
                })
            },
        },
    ]
}
