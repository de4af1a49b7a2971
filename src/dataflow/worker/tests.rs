//! Failing backfills, and errors that a view reports.

use datafusion::common::HashMap;
use datafusion::logical_expr::{col, lit};
use futures::StreamExt;

use super::{Backfill, Worker};
use crate::dataflow::tests::views::*;
use crate::delta::DeltaBatch;
use crate::error::{Error, SqlState};
use crate::plan::AggregateFunction;
use crate::settings::DataflowSettings;
use crate::testing::{SimExecutor, oracle};
use crate::types::CommitNumber;

#[test]
fn a_backfill_that_fails_leaves_no_view() {
    let worker = TestWorker::new(0);
    let all = plan(source(READINGS, &readings_schema()));
    let rows = futures::stream::iter([Err(Error::new(SqlState::IO_ERROR, "the file is gone"))]).boxed();
    let backfill = HashMap::from([(READINGS, Backfill { rows, append_only: false })]);
    let created = worker.dataflows.push_create(view(VIEW, &all), all.clone(), backfill);
    assert_eq!(worker.block_on(created).unwrap().unwrap_err().state(), SqlState::IO_ERROR);
    assert!(worker.read(VIEW).is_err());
}

#[test]
fn a_view_lists_what_it_leaves_out() {
    let worker = TestWorker::new(0);
    let rows = [reading(1, 0.5, 0), reading(2, 0.5, 4)];
    let table = [(READINGS, batch_of(&readings_schema(), &rows))];
    let inverse = plan(project(source(READINGS, &readings_schema()), vec![lit(8_i64) / col("n")]));
    worker.create(VIEW, &inverse, &table, false).unwrap();
    assert_eq!(oracle::render(&worker.rows(VIEW)), ["2"]);
    let errors = worker.read(VIEW).unwrap().errors();
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].operator, errors[0].state, errors[0].weight), (1, SqlState::DIVISION_BY_ZERO, 1));
    assert_eq!(worker.dataflows.stats()[0].errors, 1);
}

/// The simulated executor decides who goes next; what a view shows does not depend on it.
#[test]
fn runs_under_the_simulated_executor() {
    let digest = |seed: u64| {
        let mut executor = SimExecutor::new(seed);
        let (dataflows, worker) = Worker::new(DataflowSettings::default(), CommitNumber::default());
        let _worker = executor.spawn(worker.run());
        let counts = plan(aggregate(
            source(READINGS, &readings_schema()),
            vec![col("device")],
            vec![(AggregateFunction::CountAll, vec![]), (AggregateFunction::Avg, vec![col("x")])],
        ));
        let rows = |from: i64| (from..from + 50).map(|n| reading(n % 7, n as f64 / 10.0, n)).collect::<Vec<_>>();
        let backfill = futures::stream::iter([Ok(batch_of(&readings_schema(), &rows(0)))]).boxed();
        let backfill = HashMap::from([(READINGS, Backfill { rows: backfill, append_only: false })]);
        let created = dataflows.push_create(view(VIEW, &counts), counts.clone(), backfill);
        let writer = dataflows.clone();
        executor.spawn(async move {
            for number in 1..20 {
                let delta = DeltaBatch::inserts(batch_of(&readings_schema(), &rows(number)));
                writer.push_commit(commit(number as u64, vec![(READINGS, delta)]));
            }
        });
        executor.block_on(async move {
            created.await.unwrap().unwrap();
            loop {
                let read = dataflows.push_read(&[VIEW]).await.unwrap().unwrap();
                if read[&VIEW].commit() == CommitNumber(19) {
                    return read[&VIEW].digest().unwrap();
                }
            }
        })
    };
    let digests: Vec<_> = (0..8).map(digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}
