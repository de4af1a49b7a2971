//! Changes that were kept: from every commit that can be resumed from they add up to every later one, whatever a crash
//! took, and what cannot be kept whole is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::subscriptions::{Content, content};
use super::views::*;
use super::{Case, Change, Tables, cases, change};
use crate::dataflow::{Changelogs, KeepChanges, Subject};
use crate::delta::DeltaBatch;
use crate::error::SqlState;
use crate::io::Disk;
use crate::settings::DataflowSettings;
use crate::testing::{DiskFault, FaultEffect, SimDisk, oracle};
use crate::types::{CommitNumber, RelationId};

const HOUR_US: u64 = 3_600_000_000;

/// What the tables held and the log says, by commit.
struct Past {
    readings: Vec<oracle::Row>,
    devices: Vec<oracle::Row>,
    deltas: Vec<(RelationId, DeltaBatch)>,
}

/// A database of one view, with a past to start again from.
struct Kept<'a> {
    case: &'a Case,
    disk: SimDisk,
    worker: Option<TestWorker>,
    tables: Tables,
    /// By commit, from 0.
    past: Vec<Past>,
    retention_us: u64,
    /// The log holds commits after this one.
    flushed: u64,
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// The process dies; the machine keeps what it wrote.
    Kill,
    /// The machine dies.
    Crash,
}

impl<'a> Kept<'a> {
    fn new(case: &'a Case, seed: u64, retention_us: u64) -> Self {
        let past = vec![Past { readings: vec![], devices: vec![], deltas: vec![] }];
        let disk = SimDisk::new(seed);
        let mut kept = Kept { case, disk, worker: None, tables: Tables::default(), past, retention_us, flushed: 0 };
        kept.start();
        kept
    }

    fn head(&self) -> u64 {
        self.past.len() as u64 - 1
    }

    /// As a server starts: the view is built where the changelogs end, and steps over what the log has behind that.
    fn start(&mut self) {
        let kept = BTreeSet::from([VIEW, READINGS]);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let head = CommitNumber(self.head());
        let changelogs = Changelogs::open(disk, &DataflowSettings::default(), &kept, head).unwrap();
        let at = changelogs.resumes_from(CommitNumber(self.flushed)).unwrap_or(head);
        let worker = TestWorker::with_changelogs(DataflowSettings::default(), changelogs, at);
        let keep = |columns| KeepChanges::For { retention_us: self.retention_us, columns };
        worker.dataflows.push_keep(READINGS, keep(Some(5)));
        worker.dataflows.push_keep(VIEW, keep(None));
        let then = &self.past[at.0 as usize];
        let rows = [
            (READINGS, batch_of(&readings_schema(), &then.readings)),
            (DEVICES, batch_of(&devices_schema(), &then.devices)),
        ];
        worker.create(VIEW, &self.case.plan, &rows, false).unwrap();
        for commit in at.0 + 1..=head.0 {
            worker.dataflows.push_commit(commit_of(commit, &self.past[commit as usize]));
        }
        self.worker = Some(worker);
    }

    fn worker(&self) -> &TestWorker {
        self.worker.as_ref().unwrap()
    }

    fn commit(&mut self) {
        let deltas = self.tables.deltas();
        let (readings, devices) = (self.tables.readings.clone(), self.tables.devices.clone());
        self.past.push(Past { readings, devices, deltas });
        self.worker().dataflows.push_commit(commit_of(self.head(), &self.past[self.head() as usize]));
    }

    fn flush(&mut self) {
        self.worker().block_on(self.worker().dataflows.sync_changes());
        self.flushed = self.head();
    }

    fn end(&mut self, end: End) {
        // What was pushed is done, or not.
        self.worker.take().unwrap().abort();
        match end {
            End::Kill => self.disk.kill_process(),
            End::Crash => {
                self.disk.pull_plug();
                self.disk.restart();
            }
        }
        self.start();
    }

    fn contents(&self, relation: RelationId) -> Vec<Content> {
        let of = |past: &Past| match relation {
            READINGS => content(&past.readings),
            _ => content(&(self.case.oracle)(&past.readings, &past.devices)),
        };
        self.past.iter().map(of).collect()
    }

    fn history(&self, relation: RelationId, after: u64) -> crate::error::Result<Vec<crate::dataflow::Change>> {
        let schema = match relation {
            READINGS => readings_schema(),
            _ => view(VIEW, &self.case.plan).schema(),
        };
        let subject = Subject { relation, name: "what is kept".to_owned(), schema: schema.clone() };
        let history = self.worker().block_on(self.worker().dataflows.push_resume(subject, CommitNumber(after)));
        let parts = history.unwrap()?.parts;
        parts.iter().map(|part| part.read(&schema)).collect::<crate::error::Result<Vec<_>>>().map(|all| all.concat())
    }

    /// From each commit on: what is kept adds up to every later commit, or all of it is refused. Gives the oldest.
    fn check(&self, relation: RelationId) -> Result<u64, TestCaseError> {
        let contents = self.contents(relation);
        let mut oldest = None;
        for after in 0..=self.head() {
            let changes = match self.history(relation, after) {
                Ok(changes) => changes,
                Err(error) => {
                    prop_assert_eq!(error.state(), SqlState::INVALID_PARAMETER, "{}", error);
                    prop_assert!(oldest.is_none(), "commit {} is refused, an older one is not", after);
                    continue;
                }
            };
            oldest.get_or_insert(after);
            let mut sum = contents[after as usize].clone();
            let mut changes = changes.into_iter().peekable();
            for commit in after + 1..=self.head() {
                if let Some(change) = changes.next_if(|change| change.commit.0 == commit) {
                    for (row, values) in rows_of(change.rows.rows()).into_iter().enumerate() {
                        *sum.entry(oracle::render(&[values]).remove(0)).or_default() += change.rows.weight(row);
                    }
                    sum.retain(|_, count| *count != 0);
                }
                prop_assert_eq!(&sum, &contents[commit as usize], "commit {} after {}", commit, after);
            }
            prop_assert!(changes.next().is_none(), "changes of other commits, after {}", after);
        }
        Ok(oldest.unwrap())
    }
}

fn commit_of(number: u64, past: &Past) -> Arc<crate::commit::Commit> {
    commit(number, past.deltas.clone())
}

#[derive(Debug, Clone)]
enum Event {
    Change(Change),
    Flush,
    End(End),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => change().prop_map(Event::Change),
        1 => Just(Event::Flush),
        1 => Just(Event::End(End::Kill)),
        1 => Just(Event::End(End::Crash)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn what_is_kept_adds_up_after_every_commit(
        case in 0..cases().len(),
        seed in any::<u64>(),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let cases = cases();
        let mut kept = Kept::new(&cases[case], seed, HOUR_US);
        for event in events {
            match event {
                Event::Change(Change::Commit | Change::Read) => kept.commit(),
                Event::Change(change) => kept.tables.apply(change),
                Event::Flush => kept.flush(),
                Event::End(end) => kept.end(end),
            }
        }
        // Everything since the beginning: an hour has not passed, and every flush came behind a sync.
        prop_assert_eq!(kept.check(VIEW)?, 0);
        prop_assert_eq!(kept.check(READINGS)?, 0);
        kept.end(End::Crash);
        prop_assert_eq!(kept.check(VIEW)?, 0);
        prop_assert_eq!(kept.check(READINGS)?, 0);
    }
}

fn insert(kept: &mut Kept<'_>, n: i64) {
    kept.tables.apply(Change::InsertReading(reading(1, 0.5, n)));
    kept.commit();
}

#[test]
fn what_is_older_than_asked_for_goes() {
    let case = cases().remove(0);
    // Commits come a microsecond apart.
    let mut kept = Kept::new(&case, 1, 40);
    for n in 0..200 {
        insert(&mut kept, n);
    }
    let oldest = kept.check(VIEW).unwrap();
    assert!((150..=160).contains(&oldest), "{oldest}");
    let error = kept.history(VIEW, oldest - 1).unwrap_err();
    assert!(error.detail().is_some_and(|detail| detail.contains(&format!("is {oldest}."))), "{error:?}");
    let files = kept.disk.list("changes").unwrap();
    assert!(files.len() < 24, "{files:?}");
    kept.end(End::Crash);
    assert!(kept.check(VIEW).unwrap() >= oldest);
}

/// The log forgot commits that the changelog never had.
#[test]
fn a_gap_is_refused() {
    let case = cases().remove(0);
    let mut kept = Kept::new(&case, 1, HOUR_US);
    insert(&mut kept, 5);
    kept.flush();
    insert(&mut kept, 6);
    insert(&mut kept, 7);
    kept.flushed = 3;
    kept.end(End::Crash);
    assert_eq!(kept.check(VIEW).unwrap(), 3);
    insert(&mut kept, 8);
    assert_eq!(kept.check(VIEW).unwrap(), 3);
}

#[test]
fn a_disk_that_fails_costs_what_was_kept_and_no_more() {
    let faults = ["append", "create", "sync"].into_iter();
    for (operation, effect) in faults.flat_map(|name| [FaultEffect::Before, FaultEffect::After].map(|at| (name, at))) {
        let case = cases().remove(0);
        // A new file for every few commits, none of which is old enough to go.
        let mut kept = Kept::new(&case, 1, 40);
        insert(&mut kept, 5);
        kept.worker().read(VIEW).unwrap();
        kept.disk.fault_next(operation, DiskFault::Fail(effect));
        for n in 0..15 {
            insert(&mut kept, n);
        }
        kept.flush();
        assert!(!kept.disk.awaits_fault(), "{operation}");
        insert(&mut kept, 7);
        // One of the two failed.
        let oldest = [VIEW, READINGS].map(|relation| kept.check(relation).unwrap());
        assert!(oldest.contains(&0) && oldest.iter().any(|oldest| *oldest > 0), "{operation}: {oldest:?}");
        kept.end(End::Crash);
        assert_eq!([VIEW, READINGS].map(|relation| kept.check(relation).unwrap()), oldest, "{operation}");
    }
}

#[test]
fn what_is_not_kept_any_more_is_refused_and_its_files_go() {
    let case = cases().remove(0);
    let mut kept = Kept::new(&case, 1, HOUR_US);
    insert(&mut kept, 5);
    assert_eq!(kept.check(VIEW).unwrap(), 0);
    for relation in [VIEW, READINGS] {
        kept.worker().dataflows.push_keep(relation, KeepChanges::For { retention_us: 0, columns: None });
    }
    assert_eq!(kept.check(VIEW).unwrap(), 1);
    assert_eq!(kept.disk.list("changes").unwrap(), Vec::<String>::new());
    let subject = Subject { relation: VIEW, name: "view".to_owned(), schema: readings_schema() };
    let refused = kept.worker().block_on(kept.worker().dataflows.push_resume(subject, CommitNumber(0))).unwrap();
    assert!(refused.unwrap_err().hint().is_some_and(|hint| hint.contains("Set subscribe_retention")));
}

/// A reader that is under way keeps its files.
#[test]
fn files_that_are_read_stay() {
    let case = cases().remove(0);
    let mut kept = Kept::new(&case, 1, HOUR_US);
    insert(&mut kept, 5);
    let schema = view(VIEW, &case.plan).schema();
    let subject = Subject { relation: VIEW, name: "view".to_owned(), schema: schema.clone() };
    let history = kept.worker().block_on(kept.worker().dataflows.push_resume(subject, CommitNumber(0))).unwrap();
    let part = history.unwrap().parts.remove(0).unwrap();
    kept.worker().dataflows.push_drop(VIEW);
    insert(&mut kept, 6);
    kept.flush();
    assert_eq!(part.read(&schema).unwrap().len(), 1);
    drop(part);
    let left: BTreeMap<_, _> = kept.disk.list("changes").unwrap().into_iter().map(|name| (name, ())).collect();
    assert!(left.keys().all(|name| name.starts_with(&READINGS.0.to_string())), "{left:?}");
}
