use super::*;
use crate::plan::plan_query;
use crate::plan::view::tests::{Fleet, parse, state};

/// The error as psql prints it, and a caret's position.
fn check(sql: &str, expected: &str) {
    let error = plan_query(&state(), &Fleet::new(), &parse(sql), sql)
        .and_then(|plan| Ok(state().optimize(&plan)?))
        .expect_err(sql);
    let hint = error.hint().map_or(String::new(), |hint| format!(" | {hint}"));
    let caret = error.position().map_or(String::new(), |position| {
        let rest: String = sql.chars().skip(position - 1).take_while(|c| c.is_alphanumeric() || *c == '.').collect();
        format!(" @ {rest}")
    });
    assert_eq!(format!("{} {}{caret}{hint}", error.state(), error.message()), expected, "{sql}");
}

#[test]
fn names_that_do_not_exist() {
    check(
        "SELECT truck, fule FROM readings",
        "42703 column \"fule\" does not exist @ fule | Perhaps you meant \"fuel\".",
    );
    check(
        "SELECT truck,\n  r.veloc\nFROM readings r",
        "42703 column r.veloc does not exist @ r.veloc | Perhaps you meant \"velocity\".",
    );
    check("SELECT x.truck FROM readings r", "42P01 missing FROM-clause entry for table \"x\" @ x.truck");
    check("SELECT \"Truck\" FROM readings", "42703 column \"Truck\" does not exist @  | Perhaps you meant \"truck\".");
    check(
        "SELECT 1 FROM reading",
        "42P01 relation \"reading\" does not exist @ reading | Perhaps you meant \"readings\".",
    );
    check("SELECT truck FROM readings JOIN trucks ON true", "42702 column reference \"truck\" is ambiguous @ truck");
    check(
        "SELECT zzz(truck) FROM readings",
        "42883 function zzz does not exist @ zzz | No function of this name exists. Check its spelling, or add explicit type casts.",
    );
}

#[test]
fn groups_and_types() {
    check(
        "SELECT truck, velocity FROM readings GROUP BY truck",
        "42803 column \"readings.velocity\" must appear in the GROUP BY clause or be used in an aggregate function @ velocity",
    );
    check(
        "SELECT sum(truck) FROM readings",
        "42883 function sum(text) does not exist | No function matches the given name and argument types. You might need to add explicit type casts.",
    );
    check("SELECT truck + 1 FROM readings", "42883 operator does not exist: text + integer @ truck");
    check(
        "SELECT CAST(truck AS json) FROM readings",
        "0A000 type json is not supported yet | Use text, timestamp for a time of day, or jsonb for JSON.",
    );
}

#[test]
fn a_text_that_cannot_be_read_is_shown_where_it_is_written_once() {
    let position = |sql: &str, state, message: &str| at_literal(Error::new(state, message), sql).position();
    let text = SqlState::INVALID_TEXT_REPRESENTATION;
    assert_eq!(position("SELECT 'x'::int", text, "invalid input syntax for type integer: \"x\""), Some(8));
    assert_eq!(position("SELECT 'x'::int, 'x'", text, "invalid input syntax for type integer: \"x\""), None);
    assert_eq!(position("SELECT 'it''s'::int", text, "invalid input syntax for type integer: \"it's\""), Some(8));
    assert_eq!(position("SELECT 1", SqlState::NUMERIC_OUT_OF_RANGE, "integer out of range"), None);
}
