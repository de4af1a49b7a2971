//! Columns of one value below an operator that puts NULLs beside it.
//!
//! ```text
//! SELECT name, kind FROM devices LEFT JOIN alarms ON device = name AND kind = 'hot' ORDER BY kind, name
//! SELECT device, kind, count(*) FROM alarms WHERE kind = 'hot' GROUP BY ROLLUP (kind, device) ORDER BY kind, device
//! ```
//!
//! `kind` is one value below the join and below the grouping sets, and two above them, of which one is NULL. DataFusion (55.2) carries such
//! constants upwards, and an ORDER BY of them is left out as one that changes nothing, or ends at the first other value where it
//! has a LIMIT. So a node that knows of no constants stands between an outer join and each side that may go without a partner, and below
//! grouping sets, where what was equal is not either. It stays in the finished plan: a sort looks at what its input promises whenever a plan
//! is put together.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, PlanProperties, ReplaceChildrenOptions,
};

use super::pass_through::{Pass, PassThrough};

/// Puts the nodes in, before every other rule.
#[derive(Debug)]
pub struct ForgetConstants;

impl PhysicalOptimizerRule for ForgetConstants {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let forgetful = plan.transform_up(|plan| {
            let gets_nulls = gets_nulls(plan.as_ref());
            let mut children: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().cloned().collect();
            let mut changed = false;
            for (child, gets_nulls) in children.iter_mut().zip(gets_nulls) {
                if *gets_nulls && !child.equivalence_properties().eq_group().is_empty() {
                    *child = PassThrough::over(Arc::clone(child), Forgetful);
                    changed = true;
                }
            }
            if !changed {
                return Ok(Transformed::no(plan));
            }
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Ok(Transformed::yes(plan.replace_children(children, options)?))
        })?;
        Ok(forgetful.data)
    }

    fn name(&self) -> &str {
        "forget_constants"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Which children's columns are NULL in some rows above, whatever they are below.
fn gets_nulls(plan: &dyn ExecutionPlan) -> &'static [bool] {
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return if aggregate.group_expr().is_single() { &[] } else { &[true] };
    }
    match join_type(plan) {
        Some(JoinType::Left) => &[false, true],
        Some(JoinType::Right) => &[true, false],
        Some(JoinType::Full) => &[true, true],
        _ => &[],
    }
}

fn join_type(plan: &dyn ExecutionPlan) -> Option<JoinType> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        return Some(*join.join_type());
    }
    plan.downcast_ref::<SortMergeJoinExec>().map(SortMergeJoinExec::join_type)
}

/// Says nothing of which columns have one value or the same.
#[derive(Debug, Clone)]
struct Forgetful;

impl Pass for Forgetful {
    const NAME: &'static str = "ForgetfulExec";

    fn properties(input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        let mut known = EquivalenceProperties::new(input.schema());
        known.add_orderings(input.equivalence_properties().oeq_class().iter().cloned());
        Arc::new(input.properties().as_ref().clone().with_eq_properties(known))
    }

    fn pass(&self, rows: SendableRecordBatchStream, _: &TaskContext) -> SendableRecordBatchStream {
        rows
    }
}
