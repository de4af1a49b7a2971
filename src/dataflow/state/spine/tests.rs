//! Against a plain vector.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn is_a_vector(changes in prop::collection::vec((any::<usize>(), any::<usize>(), 0..700_usize), 1..12)) {
        let (mut spine, mut expected): (Spine<usize>, Vec<usize>) = (Spine::default(), Vec::new());
        for (start, length, count) in changes {
            let (clone, before) = (spine.clone(), expected.clone());
            let start = start % (expected.len() + 1);
            let end = start + length % (expected.len() - start + 1);
            let removed = spine.splice(start..end, (0..count).collect());
            prop_assert_eq!(removed, expected.splice(start..end, 0..count).collect::<Vec<_>>());
            prop_assert_eq!(spine.len(), expected.len());
            prop_assert_eq!(spine.iter().copied().collect::<Vec<_>>(), expected.clone());
            for index in [0, start, end, expected.len() / 2, expected.len()].map(|index| index.min(expected.len())) {
                prop_assert_eq!(spine.get(index), expected.get(index));
                prop_assert_eq!(spine.iter_from(index).count(), expected.len() - index);
            }
            prop_assert_eq!(clone.iter().copied().collect::<Vec<_>>(), before);
            spine.iter_mut().zip(&mut expected).for_each(|(left, right)| (*left, *right) = (*left + 1, *right + 1));
            prop_assert!(spine.iter().eq(&expected));
        }
    }

    #[test]
    fn finds_where_a_condition_ends(steps in prop::collection::vec(1..900_usize, 1..5), wanted in 0..4000_usize) {
        let mut spine = Spine::default();
        for step in steps {
            let next = spine.len();
            spine.splice(next..next, (next..next + step).collect());
        }
        prop_assert_eq!(spine.partition_point(|element| *element < wanted), wanted.min(spine.len()));
    }
}

#[test]
fn a_change_leaves_the_other_branches_shared() {
    let mut spine = Spine::default();
    spine.splice(0..0, (0..10_000).collect());
    let clone = spine.clone();
    spine.splice(5_000..5_001, vec![7, 8]);
    let is_shared = |branch: &&Arc<Vec<i32>>| clone.branches.iter().any(|other| Arc::ptr_eq(branch, other));
    assert!(spine.branches.len() - spine.branches.iter().filter(is_shared).count() <= 2);
}
