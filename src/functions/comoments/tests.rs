//! Against numbers worked out by hand, and PostgreSQL's answers.

use super::*;

fn of(pairs: &[(f64, f64)]) -> Comoments {
    let mut state = Comoments::default();
    pairs.iter().for_each(|(y, x)| state.add(*y, *x, 1));
    state
}

#[test]
fn known_values() {
    // PostgreSQL 15: SELECT corr(y, x), ... FROM (VALUES (1, 1), (3, 2), (2, 4)) v (y, x)
    let state = of(&[(1.0, 1.0), (3.0, 2.0), (2.0, 4.0)]);
    let value = |regression| state.value(regression).unwrap().unwrap();
    assert_eq!(value(Regression::CovarPop), 1.0 / 3.0);
    assert_eq!(value(Regression::CovarSamp), 0.5);
    assert_eq!(value(Regression::Corr), 0.3273268353539886);
    assert_eq!(value(Regression::Slope), 0.21428571428571427);
    assert_eq!(value(Regression::Intercept), 1.5);
    assert_eq!(value(Regression::R2), 0.10714285714285714);
    assert_eq!(value(Regression::AvgX), 7.0 / 3.0);
    assert_eq!(value(Regression::AvgY), 2.0);
    assert_eq!(value(Regression::Sxx), 14.0 / 3.0);
    assert_eq!(value(Regression::Syy), 2.0);
    assert_eq!(value(Regression::Sxy), 1.0);
}

#[test]
fn flat_lines_and_single_rows() {
    let flat = of(&[(1.0, 2.0), (1.0, 3.0)]);
    assert_eq!(flat.value(Regression::R2).unwrap(), Some(1.0));
    assert_eq!(flat.value(Regression::Corr).unwrap(), None);
    let steep = of(&[(1.0, 2.0), (5.0, 2.0)]);
    assert_eq!(steep.value(Regression::Slope).unwrap(), None);
    let one = of(&[(1.0, 2.0)]);
    assert_eq!(one.value(Regression::CovarSamp).unwrap(), None);
    assert_eq!(one.value(Regression::CovarPop).unwrap(), Some(0.0));
    assert_eq!(of(&[]).value(Regression::AvgX).unwrap(), None);
}

#[test]
fn what_is_removed_leaves_no_trace_and_order_plays_no_part() {
    let pairs = [(1e300, 1e-300), (-0.0, 5e-324), (0.1, -7.25), (1e16, 1.0), (f64::NAN, 1.0)];
    let mut state = of(&pairs);
    assert!(state.value(Regression::CovarPop).unwrap().unwrap().is_nan());
    state.add(f64::NAN, 1.0, -1);
    state.add(1e300, 1e-300, -1);
    let mut merged = of(&[pairs[3]]);
    merged.merge(&of(&[pairs[2], pairs[1]]));
    for (_, regression) in Regression::ALL {
        assert_eq!(state.value(regression).unwrap(), merged.value(regression).unwrap(), "{regression:?}");
    }
    assert_eq!(Comoments::from_bytes(&state.to_bytes()).unwrap(), state);
    assert!(Comoments::from_bytes(&state.to_bytes()[..9]).is_err());
}

#[test]
fn sums_that_cancel_do_not_lose_the_units_of_products() {
    // A row of x = 1 goes and another one comes, then one of x = 2, whose units are others.
    let mut change = Comoments::default();
    change.add(0.0, 1.0, -1);
    change.add(1.0, 1.0, 1);
    change.add(0.0, 2.0, 1);
    let mut sums = Comoments::default();
    sums.add(0.0, 1.0, 1);
    sums.merge(&change);
    let mut expected = Comoments::default();
    expected.add(1.0, 1.0, 1);
    expected.add(0.0, 2.0, 1);
    for (_, regression) in Regression::ALL {
        assert_eq!(sums.value(regression).unwrap(), expected.value(regression).unwrap(), "{regression:?}");
    }
    assert_eq!(sums.value(Regression::CovarPop).unwrap(), Some(-0.25));
}
