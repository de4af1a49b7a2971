//! Keyed state: against a plain map, through growth, eviction and bytes.

use std::collections::BTreeMap;

use super::*;
use crate::dataflow::state::key::hash_key;

const COLUMNS: [ColumnType; 3] = [ColumnType::Int64, ColumnType::Int128, ColumnType::Bytes];

fn state(key: ColumnType) -> KeyedState {
    KeyedState::new(key, COLUMNS.to_vec())
}

/// Adds to a key's numbers and writes its text.
fn put(state: &mut KeyedState, key: &[u8], amount: i64) {
    let hash = hash_key(key);
    let chunk = state.chunk_mut(state.chunk_of(hash)).unwrap();
    let row = chunk.find_or_insert(key);
    let [count, sum, text] = chunk.columns_mut() else { panic!("three columns") };
    count.int64().unwrap()[row] += amount;
    sum.int128().unwrap()[row] -= i128::from(amount);
    text.byte_column().unwrap().set(row, amount.to_string().repeat(1 + amount as usize % 7).as_bytes());
}

fn take(state: &mut KeyedState, key: &[u8]) {
    let hash = hash_key(key);
    let index = state.chunk_of(hash);
    let chunk = state.chunk_mut(index).unwrap();
    if let Some(row) = chunk.find(key) {
        chunk.remove(row);
    }
}

fn contents(state: &KeyedState) -> BTreeMap<Vec<u8>, (i64, i128, Vec<u8>)> {
    let mut rows = BTreeMap::new();
    for index in 0..state.chunk_count() {
        let chunk = state.chunk(index).unwrap();
        let columns = chunk.columns();
        for row in 0..chunk.len() {
            assert_eq!(chunk.find(chunk.key(row)), Some(row));
            let text = columns[2].as_bytes().unwrap().get(row).to_vec();
            let values = (columns[0].as_int64().unwrap()[row], columns[1].as_int128().unwrap()[row], text);
            assert!(rows.insert(chunk.key(row).to_vec(), values).is_none());
        }
    }
    rows
}

fn key(number: u64, column_type: ColumnType) -> Vec<u8> {
    match column_type {
        ColumnType::Fixed(_) => number.to_le_bytes().to_vec(),
        _ => format!("key {number}").into_bytes(),
    }
}

#[test]
fn grows_into_more_chunks_and_shrinks_again() {
    for key_type in [ColumnType::Fixed(8), ColumnType::Bytes] {
        let mut state = state(key_type);
        for number in 0..40_000 {
            put(&mut state, &key(number, key_type), number as i64);
        }
        state.rebalance().unwrap();
        assert!(state.chunk_count() > 1, "one chunk of {} bytes", state.memory_bytes());
        for number in (0..40_000).filter(|number| number % 3 != 0) {
            take(&mut state, &key(number, key_type));
        }
        put(&mut state, &key(3, key_type), 5);
        let rows = contents(&state);
        assert_eq!(rows.len(), state.rows().unwrap());
        assert_eq!(rows.len(), 13_334);
        assert_eq!(rows[&key(3, key_type)].0, 8);
        assert_eq!(rows[&key(39_999, key_type)].0, 39_999);
    }
}

#[test]
fn a_clone_keeps_what_it_had_and_shares_the_rest() {
    let mut state = state(ColumnType::Fixed(8));
    (0..100).for_each(|number| put(&mut state, &key(number, ColumnType::Fixed(8)), 1));
    let snapshot = state.clone();
    let before = contents(&snapshot);
    (50..150).for_each(|number| put(&mut state, &key(number, ColumnType::Fixed(8)), 2));
    take(&mut state, &key(1, ColumnType::Fixed(8)));
    assert_eq!(contents(&snapshot), before);
    assert_eq!(contents(&state).len(), 149);
    assert!(Arc::ptr_eq(&snapshot.chunk(0).unwrap(), &snapshot.clone().chunk(0).unwrap()));
}

#[test]
fn evicted_and_written_state_reads_back() {
    for key_type in [ColumnType::Fixed(8), ColumnType::Bytes] {
        let mut state = state(key_type);
        (0..20_000).for_each(|number| put(&mut state, &key(number, key_type), number as i64));
        state.rebalance().unwrap();
        let before = contents(&state);
        let resident_bytes = state.memory_bytes();
        (0..state.chunk_count()).for_each(|index| state.evict(index));
        assert!(state.memory_bytes() < resident_bytes);
        assert_eq!(contents(&state), before);
        let bytes = state.to_bytes();
        let mut back = KeyedState::from_bytes(key_type, COLUMNS.to_vec(), &bytes).unwrap();
        assert_eq!(contents(&back), before);
        put(&mut back, &key(7, key_type), 1);
        assert_eq!(contents(&back)[&key(7, key_type)].0, 8);
    }
}

#[test]
fn damaged_bytes_are_refused() {
    let mut state = state(ColumnType::Bytes);
    put(&mut state, b"key", 1);
    let bytes = state.to_bytes();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        assert!(KeyedState::from_bytes(ColumnType::Bytes, COLUMNS.to_vec(), &damaged).is_err());
    }
    for length in 0..bytes.len() {
        assert!(KeyedState::from_bytes(ColumnType::Bytes, COLUMNS.to_vec(), &bytes[..length]).is_err());
    }
}
