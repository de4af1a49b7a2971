//! Failing backfills, and errors that a view reports.

use datafusion::common::HashMap;
use datafusion::logical_expr::{col, lit};
use futures::StreamExt;

use super::Backfill;
use crate::dataflow::tests::views::*;
use crate::error::{Error, SqlState};
use crate::testing::oracle;

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
