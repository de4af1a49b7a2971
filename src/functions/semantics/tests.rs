use crate::functions::tests::{check, check_error};

#[test]
fn zeros_are_one_and_so_are_nans() {
    let zeros = "(VALUES (0.0::float8), (-0.0::float8), (1.0::float8)) AS t(x)";
    check(&format!("SELECT count(*) FROM {zeros} WHERE x = 0"), "2");
    check(&format!("SELECT count(*) FROM {zeros} WHERE x < 0"), "0");
    check(&format!("SELECT count(*) FROM {zeros} WHERE x >= 0"), "3");
    check(&format!("SELECT count(*) FROM {zeros} WHERE 0 <= x"), "3");
    check(&format!("SELECT count(*) FROM {zeros} WHERE x IN (0)"), "2");
    check(&format!("SELECT x, count(*) FROM {zeros} GROUP BY x ORDER BY x"), "0.0|2\n1.0|1");
    check(&format!("SELECT DISTINCT x FROM {zeros} ORDER BY x"), "0.0\n1.0");
    // Between infinities NaN has another sign.
    let infinite = "(VALUES ('Infinity'::float8), ('-Infinity'::float8)) AS i(y)";
    let middle = format!("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY y) FROM {infinite}");
    let nans = format!("(SELECT ({middle}) AS x UNION ALL SELECT 'NaN'::float8) AS t");
    for (keys, groups) in [("x", 1), ("ROLLUP (x)", 2), ("CUBE (x)", 2), ("GROUPING SETS ((x), (x))", 2)] {
        check(&format!("SELECT count(*) FROM (SELECT x FROM {nans} GROUP BY {keys}) AS g"), &groups.to_string());
    }
    check(&format!("SELECT count(DISTINCT x) FROM {zeros}"), "2");
    check(&format!("SELECT count(*) FROM {zeros} JOIN (SELECT x AS y FROM {zeros}) u ON x = y"), "5");
}

#[test]
fn integers_do_not_wrap() {
    check_error("SELECT x + 1 FROM (VALUES (2147483647::int4)) AS t(x)", "22003 integer out of range");
    check_error("SELECT x * x FROM (VALUES (9223372036854775807::int8)) AS t(x)", "22003 bigint out of range");
    check_error("SELECT -x FROM (VALUES ((-32768)::int2)) AS t(x)", "22003 smallint out of range");
    check_error("SELECT 1 / x FROM (VALUES (0)) AS t(x)", "22012 division by zero");
    check_error("SELECT 1.0 / x FROM (VALUES (0)) AS t(x)", "22012 division by zero");
    check_error("SELECT x / 0 FROM (VALUES (1.5::float8)) AS t(x)", "22012 division by zero");
    check_error("SELECT x * x FROM (VALUES (1e200::float8)) AS t(x)", "22003 value out of range: overflow");
    check("SELECT x / 0 FROM (VALUES (NULL::float8)) AS t(x)", "");
    check("SELECT 7 / 2, -7 / 2, 7 % 3, 7.0 / 3", "3|-3|1|2.3333333333333333");
    check("SELECT CASE WHEN x <> 0 THEN 10 / x END FROM (VALUES (0), (5)) AS t(x)", "\n2");
}

#[test]
fn casts_to_integers_round() {
    check("SELECT 2.5::float8::int4, 3.5::float8::int4, 2.5::int4, (-2.5)::int4", "2|4|3|-3");
    check_error("SELECT 3e9::float8::int4", "22003 integer out of range");
    check_error("SELECT x::int2 FROM (VALUES (40000)) AS t(x)", "22003 smallint out of range");
}

#[test]
fn numerics_beside_floats_are_floats() {
    check("SELECT x > 0.1, x = 0.1, x + 0.2 FROM (VALUES (0.1::float8)) AS t(x)", "false|true|0.30000000000000004");
    check("SELECT 0.1 + 0.2 = 0.3", "true");
}
