//! Aggregates: what is emitted, and groups that cannot be computed.

use datafusion::logical_expr::{Expr, col};

use crate::dataflow::tests::views::*;
use crate::plan::AggregateFunction::{self, Avg, CountAll, Max, Min, Sum};
use crate::testing::oracle::Row;

fn check(group: Vec<Expr>, calls: Vec<(AggregateFunction, Vec<Expr>)>, steps: &[(&[(i64, Row)], &[&str], &[&str])]) {
    let mut stepper = Stepper::new(aggregate(source(READINGS, &readings_schema()), group, calls));
    for (changes, expected, errors) in steps {
        assert_eq!(stepper.step(READINGS, changes), *expected);
        assert_eq!(stepper.errors(), *errors);
    }
}

#[test]
fn a_group_is_emitted_once_per_step_and_only_if_it_changed() {
    check(
        vec![col("device")],
        vec![(Max, vec![col("n")])],
        &[
            (
                &[(1, reading(1, 0.5, 3)), (1, reading(1, 0.5, 4)), (1, reading(2, 0.5, 1))],
                &["+1 | 1 | 4", "+1 | 2 | 1"],
                &[],
            ),
            (&[(1, reading(1, 0.5, 2))], &[], &[]),
            (&[(-1, reading(1, 0.5, 4)), (-1, reading(2, 0.5, 1))], &["+1 | 1 | 3", "-1 | 1 | 4", "-1 | 2 | 1"], &[]),
        ],
    );
}

#[test]
fn one_row_over_nothing() {
    check(
        vec![],
        vec![(CountAll, vec![]), (Min, vec![col("n")])],
        &[
            (&[], &["+1 | 0 | NULL"], &[]),
            (&[(1, reading(1, 0.5, 3))], &["+1 | 1 | 3", "-1 | 0 | NULL"], &[]),
            (&[(-1, reading(1, 0.5, 3))], &["+1 | 0 | NULL", "-1 | 1 | 3"], &[]),
        ],
    );
}

#[test]
fn overflow_is_an_error_of_its_group_and_heals() {
    let huge = 1.0e308;
    let value_out_of_range = ["22003 value out of range"];
    check(
        vec![col("device")],
        vec![(Sum, vec![col("x")])],
        &[
            (&[(1, reading(1, huge, 1)), (1, reading(2, 1.0, 1))], &["+1 | 1 | 1e308", "+1 | 2 | 1.0"], &[]),
            (&[(1, reading(1, huge, 1))], &["-1 | 1 | 1e308"], &value_out_of_range),
            (&[(1, reading(1, 1.0, 1))], &[], &value_out_of_range),
            (&[(-1, reading(1, huge, 1))], &["+1 | 1 | 1e308"], &[]),
        ],
    );
}

#[test]
fn averages_are_exact() {
    check(
        vec![],
        vec![(Avg, vec![col("x")]), (Avg, vec![col("n")])],
        &[(
            &[(1, reading(1, 1e16, 1)), (1, reading(1, 1.0, 1)), (1, reading(1, -1e16, 2))],
            &["+1 | 0.3333333333333333 | 13333333333333333e-16"],
            &[],
        )],
    );
}
