//! A backup is one commit, whatever is written meanwhile; a restore is the same rows, or is refused.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutResult, Result as StoreResult,
};
use tokio::sync::Notify;

use super::*;
use crate::catalog::CatalogChange;
use crate::io::SystemClock;
use crate::table::tests::{Database, Media, READINGS, TRUCKS, collect, reading_rows, readings, truck_rows, trucks};

async fn open(media: &Media) -> Database {
    let spawn = |task| {
        tokio::spawn(task);
    };
    Database::open(media, Arc::new(SystemClock::new()), TableSettings::default(), &spawn).await.unwrap()
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// Says that a file arrives, and takes the first one only when it may go on.
#[derive(Debug)]
struct Waiting {
    objects: InMemory,
    copying: Arc<Notify>,
    goes_on: Arc<Notify>,
    first: AtomicBool,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

#[async_trait]
impl ObjectStore for Waiting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        if self.first.swap(false, Ordering::Relaxed) {
            self.copying.notify_one();
            self.goes_on.notified().await;
        }
        self.objects.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

/// Hot rows, cold rows, deletions of both.
async fn filled(media: &Media) -> Database {
    let database = open(media).await;
    database.create(readings()).await.unwrap();
    database.create(trucks()).await.unwrap();
    for round in 0..3 {
        database.insert(READINGS, reading_rows(&(0..50).collect::<Vec<_>>())).await.unwrap();
        database.insert(TRUCKS, truck_rows(&[(round, 1), (round + 10, 2)])).await.unwrap();
        if round < 2 {
            database.tables.flush_all(&database.sequencer).await.unwrap();
        }
        let rows = database.rows_of(READINGS, &(round * 10 + 1..round * 10 + 8).collect()).await;
        database.change(READINGS, None, Some(rows)).await.unwrap();
    }
    database
}

#[tokio::test]
async fn a_restored_backup_has_the_rows_of_its_commit() {
    let media = Media::new(1);
    let database = filled(&media).await;
    let expected = collect(&database.at_head(READINGS), None).await.num_rows();
    let backups: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let backup = database.tables.backup(backups.clone(), &database.sequencer).await.unwrap();
    assert_eq!(backup.tables[&READINGS].rows, expected as u64);
    assert_eq!(backup.tables[&TRUCKS].rows, 6);
    // What comes later is not in it.
    database.insert(READINGS, reading_rows(&[1, 2, 3])).await.unwrap();
    let other = Media::new(2);
    let restored = restore_backup(backups.clone(), other.store.clone(), clock()).await.unwrap();
    assert_eq!(restored, backup);
    let again = open(&other).await;
    assert_eq!(collect(&again.at_head(READINGS), None).await.num_rows(), expected);
    assert_eq!(again.tables.durable().commit, backup.commit);
    again.insert(TRUCKS, truck_rows(&[(77, 7)])).await.unwrap();
    assert!(again.insert(TRUCKS, truck_rows(&[(1, 7)])).await.is_err(), "its key is there");
    // Neither place may hold anything.
    let error = database.tables.backup(backups.clone(), &database.sequencer).await.unwrap_err();
    assert_eq!(error.state(), SqlState::OBJECT_IN_USE);
    let error = restore_backup(backups, other.store.clone(), clock()).await.unwrap_err();
    assert_eq!(error.state(), SqlState::OBJECT_IN_USE);
}

/// Writers move one between two tables in one commit: whatever the commit, the sum is the same.
#[tokio::test]
async fn a_backup_is_one_commit_while_writes_go_on() {
    let media = Media::new(1);
    let database = filled(&media).await;
    let writing = database.clone();
    let writer = tokio::spawn(async move {
        for id in 100..180 {
            let write = |table, rows| crate::commit::TableWrite {
                table,
                schema_version: 1,
                inserts: Some(rows),
                deletes: None,
            };
            let tables = vec![write(READINGS, reading_rows(&[id])), write(TRUCKS, truck_rows(&[(id, 0)]))];
            writing.write(crate::commit::Write { tables, ..Default::default() }).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let base = (collect(&database.at_head(READINGS), None).await.num_rows() as u64, 6);
    for _ in 0..5 {
        let target: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let backup = database.tables.backup(target.clone(), &database.sequencer).await.unwrap();
        let (readings, trucks) = (backup.tables[&READINGS].rows, backup.tables[&TRUCKS].rows);
        assert!(readings >= base.0 && trucks >= base.1);
        assert_eq!(readings - trucks, 129 - 6, "both tables at one commit");
        restore_backup(target, Arc::new(InMemory::new()), clock()).await.unwrap();
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

/// A table is dropped, and another one flushed and compacted, while the backup copies their files.
#[tokio::test]
async fn a_table_that_is_dropped_meanwhile_is_whole_in_the_backup() {
    let media = Media::new(1);
    let database = filled(&media).await;
    let rows = collect(&database.at_head(READINGS), None).await.num_rows() as u64;
    let (copying, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let target = Arc::new(Waiting {
        objects: InMemory::new(),
        copying: copying.clone(),
        goes_on: dropped.clone(),
        first: AtomicBool::new(true),
    });
    let (tables, sequencer) = (database.tables.clone(), database.sequencer.clone());
    let backed_up = tokio::spawn({
        let target = target.clone();
        async move { tables.backup(target, &sequencer).await }
    });
    // Its first file arrives.
    copying.notified().await;
    database.define(CatalogChange::Drop(READINGS)).await.unwrap();
    for id in 200..208 {
        database.insert(TRUCKS, truck_rows(&[(id, 1)])).await.unwrap();
        database.tables.flush_all(&database.sequencer).await.unwrap();
        database.tables.compact(TRUCKS, &database.sequencer).await.unwrap();
    }
    assert!(database.tables.snapshot(READINGS, CommitNumber::MAX).is_err(), "it is gone here");
    dropped.notify_one();
    let backup = backed_up.await.unwrap().unwrap();
    assert_eq!((backup.tables[&READINGS].rows, backup.tables[&TRUCKS].rows), (rows, 6));
    let other = Media::new(2);
    assert_eq!(restore_backup(target, other.store.clone(), clock()).await.unwrap(), backup);
    let again = open(&other).await;
    assert_eq!(collect(&again.at_head(READINGS), None).await.num_rows() as u64, rows);
    assert_eq!(again.tables.durable().commit, backup.commit);
}

#[tokio::test]
async fn a_damaged_backup_is_refused() {
    let media = Media::new(1);
    let database = filled(&media).await;
    let backups = Arc::new(InMemory::new());
    database.tables.backup(backups.clone(), &database.sequencer).await.unwrap();
    let objects: Vec<_> = backups.list(None).try_collect().await.unwrap();
    assert!(objects.len() > 4);
    for object in objects {
        let damaged = backups.fork();
        let mut bytes = backups.get(&object.location).await.unwrap().bytes().await.unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        damaged.put(&object.location, bytes.into()).await.unwrap();
        let error = restore_backup(Arc::new(damaged), Arc::new(InMemory::new()), clock()).await.unwrap_err();
        assert_eq!(error.state(), SqlState::DATA_CORRUPTED, "{}: {error:?}", object.location);
    }
    let error = restore_backup(Arc::new(InMemory::new()), Arc::new(InMemory::new()), clock()).await.unwrap_err();
    assert_eq!(error.state(), SqlState::INVALID_PARAMETER);
}
