//! What becomes of a text.

use super::*;

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// `readings (device, temp, note)` has lost `note` and got a column of that name, and `temp` is `temperature`.
fn check(sql: &str, expected: &str) {
    let renamed = Renamed {
        former: "readings",
        present: "readings",
        former_columns: &owned(&["device", "temp", "note"]),
        present_columns: &owned(&["device", "temperature", "note"]),
        moved: &[Some(0), Some(1), None],
    };
    assert_eq!(renamed.in_query(sql).unwrap(), expected);
}

#[test]
fn columns_are_listed_where_a_renamed_one_may_be_named() {
    check("SELECT device FROM readings", "SELECT device FROM readings");
    check(
        "SELECT Temp FROM public.readings AS r",
        "SELECT Temp FROM public.readings AS r (\"device\", \"temp\", \"note\")",
    );
    check(
        "SELECT d.temperature FROM devices d, readings",
        "SELECT d.temperature FROM devices d, readings AS \"readings\" (\"device\", \"temp\", \"note\")",
    );
    check(
        "SELECT 1 FROM readings NATURAL JOIN other.readings",
        "SELECT 1 FROM readings AS \"readings\" (\"device\", \"temp\", \"note\") NATURAL JOIN other.readings",
    );
    check(
        "SELECT * FROM TUMBLE(readings, time, INTERVAL '1 minute') AS t WHERE temp > 1",
        "SELECT * FROM (SELECT *, tumble_start(time, INTERVAL '1 minute') AS window_start, \
         window_end(tumble_start(time, INTERVAL '1 minute'), INTERVAL '1 minute') AS window_end \
         FROM readings AS \"readings\" (\"device\", \"temp\", \"note\")) AS t WHERE temp > 1",
    );
}

#[test]
fn a_list_follows_the_columns() {
    check(
        "SELECT a FROM readings AS r (a, b, note)",
        "SELECT a FROM readings AS r (\"a\", \"b\", \"note\")".replace('"', "").as_str(),
    );
    check("SELECT a FROM readings AS r (a, b, c)", "SELECT a FROM readings AS r (\"a\", \"b\", \"note\")");
    check("SELECT a FROM readings AS r (note, b, c)", "SELECT a FROM readings AS r (\"note\", \"b\", \"note_1\")");
}

#[test]
fn a_name_that_means_something_else_is_refused() {
    let (former, present) = (owned(&["device"]), owned(&["truck"]));
    let renamed = Renamed {
        former: "readings",
        present: "measurements",
        former_columns: &former,
        present_columns: &present,
        moved: &[Some(0)],
    };
    let error = renamed.in_query("WITH readings AS (SELECT 1 AS device) SELECT device FROM readings").unwrap_err();
    assert_eq!(error.message(), "a WITH query of the same name is not supported yet");
    assert_eq!(
        renamed.in_query("SELECT device FROM readings JOIN (SELECT 1) s ON true").unwrap(),
        "SELECT device FROM \"measurements\" AS \"readings\" (\"device\") JOIN (SELECT 1) s ON true"
    );
}
