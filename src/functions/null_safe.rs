//! Joins ON `a IS NOT DISTINCT FROM b`, by equalities that say so.
//!
//! DataFusion (55.2) marks such a join as one whose keys are equal where both are NULL, and later gives it other keys too: those of
//! `WHERE l.c = r.c` above it, which NULL must not meet. Here the keys themselves say that NULL is a value, so that all keys of a join are
//! equalities like any other. Only INTERSECT and EXCEPT, which compare whole rows, are marked.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, NullEquality, Result, ScalarValue};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan, lit, when};
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// In the place of DataFusion's rule that finds the keys of joins.
#[derive(Debug, Default)]
pub struct JoinKeys(ExtractEquijoinPredicate);

impl OptimizerRule for JoinKeys {
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
        let is_marked = |plan: &LogicalPlan| matches!(plan, LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull);
        if is_marked(&plan) {
            return Ok(Transformed::no(plan));
        }
        let keyed = self.0.rewrite(plan, config)?.map_data(|plan| match plan {
            LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull => {
                let on = null_safe(join.on, join.left.schema())?;
                Ok(LogicalPlan::Join(Join { on, null_equality: NullEquality::NullEqualsNothing, ..join }))
            }
            other => Ok(other),
        })?;
        keyed.transform_data(without_constant_keys)
    }
}

/// A key that has become a constant on one side, such as `a IS NULL` where `a` cannot be NULL, as a condition: `EliminateCrossJoin`
/// (55.2) forgets keys that name no column of a side.
fn without_constant_keys(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
    let is_constant = |(left, right): &(Expr, Expr)| !left.any_column_refs() || !right.any_column_refs();
    if !join.on.iter().any(is_constant) {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let (constant, keys): (Vec<_>, Vec<_>) = join.on.into_iter().partition(is_constant);
    join.on = keys;
    join.filter = conjunction(join.filter.into_iter().chain(constant.into_iter().map(|(left, right)| left.eq(right))));
    Ok(Transformed::yes(LogicalPlan::Join(join)))
}

/// Keys for which NULL is a value: whether there is one, and the value, in whose place stands any where there is none.
///
/// Errors: for types of which no value is known.
pub fn null_safe(on: Vec<(Expr, Expr)>, left_schema: &DFSchema) -> Result<Vec<(Expr, Expr)>> {
    let mut keys = Vec::with_capacity(on.len() * 2);
    for (left, right) in on {
        let any = ScalarValue::new_default(&left.get_type(left_schema)?)?;
        let value = |key: &Expr| when(key.clone().is_null(), lit(any.clone())).otherwise(key.clone());
        keys.push((left.clone().is_null(), right.clone().is_null()));
        keys.push((value(&left)?, value(&right)?));
    }
    Ok(keys)
}
