//! Rows by key against a map, over many upserts and deletions; keys that compare alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::{Field, Int64Type, Schema};

use super::*;
use crate::table::tests::trucks;
use crate::testing::SimRng;

fn batch(rows: &[(i64, i64, RowId)]) -> RecordBatch {
    let column =
        |of: fn(&(i64, i64, RowId)) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
    RecordBatch::try_new(trucks().schema_with_row_id(), vec![column(|r| r.0), column(|r| r.1), column(|r| r.2)])
        .unwrap()
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
    let mut keyed = KeyedRows::new(trucks().schema_with_row_id(), &[0]).unwrap();
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
    let mut keyed = KeyedRows::new(trucks().schema_with_row_id(), &[0]).unwrap();
    put(&mut keyed, &[(1, 10, 5)]);
    keyed.remove(&batch(&[(1, 9, 4), (2, 0, 5)])).unwrap();
    assert_eq!(ask(&keyed, &[1, 2, 1]), [Some((10, 5)), None, Some((10, 5))]);
}

#[test]
fn a_key_twice_is_refused() {
    let mut keyed = KeyedRows::new(trucks().schema_with_row_id(), &[0]).unwrap();
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
    let mut keyed = KeyedRows::new(schema.clone(), &[0]).unwrap();
    let column: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, f64::from_bits(0xfff8_0000_0000_0001)]));
    let rows = RecordBatch::try_new(schema, vec![column, Arc::new(Int64Array::from(vec![1, 2]))]).unwrap();
    let checked = keyed.check(rows, &FxHashSet::default(), "t").unwrap();
    keyed.insert(checked).unwrap();
    let asked: ArrayRef = Arc::new(Float64Array::from(vec![0.0, f64::NAN, 1.0]));
    assert_eq!(keyed.lookup(&[asked]).unwrap().1, [Some(0), Some(1), None]);
}
