//! The subqueries of ANY, SOME and ALL under a name that no table has: DataFusion compares the outer row with the subquery's
//! column by their names, and those of one table, read within and without, are the same.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::logical_expr::expr::SetComparison;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};

use crate::error::Error;

/// No identifier is written so.
const COMPARED: &str = "?compared?";

/// Errors: 0A000 where a subquery that reads the outer row cannot be told from it.
pub fn name_quantified(plan: LogicalPlan) -> Result<LogicalPlan> {
    let named = plan.transform_up_with_subqueries(|node| {
        let outer: Vec<Arc<DFSchema>> = node.inputs().into_iter().map(|input| input.schema().clone()).collect();
        node.map_expressions(|expr| {
            expr.transform_up(|expr| match expr {
                Expr::SetComparison(comparison) => name(comparison, &outer),
                other => Ok(Transformed::no(other)),
            })
        })
    })?;
    Ok(named.data)
}

fn name(mut comparison: SetComparison, outer: &[Arc<DFSchema>]) -> Result<Transformed<Expr>> {
    let subquery = &comparison.subquery;
    if !subquery.outer_ref_columns.is_empty() {
        let (qualifier, _) = subquery.subquery.schema().qualified_field(0);
        let is_outer_too = |qualifier| outer.iter().any(|schema| schema.iter().any(|(of, _)| of == Some(qualifier)));
        if qualifier.is_some_and(is_outer_too) {
            let error = Error::not_built("ANY or ALL of a subquery that reads the outer row and a table of its name")
                .with_hint("Give the table in the subquery another name with AS.");
            return Err(DataFusionError::External(Box::new(error)));
        }
        return Ok(Transformed::no(Expr::SetComparison(comparison)));
    }
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).alias(COMPARED)?.build()?;
    comparison.subquery = Subquery { subquery: Arc::new(plan), ..subquery.clone() };
    Ok(Transformed::yes(Expr::SetComparison(comparison)))
}
