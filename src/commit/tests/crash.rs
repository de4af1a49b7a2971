//! A history of 200 operations by four writers: the same seed gives the same bytes, and a crash at any I/O call breaks
//! no promise.

use std::sync::Arc;

use parking_lot::Mutex;

use super::history::{Collect, Ledger, Rows, digest, play, write_history};
use crate::commit::{Commit, Sequencer, SequencerStart, replay};
use crate::io::Disk;
use crate::settings::WalSettings;
use crate::testing::{CrashScenario, SimDisk, SimExecutor, SimRng, crash_everywhere};
use crate::types::CommitNumber;
use crate::wal::WalTail;

const WRITERS: u64 = 4;
const OPERATIONS: usize = 200;
/// Polls of tasks after which the first process is killed: about half of the operations.
const STEPS_BEFORE_KILL: usize = 200;

struct Witness {
    ledger: Arc<Mutex<Ledger>>,
    live: Vec<Arc<Commit>>,
    trace: u64,
}

/// Opens the disk and lets four writers write, until they are done, or have run `steps_max` steps, or the machine dies.
fn one_life(disk: &SimDisk, seed: u64, ledger: &Arc<Mutex<Ledger>>, operations: usize, steps_max: usize) -> Witness {
    let mut executor = SimExecutor::new(seed);
    let live = Arc::new(Collect::default());
    let Some((start, tail)) = open(disk, ledger) else {
        assert!(disk.is_crashed(), "it does not open");
        return Witness { ledger: ledger.clone(), live: vec![], trace: 0 };
    };
    let (sequencer, writer) = Sequencer::new(
        WalSettings { segment_bytes_max: 16 << 10, ..WalSettings::default() },
        Arc::new(executor.clock()),
        start,
        live.clone(),
        Arc::new(disk.clone()),
        tail,
    );
    executor.spawn(writer.run());
    let (spawner, shared) = (executor.spawner(), ledger.clone());
    let history = async move {
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let rng = SimRng::new(seed ^ (writer << 32));
            let share = operations / WRITERS as usize;
            writers.push(spawner.spawn(write_history(sequencer.clone(), shared.clone(), rng, share)));
        }
        futures::future::join_all(writers).await;
        sequencer.shutdown().await;
    };
    let mut steps = 0;
    let ended = executor.run(history, || {
        steps += 1;
        disk.is_crashed() || steps > steps_max
    });
    assert!(ended.is_some() || disk.is_crashed() || steps > steps_max, "the history came to a standstill");
    Witness { ledger: ledger.clone(), live: live.commits(), trace: executor.trace_digest() }
}

/// What a start finds must be what the ledger says of it; later commits never happened.
fn open(disk: &SimDisk, ledger: &Mutex<Ledger>) -> Option<(SequencerStart, WalTail)> {
    let mut ledger = ledger.lock();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut found = Vec::new();
    let replayed = replay(&shared, ledger.flushed, ledger.flushed, &mut |commit| {
        found.push(commit);
        Ok(())
    })
    .ok()?;
    assert!(replayed.last_commit >= ledger.acknowledged);
    ledger.forget_after(replayed.last_commit);
    assert_eq!(play(ledger.rows_at(ledger.flushed), &found), ledger.rows);
    let manifest = SequencerStart { next_commit: ledger.flushed.next(), ..start_of(&ledger) };
    Some((replayed.start(manifest), replayed.tail))
}

/// A manifest remembers the ids given in commits that the log may have forgotten.
fn start_of(ledger: &Ledger) -> SequencerStart {
    let start = SequencerStart::default();
    SequencerStart { next_row_id: ledger.rows.keys().last().map_or(start.next_row_id, |id| id + 1), ..start }
}

struct WalAndCommit;

impl CrashScenario for WalAndCommit {
    type Witness = Witness;

    fn live(&self, disk: &SimDisk, seed: u64) -> Witness {
        let ledger = Arc::default();
        let killed = one_life(disk, seed, &ledger, OPERATIONS, STEPS_BEFORE_KILL);
        if disk.is_crashed() {
            return killed;
        }
        disk.kill_process();
        let mut witness = one_life(disk, seed + 1, &ledger, OPERATIONS / 2, usize::MAX);
        witness.live.splice(0..0, killed.live);
        witness
    }

    fn check(&self, disk: &SimDisk, seed: u64, witness: Witness) {
        check_promises(disk, &witness);
        let next = one_life(disk, seed + 2, &witness.ledger, 20, usize::MAX);
        disk.restart();
        check_promises(disk, &next);
    }
}

/// What is on the disk: every acknowledged and every published commit, each as it was, and whole commits only.
/// Returns the last.
fn check_promises(disk: &SimDisk, witness: &Witness) -> CommitNumber {
    let ledger = witness.ledger.lock();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut found = Vec::new();
    let replayed = replay(&shared, ledger.flushed, ledger.flushed, &mut |commit| {
        found.push(commit);
        Ok(())
    })
    .unwrap();
    let last = replayed.last_commit;
    assert!(last >= ledger.acknowledged, "commit {} was acknowledged, the log ends at {last}", ledger.acknowledged);
    let published = digest(&witness.live);
    let on_disk = digest(&found);
    for commit in published.iter().filter(|commit| commit.0 > ledger.flushed.0) {
        assert!(on_disk.contains(commit), "commit {} was published and is not what it was", commit.0);
    }
    assert!(found.iter().all(|commit| ledger.writes_of(commit.number) > 0), "a commit that nobody wrote");
    let rows: Rows = play(ledger.rows_at(ledger.flushed), &found);
    assert_eq!(rows, ledger.rows_at(last), "whole commits up to {last}, and nothing else");
    last
}

#[test]
fn the_same_seed_twice_gives_the_same_commits_and_the_same_bytes() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        let witness = one_life(&disk, seed, &Arc::default(), OPERATIONS, usize::MAX);
        (witness.trace, digest(&witness.live), disk.contents())
    };
    assert!(run(11) == run(11));
    assert!(run(11).0 != run(12).0);
}

#[test]
fn replay_equals_live_over_many_seeds() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let witness = one_life(&disk, seed, &Arc::default(), OPERATIONS, usize::MAX);
        assert!(check_promises(&disk, &witness) >= witness.live.last().unwrap().number);
    }
}

#[test]
fn a_crash_at_every_io_call_breaks_no_promise() {
    let report = crash_everywhere(&WalAndCommit, 42);
    println!("{report}");
    assert_eq!(report.calls_crashed, report.calls_seen);
    assert!(report.calls_seen > 100, "{report}");
    assert!(report.sites.len() >= 12, "{report}");
}
