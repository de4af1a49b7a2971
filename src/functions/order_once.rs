//! An aggregate's ORDER BY names each expression once.
//!
//! `SELECT DISTINCT ON (x * 1) ... ORDER BY x * 1, x DESC` has two keys until `x * 1` has become `x`. What is named again decides nothing,
//! and DataFusion's first_value (55.2) panics over it.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
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
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(once)?.update_data(|expr| name.restore(expr)))
        })
    }
}

fn once(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::AggregateFunction(AggregateFunction { func, mut params }) = expr else {
        return Ok(Transformed::no(expr));
    };
    let named = params.order_by.len();
    let mut keys: Vec<Sort> = Vec::with_capacity(named);
    for key in std::mem::take(&mut params.order_by) {
        if !keys.iter().any(|known| bare(&known.expr) == bare(&key.expr)) {
            keys.push(key);
        }
    }
    let changed = keys.len() < named;
    params.order_by = keys;
    Ok(Transformed::new_transformed(Expr::AggregateFunction(AggregateFunction { func, params }), changed))
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}
