//! What a flush writes, what it survives, what it refuses.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::*;
use crate::io::SystemClock;
use crate::settings::TableSettings;
use crate::table::tests::{Database, Media, READINGS, TRUCKS, reading_rows, readings, truck_rows, trucks};
use crate::tier::Bound;

async fn open(media: &Media, settings: TableSettings) -> Result<Database> {
    let spawn = |task| {
        tokio::spawn(task);
    };
    Database::open(media, Arc::new(SystemClock::new()), settings, &spawn).await
}

async fn paths(media: &Media, directory: &str) -> Vec<String> {
    let objects: Vec<_> = media.store.list(Some(&directory.into())).try_collect().await.unwrap();
    let mut paths: Vec<String> = objects.iter().map(|object| object.location.to_string()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn a_report_says_what_was_written_and_the_manifest_knows_the_bounds() -> Result<()> {
    let media = Media::new(1);
    let settings = TableSettings { file_rows_max: 30, ..TableSettings::default() };
    let database = open(&media, settings).await?;
    database.create(readings()).await?;
    database.insert(READINGS, reading_rows(&(0..70).collect::<Vec<_>>())).await?;
    let report = database.tables.flush_all(&database.sequencer).await?;
    assert_eq!((report.manifest, report.rows, report.files, report.tombstones), (1, 70, 3, 0));
    let manifest = Tier::new(media.store.clone()).load().await?.manifest;
    let files = &manifest.tables[&READINGS].files;
    assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [30, 30, 10]);
    assert_eq!((files[1].row_id_min, files[1].row_id_max), (31, 60));
    assert_eq!((files[1].commit_min, files[1].commit_max), (CommitNumber(2), CommitNumber(2)));
    assert_eq!(files[1].columns[0].min, Some(Bound::Text("device-0".to_string())));
    assert_eq!(files[1].columns[1].min, Some(Bound::Int(30 * 60_000_000)));
    assert_eq!(files[1].columns[2].max, Some(Bound::Float("59".to_string())));
    assert_eq!(files[1].columns[3], crate::tier::ColumnBounds::default());
    assert_eq!(manifest.next_row_id, 71);
    assert_eq!(manifest.catalog.find("readings").map(|relation| relation.id()), Some(READINGS));
    Ok(())
}

#[tokio::test]
async fn a_flush_that_finds_another_servers_manifest_leaves_everything_hot_and_ends_writing() -> Result<()> {
    let media = Media::new(1);
    let database = open(&media, TableSettings::default()).await?;
    database.create(trucks()).await?;
    database.insert(TRUCKS, truck_rows(&[(1, 1)])).await?;
    let taken = object_store::path::Path::from(Manifest::path(1));
    media.store.put(&taken, PutPayload::from_static(b"of another server")).await?;
    let error = database.tables.flush_all(&database.sequencer).await.unwrap_err();
    assert_eq!(error.state(), SqlState::OBJECT_IN_USE);
    assert_eq!(database.tables.stats(TRUCKS)?.rows_cold, 0);
    let error = database.insert(TRUCKS, truck_rows(&[(2, 2)])).await.unwrap_err();
    assert_eq!(error.state(), SqlState::OBJECT_IN_USE);
    assert_eq!(database.at_head(TRUCKS).row_count(), 1);
    Ok(())
}

#[tokio::test]
async fn tombstone_files_and_manifests_do_not_pile_up() -> Result<()> {
    let media = Media::new(1);
    let database = open(&media, TableSettings::default()).await?;
    database.create(trucks()).await?;
    let rows: Vec<(i64, i64)> = (1..=40).map(|id| (id, 0)).collect();
    database.insert(TRUCKS, truck_rows(&rows)).await?;
    for id in 1..=30_i64 {
        database.tables.flush_all(&database.sequencer).await?;
        let keys: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![id]));
        let (old, _) = database.tables.lookup_keys(TRUCKS, &[keys]).await?;
        database.change(TRUCKS, None, Some(old)).await?;
    }
    database.tables.flush_all(&database.sequencer).await?;
    assert_eq!(paths(&media, "manifest").await.len(), 8);
    let manifest = Tier::new(media.store.clone()).load().await?.manifest;
    assert!(manifest.tables[&TRUCKS].tombstone_files.len() <= TOMBSTONE_FILES_MAX);
    database.sequencer.shutdown().await;
    let again = open(&media, TableSettings::default()).await?;
    assert_eq!(again.at_head(TRUCKS).row_count(), 10);
    assert_eq!(again.tables.stats(TRUCKS)?.rows_keyed, 10);
    // The tombstone files that were merged are gone, and nothing else.
    assert_eq!(paths(&media, "data").await.len(), manifest.paths().count());
    Ok(())
}

#[tokio::test]
async fn orphans_go_and_a_log_without_its_manifest_is_refused() -> Result<()> {
    let media = Media::new(1);
    let database = open(&media, TableSettings::default()).await?;
    database.create(trucks()).await?;
    database.insert(TRUCKS, truck_rows(&[(1, 1)])).await?;
    let orphan = object_store::path::Path::from(Tier::rows_path(TRUCKS, 1, 0, 7));
    media.store.put(&orphan, PutPayload::from_static(b"a flush that never came to its manifest")).await?;
    database.tables.flush_all(&database.sequencer).await?;
    database.sequencer.shutdown().await;
    open(&media, TableSettings::default()).await?.sequencer.shutdown().await;
    assert_eq!(paths(&media, "data").await.len(), 1);
    media.store.delete(&object_store::path::Path::from(Manifest::path(1))).await?;
    let error = open(&media, TableSettings::default()).await.map(|_| ()).unwrap_err();
    assert_eq!(error.state(), SqlState::DATA_CORRUPTED, "{error:?}");
    Ok(())
}

/// A flush of one table named a new, unflushed one in its manifest as cold up to commit 0; the log no longer went back so
/// far, and the next start was refused.
#[tokio::test]
async fn a_new_table_does_not_ask_for_commits_that_the_log_forgot() -> Result<()> {
    let media = Media::new(1);
    let database = open(&media, TableSettings::default()).await?;
    database.create(readings()).await?;
    for _ in 0..4 {
        // More than a segment each time, so that the log is cut.
        database.insert(READINGS, reading_rows(&(0..200).collect::<Vec<_>>())).await?;
        database.tables.flush_all(&database.sequencer).await?;
    }
    database.create(trucks()).await?;
    database.insert(TRUCKS, truck_rows(&[(1, 1)])).await?;
    database.insert(READINGS, reading_rows(&[1])).await?;
    database.tables.flush(READINGS, &database.sequencer).await?;
    database.sequencer.shutdown().await;
    assert!(!media.disk.contents().keys().any(|name| name.contains("0001.log")), "the log was not cut");
    let again = open(&media, TableSettings::default()).await?;
    assert_eq!((again.at_head(READINGS).row_count(), again.at_head(TRUCKS).row_count()), (801, 1));
    Ok(())
}

#[tokio::test]
async fn rows_written_while_a_flush_runs_stay_hot() -> Result<()> {
    let media = Media::new(1);
    let database = open(&media, TableSettings::default()).await?;
    database.create(readings()).await?;
    database.insert(READINGS, reading_rows(&[1])).await?;
    let (report, late) =
        tokio::join!(database.tables.flush_all(&database.sequencer), database.insert(READINGS, reading_rows(&[2, 3])));
    let (report, late) = (report?, late?);
    let stats = database.tables.stats(READINGS)?;
    let cold = if late <= report.flushed { 3 } else { 1 };
    assert_eq!((stats.rows_cold, stats.rows_hot), (cold, 3 - cold));
    assert_eq!(database.at_head(READINGS).row_count(), 3);
    Ok(())
}
