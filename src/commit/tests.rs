//! Group commit on a simulated disk, under the seeded executor.

mod crash;
mod history;

use std::sync::Arc;

use super::*;
use crate::catalog::{CatalogChange, View};
use crate::error::{Error, Result, SqlState};
use crate::io::{Disk, OsDisk, SystemClock};
use crate::settings::WalSettings;
use crate::testing::{DiskFault, FaultEffect, SimDisk, SimExecutor};
use crate::types::{CommitNumber, RelationId};
use crate::wal::WalTail;
use history::{Collect, deletes, digest, ids_and_values, insert, inserts, table_write};

struct Server {
    disk: SimDisk,
    executor: SimExecutor,
    sequencer: Arc<Sequencer>,
    live: Arc<Collect>,
    writer: tokio::sync::oneshot::Receiver<Result<()>>,
}

fn start(seed: u64, settings: WalSettings) -> Server {
    let disk = SimDisk::new(seed);
    let executor = SimExecutor::new(seed);
    let live = Arc::new(Collect::default());
    let (sequencer, writer) = Sequencer::new(
        settings,
        Arc::new(executor.clock()),
        SequencerStart::default(),
        live.clone(),
        Arc::new(disk.clone()),
        WalTail::default(),
    );
    let writer = executor.spawn(writer.run());
    Server { disk, executor, sequencer, live, writer }
}

fn replayed(disk: &SimDisk) -> Vec<Arc<Commit>> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut commits = Vec::new();
    replay(&disk, CommitNumber(0), CommitNumber(0), &mut |commit| {
        commits.push(commit);
        Ok(())
    })
    .unwrap();
    commits
}

#[tokio::test]
async fn what_is_acknowledged_on_a_real_disk_is_replayed() -> Result<()> {
    let root = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::open(root.path())?);
    let live = Arc::new(Collect::default());
    let (sequencer, writer) = Sequencer::new(
        WalSettings::default(),
        Arc::new(SystemClock::new()),
        SequencerStart::default(),
        live.clone(),
        disk.clone(),
        replay(&disk, CommitNumber(0), CommitNumber(0), &mut |_| Ok(()))?.tail,
    );
    let writer = tokio::spawn(writer.run());
    for i in 0..3 {
        let ((), durable) = sequencer.sequence(insert(i..i + 2), |_| Ok(()))?;
        assert_eq!(durable.await?, CommitNumber(i as u64 + 1));
    }
    assert_eq!(sequencer.durable_head(), CommitNumber(3));
    sequencer.shutdown().await;
    writer.await.unwrap()?;
    let mut again = Vec::new();
    let replayed = replay(&disk, CommitNumber(0), CommitNumber(0), &mut |commit| {
        again.push(commit);
        Ok(())
    })?;
    assert_eq!((replayed.records, replayed.max_row_id), (3, Some(6)));
    assert_eq!(digest(&again), digest(&live.commits()));
    Ok(())
}

#[test]
fn sixteen_writers_share_syncs() {
    let mut server = start(1, WalSettings::default());
    for writer in 0..16 {
        let sequencer = server.sequencer.clone();
        server.executor.spawn(async move {
            for i in 0..20 {
                let value = writer * 100 + i;
                sequencer.sequence(insert(value..value + 1), |_| Ok(())).unwrap().1.await.unwrap();
            }
        });
    }
    let sequencer = server.sequencer.clone();
    let clock = server.executor.clock();
    server.executor.block_on(async move {
        crate::io::Clock::sleep(&clock, std::time::Duration::from_secs(1)).await;
        sequencer.shutdown().await;
    });
    let counters = server.sequencer.counters();
    assert_eq!(counters.writes, 320);
    assert_eq!(counters.syncs, counters.commits);
    assert!((20..=80).contains(&counters.commits), "320 writes in {} commits", counters.commits);
    let rows: usize = replayed(&server.disk).iter().flat_map(|commit| &commit.tables).map(|t| t.delta.num_rows()).sum();
    assert_eq!(rows, 320);
}

#[test]
fn one_group_is_one_commit_with_consecutive_row_ids_and_one_batch_per_table() {
    let mut server = start(1, WalSettings::default());
    let mut firsts = Vec::new();
    for write in [insert(0..2), insert(10..13)] {
        let (first, _) = server
            .sequencer
            .sequence(write, |sequenced| Ok((sequenced.commit, sequenced.first_row_ids.clone())))
            .unwrap();
        firsts.push(first);
    }
    assert_eq!(firsts, [(CommitNumber(1), vec![1]), (CommitNumber(1), vec![3])]);
    assert_eq!(server.sequencer.next_row_id(), 6);
    finish(&mut server);
    let commits = server.live.commits();
    assert_eq!(commits.len(), 1);
    assert_eq!(commits[0].tables.len(), 1);
    assert_eq!(ids_and_values(&commits[0].tables[0].delta), [(1, 0, 1), (2, 1, 1), (3, 10, 1), (4, 11, 1), (5, 12, 1)]);
}

#[test]
fn a_row_inserted_and_deleted_in_one_commit_is_not_in_it() {
    let mut server = start(1, WalSettings::default());
    let writes = [
        insert(0..3),
        Write { tables: vec![table_write(Some(inserts(7..8)), Some(deletes(&[(2, 1)])))], ..Write::default() },
        Write { tables: vec![table_write(None, Some(deletes(&[(4, 7)])))], ..Write::default() },
    ];
    for write in writes {
        server.sequencer.sequence(write, |_| Ok(())).unwrap();
    }
    finish(&mut server);
    assert_eq!(ids_and_values(&server.live.commits()[0].tables[0].delta), [(1, 0, 1), (3, 2, 1)]);
    assert_eq!(digest(&replayed(&server.disk)), digest(&server.live.commits()));
}

#[test]
fn a_commit_whose_rows_all_cancel_has_no_batch() {
    let mut server = start(1, WalSettings::default());
    server.sequencer.sequence(insert(5..6), |_| Ok(())).unwrap();
    let undo = Write { tables: vec![table_write(None, Some(deletes(&[(1, 5)])))], ..Write::default() };
    server.sequencer.sequence(undo, |_| Ok(())).unwrap();
    finish(&mut server);
    let commits = server.live.commits();
    assert_eq!(commits.len(), 1);
    assert!(commits[0].tables.is_empty());
    assert_eq!(replayed(&server.disk).len(), 1);
}

#[test]
fn an_update_is_the_old_row_and_the_new_one() {
    let mut server = start(1, WalSettings::default());
    server.sequencer.sequence(insert(5..6), |_| Ok(())).unwrap();
    // Catalog changes end a group, so that the update is a commit of its own.
    server.sequencer.sequence(create_view("v"), |_| Ok(())).unwrap();
    let update = Write { tables: vec![table_write(Some(inserts(6..7)), Some(deletes(&[(1, 5)])))], ..Write::default() };
    server.sequencer.sequence(update, |_| Ok(())).unwrap();
    finish(&mut server);
    let commits = server.live.commits();
    assert_eq!(commits.len(), 3);
    assert_eq!(commits[1].catalog.len(), 1);
    assert_eq!(ids_and_values(&commits[2].tables[0].delta), [(1, 5, -1), (2, 6, 1)]);
}

#[test]
fn groups_end_at_their_size_and_at_another_schema_version() {
    let mut server = start(1, WalSettings { group_bytes_max: 2_000, ..WalSettings::default() });
    let mut other_version = insert(0..1);
    other_version.tables[0].schema_version = 2;
    let mut numbers = Vec::new();
    for write in [insert(0..1), other_version, insert(0..1000), insert(0..1000)] {
        numbers.push(server.sequencer.sequence(write, |_| Ok(())).unwrap().1.commit().0);
    }
    assert_eq!(numbers, [1, 2, 3, 4]);
    finish(&mut server);
    assert_eq!(server.live.commits().len(), 4);
}

/// A literal's column is not nullable, a query's is; a group of both once ended the log.
#[test]
fn batches_that_differ_in_nullability_share_a_commit_and_other_types_open_the_next() {
    use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
    let mut server = start(1, WalSettings::default());
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(3)]));
    let nulls = RecordBatch::try_from_iter_with_nullable([("value", nulls, true)]).unwrap();
    let other: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let other = RecordBatch::try_from_iter([("value", other)]).unwrap();
    let mut numbers = Vec::new();
    for rows in [inserts(0..1), nulls, other] {
        let write = Write { tables: vec![table_write(Some(rows), None)], ..Write::default() };
        numbers.push(server.sequencer.sequence(write, |_| Ok(())).unwrap().1.commit().0);
    }
    assert_eq!(numbers, [1, 1, 2]);
    finish(&mut server);
    assert_eq!(server.live.commits()[0].tables[0].delta.num_rows(), 3);
    assert_eq!(digest(&replayed(&server.disk)), digest(&server.live.commits()));
}

#[test]
fn what_apply_refuses_did_not_happen() {
    let mut server = start(1, WalSettings::default());
    let refused = server.sequencer.sequence(insert(0..5), |_| -> Result<()> {
        Err(Error::new(SqlState::UNDEFINED_TABLE, "relation \"t\" does not exist"))
    });
    assert_eq!(refused.unwrap_err().state(), SqlState::UNDEFINED_TABLE);
    let (first, _) = server.sequencer.sequence(insert(0..1), |s| Ok((s.commit, s.first_row_ids[0]))).unwrap();
    assert_eq!(first, (CommitNumber(1), 1));
    finish(&mut server);
    assert_eq!(server.live.commits().len(), 1);
}

#[test]
fn a_failed_sync_is_written_again_and_only_then_acknowledged() {
    for effect in [FaultEffect::Before, FaultEffect::After] {
        let mut server = start(3, WalSettings::default());
        let sequencer = server.sequencer.clone();
        // create_dir, create, append, sync, sync_dir of the segment; append, sync of commit 1; append, sync of commit 2.
        server.disk.fault_at(8, DiskFault::Fail(effect));
        server.executor.block_on(async move {
            for value in 0..3 {
                sequencer.sequence(insert(value..value + 1), |_| Ok(())).unwrap().1.await.unwrap();
            }
        });
        let counters = server.sequencer.counters();
        assert_eq!((counters.commits, counters.syncs, counters.retries), (3, 4, 1));
        assert_eq!(server.disk.contents().len(), 2);
        server.disk.restart();
        assert_eq!(digest(&replayed(&server.disk)), digest(&server.live.commits()));
    }
}

#[test]
fn a_disk_that_stays_broken_ends_the_log_with_its_error() {
    let mut server = start(3, WalSettings::default());
    let sequencer = server.sequencer.clone();
    let disk = server.disk.clone();
    server.executor.block_on(async move {
        sequencer.sequence(insert(0..1), |_| Ok(())).unwrap().1.await.unwrap();
        disk.pull_plug();
        let error = sequencer.sequence(insert(1..2), |_| Ok(())).unwrap().1.await.unwrap_err();
        assert_eq!(error.state(), SqlState::IO_ERROR);
        let error = sequencer.sequence(insert(2..3), |_| Ok(())).unwrap_err();
        assert_eq!(error.state(), SqlState::IO_ERROR);
        assert_eq!(sequencer.durable_head(), CommitNumber(1));
        sequencer.shutdown().await;
    });
    assert_eq!(server.writer.try_recv().unwrap().unwrap_err().state(), SqlState::IO_ERROR);
    assert_eq!(server.live.commits().len(), 1);
}

#[test]
fn shutdown_makes_durable_what_was_sequenced_and_takes_no_more() {
    let mut server = start(3, WalSettings::default());
    let (_, durable) = server.sequencer.sequence(insert(0..1), |_| Ok(())).unwrap();
    finish(&mut server);
    assert_eq!(server.executor.block_on(durable).unwrap(), CommitNumber(1));
    let refused = server.sequencer.sequence(insert(0..1), |_| Ok(())).unwrap_err();
    assert_eq!(refused.state(), SqlState::ADMIN_SHUTDOWN);
    assert!(server.writer.try_recv().unwrap().is_ok());
}

#[test]
fn nobody_waits_for_a_writer_that_is_gone() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let mut executor = SimExecutor::new(1);
    let clock = Arc::new(executor.clock());
    let start = SequencerStart::default();
    let (sequencer, writer) =
        Sequencer::new(WalSettings::default(), clock, start, Arc::new(Collect::default()), disk, WalTail::default());
    let (_, durable) = sequencer.sequence(insert(0..1), |_| Ok(())).unwrap();
    drop(writer);
    assert_eq!(executor.block_on(durable).unwrap_err().state(), SqlState::ADMIN_SHUTDOWN);
    executor.block_on(async move { sequencer.shutdown().await });
}

#[test]
fn at_head_sees_exactly_what_is_published() {
    let mut server = start(5, WalSettings::default());
    for writer in 0..4 {
        let (sequencer, live) = (server.sequencer.clone(), server.live.clone());
        server.executor.spawn(async move {
            for i in 0..10 {
                let (_, durable) = sequencer.sequence(insert(writer + i..writer + i + 1), |_| Ok(())).unwrap();
                sequencer.at_head(|head| assert_eq!(live.commits().len() as u64, head.0));
                let acknowledged = durable.await.unwrap();
                sequencer.at_head(|head| assert!(head >= acknowledged));
            }
        });
    }
    while server.executor.step() {}
    finish(&mut server);
    let commits = server.live.commits();
    assert!(commits.is_sorted_by(|a, b| a.number.next() == b.number && a.timestamp_us < b.timestamp_us));
}

fn create_view(name: &str) -> Write {
    let view = View {
        id: RelationId(20_000),
        name: name.to_string(),
        sql: "SELECT 1".to_string(),
        columns: vec![],
        depends_on: vec![],
    };
    Write { catalog: vec![CatalogChange::CreateView(Arc::new(view))], ..Write::default() }
}

fn finish(server: &mut Server) {
    let sequencer = server.sequencer.clone();
    server.executor.block_on(async move { sequencer.shutdown().await });
}
