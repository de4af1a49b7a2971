use crate::plan::view::plan_view;
use crate::plan::view::tests::{Fleet, parse, state};

fn explained(sql: &str) -> String {
    plan_view(&state(), &Fleet::new(), &parse(sql), sql, None).unwrap().explain()
}

fn is_ranked(sql: &str) -> bool {
    let plan = explained(sql);
    let (is_ranked, joins) = (plan.contains("Top: rank 1 to 1"), plan.contains("Join: "));
    assert_ne!(is_ranked, joins, "{plan}");
    is_ranked
}

/// `r` joined with groups of `rows`, ON a condition, and what follows.
fn joined(rows: &str, extreme: &str, rest: &str) -> bool {
    is_ranked(&format!(
        "SELECT r.time, m.most FROM readings r JOIN (SELECT truck, {extreme} AS most FROM {rows} GROUP BY truck) m {rest}"
    ))
}

#[test]
fn rows_at_their_groups_extreme_are_first_rows_however_that_is_written() {
    for (extreme, condition) in [
        ("max(time)", "r.truck = m.truck AND r.time = m.most"),
        ("max(time)", "m.most = r.time AND m.truck = r.truck"),
        ("max(time)", "r.truck = m.truck AND r.time >= m.most"),
        ("min(total)", "r.truck = m.truck AND m.most >= r.total"),
        ("max(velocity)", "r.truck = m.truck AND r.velocity >= m.most"),
        ("max(total * 2)", "r.truck = m.truck AND r.total * 2 = m.most"),
        ("max(time)", "r.truck = m.truck AND r.time = m.most WHERE r.fuel > 1"),
        ("max(time)", "r.truck = m.truck AND r.time = m.most AND r.total < 5"),
    ] {
        assert!(joined("readings", extreme, &format!("ON {condition}")), "{extreme}: {condition}");
    }
    for sql in [
        "SELECT time FROM readings r WHERE EXISTS (SELECT 1 FROM (SELECT truck AS t, max(time) AS most FROM readings GROUP BY truck) \
         WHERE t = r.truck AND most = r.time)",
        "SELECT time FROM readings r WHERE time = (SELECT max(q.time) FROM readings q WHERE q.truck = r.truck)",
        "SELECT time FROM readings WHERE time = (SELECT max(time) FROM readings)",
        "SELECT m.most, r.time FROM (SELECT truck AS t, max(time) AS most FROM readings GROUP BY truck) m \
         JOIN readings r ON m.t = r.truck AND r.time = m.most",
        "WITH c AS (SELECT truck, distance, count(*) AS n, max(fuel) AS f FROM readings GROUP BY truck, distance) \
         SELECT c.n, c.f, c.truck FROM c JOIN (SELECT truck, max(n) AS most FROM c GROUP BY truck) m \
         ON c.truck = m.truck AND c.n = m.most",
        "WITH c AS (SELECT truck, total + 1 AS t FROM readings WHERE fuel > 1 AND small = 2) \
         SELECT c.t FROM c JOIN (SELECT truck, min(t) AS least FROM c GROUP BY truck) m ON c.truck = m.truck AND c.t = m.least",
        "WITH c AS (SELECT *, unnest(ARRAY[distance, total]) AS e FROM readings) \
         SELECT c.time FROM c JOIN (SELECT truck, max(e) AS most FROM c GROUP BY truck) m ON c.truck = m.truck AND c.e = m.most",
    ] {
        assert!(is_ranked(sql), "{sql}");
    }
}

#[test]
fn what_says_something_else_stays_a_join() {
    for (rows, extreme, condition) in [
        // Of other rows, of another value, by other keys.
        ("readings WHERE fuel > 1", "max(time)", "r.truck = m.truck AND r.time = m.most"),
        ("readings", "max(total)", "r.truck = m.truck AND r.distance = m.most"),
        ("readings", "max(time)", "r.time = m.most"),
        ("readings", "max(total)", "r.total = m.most AND r.truck = m.truck AND r.distance = m.most"),
        // Another comparison, or another aggregate.
        ("readings", "max(total)", "r.truck = m.truck AND r.total <= m.most"),
        ("readings", "min(total)", "r.truck = m.truck AND r.total >= m.most"),
        ("readings", "max(total)", "r.truck = m.truck AND r.total > m.most"),
        ("readings", "max(total)", "r.truck = m.truck AND r.total >= m.most - 1"),
        ("readings", "max(total) FILTER (WHERE fuel > 1)", "r.truck = m.truck AND r.total = m.most"),
        ("readings", "last(total, time)", "r.truck = m.truck AND r.total = m.most"),
        ("readings", "max(1)", "r.truck = m.truck AND m.most = 1"),
    ] {
        assert!(!joined(rows, extreme, &format!("ON {condition}")), "{rows}, {extreme}: {condition}");
    }
    for sql in [
        "SELECT r.time, m.most, m.n FROM readings r \
         JOIN (SELECT truck, max(time) AS most, count(*) AS n FROM readings GROUP BY truck) m \
         ON r.truck = m.truck AND r.time = m.most",
        "SELECT r.time, m.most FROM readings r \
         LEFT JOIN (SELECT truck, max(time) AS most FROM readings GROUP BY truck) m ON r.truck = m.truck AND r.time = m.most",
        "SELECT time FROM readings r WHERE NOT EXISTS (SELECT 1 FROM \
         (SELECT truck AS t, max(time) AS most FROM readings GROUP BY truck) WHERE t = r.truck AND most = r.time)",
        "SELECT t.driver FROM trucks t \
         JOIN (SELECT truck, max(total) AS most FROM readings GROUP BY truck) m ON t.truck = m.truck AND t.capacity = m.most",
    ] {
        assert!(!is_ranked(sql), "{sql}");
    }
}

#[test]
fn null_is_equal_to_nothing() {
    let plan = explained(
        "SELECT fuel FROM readings r WHERE time = (SELECT max(time) FROM readings q WHERE q.truck = r.truck)",
    );
    assert!(plan.contains("truck IS NOT NULL") && plan.contains("time IS NOT NULL"), "{plan}");
}
