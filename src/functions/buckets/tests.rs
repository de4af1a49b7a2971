use super::{Buckets, bucket_of, value_of};
use crate::io::Rng;
use crate::testing::SimRng;

#[test]
fn a_bucket_is_nearer_to_zero_by_less_than_a_256th_and_keeps_the_order() {
    let rng = SimRng::new(20261126);
    let mut values: Vec<f64> = (0..5000)
        .map(|_| f64::from_bits(rng.next_u64()))
        .filter(|value| value.is_normal())
        .chain((-512..=512).map(f64::from))
        .chain([f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0])
        .collect();
    for value in &values {
        let stands_for = value_of(bucket_of(*value));
        assert!(stands_for.abs() <= value.abs() && stands_for * value >= 0.0, "{value} as {stands_for}");
        let error = if value.is_infinite() || *value == 0.0 { 0.0 } else { 1.0 - stands_for / value };
        assert!(error < 1.0 / 256.0, "{value} as {stands_for}");
        if value.fract() == 0.0 && value.abs() <= 512.0 {
            assert_eq!(stands_for, *value);
        }
    }
    values.sort_by(f64::total_cmp);
    assert!(values.iter().map(|value| bucket_of(*value)).is_sorted());
    assert!(value_of(bucket_of(f64::NAN)).is_nan() && bucket_of(f64::NAN) > bucket_of(f64::INFINITY));
}

#[test]
fn what_is_taken_out_again_was_never_there() {
    let rng = SimRng::new(7);
    let (mut whole, mut kept) = (Buckets::default(), Buckets::default());
    for round in 0..1000 {
        let value = (rng.next_u64() % 100_000) as f64 / 7.0 - 5000.0;
        whole.add(value, 1);
        if round % 3 == 0 { kept.add(value, 1) } else { whole.add(value, -1) }
    }
    assert_eq!(whole.to_bytes(), kept.to_bytes());
    assert_eq!(Buckets::from_bytes(&whole.to_bytes()).unwrap().percentile(0.9), kept.percentile(0.9));
    assert_eq!(Buckets::default().percentile(0.5), None);
    assert!(Buckets::from_bytes(&[1, 2, 3]).is_err());
}
