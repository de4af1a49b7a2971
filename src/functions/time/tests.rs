use crate::functions::tests::{check, check_error};

#[test]
fn buckets() {
    check("SELECT time_bucket('15 minutes', TIMESTAMP '2024-05-01 10:44:59.999999')", "2024-05-01T10:30:00");
    check("SELECT time_bucket(INTERVAL '1 week', TIMESTAMP '2024-05-01 10:44:59')", "2024-04-29T00:00:00");
    check("SELECT time_bucket('3 months', TIMESTAMP '1999-12-31 10:44:59')", "1999-10-01T00:00:00");
    check(
        "SELECT time_bucket('1 month', TIMESTAMP '2024-02-05 00:00:00', TIMESTAMP '2000-01-10 00:00:00')",
        "2024-01-10T00:00:00",
    );
    check("SELECT time_bucket('1 day', DATE '2024-05-01')", "2024-05-01");
    check(
        "SELECT date_bin('15 minutes', TIMESTAMP '2020-02-11 15:44:17', TIMESTAMP '2001-01-01 00:02:30')",
        "2020-02-11T15:32:30",
    );
    check(
        "SELECT time_bucket('1 hour', x) FROM (VALUES (TIMESTAMPTZ '1969-12-31 23:30:00+00'), (NULL)) AS t(x)",
        "1969-12-31T23:00:00Z\n",
    );
    check("SELECT arrow_typeof(time_bucket('1 hour', TIMESTAMP '2024-05-01 10:44:59'))", "Timestamp(µs)");
}

#[test]
fn widths_that_are_none() {
    check_error(
        "SELECT time_bucket('0 minutes', TIMESTAMP '2024-05-01 10:44:59')",
        "22023 a bucket's width must be greater than zero",
    );
    check_error(
        "SELECT time_bucket('1 month 1 day', TIMESTAMP '2024-05-01 10:44:59')",
        "22023 a bucket's width cannot mix months with days or times",
    );
}

#[test]
fn times_are_microseconds() {
    check(
        "SELECT arrow_typeof(now()), arrow_typeof(current_timestamp)",
        "Timestamp(µs, \"UTC\")|Timestamp(µs, \"UTC\")",
    );
    check("SELECT now() = current_timestamp AND now() > TIMESTAMPTZ '2020-01-01 00:00:00+00'", "true");
    check(
        "SELECT arrow_typeof(TIMESTAMP '2024-05-01 10:44:59'), arrow_typeof('2024-05-01'::timestamptz)",
        "Timestamp(µs)|Timestamp(µs, \"UTC\")",
    );
    check("SELECT arrow_typeof(date_trunc('hour', TIMESTAMP '2024-05-01 10:44:59'))", "Timestamp(µs)");
    check("SELECT TIMESTAMP '2024-05-01 10:00:00' + INTERVAL '90 minutes'", "2024-05-01T11:30:00");
    check("SELECT TIMESTAMP '2024-05-02 10:00:00' - TIMESTAMP '2024-05-01 10:00:00' > INTERVAL '1 hour'", "true");
}
