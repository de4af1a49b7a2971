//! What is kept for which plan, and what is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::{col, lit};

use super::{Dataflow, Kept};
use crate::dataflow::tests::views::*;
use crate::error::SqlState;
use crate::io::Inline;
use crate::plan::AggregateFunction::{CountAll, Sum};
use crate::plan::Node;

fn counts() -> Node {
    let calls = vec![(CountAll, vec![]), (Sum, vec![col("n")])];
    aggregate(source(READINGS, &readings_schema()), vec![col("device")], calls)
}

fn check_keeps_a_bag(root: Node, expected: bool) {
    let dataflow = Dataflow::build(&plan(root), &BTreeMap::new(), &Default::default(), Arc::new(Inline)).unwrap();
    assert_eq!(matches!(dataflow.kept, Kept::Bag(_)), expected);
}

#[test]
fn an_aggregate_is_its_views_content_unless_what_is_above_can_fail() {
    check_keeps_a_bag(counts(), false);
    check_keeps_a_bag(project(filter(counts(), col("a0").gt(lit(3_i64))), vec![col("a1"), col("device")]), false);
    check_keeps_a_bag(project(counts(), vec![lit(10_i64) / col("a0")]), true);
    check_keeps_a_bag(source(READINGS, &readings_schema()), true);
}

#[test]
fn types_that_cannot_be_grouped_by_are_refused() {
    let list = DataType::new_list(DataType::new_list(DataType::Int32, true), true);
    let schema = std::sync::Arc::new(Schema::new(vec![Field::new("many", list, true)]));
    let root = aggregate(source(READINGS, &schema), vec![col("many")], vec![(CountAll, vec![])]);
    let plan = crate::plan::ViewPlan { root, columns: vec![] };
    let error = Dataflow::build(&plan, &BTreeMap::new(), &Default::default(), Arc::new(Inline)).unwrap_err();
    assert_eq!(error.state(), SqlState::FEATURE_NOT_SUPPORTED);
}
