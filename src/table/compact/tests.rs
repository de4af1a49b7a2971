//! Fewer files, the same rows; readers keep what they read; what nobody needs goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use futures::TryStreamExt;
use object_store::ObjectStore;

use super::*;
use crate::catalog::CatalogChange;
use crate::io::SystemClock;
use crate::settings::TableSettings;
use crate::table::tests::{Database, Media, READINGS, TRUCKS, collect, reading_rows, readings, truck_rows, trucks};
use crate::tier::MANIFESTS_KEPT;

async fn open(media: &Media) -> Database {
    open_with(media, TableSettings::default()).await
}

async fn open_with(media: &Media, settings: TableSettings) -> Database {
    let spawn = |task| {
        tokio::spawn(task);
    };
    let settings = TableSettings { compact_files_min: 3, file_rows_max: 5000, ..settings };
    Database::open(media, Arc::new(SystemClock::new()), settings, &spawn).await.unwrap()
}

async fn files(media: &Media) -> BTreeSet<String> {
    let objects: Vec<_> = media.store.list(Some(&"data".into())).try_collect().await.unwrap();
    objects.iter().map(|object| object.location.to_string()).collect()
}

async fn ids(database: &Database, table: RelationId) -> Vec<RowId> {
    let snapshot = database.at_head(table);
    let rows = collect(&snapshot, None).await;
    assert_eq!(snapshot.row_count(), rows.num_rows());
    let mut ids = row_ids(&rows).unwrap().values().to_vec();
    ids.sort_unstable();
    ids
}

/// `count` flushed files of `rows` readings each.
async fn flushed_files(database: &Database, count: usize, rows: i64) {
    database.create(readings()).await.unwrap();
    for _ in 0..count {
        database.insert(READINGS, reading_rows(&(0..rows).collect::<Vec<_>>())).await.unwrap();
        database.tables.flush_all(&database.sequencer).await.unwrap();
    }
}

async fn delete(database: &Database, table: RelationId, ids: std::ops::Range<i64>) {
    let rows = database.rows_of(table, &ids.collect()).await;
    database.change(table, None, Some(rows)).await.unwrap();
}

#[tokio::test]
async fn small_files_become_one_and_deletions_are_folded_in() {
    let media = Media::new(1);
    let database = open(&media).await;
    flushed_files(&database, 5, 20).await;
    assert_eq!(due(&database.tables), Some(READINGS));
    // Flushed, and not flushed: only what the manifest has is folded.
    delete(&database, READINGS, 10..30).await;
    database.tables.flush_all(&database.sequencer).await.unwrap();
    delete(&database, READINGS, 60..65).await;
    let before = ids(&database, READINGS).await;
    let report = database.tables.compact(READINGS, &database.sequencer).await.unwrap();
    assert_eq!((report.compacted, report.files, report.rows, report.tombstones), (5, 1, 80, 20));
    let stats = database.tables.stats(READINGS).unwrap();
    assert_eq!((stats.files, stats.rows_cold, stats.tombstones), (1, 80, 5));
    assert_eq!(ids(&database, READINGS).await, before);
    assert_eq!(due(&database.tables), None, "nothing to gain");
    // The log brings the later deletions again, and they find their rows.
    database.sequencer.shutdown().await;
    let again = open(&media).await;
    assert_eq!(ids(&again, READINGS).await, before);
    assert_eq!(again.tables.stats(READINGS).unwrap().files, 1);
    again.tables.flush_all(&again.sequencer).await.unwrap();
    again.sequencer.shutdown().await;
    assert_eq!(ids(&open(&media).await, READINGS).await, before);
}

/// Of each file a row at a time is in memory.
#[tokio::test]
async fn files_are_merged_whatever_fits_in_memory() {
    let media = Media::new(1);
    let database = open_with(&media, TableSettings { piece_bytes_max: 1, ..TableSettings::default() }).await;
    database.create(readings()).await.unwrap();
    let minutes = |place: i64| (0..100).map(|n| (n * 7 + place * 3) % 100).collect::<Vec<_>>();
    for place in 0..4 {
        database.insert(READINGS, reading_rows(&minutes(place))).await.unwrap();
        database.tables.flush_all(&database.sequencer).await.unwrap();
    }
    delete(&database, READINGS, 90..111).await;
    database.tables.flush_all(&database.sequencer).await.unwrap();
    let before = ids(&database, READINGS).await;
    let report = database.tables.compact(READINGS, &database.sequencer).await.unwrap();
    assert_eq!((report.compacted, report.files, report.rows, report.tombstones), (4, 1, 379, 21));
    assert_eq!(ids(&database, READINGS).await, before);
    let snapshot = database.at_head(READINGS);
    let [file] = snapshot.files() else { panic!("one file: {:?}", snapshot.files()) };
    assert_eq!((file.row_id_min, file.row_id_max), (1, 400));
    let rows = collect(&snapshot, None).await;
    let times = rows.column(1).as_primitive::<TimestampMicrosecondType>().values().iter();
    let order: Vec<_> = times.zip(row_ids(&rows).unwrap().values()).collect();
    assert!(order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn a_key_keeps_its_row_through_a_compaction() {
    let media = Media::new(1);
    let database = open(&media).await;
    database.create(trucks()).await.unwrap();
    for load in 0..4 {
        let rows: Vec<(i64, i64)> = (load * 5..load * 5 + 5).map(|id| (id, load)).collect();
        database.insert(TRUCKS, truck_rows(&rows)).await.unwrap();
        database.tables.flush_all(&database.sequencer).await.unwrap();
    }
    delete(&database, TRUCKS, 1..4).await;
    database.tables.flush_all(&database.sequencer).await.unwrap();
    let report = database.tables.compact(TRUCKS, &database.sequencer).await.unwrap();
    assert_eq!((report.compacted, report.tombstones), (4, 3));
    // The keys of the deleted rows are free, the others' are not.
    database.insert(TRUCKS, truck_rows(&[(0, 9), (1, 9), (2, 9)])).await.unwrap();
    assert!(database.insert(TRUCKS, truck_rows(&[(7, 9)])).await.is_err());
    let kept = ids(&database, TRUCKS).await;
    database.sequencer.shutdown().await;
    let again = open(&media).await;
    assert_eq!(ids(&again, TRUCKS).await, kept);
    assert_eq!(again.tables.stats(TRUCKS).unwrap().rows_keyed, 20);
}

#[tokio::test]
async fn files_of_which_much_is_deleted_are_written_anew() {
    let media = Media::new(1);
    let database = open(&media).await;
    flushed_files(&database, 2, 3000).await;
    delete(&database, READINGS, 1..1502).await;
    assert_eq!(due(&database.tables), None, "not in the manifest yet");
    database.tables.flush_all(&database.sequencer).await.unwrap();
    assert_eq!(due(&database.tables), Some(READINGS));
    let report = database.tables.compact(READINGS, &database.sequencer).await.unwrap();
    assert_eq!((report.compacted, report.rows, report.tombstones), (1, 1499, 1501));
    assert_eq!(database.tables.stats(READINGS).unwrap().tombstones, 0);
    assert_eq!(due(&database.tables), None);
    // A file of which nothing is left is no file.
    delete(&database, READINGS, 1502..6001).await;
    database.tables.flush_all(&database.sequencer).await.unwrap();
    while due(&database.tables).is_some() {
        database.tables.compact(READINGS, &database.sequencer).await.unwrap();
    }
    let stats = database.tables.stats(READINGS).unwrap();
    assert_eq!((stats.rows_cold, stats.files, stats.tombstones), (0, 0, 0));
}

#[tokio::test]
async fn a_file_goes_once_no_manifest_and_no_reader_needs_it() {
    let media = Media::new(1);
    let database = open(&media).await;
    flushed_files(&database, 3, 20).await;
    let old = files(&media).await;
    let reader = database.at_head(READINGS);
    database.tables.compact(READINGS, &database.sequencer).await.unwrap();
    let publish = async || {
        database.insert(READINGS, reading_rows(&[1])).await.unwrap();
        database.tables.flush_all(&database.sequencer).await.unwrap();
    };
    for _ in 0..MANIFESTS_KEPT + 2 {
        publish().await;
    }
    assert!(files(&media).await.is_superset(&old), "they are being read");
    assert_eq!(collect(&reader, None).await.num_rows(), 60);
    drop(reader);
    publish().await;
    assert!(files(&media).await.is_disjoint(&old), "nobody needs them");
    assert_eq!(ids(&database, READINGS).await.len(), 60 + MANIFESTS_KEPT + 3);
}

/// The newest manifest may be damaged one day: an older one takes its place, and needs its files.
/// The version that is read was replaced by one with a file more, and that one by one without those that both had.
#[tokio::test]
async fn a_file_stays_for_a_reader_from_before_a_flush_that_added_one() {
    let media = Media::new(1);
    let database = open(&media).await;
    flushed_files(&database, 3, 20).await;
    let old = files(&media).await;
    let reader = database.at_head(READINGS);
    let publish = async || {
        database.insert(READINGS, reading_rows(&[1])).await.unwrap();
        database.tables.flush_all(&database.sequencer).await.unwrap();
    };
    publish().await;
    database.tables.compact(READINGS, &database.sequencer).await.unwrap();
    for _ in 0..MANIFESTS_KEPT + 2 {
        publish().await;
    }
    assert!(files(&media).await.is_superset(&old), "they are being read");
    assert_eq!(collect(&reader, None).await.num_rows(), 60);
    drop(reader);
    publish().await;
    assert!(files(&media).await.is_disjoint(&old), "nobody needs them");
}

#[tokio::test]
async fn files_of_the_manifests_that_are_kept_stay() {
    let media = Media::new(1);
    let database = open(&media).await;
    flushed_files(&database, 3, 20).await;
    let old = files(&media).await;
    database.tables.compact(READINGS, &database.sequencer).await.unwrap();
    for publication in 1..=MANIFESTS_KEPT + 1 {
        assert_eq!(files(&media).await.is_superset(&old), publication <= MANIFESTS_KEPT, "{publication}");
        database.insert(READINGS, reading_rows(&[1])).await.unwrap();
        database.tables.flush_all(&database.sequencer).await.unwrap();
        let kept = database.tables.tier.manifest_numbers().await.unwrap();
        for number in kept {
            let manifest = database.tables.tier.read_manifest(number).await.unwrap();
            let there = files(&media).await;
            assert!(manifest.paths().all(|path| there.contains(path)), "manifest {number} lacks a file");
        }
    }
}

/// A reader that began before the DROP reads on; then the files go, and no start is needed for it.
#[tokio::test]
async fn files_of_a_dropped_table_go_while_the_server_runs() {
    let media = Media::new(1);
    let database = open(&media).await;
    flushed_files(&database, 2, 20).await;
    database.create(trucks()).await.unwrap();
    let old = files(&media).await;
    let reader = database.at_head(READINGS);
    database.define(CatalogChange::Drop(READINGS)).await.unwrap();
    let publish = async |load: i64| {
        database.insert(TRUCKS, truck_rows(&[(load, load)])).await.unwrap();
        database.tables.flush_all(&database.sequencer).await.unwrap();
    };
    for load in 0..MANIFESTS_KEPT as i64 + 2 {
        publish(load).await;
    }
    assert!(files(&media).await.is_superset(&old), "they are being read");
    assert_eq!(collect(&reader, None).await.num_rows(), 40);
    drop(reader);
    publish(99).await;
    assert!(files(&media).await.is_disjoint(&old), "nobody needs them");
}
