//! Left joins: rows that begin and cease to match, NULL keys, residuals that decide, err, and change on both sides.

use datafusion::logical_expr::{Expr, col, lit};

use crate::dataflow::operators::BATCH_ROWS;
use crate::dataflow::tests::views::*;
use crate::testing::oracle::{Row, Value};
use crate::types::RelationId;

fn join_of(filter: Option<Expr>) -> Stepper {
    let (left, right) = (source(READINGS, &readings_schema()), source(DEVICES, &devices_schema()));
    let joined = left_join(left, right, vec![(col("device"), col("id"))], filter);
    Stepper::new(project(joined, vec![col("device"), col("n"), col("name")]))
}

/// The side that changes, how, and the rows emitted.
type Step<'a> = (RelationId, &'a [(i64, Row)], &'a [&'a str]);

fn check(filter: Option<Expr>, steps: &[Step<'_>]) {
    let mut stepper = join_of(filter);
    for (number, (table, changes, expected)) in steps.iter().enumerate() {
        assert_eq!(stepper.step(*table, changes), *expected, "step {number}");
    }
}

fn device(id: i64, name: &str) -> Row {
    vec![Value::Integer(id), Value::Text(name.to_string())]
}

#[test]
fn a_left_row_is_padded_while_it_matches_nothing() {
    check(
        None,
        &[
            (READINGS, &[(2, reading(1, 0.5, 7))], &["+2 | 1 | 7 | NULL"]),
            (DEVICES, &[(1, device(1, "a"))], &["+2 | 1 | 7 | 'a'", "-2 | 1 | 7 | NULL"]),
            (DEVICES, &[(1, device(1, "b"))], &["+2 | 1 | 7 | 'b'"]),
            (READINGS, &[(1, reading(1, 0.5, 8))], &["+1 | 1 | 8 | 'a'", "+1 | 1 | 8 | 'b'"]),
            (
                DEVICES,
                &[(-1, device(1, "a")), (-1, device(1, "b"))],
                &[
                    "+1 | 1 | 8 | NULL",
                    "+2 | 1 | 7 | NULL",
                    "-1 | 1 | 8 | 'a'",
                    "-1 | 1 | 8 | 'b'",
                    "-2 | 1 | 7 | 'a'",
                    "-2 | 1 | 7 | 'b'",
                ],
            ),
            (READINGS, &[(-2, reading(1, 0.5, 7))], &["-2 | 1 | 7 | NULL"]),
        ],
    );
}

#[test]
fn a_replaced_match_pads_nothing() {
    check(
        None,
        &[
            (DEVICES, &[(1, device(1, "a"))], &[]),
            (READINGS, &[(1, reading(1, 0.5, 7))], &["+1 | 1 | 7 | 'a'"]),
            (DEVICES, &[(-1, device(1, "a")), (1, device(1, "b"))], &["+1 | 1 | 7 | 'b'", "-1 | 1 | 7 | 'a'"]),
        ],
    );
}

#[test]
fn a_null_key_matches_nothing() {
    let nobody = vec![Value::Null, Value::Null, Value::Null, Value::Integer(1), Value::Null];
    let no_id = vec![Value::Null, Value::Text("a".to_string())];
    check(
        None,
        &[
            (DEVICES, &[(1, no_id)], &[]),
            (READINGS, &[(1, nobody.clone())], &["+1 | NULL | 1 | NULL"]),
            (READINGS, &[(-1, nobody)], &["-1 | NULL | 1 | NULL"]),
        ],
    );
}

#[test]
fn the_residual_decides_pair_by_pair() {
    check(
        Some(col("n").gt(lit(5_i64)).and(col("name").not_eq(lit("spare")))),
        &[
            (
                READINGS,
                &[(1, reading(1, 0.5, 4)), (1, reading(1, 0.5, 6))],
                &["+1 | 1 | 4 | NULL", "+1 | 1 | 6 | NULL"],
            ),
            (DEVICES, &[(1, device(1, "spare"))], &[]),
            (DEVICES, &[(1, device(1, "a"))], &["+1 | 1 | 6 | 'a'", "-1 | 1 | 6 | NULL"]),
            (DEVICES, &[(1, device(1, "b"))], &["+1 | 1 | 6 | 'b'"]),
            (READINGS, &[(1, reading(1, 0.5, 6))], &["+1 | 1 | 6 | 'a'", "+1 | 1 | 6 | 'b'"]),
            (DEVICES, &[(-1, device(1, "a"))], &["-2 | 1 | 6 | 'a'"]),
            (DEVICES, &[(-1, device(1, "b"))], &["+2 | 1 | 6 | NULL", "-2 | 1 | 6 | 'b'"]),
            (READINGS, &[(-2, reading(1, 0.5, 6))], &["-2 | 1 | 6 | NULL"]),
        ],
    );
}

#[test]
fn a_pair_that_errs_is_no_match_and_heals() {
    let mut stepper = join_of(Some((lit(8_i64) / col("n")).gt(lit(1_i64))));
    stepper.step(DEVICES, &[(1, device(1, "a"))]);
    let lines = stepper.step(READINGS, &[(1, reading(1, 0.5, 0)), (1, reading(1, 0.5, 2))]);
    assert_eq!(lines, ["+1 | 1 | 0 | NULL", "+1 | 1 | 2 | 'a'"]);
    assert_eq!(stepper.errors(), ["22012 division by zero"]);
    stepper.step(READINGS, &[(-1, reading(1, 0.5, 0))]);
    assert!(stepper.errors().is_empty());
}

#[test]
fn many_rows_come_in_batches() {
    for filter in [None, Some(col("n").gt_eq(lit(0_i64)))] {
        let mut stepper = join_of(filter);
        let count = BATCH_ROWS + 10;
        let rows: Vec<(i64, Row)> = (0..count as i64).map(|n| (1, reading(1, 0.5, n))).collect();
        assert_eq!(stepper.step(READINGS, &rows).len(), count);
        assert_eq!(stepper.step(DEVICES, &[(1, device(1, "a"))]).len(), 2 * count);
        assert_eq!(stepper.step(DEVICES, &[(1, device(1, "b"))]).len(), count);
    }
}
