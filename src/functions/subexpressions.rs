//! DataFusion's rule that computes common expressions once, kept from windows over windows.
//!
//! It takes all windows that stand upon each other for one (55.2), and computes what two of them share below the lowest, also where that is
//! made of a window's result.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// In the place of DataFusion's rule.
#[derive(Debug, Default)]
pub struct Subexpressions(CommonSubexprEliminate);

impl OptimizerRule for Subexpressions {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if plan.exists(|node| Ok(is_over_a_window(node)))? {
            Ok(Transformed::no(plan))
        } else {
            self.0.rewrite(plan, config)
        }
    }
}

fn is_over_a_window(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Window(window) if matches!(*window.input, LogicalPlan::Window(_)))
}
