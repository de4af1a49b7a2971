//! Values come and go.

use super::*;

#[test]
fn values_come_and_go() {
    let mut counts = BitCounts::default();
    assert_eq!(counts.value(BitOperation::And), None);
    for value in [-1, 6, i64::MIN] {
        counts.add(value, 1);
    }
    let all = |counts: &BitCounts| {
        [BitOperation::And, BitOperation::Or, BitOperation::Xor].map(|operation| counts.value(operation).unwrap())
    };
    assert_eq!(all(&counts), [0, -1, !6 ^ i64::MIN]);
    counts.add(i64::MIN, -1);
    counts.add(5, 2);
    assert_eq!(all(&counts), [4, -1, !6]);
    assert_eq!(BitCounts::from_bytes(&counts.to_bytes()).unwrap(), counts);
    assert!(BitCounts::from_bytes(&[1; 9]).is_err());
    let mut other = BitCounts::default();
    other.add(8, 1);
    other.merge(&counts);
    assert_eq!(all(&other), [0, -1, !6 ^ 8]);
}
