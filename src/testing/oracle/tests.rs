//! The oracle itself, where it is not obvious.

use super::*;

fn float_rows(values: &[f64]) -> Vec<Row> {
    values.iter().map(|value| vec![Value::Float(*value)]).collect()
}

#[test]
fn float_sums_and_means_are_rounded_once() {
    let rows = float_rows(&[1e16, 1.0, -1e16]);
    assert_eq!(render(&group(&rows, &[], &[Call::Sum(0), Call::Avg(0)])), ["1.0 | 0.3333333333333333"]);
    assert_eq!(render(&group(&float_rows(&[0.1; 10]), &[], &[Call::Sum(0)])), ["1.0"]);
    assert_eq!(render(&group(&[], &[], &[Call::Sum(0), Call::CountAll])), ["NULL | 0"]);
}

#[test]
fn zeros_and_nans_are_one_group_each() {
    let rows = float_rows(&[-0.0, 0.0, f64::NAN, -f64::NAN]);
    assert_eq!(render(&group(&rows, &[0], &[Call::CountAll])), ["0.0 | 2", "NaN | 2"]);
    assert_eq!(join(&rows, &rows, &[(0, 0)]).len(), 8);
}

#[test]
fn averages_of_integers_round_half_away_from_zero() {
    let rows: Vec<Row> = [-1, -1, 0].iter().map(|value| vec![Value::Integer(*value)]).collect();
    assert_eq!(render(&group(&rows, &[], &[Call::Avg(0)])), ["-6666666666666667e-16"]);
}
