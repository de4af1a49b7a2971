//! What of SQL can be a materialized view, and what is refused by name: the table that the reference page is printed from,
//! and that the planner's tests try clause by clause.

/// A part of SQL, with an example over the tables of the planner's tests.
#[derive(Debug, Clone, Copy)]
pub struct ViewClause {
    pub clause: &'static str,
    pub example: &'static str,
    /// What the view keeps for it, or for a refused one what to do instead.
    pub sentence: &'static str,
}

/// Accepted.
pub const ACCEPTED: &[ViewClause] = &[
    ViewClause {
        clause: "WHERE, expressions",
        example: "SELECT truck, velocity * 3.6 AS kmh FROM readings WHERE fuel < 10",
        sentence: "Nothing.",
    },
    ViewClause {
        clause: "GROUP BY, HAVING, aggregates",
        example: "SELECT truck, count(*), avg(velocity), max(fuel) FROM readings GROUP BY truck HAVING count(*) > 2",
        sentence: "A few numbers for each group; for min, max, first and last its values in order, unless the tables are APPEND ONLY.",
    },
    ViewClause {
        clause: "Aggregates without GROUP BY",
        example: "SELECT sum(distance), stddev(velocity) FROM readings",
        sentence: "One group; a row even over nothing.",
    },
    ViewClause {
        clause: "GROUPING SETS, ROLLUP, CUBE",
        example: "SELECT truck, distance, count(*) FROM readings GROUP BY ROLLUP (truck, distance)",
        sentence: "A group for each key of each grouping. The grouping of no key reads the tables a second time.",
    },
    ViewClause {
        clause: "FILTER and DISTINCT in aggregates",
        example: "SELECT truck, count(DISTINCT distance) FILTER (WHERE fuel > 1) FROM readings GROUP BY truck",
        sentence: "For DISTINCT each group's values, each with its number of rows.",
    },
    ViewClause {
        clause: "bit_and, bit_or, bit_xor",
        example: "SELECT truck, bit_or(distance) FROM readings GROUP BY truck",
        sentence: "For each group how many values have each of 64 bits.",
    },
    ViewClause {
        clause: "corr, covar_pop, covar_samp, regr_*",
        example: "SELECT truck, regr_slope(fuel, distance) FROM readings GROUP BY truck",
        sentence: "The exact sums of each group.",
    },
    ViewClause {
        clause: "string_agg with ORDER BY",
        example: "SELECT truck, string_agg(distance::text, ',' ORDER BY time) FROM readings GROUP BY truck",
        sentence: "The texts of each group in order, and the text that they make.",
    },
    ViewClause {
        clause: "array_agg with ORDER BY",
        example: "SELECT truck, array_agg(velocity ORDER BY time) FROM readings GROUP BY truck",
        sentence: "The values of each group in order, and the array that they make.",
    },
    ViewClause {
        clause: "percentile_cont, percentile_disc, mode, median",
        example: "SELECT truck, percentile_cont(0.95) WITHIN GROUP (ORDER BY velocity), mode() WITHIN GROUP (ORDER BY distance) FROM readings GROUP BY truck",
        sentence: "The values of each group in order, once for all calls over them in one direction. A percentile is found by its rank, a mode by looking at each value.",
    },
    ViewClause {
        clause: "approx_percentile",
        example: "SELECT truck, approx_percentile(velocity, 0.95) FROM readings GROUP BY truck",
        sentence: "How many values of each group are in each of its buckets; at most 256 for each power of two.",
    },
    ViewClause {
        clause: "approx_count_distinct, over APPEND ONLY tables",
        example: "SELECT truck, approx_count_distinct(velocity) FROM readings GROUP BY truck",
        sentence: "A HyperLogLog sketch of each group: hashes of fewer than 512 values, or 4096 bytes.",
    },
    ViewClause {
        clause: "DISTINCT",
        example: "SELECT DISTINCT truck FROM readings",
        sentence: "Each row once, with its number of rows.",
    },
    ViewClause {
        clause: "JOIN ... ON with an equality",
        example: "SELECT r.velocity, t.driver FROM readings r JOIN trucks t ON r.truck = t.truck AND r.distance < t.capacity",
        sentence: "Both sides by key. Where the view groups above, one side as groups by key.",
    },
    ViewClause {
        clause: "Joins on IS NOT DISTINCT FROM",
        example: "SELECT r.truck FROM readings r LEFT JOIN trucks t ON r.truck IS NOT DISTINCT FROM t.truck",
        sentence: "As with an equality: NULL is a value like others.",
    },
    ViewClause {
        clause: "LEFT, RIGHT and FULL JOIN",
        example: "SELECT r.velocity, t.driver FROM readings r FULL JOIN trucks t ON r.truck = t.truck",
        sentence: "Both sides by key; with a further condition also how many rows each row matches.",
    },
    ViewClause {
        clause: "CROSS JOIN, joins without an equality",
        example: "SELECT r.truck, t.driver FROM readings r LEFT JOIN trucks t ON r.distance > t.capacity",
        sentence: "Both sides; a changed row meets every row of the other side.",
    },
    ViewClause {
        clause: "EXISTS, NOT EXISTS",
        example: "SELECT truck FROM readings r WHERE NOT EXISTS (SELECT 1 FROM trucks t WHERE t.truck = r.truck)",
        sentence: "As LEFT JOIN.",
    },
    ViewClause {
        clause: "IN (SELECT ...), NOT IN (SELECT ...)",
        example: "SELECT truck FROM readings WHERE truck NOT IN (SELECT truck FROM trucks)",
        sentence: "As LEFT JOIN. NOT IN looks at all rows when the first NULL comes or the last one goes.",
    },
    ViewClause {
        clause: "Scalar subqueries that read nothing of the outer row",
        example: "SELECT truck FROM readings WHERE velocity > (SELECT avg(velocity) FROM readings)",
        sentence: "The rows beside it: when the value changes, all of them are looked at. A second row is an error (21000).",
    },
    ViewClause {
        clause: "Scalar subqueries that aggregate, tied by equalities",
        example: "SELECT truck, (SELECT max(t.capacity) FROM trucks t WHERE t.truck = r.truck) AS most FROM readings r",
        sentence: "As LEFT JOIN with the groups.",
    },
    ViewClause {
        clause: "Scalar subqueries with LIMIT 1, or by the whole PRIMARY KEY of a table, tied by equalities",
        example: "SELECT truck, (SELECT driver FROM trucks t WHERE t.truck = r.truck) AS driver, (SELECT s.velocity FROM readings s WHERE s.truck = r.truck ORDER BY s.time DESC LIMIT 1) AS latest FROM readings r",
        sentence: "As LEFT JOIN; with LIMIT what ROW_NUMBER with a bound keeps.",
    },
    ViewClause {
        clause: "Other scalar subqueries, tied by equalities",
        example: "SELECT truck, (SELECT velocity FROM readings s WHERE s.truck = r.truck AND s.fuel < 1) AS velocity FROM readings r",
        sentence: "As LEFT JOIN with the first of each group and whether there is a second, which is an error (21000) of the outer rows that ask for it.",
    },
    ViewClause {
        clause: "IN, = ANY, EXISTS as values, tied by equalities or not at all",
        example: "SELECT truck, truck IN (SELECT truck FROM trucks) AS is_known, EXISTS (SELECT 1 FROM trucks t WHERE t.truck = r.truck AND t.capacity > 3) AS is_large FROM readings r",
        sentence: "As LEFT JOIN with the distinct values, and with the counts of each group.",
    },
    ViewClause {
        clause: "UNION, UNION ALL",
        example: "SELECT truck FROM readings UNION SELECT truck FROM trucks",
        sentence: "UNION ALL nothing, UNION as DISTINCT.",
    },
    ViewClause {
        clause: "SELECT without FROM, VALUES",
        example: "SELECT truck FROM readings UNION ALL (VALUES ('truck_8'), ('truck_9'))",
        sentence: "A row for each, at most 1000.",
    },
    ViewClause {
        clause: "INTERSECT, EXCEPT, also ALL",
        example: "SELECT truck FROM readings EXCEPT ALL SELECT truck FROM trucks",
        sentence: "Each row once, with its number of rows on both sides. Columns of different types are compared in the type that they have in common.",
    },
    ViewClause {
        clause: "ORDER BY ... LIMIT, OFFSET",
        example: "SELECT truck, velocity FROM readings ORDER BY velocity DESC LIMIT 10 OFFSET 5",
        sentence: "All rows in order, of APPEND ONLY tables the first LIMIT + OFFSET; a change reads these.",
    },
    ViewClause {
        clause: "ORDER BY without LIMIT",
        example: "SELECT truck FROM readings ORDER BY truck",
        sentence: "Nothing: a view has no order. Order the SELECT that reads it.",
    },
    ViewClause {
        clause: "DISTINCT ON",
        example: "SELECT DISTINCT ON (truck) truck, velocity FROM readings ORDER BY truck, time DESC",
        sentence: "All rows in order, of APPEND ONLY tables the first of each group; a change reads the first of its group.",
    },
    ViewClause {
        clause: "ROW_NUMBER, RANK, DENSE_RANK with a bound",
        example: "SELECT truck FROM (SELECT *, rank() OVER (PARTITION BY truck ORDER BY velocity) AS n FROM readings) s WHERE n <= 3",
        sentence: "All rows in order, of APPEND ONLY tables those up to the bound, and of their counts and maxima those that rank() bounds; a change reads the rows of its partition up to the bound.",
    },
    ViewClause {
        clause: "Rows with the greatest or least value of their group",
        example: "SELECT r.truck, r.velocity FROM readings r JOIN (SELECT truck, max(time) AS time FROM readings GROUP BY truck) m ON r.truck = m.truck AND r.time = m.time",
        sentence: "As a RANK bounded by 1, also where it is written with IN or with a subquery that reads the outer row: the rows once.",
    },
    ViewClause {
        clause: "Window functions, with frames of ROWS and RANGE",
        example: "SELECT truck, lag(fuel) OVER (PARTITION BY truck ORDER BY time) AS before, avg(fuel) OVER (PARTITION BY truck ORDER BY time ROWS 5 PRECEDING) AS mean FROM readings",
        sentence: "All rows in order. Where all calls look at rows that are near (lag, lead, frames with bounds, by ROWS or by a RANGE of integers or times), a change reads and computes the rows around it. Where frames begin with the partition (a running sum, count or maximum, rank, row_number), also those behind it, and every 32nd row's state is kept. Else its partition: ntile, percent_rank, cume_dist, frames that end with it, running medians and lists.",
    },
    ViewClause {
        clause: "string_agg, array_agg, jsonb_agg, nth_value over windows",
        example: "SELECT truck, string_agg(distance::text, ',') OVER (PARTITION BY truck ORDER BY time) AS so_far, nth_value(fuel, 2) OVER (PARTITION BY truck ORDER BY time) AS second FROM readings",
        sentence: "All rows in order. Rows that the order does not tell apart stand in the order of the whole row.",
    },
    ViewClause {
        clause: "WITH (common table expressions), subqueries in FROM",
        example: "WITH fast AS (SELECT * FROM readings WHERE velocity > 80) SELECT truck, count(*) FROM fast GROUP BY truck",
        sentence: "What the query that they stand for keeps; once, where the same aggregates of it are read again.",
    },
    ViewClause {
        clause: "unnest, generate_series, jsonb_array_elements and their kin in FROM, LATERAL without tables",
        example: "SELECT truck, l.n FROM readings, LATERAL (SELECT unnest(generate_series(1, distance)) AS n) AS l",
        sentence: "Nothing.",
    },
    ViewClause {
        clause: "LATERAL with ORDER BY and LIMIT, over rows that are equal to the outer row in something",
        example: "SELECT t.driver, l.velocity FROM trucks t, LATERAL (SELECT velocity FROM readings r WHERE r.truck = t.truck ORDER BY time DESC LIMIT 1) AS l",
        sentence: "What ROW_NUMBER with a bound keeps, and what the join does.",
    },
    ViewClause {
        clause: "LATERAL without LIMIT; with aggregates over rows that are equal to the outer row in something",
        example: "SELECT t.driver, l.n FROM trucks t, LATERAL (SELECT count(*) AS n FROM readings r WHERE r.truck = t.truck) AS l",
        sentence: "As the join with its condition; with aggregates as LEFT JOIN with the groups.",
    },
    ViewClause {
        clause: "session_start, session_end, SESSION",
        example: "SELECT truck, session_start(time, INTERVAL '5 minutes') OVER (PARTITION BY truck ORDER BY time) AS window_start FROM readings",
        sentence: "All rows in order; a change reads the sessions that it touches.",
    },
    ViewClause {
        clause: "time_bucket, date_bin, TUMBLE, HOP",
        example: "SELECT time_bucket('1 hour', time) AS hour, count(*) FROM readings GROUP BY hour",
        sentence: "What the GROUP BY keeps, of HOP also for each slide; with EMIT ON WINDOW CLOSE, of windows that are open.",
    },
    ViewClause {
        clause: "Conditions with now() in WHERE and HAVING",
        example: "SELECT truck, count(*) FROM readings WHERE time > now() - INTERVAL '1 hour' GROUP BY truck HAVING max(time) < now() - INTERVAL '2 minutes'",
        sentence: "The rows that the bound has not reached, in the order of their times; a commit reads those that it reaches.",
    },
];

/// Refused with 0A000.
pub const REFUSED: &[ViewClause] = &[
    ViewClause {
        clause: "LIMIT without ORDER BY",
        example: "SELECT truck FROM readings LIMIT 3",
        sentence: "Say which rows by an ORDER BY.",
    },
    ViewClause {
        clause: "OFFSET without LIMIT",
        example: "SELECT truck FROM readings ORDER BY truck OFFSET 3",
        sentence: "Put it into the SELECT that reads the view.",
    },
    ViewClause {
        clause: "Scalar subqueries that do not aggregate and are tied to the outer row by other than equalities",
        example: "SELECT truck, (SELECT velocity FROM readings s WHERE s.time < r.time) AS velocity FROM readings r",
        sentence: "Aggregate the rows, or write a LEFT JOIN.",
    },
    ViewClause {
        clause: "Window frames of GROUPS",
        example: "SELECT truck, sum(fuel) OVER (ORDER BY time GROUPS 1 PRECEDING) AS n FROM readings",
        sentence: "Use ROWS or RANGE.",
    },
    ViewClause {
        clause: "approx_count_distinct of rows that may go again",
        example: "SELECT approx_count_distinct(n) FROM (SELECT truck, count(*) AS n FROM readings GROUP BY truck) s",
        sentence: "Use count(DISTINCT ...); over APPEND ONLY tables, without what replaces rows, it can be a view.",
    },
    ViewClause {
        clause: "Aggregates without a form that takes rows back (approx_distinct)",
        example: "SELECT truck, approx_distinct(velocity) FROM readings GROUP BY truck",
        sentence: "Compute them in the SELECT that reads a view of the rows.",
    },
    ViewClause {
        clause: "now() elsewhere, and its kin",
        example: "SELECT truck, now() - time AS age FROM readings",
        sentence: "Put what needs the time into the SELECT that reads the view.",
    },
    ViewClause {
        clause: "Volatile functions",
        example: "SELECT truck, random() AS r FROM readings",
        sentence: "Put the value into a column of the table.",
    },
    ViewClause {
        clause: "WITH RECURSIVE",
        example: "WITH RECURSIVE n AS (SELECT distance AS i FROM readings UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n",
        sentence: "The query works ad hoc.",
    },
];
