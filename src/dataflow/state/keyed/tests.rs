//! Keyed state: against a plain map, through growth, eviction and bytes.

use std::collections::BTreeMap;

use super::*;
use crate::dataflow::state::StateRef;
use crate::dataflow::state::key::hash_key;
use crate::dataflow::state::page::Content;
use crate::dataflow::state::page::tests::{carry_over, tiny_residence};
use crate::error::SqlState;
use crate::types::RelationId;

const COLUMNS: [ColumnType; 3] = [ColumnType::Int64, ColumnType::Int128, ColumnType::Bytes];

fn state(key: ColumnType) -> KeyedState {
    KeyedState::new(key, COLUMNS.to_vec())
}

/// Adds to a key's numbers and writes its text.
fn put(state: &mut KeyedState, key: &[u8], amount: i64) {
    let hash = hash_key(key);
    let mut chunk = state.chunk_mut(state.chunk_of(hash)).unwrap();
    let row = chunk.find_or_insert(key);
    let [count, sum, text] = chunk.columns_mut() else { panic!("three columns") };
    count.int64().unwrap()[row] += amount;
    sum.int128().unwrap()[row] -= i128::from(amount);
    text.byte_column().unwrap().set(row, amount.to_string().repeat(1 + amount as usize % 7).as_bytes());
}

fn take(state: &mut KeyedState, key: &[u8]) {
    let hash = hash_key(key);
    let index = state.chunk_of(hash);
    let mut chunk = state.chunk_mut(index).unwrap();
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
        assert_eq!(rows.len(), state.rows());
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
fn state_that_left_memory_reads_back() {
    for key_type in [ColumnType::Fixed(8), ColumnType::Bytes] {
        let mut state = state(key_type);
        (0..20_000).for_each(|number| put(&mut state, &key(number, key_type), number as i64));
        state.rebalance().unwrap();
        let before = contents(&state);
        let (store, residence) = tiny_residence();
        state.account().attach(&residence, RelationId(1));
        assert_eq!(residence.bytes(), state.memory_bytes());
        (0..2).for_each(|_| state.make_room(&residence).unwrap());
        assert_eq!(state.memory_bytes(), 0);
        assert_eq!((contents(&state), state.rows()), (before.clone(), before.len()));
        let mut back = KeyedState::new(key_type, COLUMNS.to_vec());
        carry_over(&store, StateRef::Keyed(&mut state), StateRef::Keyed(&mut back)).unwrap();
        assert_eq!((contents(&back), back.rows()), (before.clone(), before.len()));
        put(&mut back, &key(7, key_type), 1);
        assert_eq!(contents(&back)[&key(7, key_type)].0, 8);
        assert_eq!(contents(&state), before);
    }
}

#[test]
fn a_full_state_grows_and_is_written_with_one_chunk_in_memory() {
    let (_store, residence) = tiny_residence();
    let mut state = state(ColumnType::Fixed(8));
    state.account().attach(&residence, RelationId(1));
    let mut chunk_bytes = 0;
    for number in 0..60_000 {
        let key = key(number, ColumnType::Fixed(8));
        put(&mut state, &key, 1);
        if number % 1000 == 0 {
            chunk_bytes = chunk_bytes.max(state.memory_bytes());
            state.rebalance().unwrap();
            state.make_room(&residence).unwrap();
        }
    }
    assert!(state.chunk_count() >= 4, "{} chunks", state.chunk_count());
    (0..2).for_each(|_| state.make_room(&residence).unwrap());
    for (number, writer) in state.writers().enumerate() {
        let fill = |chunk: &mut Chunk| {
            chunk.columns_mut()[0].int64()?.fill(number as i64);
            Ok(())
        };
        writer.write(fill).unwrap();
        assert_eq!(residence.bytes(), 0);
    }
    assert_eq!(contents(&state).len(), 60_000);
    assert!(chunk_bytes > 0);
}

#[test]
fn damaged_bytes_are_refused() {
    let mut state = state(ColumnType::Bytes);
    put(&mut state, b"key", 1);
    let layout = ChunkLayout { key: ColumnType::Bytes, columns: COLUMNS.to_vec() };
    let bytes = state.chunk(0).unwrap().to_bytes().unwrap();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        assert!(Chunk::from_bytes(&layout, &damaged).is_err());
    }
    for length in 0..bytes.len() {
        assert!(Chunk::from_bytes(&layout, &bytes[..length]).is_err());
    }
    let (store, residence) = tiny_residence();
    state.account().attach(&residence, RelationId(1));
    (0..2).for_each(|_| state.make_room(&residence).unwrap());
    store.damage(77);
    assert_eq!(state.chunk(0).unwrap_err().state(), SqlState::DATA_CORRUPTED);
    assert_eq!(state.chunk_mut(0).unwrap_err().state(), SqlState::DATA_CORRUPTED);
}
