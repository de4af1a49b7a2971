//! Values appear once, however many rows have them, and go with the last one.

use datafusion::logical_expr::col;

use crate::dataflow::tests::views::*;

#[test]
fn a_value_comes_with_its_first_row_and_goes_with_its_last() {
    let below = project(source(READINGS, &readings_schema()), vec![col("device"), col("x"), col("n")]);
    let mut stepper = Stepper::new(distinct_values(below, 1, 2));
    let row = |n: i64| reading(1, 0.5, n);
    assert_eq!(
        stepper.step(READINGS, &[(1, row(7)), (1, row(7)), (1, row(8))]),
        ["+1 | 1 | 0.5 | NULL", "+1 | 1 | 0.5 | NULL", "+1 | 1 | 0.5 | NULL", "+1 | 1 | NULL | 7", "+1 | 1 | NULL | 8"]
    );
    assert_eq!(stepper.step(READINGS, &[(-1, row(7))]), ["-1 | 1 | 0.5 | NULL"]);
    assert_eq!(
        stepper.step(READINGS, &[(-1, row(7)), (1, row(9)), (-1, row(9))]),
        ["+1 | 1 | 0.5 | NULL", "-1 | 1 | 0.5 | NULL", "-1 | 1 | 0.5 | NULL", "-1 | 1 | NULL | 7"]
    );
}

#[test]
fn two_zeros_are_one_value() {
    let below = project(source(READINGS, &readings_schema()), vec![col("device"), col("x")]);
    let mut stepper = Stepper::new(distinct_values(below, 1, 1));
    assert_eq!(
        stepper.step(READINGS, &[(1, reading(1, 0.0, 1)), (1, reading(1, -0.0, 1))]),
        ["+1 | 1 | 0.0", "+1 | 1 | NULL", "+1 | 1 | NULL"]
    );
    assert_eq!(stepper.step(READINGS, &[(-1, reading(1, 0.0, 1))]), ["-1 | 1 | NULL"]);
}
