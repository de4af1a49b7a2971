//! An aggregate's ORDER BY names each expression once.
//!
//! `SELECT DISTINCT ON (x * 1) ... ORDER BY x * 1, x DESC` has two keys until `x * 1` has become `x`. What is named again decides nothing,
//! and DataFusion's first_value (55.2) panics over it. So it is with `x::bigint` where x is a bigint: the cast goes with the physical plan alone.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// After the rules that make expressions simpler.
#[derive(Debug, Default)]
pub struct OrderOnce;

impl OptimizerRule for OrderOnce {
    fn name(&self) -> &str {
        "order_once"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !matches!(plan, LogicalPlan::Aggregate(_)) {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        let inputs: Vec<DFSchemaRef> = plan.inputs().iter().map(|input| input.schema().clone()).collect();
        let Some(input) = inputs.first() else { return Ok(Transformed::no(plan)) };
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|expr| once(expr, input))?.update_data(|expr| name.restore(expr)))
        })
    }
}

fn once(expr: Expr, input: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::AggregateFunction(AggregateFunction { func, mut params }) = expr else {
        return Ok(Transformed::no(expr));
    };
    let named = params.order_by.len();
    let mut known: Vec<Expr> = Vec::with_capacity(named);
    let mut keys: Vec<Sort> = Vec::with_capacity(named);
    for key in std::mem::take(&mut params.order_by) {
        let as_planned = as_planned(key.expr.clone(), input)?;
        if !known.contains(&as_planned) {
            known.push(as_planned);
            keys.push(key);
        }
    }
    let changed = keys.len() < named;
    params.order_by = keys;
    Ok(Transformed::new_transformed(Expr::AggregateFunction(AggregateFunction { func, params }), changed))
}

/// Without what a physical expression does not have.
fn as_planned(expr: Expr, input: &DFSchema) -> Result<Expr> {
    let planned = expr.transform_up(|expr| match expr {
        Expr::Alias(alias) => Ok(Transformed::yes(*alias.expr)),
        Expr::Cast(cast) if cast.expr.get_type(input)? == *cast.field.data_type() => Ok(Transformed::yes(*cast.expr)),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(planned.data)
}
