use crate::plan::ViewPlan;
use crate::plan::view::plan_view;
use crate::plan::view::tests::{Fleet, parse, state};

fn plan(sql: &str) -> ViewPlan {
    plan_view(&state(), &Fleet::new(), &parse(sql), sql, None).unwrap()
}

fn repeats(sql: &str) -> Vec<String> {
    let explained = plan(sql).explain();
    explained.lines().filter_map(|line| Some(line.trim().strip_prefix("Repeat: ")?.to_owned())).collect()
}

#[test]
fn a_with_that_is_read_twice_runs_once() {
    let sql = "WITH counts AS (SELECT truck, count(*) AS n FROM readings GROUP BY truck)
        SELECT c.truck, c.n FROM counts c JOIN (SELECT count(n) AS trucks FROM counts) m ON c.n = m.trucks";
    let plan = plan(sql);
    let explained = plan.explain();
    assert_eq!(explained.matches("Source: readings").count(), 1, "{explained}");
    assert_eq!(explained.matches("Repeat: ").count(), 1, "{explained}");
    assert_eq!(plan.columns_read().len(), 1, "the source of a repeat is not read");
}

#[test]
fn names_do_not_matter() {
    let sql = "SELECT a.truck FROM (SELECT truck, count(*) AS n FROM readings r GROUP BY truck) a
        JOIN (SELECT s.truck AS t, count(*) AS m FROM readings s GROUP BY s.truck) b ON a.n = b.m";
    assert_eq!(repeats(sql).len(), 1);
}

#[test]
fn what_differs_in_anything_else_runs_by_itself() {
    for (one, other) in [
        ("count(*) AS n FROM readings", "count(fuel) AS n FROM readings"),
        ("count(*) AS n FROM readings", "count(*) AS n FROM trucks"),
        ("max(fuel) AS n FROM readings", "max(velocity) AS n FROM readings"),
        ("count(*) AS n FROM readings WHERE distance > 1", "count(*) AS n FROM readings WHERE distance > 2"),
        ("count(*) FILTER (WHERE distance > 1) AS n FROM readings", "count(*) AS n FROM readings"),
    ] {
        let sql = format!(
            "SELECT a.truck FROM (SELECT truck, {one} GROUP BY truck) a JOIN (SELECT truck, {other} GROUP BY truck) b
             ON a.n = b.n"
        );
        assert_eq!(repeats(&sql), Vec::<String>::new(), "{one}, {other}");
    }
}

#[test]
fn rows_as_they_are_in_a_table_are_not_kept_for_a_second_reader() {
    assert!(repeats("SELECT a.truck FROM trucks a JOIN trucks b ON a.driver = b.driver").is_empty());
    let filtered = "SELECT a.truck FROM (SELECT * FROM trucks WHERE capacity > 5) a
        JOIN (SELECT * FROM trucks WHERE capacity > 5) b ON a.driver = b.driver";
    assert!(repeats(filtered).is_empty());
}

#[test]
fn the_largest_part_is_the_one_that_is_repeated() {
    let sql = "WITH sites AS (SELECT t.driver, max(r.fuel) AS most FROM readings r JOIN trucks t ON r.truck = t.truck
        GROUP BY t.driver) SELECT a.driver FROM sites a JOIN sites b ON a.most < b.most JOIN sites c ON b.most < c.most";
    let explained = plan(sql).explain();
    assert_eq!(explained.matches("Repeat: ").count(), 2, "{explained}");
    assert_eq!(explained.matches("Source: trucks").count(), 1, "{explained}");
}

#[test]
fn a_stored_plan_has_its_repeats() {
    let plan = plan(
        "WITH counts AS (SELECT truck, count(*) AS n FROM readings GROUP BY truck)
         SELECT a.truck FROM counts a JOIN counts b ON a.n < b.n",
    );
    let read = ViewPlan::from_bytes(&plan.to_bytes().unwrap(), &state()).unwrap();
    assert_eq!(read, plan);
    assert!(read.explain().contains("Repeat: "));
}

#[test]
fn every_join_has_a_form() {
    for condition in [
        "truck IN (SELECT truck FROM trucks)",
        "truck IN (SELECT truck FROM trucks) OR fuel > 1",
        "NOT EXISTS (SELECT 1 FROM trucks t WHERE t.truck = readings.truck AND t.capacity > distance)",
        "distance = ALL (SELECT capacity FROM trucks WHERE capacity < 2)",
    ] {
        let sql = format!(
            "WITH fast AS (SELECT truck, count(*) AS n FROM readings WHERE {condition} GROUP BY truck)
             SELECT a.truck FROM fast a JOIN fast b ON a.n < b.n"
        );
        assert_eq!(repeats(&sql).len(), 1, "{condition}");
    }
}

#[test]
fn what_is_written_out_is_not_repeated() {
    assert!(repeats("SELECT n FROM (VALUES (1), (2), (3)) AS v(n)").is_empty());
}
