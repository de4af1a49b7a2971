//! Projections.

use datafusion::logical_expr::{Expr, col, lit};

use crate::dataflow::tests::views::*;
use crate::testing::oracle::Row;

fn check(expressions: Vec<Expr>, input: &[(i64, Row)], expected: &[&str], errors: &[&str]) {
    let mut stepper = Stepper::new(project(source(READINGS, &readings_schema()), expressions));
    assert_eq!(stepper.step(READINGS, input), expected);
    assert_eq!(stepper.errors(), errors);
}

#[test]
fn one_row_for_each_row() {
    let input = [(1, reading(1, 0.5, 2)), (-1, reading(2, 1.5, 3))];
    check(vec![col("n") + lit(1_i64), lit("k")], &input, &["+1 | 3 | 'k'", "-1 | 4 | 'k'"], &[]);
}

#[test]
fn a_row_is_out_if_one_of_its_columns_errs() {
    let input = [(1, reading(1, 0.5, 2)), (1, reading(2, 1.5, 0))];
    check(vec![col("device"), lit(4_i64) / col("n")], &input, &["+1 | 1 | 2"], &["22012 division by zero"]);
}
