//! Against numbers known exactly, removal, and order.

use proptest::prelude::*;

use super::{Moments, Spread};

const VARIANCE: Spread = Spread { population: false, deviation: false };
const DEVIATION: Spread = Spread { population: false, deviation: true };
const POPULATION: Spread = Spread { population: true, deviation: false };

fn of(values: &[f64]) -> Moments {
    let mut moments = Moments::default();
    values.iter().for_each(|value| moments.add_float(*value, 1));
    moments
}

#[test]
fn known_values() {
    let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
    assert_eq!(of(&values).float(POPULATION), Some(4.0));
    assert_eq!(of(&values).float(VARIANCE), Some(32.0 / 7.0));
    assert_eq!(of(&values).float(Spread { population: true, deviation: true }), Some(2.0));
    assert_eq!(of(&[0.1, 0.1, 0.1]).float(VARIANCE), Some(0.0));
    // Python: statistics.variance([Fraction(x) for x in (0.1, 0.2, 0.4)]) and its root, rounded.
    assert_eq!(of(&[0.1, 0.2, 0.4]).float(VARIANCE), Some(0.023333333333333334));
    assert_eq!(of(&[0.1, 0.2, 0.4]).float(DEVIATION), Some(0.15275252316519466));
    assert_eq!(of(&[1e200, -1e200]).float(VARIANCE), None);
    assert_eq!(of(&[1e200, -1e200]).float(DEVIATION), Some(2_f64.sqrt() * 1e200));
    assert_eq!(of(&[5e-324, 0.0]).float(DEVIATION), Some(5e-324));
    assert!(of(&[1.0, f64::INFINITY]).float(VARIANCE).is_some_and(f64::is_nan));
}

/// The textbook's formula in floats loses all digits here.
#[test]
fn a_large_mean_costs_no_digits() {
    assert_eq!(of(&[1e15, 1e15 + 1.0, 1e15 + 2.0]).float(VARIANCE), Some(1.0));
}

#[test]
fn numerics_round_half_away() {
    let mut moments = Moments::default();
    [1, 2, 4].iter().for_each(|value| moments.add_integer(*value, 1));
    assert_eq!(moments.numeric(VARIANCE, 0, 16), Some(23_333_333_333_333_333));
    assert_eq!(moments.numeric(DEVIATION, 0, 16), Some(15_275_252_316_519_467));
    assert_eq!(moments.numeric(VARIANCE, 1, 2), Some(2), "of 0.1, 0.2 and 0.4");
    assert_eq!(moments.numeric(VARIANCE, 0, 0), Some(2));
    let mut large = Moments::default();
    [i128::from(i64::MAX), i128::from(i64::MIN)].iter().for_each(|value| large.add_integer(*value, 1));
    assert_eq!(large.numeric(VARIANCE, 0, 16), None);
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(f64::NAN), (-100..100_i32).prop_map(|value| f64::from(value) / 10.0)]
}

proptest! {
    #[test]
    fn what_was_added_can_be_removed_in_any_order(
        kept in prop::collection::vec(float(), 2..10),
        gone in prop::collection::vec(float(), 0..10),
    ) {
        let mut moments = of(&gone);
        let mut others = Moments::default();
        kept.iter().rev().for_each(|value| others.add_float(*value, 1));
        moments.merge(&others);
        gone.iter().for_each(|value| moments.add_float(*value, -1));
        let read = Moments::from_bytes(&moments.to_bytes()).unwrap();
        prop_assert_eq!(&read, &moments);
        let expected = of(&kept);
        for spread in [VARIANCE, DEVIATION, POPULATION] {
            let bits = |moments: &Moments| moments.float(spread).map(f64::to_bits);
            prop_assert_eq!(bits(&read), bits(&expected));
        }
    }

    #[test]
    fn floats_agree_with_numerics(values in prop::collection::vec(-1000..1000_i32, 2..20)) {
        let mut exact = Moments::default();
        values.iter().for_each(|value| exact.add_integer(i128::from(*value), 1));
        let floats: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
        for spread in [VARIANCE, DEVIATION, POPULATION] {
            let numeric = exact.numeric(spread, 0, 16).unwrap() as f64 / 1e16;
            let float = of(&floats).float(spread).unwrap();
            prop_assert!((numeric - float).abs() <= float.abs() * 1e-15 + 1e-16, "{} {}", numeric, float);
        }
    }
}
