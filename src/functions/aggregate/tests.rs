use crate::functions::tests::{check, check_error};

const PAIRS: &str = "(VALUES (1, 2.5::float8, 10), (1, -0.0::float8, 20), (2, 'NaN'::float8, 30), (2, 0.5::float8, NULL)) \
                     AS t(k, f, n)";

#[test]
fn sums_are_exact() {
    check("SELECT sum(x) FROM (VALUES (1e16::float8), (1.0::float8), (-1e16::float8)) AS t(x)", "1.0");
    check("SELECT sum(x) FROM (VALUES (9223372036854775807::int8), (1::int8)) AS t(x)", "9223372036854775808");
    check("SELECT avg(x) FROM (VALUES (1::int4), (2::int4), (2::int4)) AS t(x)", "1.6666666666666667");
    check("SELECT sum(x), avg(x) FROM (VALUES (0.1), (0.2)) AS t(x)", "0.3|0.1500000000000000");
    check("SELECT sum(x), avg(x), min(x), count(x) FROM (VALUES (NULL::float8)) AS t(x)", "|||0");
    check("SELECT sum(DISTINCT x), avg(DISTINCT x) FROM (VALUES (1), (1), (2)) AS t(x)", "3|1.5000000000000000");
}

#[test]
fn overflow_is_an_error() {
    check_error("SELECT sum(x) FROM (VALUES (1e308::float8), (1e308::float8)) AS t(x)", "22003 value out of range");
}

#[test]
fn not_a_number_is_the_greatest() {
    check(&format!("SELECT min(f), max(f) FROM {PAIRS}"), "0.0|NaN");
    check(&format!("SELECT k, min(f), max(f) FROM {PAIRS} GROUP BY k ORDER BY k"), "1|0.0|2.5\n2|0.5|NaN");
}

#[test]
fn first_and_last_break_ties_by_the_value() {
    let ties = "(VALUES ('a', 2, 1), ('a', 1, 1), ('a', NULL, 2), ('b', 5, NULL), ('a', 9, 2)) AS t(k, v, ts)";
    check(&format!("SELECT k, first(v, ts), last(v, ts) FROM {ties} GROUP BY k ORDER BY k"), "a|1|\nb||");
    check(&format!("SELECT first(v, ts), last(k, ts) FROM {ties}"), "1|a");
}

#[test]
fn sliding_windows_take_rows_out_again() {
    check(
        "SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM (VALUES (1), (2), (4)) AS t(x) ORDER BY 1",
        "1\n3\n6",
    );
}
