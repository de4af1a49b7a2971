use crate::plan::plan_query;
use crate::plan::view::tests::{Fleet, parse, state};

/// The output columns' names, and that the plan can be optimized.
fn check(sql: &str, expected: &str) {
    let plan = plan_query(&state(), &Fleet::new(), &parse(sql), sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let optimized = state().optimize(&plan).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let names = |plan: &datafusion::logical_expr::LogicalPlan| {
        plan.schema().fields().iter().map(|field| field.name().to_string()).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(names(&plan), expected, "{sql}");
    assert_eq!(names(&optimized), expected, "{sql}");
}

#[test]
fn computed_columns() {
    check("SELECT count(*), sum(distance) FROM readings", "count, sum");
    check("SELECT distance + 1, upper(truck), CASE WHEN true THEN 1 END FROM readings", "?column?, upper, case");
    check("SELECT distance::int8, '1'::int, TIMESTAMP '2024-01-01' FROM readings", "distance, int4, timestamp");
    check("SELECT n FROM (SELECT count(*) AS n FROM readings) AS c", "n");
    check("SELECT count FROM (SELECT count(*) FROM readings) AS c", "count");
    check("WITH c AS (SELECT max(fuel) FROM readings) SELECT max + 1 FROM c", "?column?");
}

#[test]
fn the_same_name_twice() {
    check("SELECT sum(distance), sum(total) FROM readings", "sum, sum");
    check("SELECT truck, truck FROM readings", "truck, truck");
    check("SELECT 1, 2", "?column?, ?column?");
    check("SELECT r.truck, t.truck FROM readings r JOIN trucks t ON r.truck = t.truck", "truck, truck");
    check("SELECT *, truck FROM trucks", "truck, driver, capacity, truck");
    check("SELECT *, capacity::int8 FROM trucks", "truck, driver, capacity, capacity");
    check("SELECT distance AS x, total AS x FROM readings ORDER BY 1", "x, x");
    check("SELECT 1, 2 UNION ALL SELECT 3, 4", "?column?, ?column?");
}

#[test]
fn ordering_and_grouping_by_what_got_a_name() {
    check("SELECT count(*) FROM readings GROUP BY truck ORDER BY count(*) DESC", "count");
    check("SELECT upper(truck), count(*) FROM readings GROUP BY upper(truck) ORDER BY upper(truck)", "upper, count");
    check("SELECT DISTINCT upper(truck) FROM readings ORDER BY upper(truck)", "upper");
    check("SELECT truck FROM readings GROUP BY 1 HAVING count(*) > 1", "truck");
    check("SELECT sum(distance), sum(total) FROM readings GROUP BY truck ORDER BY sum(total)", "sum, sum");
}
