//! A crash in every I/O call of the script, on the disk and in the object store, and a recovery of each by the server's
//! own code.
//!
//! The history runs once; [`SimDisk::watch`] gives the machine as a crash in each call leaves it. After each recovery:
//!   * it starts
//!   * it is the ledger's database at one commit, not before the last acknowledged one: whole commits, every row once
//!   * every view is its query by loops, and leaves out as many rows as err
//!   * tables and views have the digests that the history published at that commit
//!   * a commit before it, of those that can be read, has the ledger's rows of then
//!   * views come from a checkpoint and the log behind it in many of them, and from the tables in the others
//!   * it takes further writes, a checkpoint and a flush, and another crash loses none of them (every third machine, for time)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::SessionState;
use futures::TryStreamExt;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::history::{CHECKPOINTS, Client, go_on, play};
use super::ledger::{Ledger, Rows, State, split};
use super::past::{Past, Question};
use super::views;
use crate::commit::{Commit, Publish};
use crate::dataflow::ViewReads;
use crate::delta::{DeltaBatch, Digest, digest_batch};
use crate::engine::core::{Core, Seams};
use crate::engine::publisher::Publisher;
use crate::error::Result;
use crate::functions;
use crate::io::Clock;
use crate::settings::{CheckpointSettings, Settings, TableSettings, WalSettings};
use crate::testing::oracle::{self, Row};
use crate::testing::values::rows_of;
use crate::testing::{CrashPoint, CrashReport, FaultEffect, SimDisk, SimExecutor, SimRng, SimStore};
use crate::tier::WriterId;
use crate::types::{CommitNumber, RelationId};

/// `TIDEMARK_CRASH_OPERATIONS` sets another length of the history. Of its machines one in so many is then recovered that they
/// stay as many as of this one, or one in `TIDEMARK_CRASH_EVERY`.
const OPERATIONS: usize = 200;
const SEED: u64 = 2026;
/// After so many it is said how far a long run has come.
const PROGRESS_MACHINES: usize = 1000;

/// Small enough that segments and files are many.
fn settings() -> Settings {
    Settings {
        wal: WalSettings { segment_bytes_max: 12 << 10, ..WalSettings::default() },
        table: TableSettings {
            row_group_rows: 16,
            file_rows_max: 60,
            compact_files_min: 2,
            // A millisecond goes by with each write.
            history_retention_ms: 25,
            ..TableSettings::default()
        },
        // So that a start reads what the log has behind a checkpoint in several pieces.
        checkpoint: CheckpointSettings { log_bytes: 4 << 10, ..CheckpointSettings::default() },
        ..Settings::default()
    }
}

fn asked(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().map(|asked| asked.parse().unwrap())
}

/// Of each life of the process: the first starts on an empty disk, the second has a saboteur, the third ends cleanly.
fn lives(operations: usize) -> [usize; 3] {
    let share = operations * 3 / 10;
    [operations - 2 * share, share, share]
}

pub(super) fn registry() -> SessionState {
    functions::session_state(Default::default(), Default::default()).build()
}

#[derive(Clone)]
pub(super) struct Machine {
    pub disk: SimDisk,
    pub store: SimStore,
    /// Whose data directory it is.
    pub directory: &'static str,
}

impl Machine {
    pub fn new(seed: u64) -> Machine {
        let disk = SimDisk::new(seed);
        Machine { store: SimStore::new(disk.clone()), disk, directory: "simulated" }
    }
}

/// Digests of tables, and of views, by relation.
pub(super) type Digests = BTreeMap<RelationId, Digest>;

/// What was published, commit by commit.
pub(super) type Published = BTreeMap<CommitNumber, (Digests, Digests)>;

/// The publisher, and beside it what every commit left: the tables' digests follow from the deltas alone, up to where rows
/// of a table expire, of which no delta tells.
pub(super) struct Witness {
    publisher: Arc<Publisher>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    tables: Digests,
    commits: Vec<(CommitNumber, Digests, PendingViews)>,
}

/// Views that are read once the worker has got there.
type PendingViews = oneshot::Receiver<(CommitNumber, ViewReads)>;

impl Publish for Witness {
    fn publish(&self, commit: &Arc<Commit>) {
        self.publisher.publish(commit);
        let mut seen = self.seen.lock();
        for delta in &commit.tables {
            seen.tables.entry(delta.table).or_default().add(digest_batch(&delta.delta).unwrap());
        }
        let catalog = self.publisher.tables.durable().catalog;
        // Rows of an altered table have other columns than the commits brought.
        let is_unaltered = |table: RelationId| catalog.table(table).is_some_and(|table| table.stored.is_empty());
        let is_told = |table: RelationId| is_unaltered(table) && catalog.expired(table).is_none();
        seen.tables.retain(|table, _| is_told(*table));
        catalog.tables().filter(|table| is_told(table.id)).for_each(|table| {
            seen.tables.entry(table.id).or_default();
        });
        let views: Vec<RelationId> = catalog.materialized_views().map(|view| view.id).collect();
        let (tables, views) = (seen.tables.clone(), self.publisher.dataflows.push_read(&views));
        seen.commits.push((commit.number, tables, views));
    }
}

/// A database as a reader sees it at its head.
pub(super) struct Found {
    pub head: CommitNumber,
    state: State,
    tables: Digests,
    /// Name, rows, rows in error.
    views: Vec<(String, Vec<Row>, i64)>,
    view_digests: Digests,
    past: Past,
}

pub(super) async fn examine(core: &Core) -> Found {
    let (head, durable, snapshots, views, asked) = core.sequencer.at_head(|head| {
        let durable = core.tables.durable();
        let snapshot = |id| core.tables.snapshot(id, head).unwrap();
        let snapshots: Vec<_> = durable.catalog.tables().map(|table| (table.id, snapshot(table.id))).collect();
        let views: Vec<RelationId> = durable.catalog.materialized_views().map(|view| view.id).collect();
        let views = core.dataflows.push_read(&views);
        let asked = Question::ask(core, head, &durable.catalog);
        (head, durable, snapshots, views, asked)
    });
    let mut state = State {
        catalog: durable.catalog.as_ref().clone(),
        positions: durable.positions.as_ref().clone(),
        now_us: durable.timestamp_us,
        ..State::default()
    };
    let past = Past::of(core, asked, &snapshots).await;
    let mut tables = Digests::new();
    for (id, snapshot) in snapshots {
        let mut rows = Rows::new();
        let mut digest = Digest::default();
        for batch in snapshot.stream(None, 7).try_collect::<Vec<_>>().await.unwrap() {
            for (row_id, row) in rows_of(&batch).into_iter().map(split) {
                assert!(rows.insert(row_id, row).is_none(), "row {row_id} of table {id} is there twice");
            }
            digest.add(digest_batch(&DeltaBatch::inserts(batch)).unwrap());
        }
        assert_eq!(snapshot.row_count(), rows.len());
        state.tables.insert(id, rows);
        tables.insert(id, digest);
    }
    let (_, contents) = views.await.unwrap();
    let mut views = Vec::new();
    for view in durable.catalog.materialized_views() {
        let snapshot = contents[&view.id].as_ref().unwrap();
        assert_eq!(snapshot.commit(), head);
        let rows = snapshot.batches(None, 7).flat_map(|batch| rows_of(&batch.unwrap())).collect();
        views.push((view.name.clone(), rows, snapshot.errors().unwrap().map(|error| error.weight).sum()));
    }
    let view_digests = digests_of(&contents);
    Found { head, state, tables, views, view_digests, past }
}

fn digests_of(views: &ViewReads) -> Digests {
    views.iter().map(|(id, view)| (*id, view.as_ref().unwrap().digest().unwrap())).collect()
}

impl Found {
    /// Panics where a promise is broken.
    pub fn check(&self, ledger: &Ledger, published: &Published) {
        let acknowledged = ledger.acknowledged;
        assert!(self.head >= acknowledged, "commit {acknowledged} was acknowledged, and {} is the last", self.head);
        let expected = State { now_us: self.state.now_us, ..ledger.state_at(self.head) };
        assert_eq!(self.state.render(), expected.render(), "whole commits up to {}, and nothing else", self.head);
        assert!(self.state.catalog == expected.catalog, "definitions");
        for (name, rows, errors) in &self.views {
            // The ledger's state, which is the same, knows besides which rows expired.
            let wanted = views::oracle(name, &expected);
            assert_eq!(oracle::render(rows), oracle::render(&wanted), "view {name} at {}", self.head);
            assert_eq!(*errors, views::errors(name, &expected), "errors of view {name} at {}", self.head);
        }
        self.past.check(ledger, &expected, self.head);
        // A group may be durable that was never published.
        if let Some((tables, views)) = published.get(&self.head) {
            let told = self.tables.iter().filter(|(id, _)| tables.contains_key(id));
            assert_eq!(
                &told.map(|(id, digest)| (*id, *digest)).collect::<Digests>(),
                tables,
                "digests of tables at {}",
                self.head
            );
            assert_eq!(self.view_digests, *views, "digests of views at {}", self.head);
        }
    }
}

/// Opens what is on the machine, and has its loops run.
pub(super) async fn open(machine: &Machine, registry: SessionState, executor: &Executor) -> (Arc<Core>, Arc<Witness>) {
    try_open(machine, registry, executor).await.unwrap()
}

/// Errors: what refuses the start.
pub(super) async fn try_open(
    machine: &Machine,
    registry: SessionState,
    executor: &Executor,
) -> Result<(Arc<Core>, Arc<Witness>)> {
    let seams = Seams {
        clock: executor.clock.clone(),
        disk: Arc::new(machine.disk.clone()),
        store: Arc::new(machine.store.clone()),
        // No two lives are the same, and the same run has the same ones.
        writer: WriterId { directory: machine.directory.to_string(), life: machine.disk.calls().calls.to_string() },
    };
    let mut witness = None;
    let hears = |publisher: Arc<Publisher>| {
        let made = Arc::new(Witness { publisher, seen: Mutex::default() });
        witness = Some(made.clone());
        made as Arc<dyn Publish>
    };
    let (mut core, loops) = Core::open(&seams, &settings(), registry, mpsc::unbounded_channel().0, hears).await?;
    executor.spawner.spawn(loops.views.run());
    executor.spawner.spawn(async move {
        // Ends with an error where the machine dies under it.
        loops.log.run().await.ok();
    });
    core.recover_views(loops.found).await?.wait().await;
    Ok((Arc::new(core), witness.unwrap()))
}

/// What tasks need of their executor.
#[derive(Clone)]
pub(super) struct Executor {
    pub clock: Arc<dyn crate::io::Clock>,
    pub sim_clock: crate::testing::SimClock,
    pub spawner: crate::testing::SimSpawner,
}

/// Runs on an executor of its own. Gives the digest of which task ran when, too.
pub(super) fn simulate<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    seed: u64,
    work: impl FnOnce(Executor) -> F,
) -> (T, u64) {
    let mut executor = SimExecutor::new(seed);
    let work =
        work(Executor { clock: Arc::new(executor.clock()), sim_clock: executor.clock(), spawner: executor.spawner() });
    let done = executor.block_on(work);
    (done, executor.trace_digest())
}

/// The whole script.
struct History {
    machine: Machine,
    ledger: Arc<Mutex<Ledger>>,
    published: Arc<Mutex<Published>>,
    registry: SessionState,
    /// Of ten operations.
    checkpoints: usize,
    traces: Vec<u64>,
}

impl History {
    fn new(seed: u64, checkpoints: usize) -> History {
        History {
            checkpoints,
            machine: Machine::new(seed),
            ledger: Arc::default(),
            published: Arc::default(),
            registry: registry(),
            traces: Vec::new(),
        }
    }

    fn run(&mut self, seed: u64, operations: usize) {
        for (life, operations) in lives(operations).into_iter().enumerate() {
            self.live(seed + life as u64, life, operations);
            // Its memory is gone, and what it wrote is not.
            self.machine.disk.kill_process();
        }
    }

    fn live(&mut self, seed: u64, life: usize, operations: usize) {
        let (machine, registry) = (self.machine.clone(), self.registry.clone());
        let (ledger, published) = (self.ledger.clone(), self.published.clone());
        let (last, checkpoints) = (life == 2, self.checkpoints);
        let sabotaged = (life == 1).then(|| machine.disk.clone());
        let ((), trace) = simulate(seed, |executor| async move {
            let (core, witness) = open(&machine, registry.clone(), &executor).await;
            // Time goes on where it was.
            let behind_us = core.tables.durable().timestamp_us - executor.sim_clock.now_us();
            executor.sim_clock.advance(Duration::from_micros(behind_us.max(0).unsigned_abs()));
            let found = examine(&core).await;
            found.check(&ledger.lock(), &published.lock());
            witness.seen.lock().tables = found.tables;
            let clock = Some(executor.sim_clock.clone());
            let client = Client { core: core.clone(), ledger, registry, clock, checkpoints };
            play(client, executor.spawner.clone(), seed, operations, sabotaged).await;
            if last {
                core.tables.flush_all(&core.sequencer).await.unwrap();
                if checkpoints > 0 {
                    core.checkpointer.checkpoint().await.unwrap();
                }
                core.sequencer.shutdown().await;
            }
            let commits = std::mem::take(&mut witness.seen.lock().commits);
            for (commit, tables, views) in commits {
                let (_, views) = views.await.unwrap();
                let views = digests_of(&views);
                published.lock().insert(commit, (tables, views));
            }
        });
        self.traces.push(trace);
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            traces: self.traces.clone(),
            published: format!("{:?}", self.published.lock()),
            files: self.machine.disk.contents(),
            objects: futures::executor::block_on(self.machine.store.contents()),
        }
    }
}

/// Everything that must be the same for the same seed.
struct Outcome {
    traces: Vec<u64>,
    published: String,
    files: BTreeMap<String, Vec<u8>>,
    objects: BTreeMap<String, bytes::Bytes>,
}

/// The machine after a crash, and what was known then: how much the ledger held, and what was acknowledged.
struct Wreck {
    point: CrashPoint,
    store: SimStore,
    entries: usize,
    acknowledged: CommitNumber,
}

/// What a recovery came by.
#[derive(Debug, Default, Clone, Copy)]
struct Recovery {
    /// Views came from a checkpoint.
    from_checkpoint: bool,
    /// A commit was read whose rows had gone cold since.
    past: bool,
    /// Changes of each kept view since then were compared.
    changes: [bool; 2],
}

/// Recovers and compares. Every third machine goes on, crashes again and recovers again.
fn recover(wreck: Wreck, ledger: &Ledger, published: &Arc<Published>, registry: &SessionState) -> Recovery {
    let Wreck { point, store, entries, acknowledged } = wreck;
    let machine = Machine { disk: point.disk, store, directory: "simulated" };
    let seed = point.call;
    machine.disk.restart();
    let ledger = Arc::new(Mutex::new(ledger.first(entries, acknowledged)));
    let mut all = Recovery::default();
    for restart in 0..if seed.is_multiple_of(3) { 2 } else { 1 } {
        let (machine, ledger, registry) = (machine.clone(), ledger.clone(), registry.clone());
        let (published, disk) = (published.clone(), machine.disk.clone());
        let (recovered, _) = simulate(seed + restart, |executor| async move {
            let mut recovered = Recovery::default();
            let (core, _witness) = open(&machine, registry.clone(), &executor).await;
            let found = examine(&core).await;
            recovered.past = found.past.is_cold;
            recovered.changes = found.past.has_changes();
            // What was written after the first recovery was never published in the history.
            let published = if restart == 0 { published } else { Arc::default() };
            found.check(&ledger.lock(), &published);
            ledger.lock().forget_after(found.head);
            recovered.from_checkpoint = core.recovered.checkpoint.is_some();
            if restart == 0 {
                go_on(&Client { core, ledger, registry, clock: None, checkpoints: CHECKPOINTS }, &SimRng::new(seed))
                    .await;
            } else {
                assert!(recovered.from_checkpoint, "the checkpoint after the first recovery was not found");
            }
            recovered
        });
        all.from_checkpoint |= recovered.from_checkpoint;
        all.past |= recovered.past;
        all.changes.iter_mut().zip(recovered.changes).for_each(|(all, recovered)| *all |= recovered);
        disk.restart();
    }
    all
}

/// Names the call when a check panics, so that the run can be repeated.
struct Scope(u64, String, FaultEffect);

impl Drop for Scope {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the run with seed {SEED}, crashed at call {} ({}, {:?} its effect)", self.0, self.1, self.2);
        }
    }
}

#[test]
fn the_same_seed_twice_gives_the_same_digest() {
    let run = |seed| {
        let mut history = History::new(seed, CHECKPOINTS);
        history.run(seed, OPERATIONS);
        history.outcome()
    };
    let (first, second) = (run(7), run(7));
    assert_eq!(first.traces, second.traces, "which task ran when");
    assert_eq!(first.published, second.published);
    assert!(first.files == second.files, "what is on the disk");
    assert!(first.objects == second.objects, "what is in the object store");
    assert_ne!(first.traces, run(8).traces);
}

/// What came of a history whose machines were recovered.
struct Crashed {
    ledger: Ledger,
    report: CrashReport,
    machines: usize,
    from_checkpoint: usize,
    past: usize,
    changes: [usize; 2],
}

/// Runs a history, and recovers one in so many of the machines that a crash in each call leaves.
fn crash_everywhere(operations: usize, one_in: u64, checkpoints: usize) -> Crashed {
    let mut history = History::new(SEED, checkpoints);
    let wrecks = Arc::new(Mutex::new((Vec::<Wreck>::new(), BTreeSet::new())));
    let (seen, store, ledger) = (wrecks.clone(), history.machine.store.clone(), history.ledger.clone());
    history.machine.disk.trace_sites(true);
    history.machine.disk.watch(move |point: CrashPoint| {
        if !point.change.is_multiple_of(one_in) {
            return;
        }
        let (wrecks, calls) = &mut *seen.lock();
        calls.insert(point.call);
        // Until a call changes something the machine stays the same, and more of what it holds may have been acknowledged.
        wrecks.pop_if(|last| last.point.change == point.change);
        let store = store.fork(point.disk.clone());
        let ledger = ledger.lock();
        wrecks.push(Wreck { point, store, entries: ledger.entry_count(), acknowledged: ledger.acknowledged });
    });
    history.run(SEED, operations);
    history.machine.disk.unwatch();
    let calls = history.machine.disk.calls();
    let ledger = std::mem::take(&mut *history.ledger.lock());
    assert_eq!(ledger.operations, operations);
    let (wrecks, crashed) = std::mem::take(&mut *wrecks.lock());
    let report =
        CrashReport { calls_seen: calls.calls, calls_crashed: crashed.len() as u64, sites: calls.sites.clone() };
    println!("{operations} operations, one machine in {one_in}; {} machines recovered", wrecks.len());
    println!("{report}");
    // Recoveries know nothing of each other.
    let counts = Mutex::new((0, 0, [0, 0], 0));
    let (wrecks, queue) = (wrecks.len(), Mutex::new(wrecks.into_iter()));
    let (published, registry) = (Arc::new(std::mem::take(&mut *history.published.lock())), &history.registry);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(wreck) = { queue.lock().next() } {
                    let point = &wreck.point;
                    let _scope = Scope(point.call, point.operation.clone(), point.effect);
                    let recovered = recover(wreck, &ledger, &published, registry);
                    let mut counts = counts.lock();
                    counts.0 += usize::from(recovered.from_checkpoint);
                    counts.1 += usize::from(recovered.past);
                    counts.2.iter_mut().zip(recovered.changes).for_each(|(count, one)| *count += usize::from(one));
                    counts.3 += 1;
                    if counts.3 % PROGRESS_MACHINES == 0 {
                        println!("{} of {wrecks} machines recovered", counts.3);
                    }
                }
            });
        }
    });
    let (from_checkpoint, past, changes, recovered) = counts.into_inner();
    assert_eq!(recovered, wrecks);
    Crashed { ledger, report, machines: wrecks, from_checkpoint, past, changes }
}

#[test]
fn a_crash_in_every_io_call_breaks_no_promise() {
    let operations = asked("TIDEMARK_CRASH_OPERATIONS").unwrap_or(OPERATIONS);
    let one_in = asked("TIDEMARK_CRASH_EVERY").unwrap_or(operations.div_ceil(OPERATIONS)) as u64;
    let crashed = crash_everywhere(operations, one_in, CHECKPOINTS);
    let Crashed { ledger, report, machines: wrecks, from_checkpoint: restored, past, changes } = crashed;
    assert!(ledger.expired > 0 && ledger.cutoffs > 0, "rows expired of a table, {} times of a view", ledger.cutoffs);
    let compacted = ledger.compacted;
    println!("{compacted} files compacted");
    assert!(compacted >= 4, "{compacted} files compacted");
    assert!(one_in > 1 || report.calls_crashed == report.calls_seen, "{report}");
    assert!(report.calls_seen > 400, "{report}");
    let from = |folder: &str| report.sites.iter().filter(|site| site.contains(folder)).count();
    assert!(from("src/wal/") >= 8 && from("src/tier/") >= 6 && from("src/dataflow/checkpoint/") >= 10, "{report}");
    let [plain, by_time] = changes;
    println!(
        "{past} recoveries read a commit whose rows had gone cold since, {plain} a view's changes since one, {by_time} those of \
         a view that follows time"
    );
    assert!(past > wrecks / 4 && plain > wrecks / 8 && by_time > wrecks / 8, "{past}, {changes:?} of {wrecks}");
    println!("views from a checkpoint in {restored} recoveries, made again in the others");
    assert!(restored > wrecks / 4, "{restored} of {wrecks}");
}

/// Views are made again from their tables at the commit where changelogs end, with the time of that commit.
#[test]
fn nor_does_one_where_no_checkpoint_was_ever_made() {
    let Crashed { machines, changes, .. } = crash_everywhere(OPERATIONS / 2, 1, 0);
    println!("changes of the kept views in {changes:?} recoveries");
    assert!(changes.iter().all(|compared| *compared > machines / 8), "{changes:?} of {machines}");
}
