//! [`QueryEngine`]: DataFusion within bounds.
//!
//! Bounds: threads of its own, so that a heavy query starves neither commits nor views; one memory pool that all queries
//! share fairly and that says who holds it when it runs dry; a spill directory of limited size; no object store but the
//! tier; no DDL, DML or settings through SQL; a deadline.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use chrono::DateTime;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{FunctionRegistry, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};

use super::all_rows::count_all;
use super::any_of::any_of;
use super::array_literals::ArrayLiterals;
use super::context::{ContextInput, QueryContext};
use super::decorrelate::decorrelate;
use super::filters_by_name::guarded;
use super::forget_constants::ForgetConstants;
use super::gathering::GatheringWindows;
use super::held::HeldQuery;
use super::output::present;
use super::prepared::Workbench;
use super::rows::{Begun, Deadline, RowStream, on_query_threads, run_error};
use super::running::{QueryMemory, RunningQueries};
use super::store::tier_only_registry;
use super::yielding::YieldingJoins;
use crate::error::{Error, Result};
use crate::functions::{session_state, single_value};
use crate::io::{Clock, SystemClock};
use crate::settings::QuerySettings;

/// Consumers that an out-of-memory error names.
const MEMORY_CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(5).unwrap();

/// Time zones whose state is kept; sessions seldom have more than one or two.
const ZONES_MAX: usize = 16;

/// Runs ad hoc queries. One per server.
pub struct QueryEngine {
    /// Taken when dropped: a runtime must not be dropped where blocking is forbidden.
    threads: Option<Runtime>,
    pub(super) running: Arc<RunningQueries>,
    /// Functions and settings, before any statement's.
    state: SessionState,
    /// For plans that are kept, by time zone.
    zones: Mutex<HashMap<String, Arc<Workbench>>>,
    /// Queries run by a plan that was kept.
    pub(super) kept_plan_runs: AtomicU64,
}

/// A running query.
pub struct QueryResult {
    pub schema: SchemaRef,
    pub rows: RowStream,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExplainOptions {
    /// Run it, and print what each operator measured.
    pub analyze: bool,
    /// Also the logical plan, and every metric.
    pub verbose: bool,
}

impl QueryEngine {
    /// `spill_dir` is created where missing; what a former process left in it is not read.
    pub fn new(settings: &QuerySettings, spill_dir: &Path, tier: Arc<dyn ObjectStore>) -> Result<QueryEngine> {
        let pool = TrackConsumersPool::new(FairSpillPool::new(settings.memory_bytes), MEMORY_CONSUMERS_NAMED);
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![spill_dir.to_path_buf()]))
            .with_max_temp_directory_size(settings.spill_bytes);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(disk)
            .with_object_store_registry(tier_only_registry(tier)?)
            .build_arc()?;
        let mut settings = settings.clone();
        if settings.threads == 0 {
            settings.threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        }
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.threads)
            .thread_name("query")
            .enable_all()
            .build()
            .map_err(|error| Error::internal("cannot start the query threads").with_source(error))?;
        let state = base_state(&settings, environment.clone())?;
        Ok(QueryEngine {
            threads: Some(threads),
            running: RunningQueries::new(environment),
            state,
            zones: Mutex::default(),
            kept_plan_runs: AtomicU64::new(0),
        })
    }

    /// The names and functions of one statement.
    pub fn context(&self, input: ContextInput) -> QueryContext {
        let mut state = self.state.clone();
        state.config_mut().options_mut().execution.time_zone = Some(input.time_zone.clone());
        state.execution_props_mut().query_execution_start_time = DateTime::from_timestamp_micros(input.now_us);
        QueryContext::new(state, input)
    }

    /// What plans and runs statements that do not ask for the time, shared by all in this zone.
    pub(super) fn workbench(&self, zone: &str) -> Arc<Workbench> {
        let mut zones = self.zones.lock();
        if let Some(workbench) = zones.get(zone) {
            return workbench.clone();
        }
        if zones.len() == ZONES_MAX {
            zones.clear();
        }
        let mut state = self.state.clone();
        state.config_mut().options_mut().execution.time_zone = Some(zone.to_owned());
        zones.entry(zone.to_owned()).or_insert_with(|| Arc::new(Workbench::new(state))).clone()
    }

    /// Functions and settings before any statement's: what stored plans refer to.
    pub fn base_state(&self) -> &SessionState {
        &self.state
    }

    /// Starts a query. `timeout` bounds it from here to its last batch.
    pub async fn execute(
        &self,
        context: &QueryContext,
        plan: LogicalPlan,
        timeout: Option<Duration>,
    ) -> Result<QueryResult> {
        let mut deadline = Deadline::after(timeout);
        let state = context.shared_state();
        let (task, wanted) = self.running.start(&state, context.text());
        let work = async move {
            let physical = physical_plan(&state, plan).await?;
            Ok(Begun::new(execute_stream(physical, task)?).await)
        };
        let threads = self.threads()?;
        let begun = deadline.bound(on_query_threads(threads, work)).await??;
        Ok(begun.result(threads, deadline, Some(wanted)))
    }

    /// Plans a query whose result is read later, perhaps in parts. `rows` is how many rows its tables have; `timeout`
    /// bounds the planning and then each reading.
    pub async fn hold(
        &self,
        context: &QueryContext,
        plan: LogicalPlan,
        rows: usize,
        timeout: Option<Duration>,
    ) -> Result<HeldQuery> {
        HeldQuery::plan(self.threads()?, self.running.clone(), context, plan, rows, timeout).await
    }

    /// The plan as lines of text; with `analyze`, after running it to its end.
    pub async fn explain(
        &self,
        context: &QueryContext,
        plan: LogicalPlan,
        options: ExplainOptions,
        timeout: Option<Duration>,
    ) -> Result<Vec<String>> {
        let state = context.shared_state();
        let (task, _wanted) = self.running.start(&state, context.text());
        let work = async move { explain(&state, task, plan, options).await };
        Deadline::after(timeout).bound(on_query_threads(self.threads()?, work)).await?
    }

    /// Bytes of the memory pool that running queries hold.
    pub fn memory_used_bytes(&self) -> usize {
        self.running.bytes()
    }

    /// What each running query holds of it.
    pub fn memory(&self) -> Vec<QueryMemory> {
        self.running.memory()
    }

    /// Queries that were run by a plan of [`QueryEngine::prepare`], since the start.
    pub fn kept_plan_runs(&self) -> u64 {
        self.kept_plan_runs.load(Ordering::Relaxed)
    }

    pub(super) fn threads(&self) -> Result<&Handle> {
        self.threads.as_ref().map(Runtime::handle).ok_or_else(|| Error::internal("the query threads are gone"))
    }
}

impl Drop for QueryEngine {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// The state that every statement's is a copy of: the one function registry of both executions, and what PostgreSQL's
/// clients need besides.
fn base_state(settings: &QuerySettings, environment: Arc<RuntimeEnv>) -> Result<SessionState> {
    let config = SessionConfig::new().with_batch_size(settings.batch_rows).with_target_partitions(settings.threads);
    let mut rules: Vec<_> = PhysicalOptimizer::new().rules.into_iter().map(guarded).collect();
    rules.insert(0, Arc::new(ForgetConstants));
    rules.push(Arc::new(YieldingJoins));
    rules.push(Arc::new(GatheringWindows));
    let mut state = session_state(config, environment).with_physical_optimizer_rules(rules).build();
    state.register_udaf(Arc::new(single_value()))?;
    state.register_udf(Arc::new(any_of()))?;
    state.register_expr_planner(Arc::new(ArrayLiterals))?;
    Ok(state)
}

/// Refuses everything but queries, then optimises.
pub(super) async fn physical_plan(state: &SessionState, plan: LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(state.create_physical_plan(&logical_plan(plan)?).await?)
}

/// The plan as DataFusion's optimizer can take it. Errors: anything but a query.
pub(super) fn logical_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    queries_only().verify_plan(&plan)?;
    present(decorrelate(count_all(plan)?)?)
}

fn queries_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

async fn explain(
    state: &SessionState,
    task: Arc<TaskContext>,
    plan: LogicalPlan,
    options: ExplainOptions,
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    if options.verbose {
        lines.push("Logical plan:".to_owned());
        lines.extend(
            state
                .optimize(&decorrelate(count_all(plan.clone())?)?)?
                .display_indent()
                .to_string()
                .lines()
                .map(str::to_owned),
        );
        lines.push("Physical plan:".to_owned());
    }
    let physical = physical_plan(state, plan).await?;
    if !options.analyze {
        let text = DisplayableExecutionPlan::new(physical.as_ref()).indent(options.verbose).to_string();
        lines.extend(text.lines().map(str::to_owned));
        return Ok(lines);
    }
    let clock = SystemClock::new();
    let started = clock.monotonic();
    let batches = execute_stream(physical.clone(), task)?;
    let rows =
        batches.map(|batch| batch.map(|batch| batch.num_rows())).try_fold(0, |sum, rows| async move { Ok(sum + rows) });
    let rows = rows.await.map_err(run_error)?;
    let elapsed = clock.monotonic().saturating_sub(started);
    let display = match options.verbose {
        true => DisplayableExecutionPlan::with_full_metrics(physical.as_ref()),
        false => DisplayableExecutionPlan::with_metrics(physical.as_ref()),
    };
    lines.extend(display.indent(options.verbose).to_string().lines().map(str::to_owned));
    lines.push(format!("Rows: {rows}"));
    lines.push(format!("Execution Time: {:.3} ms", elapsed.as_secs_f64() * 1e3));
    Ok(lines)
}

#[cfg(test)]
mod tests;
