//! The reference's words on our own functions; DataFusion's bring theirs along.
//!
//! A test (`sql-tests/runner/reference`) fails for a registered function that has no sentence here or there.

/// A function that users may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionSentence {
    pub name: &'static str,
    pub syntax: &'static str,
    pub sentence: &'static str,
}

macro_rules! sentences {
    ($($name:literal $syntax:literal: $sentence:literal;)*) => {
        /// By name within each kind.
        pub const SENTENCES: &[FunctionSentence] =
            &[$(FunctionSentence { name: $name, syntax: $syntax, sentence: $sentence }),*];
    };
}

sentences! {
    "age" "age(later[, earlier])":
        "The difference of two times in years, months, days and hours, as one counts it on a calendar; of one time from the start of today.";
    "current_database" "current_database()": "The database's name, always `tidemark`.";
    "current_schema" "current_schema()": "The schema that unqualified names are looked up in, `public`.";
    "date_bin" "date_bin(width, time[, origin])":
        "Start of the bucket of this width that the time lies in, counted from the origin, by default 1970-01-01.";
    "date_part" "date_part(field, time)":
        "A field of a timestamp, a date or an interval as double precision; extract(field FROM time) gives it as numeric.";
    "date_trunc" "date_trunc(unit, time[, zone])":
        "Start of the unit that a timestamp, a date or an interval is in, by the clock of the session's zone or of the one given.";
    "gen_random_uuid" "gen_random_uuid()": "A new UUID of version 4 for each row.";
    "hop_starts" "hop_starts(time, slide, size)":
        "Starts of the windows of this size, one every slide, that hold the time; `HOP` in FROM has a row for each.";
    "jsonb_array_length" "jsonb_array_length(jsonb)": "The number of an array's elements.";
    "jsonb_build_array" "jsonb_build_array(value, ...)": "An array of the values.";
    "jsonb_build_object" "jsonb_build_object(key, value, ...)": "An object of the keys and values.";
    "jsonb_concat" "jsonb_concat(a, b)": "`a || b`: the members of both objects, or the elements of both arrays.";
    "jsonb_contains" "jsonb_contains(a, b)": "`a @> b`: whether `b` is contained in `a`.";
    "jsonb_delete" "jsonb_delete(jsonb, what)": "`jsonb - what`: without a key, some keys, or the element at a place.";
    "jsonb_delete_path" "jsonb_delete_path(jsonb, path)": "`jsonb #- path`: without what the path leads to.";
    "jsonb_exists" "jsonb_exists(jsonb, key)": "`jsonb ? key`: whether the key, or the string, is there.";
    "jsonb_exists_all" "jsonb_exists_all(jsonb, keys)": "`jsonb ?& keys`: whether all of them are there.";
    "jsonb_exists_any" "jsonb_exists_any(jsonb, keys)": "`jsonb ?| keys`: whether one of them is there.";
    "jsonb_extract_path" "jsonb_extract_path(jsonb, step, ...)": "What the path leads to, as `#>`.";
    "jsonb_extract_path_text" "jsonb_extract_path_text(jsonb, step, ...)": "The same as text, as `#>>`.";
    "jsonb_strip_nulls" "jsonb_strip_nulls(jsonb)": "Without the members of objects that are null.";
    "jsonb_typeof" "jsonb_typeof(jsonb)": "`object`, `array`, `string`, `number`, `boolean` or `null`.";
    "justify_days" "justify_days(interval)": "Thirty days at a time as months.";
    "justify_hours" "justify_hours(interval)": "Twenty-four hours at a time as days.";
    "justify_interval" "justify_interval(interval)": "Both, and all fields of one sign.";
    "now" "now()": "Start of the current transaction as timestamptz; in a condition of a materialized view the time of the commit.";
    "pg_typeof" "pg_typeof(value)": "The name of the value's type.";
    "time_bucket" "time_bucket(width, time[, origin])":
        "Start of the bucket of this width that the time lies in; buckets of days and weeks begin on Mondays.";
    "timezone" "timezone(zone, time)":
        "`time AT TIME ZONE zone`: the zone's clock at a timestamptz, or the timestamptz at which its clock shows a timestamp.";
    "to_char" "to_char(value, pattern)":
        "A timestamp, a date, an interval or a number as text, by a pattern of PostgreSQL's.";
    "to_date" "to_date(text, pattern)": "The date that a text names by a pattern of PostgreSQL's.";
    "to_jsonb" "to_jsonb(value)": "The value as jsonb; times as texts of ISO 8601, in UTC.";
    "to_number" "to_number(text, pattern)":
        "The number that a text names by a pattern of PostgreSQL's, as a numeric with as many digits behind the point.";
    "to_timestamp" "to_timestamp(text, pattern) or to_timestamp(seconds)":
        "The timestamptz that a text names by a pattern of PostgreSQL's, in the session's zone, or so many seconds after 1970-01-01 UTC.";
    "tumble_start" "tumble_start(time, size)":
        "Start of the window of this size that holds the time, counted from 1970-01-01 UTC; `TUMBLE` in FROM has it as a column.";
    "version" "version()": "The version of Tidemark, and the PostgreSQL version whose behaviour clients may expect.";
    "window_end" "window_end(start, size)": "End of the window of this size that begins at the start.";
    "approx_count_distinct" "approx_count_distinct(expression)":
        "The number of distinct values: exact for fewer than 512, beyond that by HyperLogLog with a standard error of 1.6 percent. The same rows give the same number, in any order.";
    "approx_percentile" "approx_percentile(value, fraction)":
        "The value at which this fraction of all is reached, nearer to zero than the exact one by less than a 256th; as double precision.";
    "avg" "avg([DISTINCT] expression)": "Average: of floats the correctly rounded exact one, of other numbers a numeric.";
    "corr" "corr(y, x)": "Correlation coefficient of the pairs, exact and rounded once; NULL if either side is constant.";
    "covar_pop" "covar_pop(y, x)": "Covariance of all pairs, exact and rounded once.";
    "covar_samp" "covar_samp(y, x)":
        "Covariance, taking the pairs as a sample; exact and rounded once. NULL for fewer than two.";
    "first" "first(value, time)":
        "The value at the least time; among rows of that time the least value. Rows without a time do not count.";
    "last" "last(value, time)":
        "The value at the greatest time; among rows of that time the greatest value. Rows without a time do not count.";
    "max" "max(expression)": "Greatest value; NaN is greater than every number.";
    "median" "median(expression)": "`percentile_cont(0.5)`: the middle value, or the middle of the two around it.";
    "min" "min(expression)": "Least value.";
    "mode" "mode() WITHIN GROUP (ORDER BY expression)":
        "The most frequent value; among several the first one in the order.";
    "percentile_cont" "percentile_cont(fraction) WITHIN GROUP (ORDER BY expression)":
        "The value at this fraction of the ordered values, between two of them in proportion; as double precision.";
    "percentile_disc" "percentile_disc(fraction) WITHIN GROUP (ORDER BY expression)":
        "The first of the ordered values at which this fraction of them is reached.";
    "regr_avgx" "regr_avgx(y, x)": "Average of x over the pairs without NULL.";
    "regr_avgy" "regr_avgy(y, x)": "Average of y over the pairs without NULL.";
    "regr_count" "regr_count(y, x)": "Number of pairs without NULL.";
    "regr_intercept" "regr_intercept(y, x)": "Where the line through the pairs by least squares meets x = 0.";
    "regr_r2" "regr_r2(y, x)": "Square of the correlation coefficient; 1 if y is constant, NULL if x is.";
    "regr_slope" "regr_slope(y, x)": "Slope of the line through the pairs by least squares; NULL if x is constant.";
    "regr_sxx" "regr_sxx(y, x)": "Sum of the squares of x's differences from its average.";
    "regr_sxy" "regr_sxy(y, x)": "Sum of the products of both differences from the averages.";
    "regr_syy" "regr_syy(y, x)": "Sum of the squares of y's differences from its average.";
    "stddev_pop" "stddev_pop([DISTINCT] expression)": "Standard deviation of all values, exact and rounded once.";
    "stddev_samp" "stddev_samp([DISTINCT] expression)":
        "Standard deviation, taking the values as a sample; exact and rounded once. NULL for fewer than two.";
    "sum" "sum([DISTINCT] expression)":
        "Sum: of floats the correctly rounded exact one whatever the order of rows, of bigint and numeric a numeric.";
    "var_pop" "var_pop([DISTINCT] expression)": "Variance of all values, exact and rounded once.";
    "var_samp" "var_samp([DISTINCT] expression)":
        "Variance, taking the values as a sample; exact and rounded once. NULL for fewer than two.";
    "session_end" "session_end(time, gap) OVER ([PARTITION BY key] ORDER BY time)":
        "A gap behind the last row of the row's session; `SESSION` in FROM has it as a column.";
    "session_start" "session_start(time, gap) OVER ([PARTITION BY key] ORDER BY time)":
        "Time of the first row of the row's session: of rows in the order of their times, none further than a gap from the next.";
}

/// Functions that plans contain and nobody writes: checked operators and casts.
pub const INTERNAL: &[&str] = &[
    "array_out",
    "canonical_float",
    "checked_add",
    "checked_divide",
    "checked_modulo",
    "checked_multiply",
    "checked_negate",
    "checked_subtract",
    "clock_add",
    "clock_cast",
    "extract",
    "from_text",
    "interval_divide",
    "interval_length",
    "interval_multiply",
    "jsonb_cast",
    "jsonb_element_texts",
    "jsonb_elements",
    "jsonb_entries",
    "jsonb_get",
    "jsonb_get_path",
    "jsonb_get_path_text",
    "jsonb_get_text",
    "jsonb_keys",
    "jsonb_of_array",
    "jsonb_of_pairs",
    "jsonb_pair",
    "jsonb_records",
    "named",
    "only_row",
    "ordered_array_agg",
    "ordered_nth_value",
    "ordered_string_agg",
    "single_value",
    "text_of",
    "unary_plus",
];
