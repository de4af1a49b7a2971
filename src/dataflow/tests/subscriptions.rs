//! What a subscription said, added up, is the view's content at every commit that it was told of.

use std::collections::BTreeMap;

use futures::FutureExt;
use proptest::prelude::*;

use super::views::*;
use super::{Case, Change, Tables, cases, change};
use crate::dataflow::{Subject, Subscription};
use crate::delta::DeltaBatch;
use crate::error::SqlState;
use crate::testing::oracle;
use crate::types::{CommitNumber, RelationId};

/// Rows as text, each with how often it is there.
pub type Content = BTreeMap<String, i64>;

struct Reader {
    subscription: Subscription,
    content: Content,
    commit: CommitNumber,
}

fn subject(relation: RelationId, schema: arrow::datatypes::SchemaRef) -> Subject {
    Subject { relation, name: format!("relation {relation}"), schema }
}

impl Reader {
    fn of_view(worker: &TestWorker, case: &Case) -> Reader {
        let subject = subject(VIEW, view(VIEW, &case.plan).schema());
        let (snapshot, subscription) = worker.block_on(worker.dataflows.push_subscribe(subject)).unwrap().unwrap();
        let mut reader = Reader { subscription, content: Content::new(), commit: snapshot.commit() };
        snapshot.deltas(100).for_each(|delta| reader.add(&delta.unwrap()));
        reader
    }

    fn of_readings(worker: &TestWorker, readings: &[oracle::Row]) -> Reader {
        let subscription = worker.dataflows.subscribe_table(subject(READINGS, readings_schema()));
        let mut reader = Reader { subscription, content: Content::new(), commit: CommitNumber(0) };
        reader.add(&DeltaBatch::inserts(batch_of(&readings_schema(), readings).project(&[0, 1, 2, 3, 4]).unwrap()));
        reader
    }

    fn add(&mut self, delta: &DeltaBatch) {
        for (row, values) in rows_of(delta.rows()).into_iter().enumerate() {
            let text = oracle::render(&[values]).remove(0);
            let count = self.content.entry(text.clone()).or_default();
            *count += delta.weight(row);
            // Deletes come first, but never before their inserts.
            assert!(*count >= 0, "{text} is there {count} times");
        }
        self.content.retain(|_, count| *count != 0);
    }

    /// Takes what is there.
    fn catch_up(&mut self) {
        while let Some(change) = self.subscription.take().unwrap() {
            assert!(change.commit > self.commit, "commit {} after {}", change.commit, self.commit);
            self.commit = change.commit;
            self.add(&change.rows);
        }
    }
}

pub fn content(rows: &[oracle::Row]) -> Content {
    let mut content = Content::new();
    oracle::render(rows).into_iter().for_each(|row| *content.entry(row).or_default() += 1);
    content
}

/// Every commit is one that somebody subscribes at, or reads, or that just happens; readers join at several.
fn check(case: &Case, history: &[Change], commits_per_step_max: usize) -> Result<(), TestCaseError> {
    let mut worker = TestWorker::new(commits_per_step_max);
    let mut tables = Tables::default();
    let empty = [(READINGS, batch_of(&readings_schema(), &[])), (DEVICES, batch_of(&devices_schema(), &[]))];
    worker.create(VIEW, &case.plan, &empty, false).unwrap();
    let mut of_table = Reader::of_readings(&worker, &[]);
    let mut of_view = vec![Reader::of_view(&worker, case)];
    for change in history.iter().chain([&Change::Read]) {
        match change {
            Change::Commit => {
                let deltas = tables.deltas();
                worker.commit(deltas);
                of_table.catch_up();
                prop_assert_eq!(&of_table.content, &content(&tables.readings));
                if commits_per_step_max == 1 {
                    // Every commit is observed, not those alone that a reader asked for.
                    worker.read(VIEW).unwrap();
                    compare(case, &tables, &mut of_view)?;
                }
            }
            Change::Read => {
                let deltas = tables.deltas();
                worker.commit(deltas);
                worker.read(VIEW).unwrap();
                compare(case, &tables, &mut of_view)?;
                if of_view.len() < 4 {
                    of_view.push(Reader::of_view(&worker, case));
                    compare(case, &tables, &mut of_view)?;
                }
            }
            other => tables.apply(other.clone()),
        }
    }
    worker.finish();
    Ok(())
}

fn compare(case: &Case, tables: &Tables, readers: &mut [Reader]) -> Result<(), TestCaseError> {
    let expected = content(&(case.oracle)(&tables.readings, &tables.devices));
    for reader in readers {
        reader.catch_up();
        prop_assert_eq!(&reader.content, &expected, "{} at {}", case.name, reader.commit);
    }
    Ok(())
}

proptest! {
    #[test]
    fn snapshot_and_changes_are_the_view_at_every_commit(
        case in 0..cases().len(),
        history in prop::collection::vec(change(), 0..60),
        commits_per_step_max in prop_oneof![Just(0usize), Just(1), Just(3)],
    ) {
        check(&cases()[case], &history, commits_per_step_max)?;
    }
}

#[test]
fn a_subscription_ends_with_its_view() {
    let mut worker = TestWorker::new(0);
    let case = cases().remove(0);
    worker.create(VIEW, &case.plan, &[(READINGS, batch_of(&readings_schema(), &[]))], false).unwrap();
    let mut reader = Reader::of_view(&worker, &case);
    worker.commit(vec![(READINGS, DeltaBatch::inserts(batch_of(&readings_schema(), &[reading_of(5)])))]);
    worker.dataflows.push_drop(VIEW);
    let change = worker.block_on(reader.subscription.next()).unwrap();
    assert_eq!((change.commit.0, change.rows.num_rows()), (1, 1));
    let error = worker.block_on(reader.subscription.next()).unwrap_err();
    assert_eq!(error.state(), SqlState::UNDEFINED_TABLE);
    let subject = subject(VIEW, view(VIEW, &case.plan).schema());
    let refused = worker.block_on(worker.dataflows.push_subscribe(subject)).unwrap();
    assert_eq!(refused.unwrap_err().state(), SqlState::UNDEFINED_TABLE);
}

#[test]
fn readers_of_tables_end_with_the_table() {
    let worker = TestWorker::new(0);
    let mut reader = Reader::of_readings(&worker, &[]);
    assert!(reader.subscription.next().now_or_never().is_none());
    worker.dataflows.push_drop(READINGS);
    let error = reader.subscription.next().now_or_never().unwrap().unwrap_err();
    assert_eq!(error.state(), SqlState::UNDEFINED_TABLE);
}

/// A reading with `n` alone.
fn reading_of(n: i64) -> oracle::Row {
    use oracle::Value::{Integer, Null};
    vec![Null, Null, Null, Integer(n), Null]
}
