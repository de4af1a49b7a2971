//! Joins: both sides changing, weights, NULL keys, matches past one batch.

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, cast, col};

use crate::dataflow::operators::BATCH_ROWS;
use crate::dataflow::tests::views::*;
use crate::testing::oracle::{Row, Value};
use crate::types::RelationId;

fn join_of(filter: Option<Expr>) -> Stepper {
    let (left, right) = (source(READINGS, &readings_schema()), source(DEVICES, &devices_schema()));
    let joined = join(left, right, vec![(col("device"), col("id"))], filter);
    Stepper::new(project(joined, vec![col("device"), col("n"), col("name")]))
}

/// The side that changes, how, and the rows emitted.
type Step<'a> = (RelationId, &'a [(i64, Row)], &'a [&'a str]);

fn check(filter: Option<Expr>, steps: &[Step<'_>]) {
    let mut stepper = join_of(filter);
    for (table, changes, expected) in steps {
        assert_eq!(stepper.step(*table, changes), *expected);
    }
}

fn device(id: i64, name: &str) -> Row {
    vec![Value::Integer(id), Value::Text(name.to_string())]
}

#[test]
fn each_side_meets_what_the_other_has() {
    check(
        None,
        &[
            (READINGS, &[(1, reading(1, 0.5, 7)), (2, reading(1, 0.5, 8))], &[]),
            (DEVICES, &[(1, device(1, "a"))], &["+1 | 1 | 7 | 'a'", "+2 | 1 | 8 | 'a'"]),
            (
                DEVICES,
                &[(-1, device(1, "a")), (1, device(1, "b"))],
                &["+1 | 1 | 7 | 'b'", "+2 | 1 | 8 | 'b'", "-1 | 1 | 7 | 'a'", "-2 | 1 | 8 | 'a'"],
            ),
            (READINGS, &[(-1, reading(1, 0.5, 7))], &["-1 | 1 | 7 | 'b'"]),
        ],
    );
}

#[test]
fn null_matches_nothing_and_the_residual_decides_the_rest() {
    let null = vec![Value::Null, Value::Text("a".to_string())];
    let nobody = vec![Value::Null, Value::Null, Value::Null, Value::Integer(1), Value::Null];
    check(
        Some(col("n").gt(cast(col("id"), DataType::Int64))),
        &[
            (DEVICES, &[(1, null), (1, device(5, "five"))], &[]),
            (READINGS, &[(1, nobody), (1, reading(5, 0.5, 5)), (1, reading(5, 0.5, 6))], &["+1 | 5 | 6 | 'five'"]),
        ],
    );
}

#[test]
fn many_matches_come_in_batches() {
    let mut stepper = join_of(None);
    let rows: Vec<(i64, Row)> = (0..BATCH_ROWS as i64 + 10).map(|n| (1, reading(1, 0.5, n))).collect();
    stepper.step(READINGS, &rows);
    assert_eq!(stepper.step(DEVICES, &[(1, device(1, "a"))]).len(), BATCH_ROWS + 10);
}
