//! Failing backfills, and errors that a view reports.

use datafusion::common::HashMap;
use datafusion::logical_expr::{col, lit};
use futures::StreamExt;

use super::Worker;
use crate::dataflow::tests::views::*;
use crate::dataflow::{Backfill, Filling, ViewStatus};
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
    let backfill = HashMap::from([(READINGS, Backfill { rows, append_only: false, watermark_us: None })]);
    let created =
        worker.dataflows.push_create(view(VIEW, &all), Ok(all.clone()), Filling { tables: backfill, cutoff: None });
    assert_eq!(worker.block_on(created).unwrap().unwrap_err().state(), SqlState::IO_ERROR);
    assert_eq!(worker.read(VIEW).unwrap_err().state(), SqlState::IO_ERROR, "whoever reads it is told why");
    let stats = worker.dataflows.stats();
    assert!(matches!(&stats[0].status, ViewStatus::Failed(why) if why.contains("the file is gone")), "{stats:?}");
}

#[test]
fn a_view_lists_what_it_leaves_out() {
    let worker = TestWorker::new(0);
    let rows = [reading(1, 0.5, 0), reading(2, 0.5, 4)];
    let table = [(READINGS, batch_of(&readings_schema(), &rows))];
    let inverse = plan(project(source(READINGS, &readings_schema()), vec![lit(8_i64) / col("n")]));
    worker.create(VIEW, &inverse, &table, false).unwrap();
    assert_eq!(oracle::render(&worker.rows(VIEW)), ["2"]);
    let errors: Vec<_> = worker.read(VIEW).unwrap().errors().unwrap().collect();
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].operator, errors[0].state, errors[0].weight), (1, SqlState::DIVISION_BY_ZERO, 1));
    assert_eq!(errors[0].input, "device=1, site=NULL, x=0.5, n=0, time=NULL");
    assert_eq!(worker.dataflows.stats()[0].errors, 1);
}

#[test]
fn a_view_that_does_not_keep_up_is_suspended_and_named() {
    let readings = |from: i64| (from..from + 40).map(|n| reading(1, 0.5, n)).collect::<Vec<_>>();
    let mut worker = TestWorker::with_settings(DataflowSettings {
        commits_per_step_max: 1,
        lag_bytes_max: 20_000,
        ..DataflowSettings::default()
    });
    let table = || source(READINGS, &readings_schema());
    let pairs =
        join(table(), project(table(), vec![col("device").alias("other")]), vec![(col("device"), col("other"))], None);
    let counts = plan(aggregate(table(), vec![col("device")], vec![(AggregateFunction::CountAll, vec![])]));
    let heavy = plan(aggregate(pairs, vec![], vec![(AggregateFunction::CountAll, vec![])]));
    let above = plan(filter(source(VIEW_ABOVE, &schema_of(&heavy)), col("a0").gt(lit(0_i64))));
    let empty = [(READINGS, batch_of(&readings_schema(), &[]))];
    worker.create(VIEW, &counts, &empty, false).unwrap();
    worker.create(VIEW_ABOVE, &heavy, &empty, false).unwrap();
    worker.create(VIEW_ON_TOP, &above, &[], false).unwrap();
    for number in 0..40 {
        worker.commit(vec![(READINGS, DeltaBatch::inserts(batch_of(&readings_schema(), &readings(number))))]);
    }
    assert_eq!(oracle::render(&worker.rows(VIEW)), ["1 | 1600"], "who keeps up goes on");
    for view in [VIEW_ABOVE, VIEW_ON_TOP] {
        assert_eq!(worker.read(view).unwrap_err().state(), SqlState::PROGRAM_LIMIT_EXCEEDED);
    }
    let stats = worker.dataflows.stats();
    assert!(matches!(&stats[1].status, ViewStatus::Suspended(_)) && matches!(&stats[0].status, ViewStatus::Live));

    // Filled again from where the tables are, it goes on; who kept up is left alone.
    let all: Vec<_> = (0..40).flat_map(&readings).collect();
    let table = [(READINGS, batch_of(&readings_schema(), &all))];
    worker.create(VIEW_ABOVE, &heavy, &table, false).unwrap();
    worker.create(VIEW_ON_TOP, &above, &[], false).unwrap();
    worker.create(VIEW, &counts, &[(READINGS, batch_of(&readings_schema(), &[]))], false).unwrap();
    worker.commit(vec![(READINGS, DeltaBatch::inserts(batch_of(&readings_schema(), &readings(40))))]);
    assert_eq!(oracle::render(&worker.rows(VIEW)), ["1 | 1640"]);
    for view in [VIEW_ABOVE, VIEW_ON_TOP] {
        assert_eq!(oracle::render(&worker.rows(view)), [(1640 * 1640).to_string()]);
    }
    assert!(worker.dataflows.stats().iter().all(|view| view.status == ViewStatus::Live));
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
        let backfill = HashMap::from([(READINGS, Backfill { rows: backfill, append_only: false, watermark_us: None })]);
        let created =
            dataflows.push_create(view(VIEW, &counts), Ok(counts.clone()), Filling { tables: backfill, cutoff: None });
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
                let (commit, mut read) = dataflows.push_read(&[VIEW]).await.unwrap();
                if commit == CommitNumber(19) {
                    return read.remove(&VIEW).unwrap().unwrap().digest().unwrap();
                }
            }
        })
    };
    let digests: Vec<_> = (0..8).map(digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}
