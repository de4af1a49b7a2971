//! The probe table against a plain map, with hashes that collide.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Change {
    Insert(u64),
    Remove(usize),
    Renumber(usize),
}

fn change() -> impl Strategy<Value = Change> {
    // Few homes, some of them at the end of the table, so that runs are long and wrap around.
    let hash = prop_oneof![0..4_u64, Just(7), Just(15), Just(31), any::<u64>()];
    prop_oneof![
        4 => hash.prop_map(Change::Insert),
        3 => any::<usize>().prop_map(Change::Remove),
        1 => any::<usize>().prop_map(Change::Renumber),
    ]
}

proptest! {
    #[test]
    fn holds_what_was_put_and_not_removed(changes in prop::collection::vec(change(), 0..300)) {
        let mut probe = Probe::default();
        let mut rows: BTreeMap<u32, u64> = BTreeMap::new();
        let mut next = 0;
        let nth = |rows: &BTreeMap<u32, u64>, n: usize| rows.iter().nth(n % rows.len().max(1)).map(|(r, h)| (*r, *h));
        for change in changes {
            match change {
                Change::Insert(hash) => {
                    probe.insert(hash, next);
                    rows.insert(next, hash);
                    next += 1;
                }
                Change::Remove(n) => if let Some((row, hash)) = nth(&rows, n) {
                    probe.remove(hash, row);
                    rows.remove(&row);
                },
                Change::Renumber(n) => if let Some((row, hash)) = nth(&rows, n) {
                    probe.renumber(hash, row, next);
                    rows.remove(&row);
                    rows.insert(next, hash);
                    next += 1;
                },
            }
            for (row, hash) in &rows {
                prop_assert_eq!(probe.find(*hash, |found| found == *row), Some(*row));
            }
            prop_assert_eq!(probe.find(5, |_| true).is_some(), rows.values().any(|hash| *hash as u32 == 5));
        }
    }
}
