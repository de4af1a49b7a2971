//! Filters, and rows whose predicate cannot be evaluated.

use datafusion::logical_expr::{Expr, col, lit};

use crate::dataflow::tests::views::*;
use crate::testing::oracle::Row;

fn check(predicate: Expr, input: &[(i64, Row)], expected: &[&str], errors: &[&str]) {
    let mut stepper = Stepper::new(filter(source(READINGS, &readings_schema()), predicate));
    assert_eq!(stepper.step(READINGS, input), expected);
    assert_eq!(stepper.errors(), errors);
}

#[test]
fn weights_pass_through() {
    check(
        col("n").gt(lit(1_i64)),
        &[(1, reading(1, 0.5, 2)), (-3, reading(2, 0.5, 3)), (1, reading(3, 0.5, 1))],
        &["+1 | 1 | NULL | 0.5 | 2 | NULL", "-3 | 2 | NULL | 0.5 | 3 | NULL"],
        &[],
    );
}

#[test]
fn a_row_errs_by_itself_whatever_is_in_its_batch() {
    let predicate = || (lit(10_i64) / col("n")).gt(lit(1_i64));
    let expected = ["+1 | 1 | NULL | 0.5 | 2 | NULL", "+1 | 4 | NULL | 0.5 | 5 | NULL"];
    let input = [
        (1, reading(1, 0.5, 2)),
        (1, reading(2, 0.5, 0)),
        (1, reading(3, 0.5, 20)),
        (1, reading(4, 0.5, 5)),
        (2, reading(5, 0.5, 0)),
    ];
    let three = ["22012 division by zero"; 3];
    check(predicate(), &input, &expected, &three);
    // The guard decides by row, even in a batch where other rows reach the division.
    check(col("n").not_eq(lit(0_i64)).and(predicate()), &input, &expected, &[]);
}

#[test]
fn deleting_the_row_takes_its_error_away() {
    let predicate = (lit(10_i64) / col("n")).gt(lit(1_i64));
    let mut stepper = Stepper::new(filter(source(READINGS, &readings_schema()), predicate));
    stepper.step(READINGS, &[(1, reading(1, 0.5, 0)), (1, reading(2, 0.5, 0))]);
    assert_eq!(stepper.errors().len(), 2);
    let fixed = stepper.step(READINGS, &[(-1, reading(1, 0.5, 0)), (1, reading(1, 0.5, 1))]);
    assert_eq!(fixed, ["+1 | 1 | NULL | 0.5 | 1 | NULL"]);
    assert_eq!(stepper.errors().len(), 1);
    stepper.step(READINGS, &[(-1, reading(2, 0.5, 0))]);
    assert!(stepper.errors().is_empty());
}
