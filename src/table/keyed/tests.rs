//! Rows by key against a map, over many upserts and deletions; keys that compare alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::*;
use crate::table::tests::trucks;
use crate::testing::SimRng;

fn batch(rows: &[(i64, i64, RowId)]) -> RecordBatch {
    let column =
        |of: fn(&(i64, i64, RowId)) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
    RecordBatch::try_new(trucks().schema_with_row_id(), vec![column(|r| r.0), column(|r| r.1), column(|r| r.2)])
        .unwrap()
}

fn new() -> KeyedRows {
    let schema = trucks().schema_with_row_id();
    KeyedRows::new(schema.clone(), Arc::new(KeyForm::new(&schema, &[0]).unwrap()))
}

fn put(keyed: &mut KeyedRows, rows: &[(i64, i64, RowId)]) {
    let checked = keyed.check(batch(rows), &FxHashSet::default(), "trucks").unwrap();
    keyed.insert(checked).unwrap();
}

fn ask(keyed: &KeyedRows, keys: &[i64]) -> Vec<Option<(i64, RowId)>> {
    let column: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
    let (rows, found) = keyed.lookup(&[column]).unwrap();
    let value = |column: usize, row: u32| rows.column(column).as_primitive::<Int64Type>().value(row as usize);
    found.into_iter().map(|row| row.map(|row| (value(1, row), value(2, row)))).collect()
}

#[test]
fn upserts_and_deletions_as_a_map_has_them() {
    let rng = SimRng::new(3);
    let mut keyed = new();
    let mut model: BTreeMap<i64, (i64, RowId)> = BTreeMap::new();
    let mut next_row_id = 1;
    for step in 0..600 {
        let keys: Vec<i64> = (0..rng.below(200))
            .map(|_| rng.below(1500) as i64)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        let old: Vec<(i64, i64, RowId)> =
            keys.iter().filter_map(|key| model.get(key).map(|(load, row_id)| (*key, *load, *row_id))).collect();
        keyed.remove(&batch(&old)).unwrap();
        model.retain(|key, _| !keys.contains(key));
        if !rng.one_in(3) {
            let new: Vec<(i64, i64, RowId)> =
                keys.iter().zip(next_row_id..).map(|(key, id)| (*key, step, id)).collect();
            next_row_id += new.len() as i64;
            put(&mut keyed, &new);
            model.extend(new.iter().map(|(key, load, row_id)| (*key, (*load, *row_id))));
        }
        assert_eq!(keyed.len(), model.len());
        let asked: Vec<i64> = (0..1500).step_by(7).collect();
        assert_eq!(ask(&keyed, &asked), asked.iter().map(|key| model.get(key).copied()).collect::<Vec<_>>());
    }
    let held: usize = keyed.chunks.iter().map(|chunk| chunk.live.len()).sum();
    assert!(held <= 2 * model.len() + CHUNK_ROWS_MIN * keyed.chunks.len(), "{held} rows for {}", model.len());
    assert!(keyed.chunks.len() <= 20, "{} chunks", keyed.chunks.len());
}

#[test]
fn removing_another_version_of_a_row_changes_nothing() {
    let mut keyed = new();
    put(&mut keyed, &[(1, 10, 5)]);
    keyed.remove(&batch(&[(1, 9, 4), (2, 0, 5)])).unwrap();
    assert_eq!(ask(&keyed, &[1, 2, 1]), [Some((10, 5)), None, Some((10, 5))]);
}

#[test]
fn a_key_twice_is_refused() {
    let mut keyed = new();
    put(&mut keyed, &[(1, 10, 5)]);
    let refused = |rows: &[(i64, i64, RowId)], deleted: &[RowId]| {
        let deleted: FxHashSet<RowId> = deleted.iter().copied().collect();
        keyed
            .check(batch(rows), &deleted, "trucks")
            .err()
            .map(|error| (error.state(), error.detail().map(str::to_string)))
    };
    let duplicate = |key| Some((SqlState::UNIQUE_VIOLATION, Some(format!("Key (id)=({key}) already exists."))));
    assert_eq!(refused(&[(1, 11, 6)], &[]), duplicate(1));
    assert_eq!(refused(&[(1, 11, 6)], &[5]), None);
    assert_eq!(refused(&[(2, 1, 6), (2, 2, 7)], &[]), duplicate(2));
}

#[test]
fn zeros_are_one_key_and_so_are_nans() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Float64, true),
        Field::new(crate::types::ROW_ID, DataType::Int64, false),
    ]));
    let mut keyed = KeyedRows::new(schema.clone(), Arc::new(KeyForm::new(&schema, &[0]).unwrap()));
    let column: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, f64::from_bits(0xfff8_0000_0000_0001)]));
    let rows = RecordBatch::try_new(schema, vec![column, Arc::new(Int64Array::from(vec![1, 2]))]).unwrap();
    let checked = keyed.check(rows, &FxHashSet::default(), "t").unwrap();
    keyed.insert(checked).unwrap();
    let asked: ArrayRef = Arc::new(Float64Array::from(vec![0.0, f64::NAN, 1.0]));
    assert_eq!(keyed.lookup(&[asked]).unwrap().1, [Some(0), Some(1), None]);
}

/// The clock's hand spares what was looked up, hot rows stay, and places are used again.
#[test]
fn what_nobody_asks_for_leaves() {
    let mut keyed = new();
    for first in 0..8 {
        let rows: Vec<(i64, i64, RowId)> =
            (0..40_000).map(|row| (first * 100_000 + row, 0, first * 40_000 + row)).collect();
        put(&mut keyed, &rows);
    }
    assert_eq!(keyed.chunks.len(), 8);
    let all = keyed.memory_bytes();
    // The first round takes the marks of what is new.
    let cold_end = 7 * 40_000;
    let freed = keyed.evict(cold_end);
    assert!(freed > all / 16 && freed < all / 6, "{freed} of {all}");
    assert_eq!((keyed.len(), keyed.is_complete()), (280_000, false));
    let gone = (0..8).find(|first| ask(&keyed, &[first * 100_000]) == [None]).unwrap();
    // Asked for by now are all but that one; those that are asked for again outlive the others.
    while keyed.evict(0) > 0 {}
    let asked = [(gone + 2) % 7, (gone + 4) % 7];
    for round in 0..4 {
        asked.iter().for_each(|first| assert_eq!(ask(&keyed, &[first * 100_000 + 5]).len(), 1));
        assert!(keyed.evict(cold_end) > 0, "round {round}");
    }
    for first in asked {
        assert_eq!(ask(&keyed, &[first * 100_000 + 5]), [Some((0, first * 40_000 + 5))]);
    }
    while keyed.evict(cold_end) > 0 {}
    assert_eq!(keyed.len(), 40_000, "hot rows stay");
    assert!(keyed.memory_bytes() < all / 5, "{} of {all}", keyed.memory_bytes());
    put(&mut keyed, &[(5, 1, 400_000)]);
    assert_eq!(ask(&keyed, &[5, 6]), [Some((1, 400_000)), None]);
}
