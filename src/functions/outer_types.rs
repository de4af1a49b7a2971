//! The analyzer rule that keeps what a subquery reads of the outer query in the type that it has there.
//!
//! ```text
//! SELECT n FROM (SELECT small AS n FROM a EXCEPT SELECT large FROM b) AS w WHERE EXISTS (SELECT FROM c WHERE c.small = w.n)
//! ```
//!
//! `w.n` is planned as the smaller type in the subquery, before the set operation makes it the larger one; DataFusion (55.2) then compares the two
//! without a cast. As plans are analyzed twice, the rule that makes types fit sees the right one the second time.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Result};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};
use datafusion::optimizer::AnalyzerRule;

#[derive(Debug)]
pub struct OuterTypes;

impl AnalyzerRule for OuterTypes {
    fn name(&self) -> &str {
        "outer_types"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let retyped = plan.transform_down_with_subqueries(|plan| {
            let outer = merge_schema(&plan.inputs());
            plan.map_subqueries(|plan| match plan {
                LogicalPlan::Subquery(subquery) => in_subquery(subquery, &outer),
                other => Ok(Transformed::no(other)),
            })
        })?;
        Ok(retyped.data)
    }
}

fn in_subquery(subquery: Subquery, outer: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let plan = subquery.subquery.as_ref().clone().transform_up_with_subqueries(|plan| {
        let retyped = plan.map_expressions(|expr| expr.transform_up(|expr| Ok(retyped(expr, outer))))?;
        if !retyped.transformed {
            return Ok(retyped);
        }
        Ok(Transformed::yes(retyped.data.recompute_schema()?))
    })?;
    if !plan.transformed {
        return Ok(Transformed::no(LogicalPlan::Subquery(subquery)));
    }
    let Subquery { outer_ref_columns, spans, .. } = subquery;
    let outer_ref_columns = outer_ref_columns.into_iter().map(|column| retyped(column, outer).data).collect();
    let subquery = Arc::new(plan.data);
    Ok(Transformed::yes(LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans })))
}

fn retyped(expr: Expr, outer: &DFSchema) -> Transformed<Expr> {
    let Expr::OuterReferenceColumn(field, column) = &expr else { return Transformed::no(expr) };
    match outer.field_from_column(column) {
        Ok(known) if known.data_type() != field.data_type() => {
            let field = field.as_ref().clone().with_data_type(known.data_type().clone());
            Transformed::yes(Expr::OuterReferenceColumn(Arc::new(field), column.clone()))
        }
        _ => Transformed::no(expr),
    }
}
