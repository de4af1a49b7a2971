//! Exact float sums against big integers.

use num_bigint::BigInt;
use proptest::prelude::*;

use super::*;

/// value * 2^1074, exactly.
fn big(value: f64) -> BigInt {
    let bits = value.to_bits();
    let field = (bits >> 52) & 0x7ff;
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, shift) = if field == 0 { (fraction, 0) } else { (fraction | (1 << 52), field - 1) };
    let magnitude = BigInt::from(mantissa) << shift;
    if value.is_sign_negative() { -magnitude } else { magnitude }
}

/// |numerator / denominator - candidate| in units of 2^-1074 / denominator.
fn distance(numerator: &BigInt, denominator: u64, candidate: f64) -> BigInt {
    let difference = numerator - big(candidate) * BigInt::from(denominator);
    if difference < BigInt::from(0) { -difference } else { difference }
}

fn is_nearest(numerator: &BigInt, denominator: u64, found: f64) -> bool {
    let error = distance(numerator, denominator, found);
    [found.next_up(), found.next_down()].iter().filter(|near| near.is_finite()).all(|near| {
        let other = distance(numerator, denominator, *near);
        error < other || (error == other && found.to_bits() & 1 == 0)
    })
}

fn sum_of(values: &[f64]) -> ExactSum {
    let mut sum = ExactSum::new();
    values.iter().for_each(|value| sum.add(*value, 1));
    sum
}

#[test]
fn sums_that_a_running_f64_gets_wrong() {
    assert_eq!(sum_of(&[1e16, 1.0, -1e16]).sum(), Some(1.0));
    assert_eq!(sum_of(&[0.1; 10]).sum(), Some(1.0));
    assert_eq!(sum_of(&[f64::MAX, f64::MAX, -f64::MAX]).sum(), Some(f64::MAX));
    assert_eq!(sum_of(&[f64::MAX, 5e-324, -f64::MAX]).sum(), Some(5e-324));
    assert_eq!(sum_of(&[f64::MAX, f64::MAX]).sum(), None);
    assert_eq!(sum_of(&[f64::MAX, f64::MAX]).mean(2), Some(f64::MAX));
    assert_eq!(sum_of(&[-0.0]).sum().map(f64::to_bits), Some(0));
    assert_eq!(ExactSum::new().mean(0), None);
}

#[test]
fn infinities_and_nan_come_and_go() {
    let mut sum = sum_of(&[1.5, f64::INFINITY]);
    assert_eq!(sum.sum(), Some(f64::INFINITY));
    sum.add(f64::NEG_INFINITY, 1);
    assert!(sum.sum().is_some_and(f64::is_nan));
    sum.add(f64::INFINITY, -1);
    assert_eq!(sum.sum(), Some(f64::NEG_INFINITY));
    sum.add(f64::NAN, 1);
    assert!(sum.mean(3).is_some_and(f64::is_nan));
    sum.add(f64::NAN, -1);
    sum.add(f64::NEG_INFINITY, -1);
    assert_eq!(sum, sum_of(&[1.5]));
}

#[test]
fn real_is_rounded_once() {
    // 1 + 2^-24 is a tie in f32; 2^-60 decides it, and would be lost by rounding to f64 first.
    let mut sum = ExactSum::new();
    for value in [1.0_f32, 2.0_f32.powi(-24), 2.0_f32.powi(-60)] {
        sum.add_f32(value, 1);
    }
    assert_eq!(sum.sum_f32(), Some(1.0_f32.next_up()));
    assert_eq!(sum_of(&[f64::from(f32::MAX), f64::from(f32::MAX)]).sum_f32(), None);
}

#[test]
fn damaged_bytes_are_refused() {
    assert!(ExactSum::from_bytes(&[]).is_err());
    assert!(ExactSum::from_bytes(&[9; FIXED_BYTES]).is_err());
    let mut bytes = sum_of(&[f64::NAN]).to_bytes();
    bytes.pop();
    assert!(ExactSum::from_bytes(&bytes).is_err());
}

fn any_finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite()),
        -100.0..100.0_f64,
        (0..200i32).prop_map(|value| f64::from(value) / 10.0),
        (0..20u64).prop_map(f64::from_bits),
        Just(-0.0),
        Just(f64::MAX),
    ]
}

proptest! {
    #[test]
    fn the_sum_is_the_nearest_float(
        terms in prop::collection::vec((any_finite(), prop_oneof![Just(1i64), Just(-1), Just(3), Just(1 << 40)]), 0..30),
        cut in 0usize..30,
        count in 1u64..1_000_000,
    ) {
        let exact: BigInt = terms.iter().map(|(value, weight)| big(*value) * BigInt::from(*weight)).sum();
        let cut = cut.min(terms.len());
        let mut left = ExactSum::new();
        terms[..cut].iter().for_each(|(value, weight)| left.add(*value, *weight));
        let mut right = ExactSum::new();
        terms[cut..].iter().rev().for_each(|(value, weight)| right.add(*value, *weight));
        left = ExactSum::from_bytes(&left.to_bytes()).unwrap();
        left.merge(&right);
        match left.sum() {
            Some(sum) => prop_assert!(is_nearest(&exact, 1, sum), "{sum:e}"),
            None => prop_assert!(distance(&exact, 1, 0.0) > big(f64::MAX)),
        }
        if let Some(mean) = left.mean(count as i64) {
            prop_assert!(is_nearest(&exact, count, mean), "{mean:e}");
        }
        // Taking everything out again, in another order, leaves zero.
        terms.iter().for_each(|(value, weight)| left.add(*value, -*weight));
        prop_assert_eq!(left.sum(), Some(0.0));
    }
}

proptest! {
    /// Merging n times is adding n times, and what was merged can be taken away again.
    #[test]
    fn weights_multiply(
        values in prop::collection::vec(any::<f64>(), 0..12),
        others in prop::collection::vec(any::<f64>(), 0..12),
        weight in -9..9_i64,
    ) {
        let (before, other) = (sum_of(&values), sum_of(&others));
        let mut merged = before.clone();
        merged.merge_weighted(&other, weight);
        let mut added = before.clone();
        (0..weight.abs()).for_each(|_| others.iter().for_each(|value| added.add(*value, weight.signum())));
        prop_assert_eq!(merged.sum().map(f64::to_bits), added.sum().map(f64::to_bits));
        merged.merge_weighted(&other, -weight);
        prop_assert_eq!(merged.sum().map(f64::to_bits), before.sum().map(f64::to_bits));
    }
}
