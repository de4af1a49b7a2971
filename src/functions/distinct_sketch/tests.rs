//! Exact while there are few, within the error when there are many, and a function of the set of values.

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::*;

fn of(values: impl IntoIterator<Item = u32>) -> DistinctSketch {
    let mut sketch = DistinctSketch::default();
    for value in values {
        sketch.add(xxh3_64(&value.to_be_bytes()));
    }
    sketch
}

#[test]
fn few_are_counted_and_many_estimated() {
    assert_eq!(of([]).count(), 0);
    assert_eq!(of((0..511).chain(0..511)).count(), 511);
    // Of sixteen sets of each size none is off by more than four standard errors, and most by less than one.
    for size in [512, 1_000, 5_000, 20_000, 200_000] {
        let errors = (0..16).map(|set: u32| {
            let count = of(set * 1_000_000..set * 1_000_000 + size).count();
            (count as f64 / f64::from(size) - 1.0) / (1.04 / 64.0)
        });
        let errors: Vec<f64> = errors.collect();
        assert!(errors.iter().all(|error| error.abs() < 4.0), "{size}: {errors:?}");
        assert!(errors.iter().filter(|error| error.abs() < 1.0).count() > 8, "{size}: {errors:?}");
    }
}

/// Registers that are all full are more values than a hash can tell apart.
#[test]
fn the_extremes_are_numbers() {
    let full = DistinctSketch::Many(Box::new([RANK_MAX as u8; REGISTERS]));
    assert_eq!(full.count(), i64::MAX);
    let mut last = of(0..1000);
    assert!(last.add(0) && !last.add(0));
    assert_eq!(DistinctSketch::from_bytes(&last.to_bytes()).unwrap(), last);
    assert!(DistinctSketch::from_bytes(&[0; 9]).is_err());
    assert!(DistinctSketch::from_bytes(&[0; 8 * 512 + 8]).is_err());
}

proptest! {
    #[test]
    fn order_and_parts_do_not_matter(
        values in prop::collection::vec(0..3000_u32, 0..1500),
        parts in prop::collection::vec(0..3_usize, 1500),
    ) {
        let whole = of(values.iter().copied());
        prop_assert_eq!(&of(values.iter().rev().copied()), &whole);
        let part = |wanted: usize| of(values.iter().zip(&parts).filter(|(_, part)| **part == wanted).map(|(value, _)| *value));
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let merged = order.into_iter().map(part).reduce(|mut sketch, other| {
                sketch.merge(&other);
                sketch
            });
            prop_assert_eq!(merged.as_ref(), Some(&whole));
        }
        prop_assert_eq!(&DistinctSketch::from_bytes(&whole.to_bytes()).unwrap(), &whole);
        let distinct = values.iter().collect::<std::collections::BTreeSet<_>>().len();
        if distinct < 512 {
            prop_assert_eq!(whole.count(), distinct as i64);
        }
    }
}
