//! Planning a materialized view: the query's plan, made of the operators that the incremental engine has.
//!
//! ```text
//! plan_query (analyzed, as for queries) -> refuse what is not incremental -> own rules -> lower -> ids -> repeats
//! ```
//!
//! The rules are few, because each may change what a view must keep: constants, subqueries as joins, join keys out of
//! WHERE, filters below joins where they cannot err, columns that nobody reads, first rows for joins with a group's own extreme,
//! aggregates below joins. None of them knows the time.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Volatility};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use sqlparser::ast::Query;

use super::closing::{close, close_windows};
use super::eager::aggregate_eagerly;
use super::errors::plan_error;
use super::filters::push_filters;
use super::lower::lower;
use super::own_extremes::rank_by_own_extremes;
use super::query::plan_query;
use super::relations::RelationLookup;
use super::repeated::share_repeated;
use super::scalars::guard_scalars;
use super::ties::spread_distinct_on;
use super::view_plan::{AggregateFunction, Node, OperatorId, ViewPlan};
use crate::catalog::{Catalog, ViewColumn};
use crate::error::{Error, Result, SqlState};
use crate::functions::{JoinKeys, type_name};
use crate::types::SqlType;

/// Plans a view's query. The lookup must give [`super::RelationSource`]s. `closes`: it shows groups when their windows are closed,
/// by watermarks of the tables of this catalog.
///
/// Errors: those of [`plan_query`]; 0A000 naming the operator that is not incremental, now() or a volatile function, and for a sketch of rows that may go;
/// 42701 for two columns of one name.
pub fn plan_view(
    state: &SessionState,
    relations: &dyn RelationLookup,
    query: &Query,
    sql_text: &str,
    closes: Option<&Catalog>,
) -> Result<ViewPlan> {
    incremental(state, relations, plan_query(state, relations, query, sql_text)?, sql_text, closes)
}

/// The same for a view that has its columns: they are the first that the query gives, which may give more by now.
///
/// Errors: as [`plan_view`]; 42P16 where it gives fewer.
pub fn plan_view_again(
    state: &SessionState,
    relations: &dyn RelationLookup,
    query: &Query,
    sql_text: &str,
    columns: &[ViewColumn],
    closes: Option<&Catalog>,
) -> Result<ViewPlan> {
    let analyzed = plan_query(state, relations, query, sql_text)?;
    if analyzed.schema().fields().len() < columns.len() {
        return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, "its query would have fewer columns"));
    }
    let named = analyzed.schema().columns().into_iter().zip(columns);
    let named: Vec<Expr> = named.map(|(own, column)| Expr::Column(own).alias(&column.name)).collect();
    incremental(state, relations, LogicalPlanBuilder::from(analyzed).project(named)?.build()?, sql_text, closes)
}

fn incremental(
    state: &SessionState,
    relations: &dyn RelationLookup,
    analyzed: LogicalPlan,
    sql_text: &str,
    closes: Option<&Catalog>,
) -> Result<ViewPlan> {
    refuse_impure(&analyzed)?;
    let options = state.config_options();
    // An operator that became PostgreSQL's may have another type than it was compared as. Ad hoc, execution analyzes again as well.
    let again = state.analyzer().rules.iter().try_fold(analyzed, |plan, rule| rule.analyze(plan, options));
    let analyzed = again.map_err(|error| plan_error(error, sql_text))?;
    let columns = output_columns(&analyzed)?;
    let (analyzed, closing) = match closes {
        Some(catalog) => close_windows(analyzed, catalog).map(|(plan, closing)| (plan, Some(closing)))?,
        None => (analyzed, None),
    };
    let mut options = options.as_ref().clone();
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    let context = OptimizerContext::new_with_config_options(Arc::new(options)).without_query_execution_start_time();
    let optimize = |rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>, plan: LogicalPlan| {
        Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {}).map_err(|error| plan_error(error, sql_text))
    };
    let joined = optimize(
        vec![
            Arc::new(SimplifyExpressions::new()),
            Arc::new(RewriteSetComparison::new()),
            Arc::new(DecorrelatePredicateSubquery::new()),
            Arc::new(ScalarSubqueryToJoin::new()),
            Arc::new(DecorrelateLateralJoin::new()),
            Arc::new(JoinKeys::default()),
            Arc::new(EliminateCrossJoin::new()),
        ],
        guard_scalars(analyzed).map_err(|error| plan_error(error, sql_text))?,
    )?;
    let pushed = push_filters(joined).map_err(|error| plan_error(error, sql_text))?;
    let spread = spread_distinct_on(pushed).map_err(|error| plan_error(error, sql_text))?;
    let pruned = optimize(vec![Arc::new(OptimizeProjections::new())], spread)?;
    let mut root = aggregate_eagerly(rank_by_own_extremes(lower(&pruned, &columns)?)?)?;
    if let Some(closing) = &closing {
        root = close(root, closing)?;
    }
    refuse_sketches_of_changes(&root, relations)?;
    number(&mut root, &mut 0);
    Ok(ViewPlan { root: share_repeated(root)?, columns })
}

fn output_columns(plan: &LogicalPlan) -> Result<Vec<ViewColumn>> {
    let mut columns: Vec<ViewColumn> = Vec::new();
    for field in plan.schema().fields() {
        if columns.iter().any(|column| column.name == *field.name()) {
            let message = format!("column \"{}\" specified more than once", field.name());
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message)
                .with_hint("Give the columns of the view different names with AS."));
        }
        let sql_type = SqlType::from_arrow(field.data_type()).ok_or_else(|| {
            Error::not_built(format!("column \"{}\" of type {} in a view", field.name(), type_name(field.data_type())))
        })?;
        columns.push(ViewColumn { name: field.name().clone(), sql_type });
    }
    Ok(columns)
}

/// A view is a function of its tables' rows: no chance. The time is looked at where expressions are lowered.
fn refuse_impure(plan: &LogicalPlan) -> Result<()> {
    let mut refused = None;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                refused = impure(expr);
                Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    });
    walked.map_err(Error::from)?;
    refused.map_or(Ok(()), Err)
}

fn impure(expr: &Expr) -> Option<Error> {
    if let Expr::Placeholder(parameter) = expr {
        return Some(Error::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter {}", parameter.id)));
    }
    let Expr::ScalarFunction(function) = expr else { return None };
    let name = function.name();
    (function.func.signature().volatility == Volatility::Volatile).then(|| {
        Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("function {name}() is volatile, and a view must not be"))
            .with_hint("Every reader of a view sees the same rows; put the value in a table's column instead.")
    })
}

/// What was added to a sketch cannot be taken back.
fn refuse_sketches_of_changes(node: &Node, relations: &dyn RelationLookup) -> Result<()> {
    if let Node::Aggregate { aggregates, input, .. } = node
        && aggregates.iter().any(|call| call.function == AggregateFunction::ApproxCountDistinct)
        && !input.is_append_only(&|relation| relations.is_append_only(relation))
    {
        let what = "approx_count_distinct of rows that may go again in a materialized view";
        return Err(Error::not_built(what)
            .with_hint("Use count(DISTINCT ...), or read tables that are APPEND ONLY, without what replaces rows."));
    }
    node.inputs().into_iter().try_for_each(|input| refuse_sketches_of_changes(input, relations))
}

/// Preorder, from 0.
fn number(node: &mut Node, next: &mut OperatorId) {
    let (id, inputs) = node.parts_mut();
    *id = *next;
    *next += 1;
    for input in inputs {
        number(input, next);
    }
}

/// Whether two sides of a comparison have one type, so that the engine may hash both.
pub(super) fn same_type(left: (&Expr, &LogicalPlan), right: (&Expr, &LogicalPlan)) -> Result<bool> {
    Ok(left.0.get_type(left.1.schema())? == right.0.get_type(right.1.schema())?)
}

#[cfg(test)]
pub(super) mod tests;
