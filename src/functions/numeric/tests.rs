use super::*;

#[test]
fn a_wide_sum_passes_through_values_that_128_bits_cannot_hold() {
    let mut sum = WideSum::default();
    for value in [i128::MAX, i128::MAX, i128::MAX, 7] {
        sum.add(value, 1);
    }
    assert_eq!(sum.total(), None);
    sum.add(i128::MAX, -3);
    assert_eq!(sum.total(), Some(7));
    sum.add(i128::MIN, 3);
    sum.add(i128::MIN, -2);
    sum.add(i128::MIN, -1);
    assert_eq!(sum, WideSum { low: 7, high: 0 });
}

#[test]
fn a_weight_multiplies() {
    let mut sum = WideSum::default();
    sum.add(-3, 4);
    assert_eq!(sum.total(), Some(-12));
    sum.add(i128::MAX, i64::MAX);
    sum.add(i128::MAX, -i64::MAX);
    assert_eq!(sum.total(), Some(-12));
    sum.add(-i128::MAX, i64::MAX);
    sum.add(i128::MAX, i64::MAX);
    assert_eq!(sum.total(), Some(-12));
}

#[test]
fn means_round_half_away_from_zero() {
    let mean = |total: i128, count: i64, shift: u8| WideSum { low: total, high: 0 }.mean(count, shift);
    assert_eq!(mean(5, 2, 0), Some(3));
    assert_eq!(mean(-5, 2, 0), Some(-3));
    assert_eq!(mean(10, 3, 4), Some(33333));
    assert_eq!(mean(-20, 3, 4), Some(-66667));
    assert_eq!(mean(1, 0, 4), None);
    assert_eq!(mean(10_i128.pow(30), 1, 16), None);
}
