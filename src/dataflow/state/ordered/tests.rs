//! Ordered state against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::dataflow::state::StateRef;
use crate::dataflow::state::page::tests::{carry_over, tiny_residence};
use crate::io::ScopedThreads;
use crate::types::RelationId;

fn updates(changes: &[(Vec<u8>, i64)]) -> OrderedUpdates {
    let mut updates = OrderedUpdates::default();
    changes.iter().for_each(|(key, weight)| updates.push(&[key], *weight));
    updates
}

fn contents(state: &OrderedState) -> Vec<(Vec<u8>, i64)> {
    state.iter().unwrap().map(|(key, weight)| (key.to_vec(), weight)).collect()
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    (0..40_u8, 0..60_u16).prop_map(|(group, rest)| [&[group][..], &rest.to_be_bytes()].concat())
}

proptest! {
    #[test]
    fn is_a_sorted_map_of_weights(
        steps in prop::collection::vec(prop::collection::vec((key(), -2..3_i64), 0..700), 1..6),
        prefix in 0..42_u8,
        evicts in any::<bool>(),
    ) {
        let mut state = OrderedState::default();
        let (store, residence) = tiny_residence();
        if evicts {
            state.account().attach(&residence, RelationId(1));
        }
        let mut map: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for step in &steps {
            let snapshot = state.clone();
            let before = contents(&snapshot);
            // As one, or as three that threads put in order and merge.
            if step.len() % 2 == 0 {
                state.apply(&updates(step)).unwrap();
            } else {
                let parts: Vec<OrderedUpdates> = step.chunks(step.len().div_ceil(3)).map(updates).collect();
                state.apply_all(&parts, &ScopedThreads::new(2)).unwrap();
            }
            for (key, weight) in step {
                *map.entry(key.clone()).or_default() += weight;
            }
            map.retain(|_, weight| *weight != 0);
            state.make_room(&residence).unwrap();
            prop_assert_eq!(contents(&state), map.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(state.entries(), map.len());
            prop_assert_eq!(contents(&snapshot), before);
        }
        let group: Vec<_> = map.iter().filter(|(key, _)| key[0] == prefix).map(|(key, _)| key.clone()).collect();
        let found: Vec<_> = state.with_prefix(&[prefix]).unwrap().map(|(key, _)| key.to_vec()).collect();
        prop_assert_eq!(&found, &group);
        prop_assert_eq!(state.last_with_prefix(&[prefix]).unwrap(), group.last().map(Vec::as_slice));
        prop_assert_eq!(state.first_with_prefix(&[prefix]).unwrap(), group.first().map(Vec::as_slice));
        for (key, weight) in map.iter().take(50) {
            prop_assert_eq!(state.weight(key).unwrap(), *weight);
        }
        let bytes: usize = state.leaves.iter().map(|leaf| leaf.leaf().unwrap().memory_bytes()).sum();
        prop_assert_eq!(state.account.bytes(), bytes);
        for leaf in state.leaves.iter() {
            let (first, leaf) = (&*leaf.first, leaf.leaf().unwrap());
            prop_assert!(leaf.len() > 0 && leaf.len() <= LEAF_ENTRIES_MAX && first == leaf.key(0));
        }
        let mut back = OrderedState::default();
        carry_over(&store, StateRef::Ordered(&mut state), StateRef::Ordered(&mut back)).unwrap();
        prop_assert_eq!(contents(&back), contents(&state));
        prop_assert_eq!(back.entries(), state.entries());
    }
}

proptest! {
    #[test]
    fn ranks_and_neighbours_are_those_of_a_list(
        counts in prop::collection::btree_map(key(), 1..4_i64, 0..1500),
        group in 0..42_u8,
    ) {
        let counts: Vec<(Vec<u8>, i64)> = counts.into_iter().collect();
        let mut state = OrderedState::default();
        state.apply(&updates(&counts)).unwrap();
        for prefix in [&[][..], &[group]] {
            let members = || counts.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(key, count)| (&key[..], *count));
            let rows: Vec<&[u8]> = members().flat_map(|(key, count)| std::iter::repeat_n(key, count as usize)).collect();
            prop_assert_eq!(state.at_rank(prefix, rows.len() as i64).unwrap(), None);
            for rank in (0..rows.len()).step_by(29) {
                let key = rows[rank];
                prop_assert_eq!(state.at_rank(prefix, rank as i64).unwrap(), Some(key));
                let before: Vec<_> = members().filter(|(other, _)| *other < key).collect();
                let mut rest = 7;
                let near = before.into_iter().rev().take_while(|(_, count)| {
                    rest -= count;
                    rest + count > 0
                });
                prop_assert_eq!(state.before(prefix, key, 7).unwrap(), near.collect::<Vec<_>>());
                let mut behind = Vec::new();
                state.each_from(prefix, key, |other, count| {
                    behind.push((other, count));
                    Ok(behind.len() < 5)
                }).unwrap();
                prop_assert_eq!(behind, members().filter(|(other, _)| *other >= key).take(5).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn leaves_are_shared_until_they_are_written() {
    let mut state = OrderedState::default();
    let all: Vec<(Vec<u8>, i64)> = (0..10_000_u32).map(|number| (number.to_be_bytes().to_vec(), 1)).collect();
    state.apply(&updates(&all)).unwrap();
    let snapshot = state.clone();
    state.apply(&updates(&[(5_000_u32.to_be_bytes().to_vec(), 1)])).unwrap();
    let copied = state
        .leaves
        .iter()
        .zip(snapshot.leaves.iter())
        .filter(|(left, right)| !Arc::ptr_eq(&left.page, &right.page))
        .count();
    assert_eq!(copied, 1);
}

#[test]
fn many_deletes_leave_few_leaves() {
    let mut state = OrderedState::default();
    let all: Vec<(Vec<u8>, i64)> = (0..20_000_u32).map(|number| (number.to_be_bytes().to_vec(), 1)).collect();
    state.apply(&updates(&all)).unwrap();
    let most: Vec<(Vec<u8>, i64)> =
        (0..20_000_u32).filter(|number| number % 50 != 0).map(|number| (number.to_be_bytes().to_vec(), -1)).collect();
    state.apply(&updates(&most)).unwrap();
    assert_eq!(state.entries(), 400);
    assert!(state.leaves.len() <= 4, "{} leaves", state.leaves.len());
}

#[test]
fn damaged_bytes_are_refused() {
    let mut state = OrderedState::default();
    state.apply(&updates(&[(b"a".to_vec(), 1), (b"b".to_vec(), -2)])).unwrap();
    let bytes = state.leaves.get(0).unwrap().leaf().unwrap().to_bytes().unwrap();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x40;
        assert!(Leaf::from_bytes(&(), &damaged).is_err());
    }
}
