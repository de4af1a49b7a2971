//! Keys in files against a map, over flushes, compactions and rows that leave memory; and how little is read for it.

use std::collections::BTreeMap;

use arrow::array::{AsArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, Int64Type};

use super::*;
use crate::catalog::{Column, Table, TableKind};
use crate::commit::{TableWrite, Write};
use crate::settings::TableSettings;
use crate::table::tests::{Database, Media, TRUCKS, truck_rows, trucks};
use crate::testing::SimRng;
use crate::types::{RelationId, SqlType};

const LEVELS: RelationId = RelationId(16390);
/// Of a level's key; (0.0, -0.0), (NaN, -NaN) are the same.
const FLOATS: [f64; 7] = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 2.5, f64::NAN, -f64::NAN];

/// `levels (n bigint, at timestamp, tank text, level double precision, PRIMARY KEY (tank, at, level))`: the key is not in the
/// order of the columns.
fn levels() -> Arc<Table> {
    let column = |name: &str, sql_type| Column { name: name.to_string(), sql_type, not_null: false, default: None };
    Arc::new(Table {
        id: LEVELS,
        name: "levels".to_string(),
        columns: vec![
            column("n", SqlType::Int8),
            column("at", SqlType::Timestamp),
            column("tank", SqlType::Text),
            column("level", SqlType::Float8),
        ],
        kind: TableKind::PrimaryKey { columns: vec![2, 1, 3] },
        schema_version: 1,
        upsert: false,
        source: None,
        stored: Vec::new(),
        dropped: Vec::new(),
        last_field_id: 0,
        watermark: None,
    })
}

/// (tank, minute, position in `FLOATS`).
type Key = (i64, i64, usize);

fn columns(keys: &[Key]) -> Vec<ArrayRef> {
    vec![
        Arc::new(StringArray::from_iter_values(keys.iter().map(|key| format!("tank {}", key.0)))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(keys.iter().map(|key| key.1 * 60_000_000))),
        Arc::new(Float64Array::from_iter_values(keys.iter().map(|key| FLOATS[key.2]))),
    ]
}

fn same(key: Key) -> Key {
    (key.0, key.1, if key.2 == 3 || key.2 == 6 { key.2 - 1 } else { key.2 })
}

async fn open(media: &Media, history_retention_ms: u64) -> Database {
    let settings = TableSettings {
        row_group_rows: 64,
        file_rows_max: 300,
        compact_files_min: 2,
        history_retention_ms,
        keyed_restore_bytes: 0,
        ..TableSettings::default()
    };
    let clock = Arc::new(crate::io::SystemClock::new());
    let spawn = |task| drop(tokio::spawn(task));
    Database::open(media, clock, settings, &spawn).await.unwrap()
}

async fn numbers_of(database: &Database, keys: &[Key]) -> Vec<Option<i64>> {
    let (rows, found) = database.tables.lookup_keys(LEVELS, &columns(keys)).await.unwrap();
    let numbers = rows.column(0).as_primitive::<Int64Type>();
    let own = rows.column(3).as_primitive::<Float64Type>();
    for (key, row) in keys.iter().zip(&found) {
        let Some(row) = row else { continue };
        let (asked, stored) = (FLOATS[key.2], own.value(*row as usize));
        assert!(asked == stored || (asked.is_nan() && stored.is_nan()), "{asked} found {stored}");
    }
    found.into_iter().map(|row| row.map(|row| numbers.value(row as usize))).collect()
}

async fn upsert(database: &Database, model: &mut BTreeMap<Key, i64>, keys: &[Key], number: i64, insert: bool) {
    let _lock = database.tables.write_lock(LEVELS).await.unwrap();
    let (old, _) = database.tables.lookup_keys(LEVELS, &columns(keys)).await.unwrap();
    let mut new = columns(keys);
    new.swap(0, 1);
    new.insert(0, Arc::new(Int64Array::from(vec![number; keys.len()])));
    let new = RecordBatch::try_new(levels().schema(), new).unwrap();
    let inserts = insert.then_some(new);
    let write = TableWrite { table: LEVELS, schema_version: 1, inserts, deletes: Some(old) };
    database.write(Write { tables: vec![write], ..Write::default() }).await.unwrap();
    for key in keys {
        model.remove(&same(*key));
        if insert {
            model.insert(same(*key), number);
        }
    }
}

async fn history(seed: u64, history_retention_ms: u64) {
    let (media, rng) = (Media::new(seed), SimRng::new(seed));
    let mut database = open(&media, history_retention_ms).await;
    database.create(levels()).await.unwrap();
    let every: Vec<Key> = (0..3)
        .flat_map(|tank| (0..40).flat_map(move |minute| (0..FLOATS.len()).map(move |level| (tank, minute, level))))
        .collect();
    let mut model = BTreeMap::new();
    let mut from_files = 0;
    for number in 0..70 {
        let share = rng.below(40) + 1;
        let mut keys: BTreeMap<Key, Key> = BTreeMap::new();
        for key in every.iter().filter(|_| rng.below(share) == 0) {
            // Of keys that are the same, either.
            keys.entry(same(*key)).and_modify(|other| *other = *key).or_insert(*key);
        }
        let keys: Vec<Key> = keys.into_values().collect();
        upsert(&database, &mut model, &keys, number, !rng.one_in(5)).await;
        match rng.below(8) {
            0..=2 => drop(database.tables.flush_all(&database.sequencer).await.unwrap()),
            3 => drop(database.tables.compact(LEVELS, &database.sequencer).await.unwrap()),
            4 => {
                database.sequencer.shutdown().await;
                database = open(&media, history_retention_ms).await;
            }
            // Without room for fingerprints, and with it.
            5 => database.tables.keep_keyed_within(0),
            _ => database.tables.keep_keyed_within(200_000),
        }
        let held = database.tables.stats(LEVELS).unwrap().rows_keyed as usize;
        assert!(held <= model.len());
        from_files += model.len() - held;
        let expected: Vec<Option<i64>> = every.iter().map(|key| model.get(&same(*key)).copied()).collect();
        assert_eq!(numbers_of(&database, &every).await, expected, "after {number} of seed {seed}");
    }
    assert!(from_files > 500, "{from_files} rows came from files");
}

#[tokio::test]
async fn keys_are_found_wherever_their_rows_are() {
    for seed in 0..4 {
        history(seed, if seed % 2 == 0 { 0 } else { 3_600_000 }).await;
    }
}

/// Of a file: fingerprints name the row, fences alone a few hundred.
#[tokio::test]
async fn few_rows_are_looked_at() {
    let media = Media::new(1);
    let database = open(&media, 0).await;
    database.create(trucks()).await.unwrap();
    let rows: Vec<(i64, i64)> = (0..300).map(|id| (id * 2, id)).collect();
    database.insert(TRUCKS, truck_rows(&rows)).await.unwrap();
    database.tables.flush_all(&database.sequencer).await.unwrap();
    let cell = database.tables.cell(TRUCKS).unwrap();
    let version = cell.state.read().version.clone();
    let form = KeyForm::new(&trucks().schema_with_row_id(), &[0]).unwrap();
    let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![0, 1, 510, 511, 512, 598, 599, -1]))];
    let wanted = Wanted::new(&form, &keys).unwrap();
    for (bytes_max, expected) in [(usize::MAX, 4), (0, 300)] {
        let tier = database.tables.tier();
        let lookup = Lookup { tier, form: &cell.form, version: &version, bytes_max, kept_bytes: &|| 0 };
        let file = &version.cold.files[0];
        let of_file = FileKeys::read(&form, &lookup, file, bytes_max > 0).await.unwrap();
        let near: Vec<usize> = (0..8).collect();
        let places = of_file.places(&wanted, &near);
        assert_eq!(places.iter().map(Range::len).sum::<usize>(), expected, "{places:?}");
        // The row before the second fence, the fence, and what lies behind the last.
        let places =
            [2, 4, 6, 7].map(|key| of_file.places(&wanted, &[key]).first().map(|place| (place.start, place.end)));
        match bytes_max {
            0 => assert_eq!(places, [Some((0, 256)), Some((0, 300)), Some((256, 300)), None]),
            _ => assert_eq!(places, [Some((255, 256)), Some((256, 257)), None, None]),
        }
    }
}

/// Keys with a time in them that comes after all files' open none.
#[tokio::test]
async fn files_whose_bounds_leave_a_key_out_are_not_read() {
    let media = Media::new(1);
    let database = open(&media, 0).await;
    database.create(trucks()).await.unwrap();
    for first in [0, 1000, 2000] {
        let rows: Vec<(i64, i64)> = (first..first + 100).map(|id| (id, id)).collect();
        database.insert(TRUCKS, truck_rows(&rows)).await.unwrap();
        database.tables.flush_all(&database.sequencer).await.unwrap();
    }
    database.tables.keep_keyed_within(0);
    database.tables.keep_keyed_within(usize::MAX);
    assert_eq!(database.tables.stats(TRUCKS).unwrap().rows_keyed, 0);
    let cell = database.tables.cell(TRUCKS).unwrap();
    let read = || cell.cold_keys.as_ref().unwrap().files.lock().len();
    let ask = async |ids: Vec<i64>| {
        let keys: ArrayRef = Arc::new(Int64Array::from(ids));
        let (rows, found) = database.tables.lookup_keys(TRUCKS, &[keys]).await.unwrap();
        (rows.num_rows(), found.iter().flatten().count())
    };
    assert_eq!((ask(vec![3000, 3001, 500, -1]).await, read()), ((0, 0), 0));
    assert_eq!((ask(vec![1050, 500]).await, read()), ((1, 1), 1));
    assert_eq!((ask(vec![1050, 1050, 2000]).await, read()), ((2, 3), 2));
    // What was found elsewhere is not looked for in older files.
    database.tables.flush_all(&database.sequencer).await.unwrap();
    assert_eq!((ask(vec![2099, 1000]).await, read()), ((2, 2), 2));
    // Files that a compaction replaced are forgotten.
    assert!(database.tables.compact(TRUCKS, &database.sequencer).await.unwrap().compacted > 1);
    assert_eq!(read(), 0);
    assert_eq!((ask(vec![2099, 1000]).await, read()), ((2, 2), 1));
}
