//! Queries that are planned once and run many times, each time with other parameters over other snapshots.
//!
//! What is kept is the optimised plan with its parameters open and its scans naming relations by id. A run puts in the
//! snapshots and the values, and repeats only what the values decide: constants, and which conditions a scan takes.
//!
//! Only a plan that depends on nothing but its relations and parameters can be kept: no system tables, no function whose
//! answer changes while its arguments do not (`now()`). Does not know: when a plan has become stale.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource, Volatility};
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::physical_plan::execute_stream;

use super::context::QueryContext;
use super::engine::{QueryEngine, QueryResult, logical_plan};
use super::rows::{Begun, Deadline, on_query_threads};
use crate::error::{Error, Result};
use crate::plan::{RelationSource, relation_of};
use crate::types::RelationId;

/// A plan that is kept.
pub struct PreparedQuery {
    workbench: Arc<Workbench>,
    plan: LogicalPlan,
    is_plain: bool,
}

/// What plans and runs kept plans. Made once for a time zone: copying the function registry costs as much as reading a row.
pub(super) struct Workbench {
    state: SessionState,
    /// Without physical optimisation, for plans in which it has nothing to find.
    plain: SessionState,
    task: Arc<TaskContext>,
}

impl Workbench {
    pub fn new(state: SessionState) -> Workbench {
        let builder = SessionStateBuilder::new_from_existing(state.clone());
        let plain = builder.with_physical_optimizer_rules(Vec::new()).build();
        Workbench { task: state.task_ctx(), state, plain }
    }
}

/// What a relation is read from in one run.
pub type RelationRows<'a> = dyn Fn(RelationId) -> Option<Arc<dyn TableProvider>> + Sync + 'a;

impl QueryEngine {
    /// Plans as far as can be without parameters. `None` for a plan that cannot be kept. `id` tells the relation that a
    /// scan's rows were looked up for.
    pub fn prepare(
        &self,
        context: &QueryContext,
        plan: &LogicalPlan,
        id: &dyn Fn(&Arc<dyn TableProvider>) -> Option<RelationId>,
    ) -> Option<PreparedQuery> {
        if !depends_on_nothing_else(plan).ok()? {
            return None;
        }
        // With parameters open, some plans cannot be optimised.
        let plan = logical_plan(plan.clone()).and_then(|plan| Ok(context.state().optimize(&plan)?)).ok()?;
        let plan = with_sources(plan, &|source| {
            let id = id(&source_as_provider(source).ok()?)?;
            Some(Arc::new(RelationSource { id, name: String::new(), schema: source.schema() }))
        });
        let plan = plan.ok()?;
        let is_plain = is_plain(&plan).ok()?;
        Some(PreparedQuery { workbench: self.workbench(context.time_zone()), plan, is_plain })
    }

    /// Runs a prepared query over `rows`; `text` is what its memory is told by. `timeout` bounds it from here to its last batch.
    pub async fn execute_prepared(
        &self,
        prepared: &PreparedQuery,
        rows: &RelationRows<'_>,
        parameters: &[ScalarValue],
        text: &str,
        timeout: Option<Duration>,
    ) -> Result<QueryResult> {
        self.kept_plan_runs.fetch_add(1, Ordering::Relaxed);
        let mut deadline = Deadline::after(timeout);
        let plan = with_sources(prepared.plan.clone(), &|source| {
            relation_of(source).and_then(|relation| rows(relation.id)).map(provider_as_source)
        })?;
        let values = parameters.iter().cloned().map(Into::into).collect();
        let plan = plan.with_param_values(ParamValues::List(values))?;
        let (workbench, is_plain) = (prepared.workbench.clone(), prepared.is_plain);
        // What a plain plan's operators hold is a batch.
        let (task, wanted) = match is_plain {
            true => (workbench.task.clone(), None),
            false => {
                let (task, wanted) = self.running.start(&workbench.state, text);
                (task, Some(wanted))
            }
        };
        let work = async move {
            let state = if is_plain { &workbench.plain } else { &workbench.state };
            let plan = with_values_decided(plan, state)?;
            let physical = state.query_planner().create_physical_plan(&plan, state).await?;
            Ok(Begun::new(execute_stream(physical, task)?).await)
        };
        let threads = self.threads()?;
        let begun = deadline.bound(on_query_threads(threads, work)).await??;
        Ok(begun.result(threads, deadline, wanted))
    }
}

/// The rules for which it matters what a parameter is: `bigint_column = $1` is a key to look up only once `$1` is there.
fn with_values_decided(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let config = OptimizerContext::new_with_config_options(state.config_options().clone()).with_max_passes(1);
    let rules = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new()), Arc::new(PushDownFilter::new())]);
    Ok(rules.optimize(plan, &config, |_, _| {})?)
}

/// The plan with other sources for its scans. Errors: a source that `other` has none for.
fn with_sources(
    plan: LogicalPlan,
    other: &impl Fn(&Arc<dyn TableSource>) -> Option<Arc<dyn TableSource>>,
) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(mut scan) => {
            scan.source = other(&scan.source)
                .ok_or_else(|| DataFusionError::External(Box::new(Error::internal("a relation without rows"))))?;
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        node => Ok(Transformed::no(node)),
    })?;
    Ok(changed.data)
}

/// Whether each row of the result is made of one row of a scan: there is no order, no partitioning, no limit to arrange.
fn is_plain(plan: &LogicalPlan) -> Result<bool> {
    let mut plain = true;
    plan.apply_with_subqueries(|node| {
        plain &= match node {
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => true,
            LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => true,
            _ => false,
        };
        Ok(if plain { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(plain)
}

/// Whether the answer is a function of relations and parameters.
fn depends_on_nothing_else(plan: &LogicalPlan) -> Result<bool> {
    let mut immutable = true;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                let volatility = match part {
                    Expr::ScalarFunction(call) => call.func.signature().volatility,
                    Expr::ScalarVariable(..) => Volatility::Volatile,
                    _ => Volatility::Immutable,
                };
                immutable &= volatility == Volatility::Immutable;
                Ok(if immutable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
            })
        })
    })?;
    Ok(immutable)
}
