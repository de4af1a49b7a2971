//! Slow readers of a content that goes on: what they read, what they cost, and when they are ended.

use std::collections::BTreeMap;
use std::io;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::*;
use crate::dataflow::checkpoint::PageFiles;
use crate::dataflow::content::{Bag, Place};
use crate::delta::DeltaBatch;
use crate::testing::SimDisk;
use crate::types::RelationId;

const ROWS: i64 = 1000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// A view that has `ROWS` numbers, other ones at each commit.
struct View {
    disk: Arc<SimDisk>,
    residence: Arc<Residence>,
    readers: Readers,
    bag: Bag,
    commit: u64,
}

impl View {
    fn new(bytes_max: u64) -> View {
        let disk = Arc::new(SimDisk::new(1));
        let residence = Residence::with_store(PageFiles::new(disk.clone(), &[]).unwrap());
        let mut bag = Bag::new(schema()).unwrap();
        bag.states().iter().for_each(|state| state.attach(&residence, RelationId(1)));
        View { disk, residence, readers: Readers::new(bytes_max), bag, commit: 0 }
    }

    /// The next commit; a reader of it.
    fn step_and_read(&mut self) -> Arc<HeldContent> {
        self.commit += 1;
        let numbers = |commit: u64| Int64Array::from_iter_values((0..ROWS).map(|n| n + commit as i64 * ROWS));
        let rows = |commit| RecordBatch::try_new(schema(), vec![Arc::new(numbers(commit))]).unwrap();
        let before = (self.commit > 1).then(|| DeltaBatch::deletes(rows(self.commit - 1)));
        let deltas: Vec<_> = before.into_iter().chain([DeltaBatch::inserts(rows(self.commit))]).collect();
        self.bag.apply(&deltas).unwrap();
        self.read()
    }

    fn read(&mut self) -> Arc<HeldContent> {
        self.readers.hold(CommitNumber(self.commit), Content::Bag(self.bag.clone()))
    }

    /// As if there were no memory at all.
    fn make_room(&mut self) {
        self.residence.set_bytes_max(1);
        self.readers.make_room(&self.residence);
        self.residence.set_bytes_max(0);
    }
}

/// The commit whose numbers a reader sees.
fn seen(held: &HeldContent) -> Result<u64> {
    let (content, mut place, mut numbers) = (held.content()?, Place::new(0, 1), Vec::new());
    while let Some(rows) = content.read(&mut place, 100)? {
        let column = rows.rows().column(0).as_any().downcast_ref::<Int64Array>().unwrap().clone();
        numbers.extend(column.values().iter().copied());
    }
    numbers.sort();
    assert_eq!(numbers, (numbers[0]..numbers[0] + ROWS).collect::<Vec<_>>());
    Ok((numbers[0] / ROWS) as u64)
}

/// The commits that readers still see; the others are told why not.
fn all_seen(readers: &[Arc<HeldContent>]) -> Vec<u64> {
    let mut commits = Vec::new();
    for held in readers {
        match seen(held) {
            Ok(commit) => commits.push(commit),
            Err(error) => {
                assert_eq!(error.state(), SqlState::CONFIGURATION_LIMIT_EXCEEDED);
                assert!(error.hint().is_some_and(|hint| hint.contains("dataflow.snapshot_bytes_max")));
            }
        }
    }
    commits
}

#[test]
fn what_readers_alone_keep_leaves_memory_and_is_read_from_disk() {
    let mut view = View::new(u64::MAX);
    let mut readers: Vec<_> = (0..5).map(|_| view.step_and_read()).collect();
    let with_copies = view.residence.bytes();
    view.make_room();
    let without = view.residence.bytes();
    assert_eq!(all_seen(&readers), [1, 2, 3, 4, 5]);
    // What is in memory is what the view itself has, which the last reader shares.
    let last = readers.pop().unwrap();
    readers.clear();
    assert_eq!(without, view.residence.bytes());
    assert!(with_copies > without * 3, "{with_copies} bytes, {without} without the readers' own");
    assert_eq!(seen(&last).unwrap(), 5);
}

#[test]
fn nothing_is_written_for_readers_while_there_is_memory() {
    let mut view = View::new(0);
    let readers: Vec<_> = (0..5).map(|_| view.step_and_read()).collect();
    view.residence.set_bytes_max(1 << 30);
    view.readers.make_room(&view.residence);
    assert_eq!(view.residence.evicted_bytes.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert_eq!(all_seen(&readers), [1, 2, 3, 4, 5]);
}

/// What these alone keep, each page once.
fn left_bytes(readers: &[Arc<HeldContent>]) -> u64 {
    let left = readers.iter().flat_map(|held| held.left()).map(|page| (page.id, page.bytes as u64));
    left.collect::<BTreeMap<usize, u64>>().into_values().sum()
}

#[test]
fn past_the_bound_those_who_began_first_are_ended() {
    let mut view = View::new(u64::MAX);
    let mut readers = vec![view.step_and_read()];
    for _ in 0..5 {
        // Two that began at one commit keep it once.
        readers.extend([view.step_and_read(), view.read()]);
    }
    view.readers.bytes_max = left_bytes(&readers[3..]);
    view.make_room();
    assert_eq!(all_seen(&readers), [3, 3, 4, 4, 5, 5, 6, 6]);
    // And again, now that most of it is at rest.
    readers.extend([view.step_and_read()]);
    view.make_room();
    readers.extend([view.step_and_read()]);
    view.readers.bytes_max = left_bytes(&readers[9..]);
    view.make_room();
    assert_eq!(all_seen(&readers), [6, 6, 7, 8]);
    view.readers.bytes_max = 0;
    view.make_room();
    assert_eq!(all_seen(&readers), [8], "who keeps nothing alone is not ended");
}

#[test]
fn a_disk_that_takes_nothing_ends_readers_and_not_the_view() {
    let mut view = View::new(u64::MAX);
    let mut readers: Vec<_> = (0..5).map(|_| view.step_and_read()).collect();
    view.disk.trouble(&["append", "create"], io::ErrorKind::StorageFull);
    view.make_room();
    // The last one keeps nothing that the view does not have.
    assert_eq!(all_seen(&readers), [5]);
    view.disk.heal();
    readers.push(view.step_and_read());
    view.make_room();
    assert_eq!(all_seen(&readers), [5, 6]);
}

#[test]
fn those_who_are_gone_are_forgotten() {
    let mut view = View::new(u64::MAX);
    let kept = view.step_and_read();
    for _ in 0..10 * FORGET_AT_MIN {
        view.read();
    }
    assert!(view.readers.held.len() <= 2 * FORGET_AT_MIN, "{} readers", view.readers.held.len());
    drop(view.step_and_read());
    view.make_room();
    assert_eq!(view.readers.held.len(), 1);
    assert_eq!(seen(&kept).unwrap(), 1);
}
