//! Scalar subqueries that are tied to the outer row by equalities, and have no second row for it: with LIMIT 1, or tied by a table's
//! whole primary key.
//! `SELECT t.name, (SELECT r.speed FROM readings r WHERE r.truck = t.id ORDER BY at DESC LIMIT 1) FROM trucks t`.
//!
//! ```text
//! Projection: name, subquery            Projection: name, value
//!   t                            ->       Left Join: t.id = key
//!                                           t
//!                                           value, key: the first row of each group, as in lateral_first
//! ```
//!
//! In select lists, WHERE and HAVING. What may have a second row, or is tied otherwise, stays as it is.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection};

use super::lateral_first::{Known, first_value};

/// A node with such subqueries as one over joins; `None` where it has none. `names`: counts, so that each join has names of its own.
pub(super) fn lower_scalars(node: &LogicalPlan, known: &Known<'_>, names: &mut usize) -> Result<Option<LogicalPlan>> {
    match node {
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let mut lowering = Lowering { input: input.as_ref().clone(), known, names, is_changed: false };
            let lowered = expr.iter().map(|expr| {
                let name = NamePreserver::new_for_projection().save(expr);
                Ok(name.restore(lowering.lower(expr)?))
            });
            let lowered = lowered.collect::<Result<Vec<_>>>()?;
            let Lowering { input, is_changed, .. } = lowering;
            let plan = || Ok(LogicalPlan::Projection(Projection::try_new(lowered, Arc::new(input))?));
            is_changed.then(plan).transpose()
        }
        LogicalPlan::Filter(Filter { predicate, input, .. }) => {
            let columns = input.schema().columns().into_iter().map(Expr::Column);
            let mut lowering = Lowering { input: input.as_ref().clone(), known, names, is_changed: false };
            let predicate = lowering.lower(predicate)?;
            let Lowering { input, is_changed, .. } = lowering;
            let plan = || LogicalPlanBuilder::from(input).filter(predicate)?.project(columns)?.build();
            is_changed.then(plan).transpose()
        }
        _ => Ok(None),
    }
}

struct Lowering<'a> {
    /// The rows, with a column for each subquery so far.
    input: LogicalPlan,
    known: &'a Known<'a>,
    names: &'a mut usize,
    is_changed: bool,
}

impl Lowering<'_> {
    fn lower(&mut self, expr: &Expr) -> Result<Expr> {
        let lowered = expr.clone().transform_down(|expr| {
            let Expr::ScalarSubquery(subquery) = &expr else { return Ok(Transformed::no(expr)) };
            if subquery.outer_ref_columns.is_empty() {
                return Ok(Transformed::no(expr));
            }
            *self.names += 1;
            match first_value(&self.input, subquery, self.known, *self.names)? {
                Some((joined, value)) => {
                    (self.input, self.is_changed) = (joined, true);
                    Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
                }
                None => Ok(Transformed::no(expr)),
            }
        })?;
        Ok(lowered.data)
    }
}
