use super::only_improves;
use crate::plan::Node;
use crate::plan::view::plan_view;
use crate::plan::view::tests::{Fleet, parse, state};
use crate::types::RelationId;

/// Whether the first rows of the query only improve; `readings` is APPEND ONLY, `trucks` is not.
fn improves(sql: &str) -> bool {
    fn first(node: &Node) -> Option<&Node> {
        match node {
            Node::Top { .. } => Some(node),
            _ => node.inputs().into_iter().find_map(first),
        }
    }
    let plan = plan_view(&state(), &Fleet::new(), &parse(sql), sql, None).unwrap();
    let top = first(&plan.root).unwrap_or_else(|| panic!("{}", plan.explain()));
    only_improves(top, &|relation| relation == RelationId(20000))
}

fn ranked(rows: &str, over: &str) -> bool {
    improves(&format!(
        "SELECT * FROM (SELECT *, rank() OVER ({over}) AS place FROM ({rows}) AS c) AS s WHERE place <= 2"
    ))
}

const COUNTS: &str = "SELECT truck, distance, count(*) AS n, count(fuel) AS f, max(total) AS most, min(total) AS least, \
     sum(total) AS s, max(velocity) AS fast FROM readings GROUP BY truck, distance";

#[test]
fn counts_and_extremes_of_rows_that_only_come_improve() {
    for over in [
        "PARTITION BY truck ORDER BY n DESC",
        "ORDER BY f DESC",
        "PARTITION BY distance + 1 ORDER BY most DESC NULLS LAST",
        "PARTITION BY truck ORDER BY least",
        "ORDER BY fast DESC NULLS LAST",
    ] {
        assert!(ranked(COUNTS, over), "{over}");
    }
    let of_counts =
        format!("SELECT truck, max(n) AS most, min(least) AS least, count(*) AS m FROM ({COUNTS}) c GROUP BY truck");
    assert!(ranked(&of_counts, "ORDER BY most DESC NULLS LAST"));
    assert!(ranked(&of_counts, "ORDER BY least"));
    assert!(ranked(&of_counts, "ORDER BY m DESC"));
    let some = format!("SELECT truck, most FROM ({COUNTS}) c WHERE distance > 3 AND most IS NOT NULL");
    assert!(ranked(&some, "ORDER BY most DESC NULLS LAST"));
    let windows = "SELECT truck, w, count(*) AS n FROM (SELECT truck, \
         unnest(hop_starts(time, INTERVAL '2 minutes', INTERVAL '6 minutes')) AS w FROM readings) GROUP BY truck, w";
    assert!(ranked(windows, "PARTITION BY w ORDER BY n DESC"));
}

#[test]
fn what_may_get_worse_does_not() {
    for over in [
        // Falls, or changes to anything.
        "PARTITION BY truck ORDER BY n",
        "PARTITION BY truck ORDER BY most NULLS LAST",
        "PARTITION BY truck ORDER BY least DESC NULLS LAST",
        "PARTITION BY truck ORDER BY s DESC NULLS LAST",
        "PARTITION BY truck ORDER BY n - 5 DESC",
        // A value comes where there was none, which was first.
        "PARTITION BY truck ORDER BY most DESC",
        // The partition changes, or what stands before the count.
        "PARTITION BY f ORDER BY n DESC",
        "ORDER BY n DESC, f DESC",
    ] {
        assert!(!ranked(COUNTS, over), "{over}");
    }
    let by_n = "PARTITION BY truck ORDER BY n DESC";
    for rows in [
        // Rows go, when a count rises or a truck is deleted, or move to another group.
        format!("SELECT * FROM ({COUNTS}) c WHERE n < 5"),
        "SELECT truck, driver, count(*) AS n FROM trucks GROUP BY truck, driver".to_owned(),
        format!("SELECT n AS truck, count(*) AS n FROM ({COUNTS}) c GROUP BY n"),
        format!("SELECT c.truck, c.n FROM ({COUNTS}) c JOIN trucks t ON c.truck = t.truck"),
        format!("SELECT truck, count(most) AS n FROM ({COUNTS}) c GROUP BY truck"),
    ] {
        assert!(!ranked(&rows, by_n), "{rows}");
    }
    // The greatest of sums, which may fall, and the least of counts, which rise.
    let extremes = format!("SELECT truck, max(s) AS most, min(n) AS least FROM ({COUNTS}) c GROUP BY truck");
    assert!(!ranked(&extremes, "ORDER BY most DESC NULLS LAST"));
    assert!(!ranked(&extremes, "ORDER BY least"));
    let top = |function: &str| {
        format!(
            "SELECT * FROM (SELECT *, {function}() OVER ({by_n}) AS place FROM ({COUNTS}) AS c) AS s WHERE place <= 2"
        )
    };
    assert!(!improves(&top("row_number")), "what decides between equal counts may change");
    assert!(!improves(&top("dense_rank")), "two counts become one");
}
