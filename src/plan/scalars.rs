//! Scalar subqueries that do not aggregate, guarded against a second row: as `single_value` of their rows, which raises
//! 21000 for more than one.
//!
//! Only those that read nothing of the outer row; DataFusion makes a join with one row of them. Of the others, those that are tied by
//! equalities are joins already (`scalar_first`), and the rest is refused.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};

use super::lower::refuse;
use crate::functions::single_value;

pub fn guard_scalars(plan: LogicalPlan) -> Result<LogicalPlan> {
    let guarded = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_up(|expr| match expr {
                Expr::ScalarSubquery(subquery)
                    if subquery.outer_ref_columns.is_empty() && !gives_one_row(&subquery.subquery) =>
                {
                    Ok(Transformed::yes(Expr::ScalarSubquery(guarded(subquery)?)))
                }
                Expr::ScalarSubquery(subquery) if !gives_one_row(&subquery.subquery) => {
                    let refused = refuse(
                        "a scalar subquery that does not aggregate and is not tied to the outer row by equalities",
                    );
                    Err(DataFusionError::External(Box::new(refused)))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    })?;
    Ok(guarded.data)
}

/// An aggregate without GROUP BY, perhaps with expressions over it.
fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => gives_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => gives_one_row(&alias.input),
        _ => false,
    }
}

fn guarded(subquery: Subquery) -> Result<Subquery> {
    let (qualifier, field) = subquery.subquery.schema().qualified_field(0);
    let (value, name) = (Expr::Column(Column::from((qualifier, field))), field.name().clone());
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
        .aggregate(Vec::<Expr>::new(), vec![single_value().call(vec![value]).alias(name)])?
        .build()?;
    Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns: Vec::new(), spans: subquery.spans })
}
