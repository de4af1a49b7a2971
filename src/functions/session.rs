//! The one place where DataFusion is set up: which functions, rules and defaults both executions have.
//!
//! Owns the rule lists. Ad hoc queries optimize with [`query_optimizer_rules`]; views with their own list in `plan`.

use std::sync::Arc;

use datafusion::config::Dialect;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::WindowUDF;
use datafusion::logical_expr::planner::{ExprPlanner, TypePlanner};
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::prelude::SessionConfig;

use super::as_written::AsWritten;
use super::jsonb::JsonOperators;
use super::microseconds::Microseconds;
use super::null_safe::JoinKeys;
use super::operators::PostgresOperators;
use super::order_once::OrderOnce;
use super::outer_types::OuterTypes;
use super::ranks::with_signed_ranks;
use super::semantics::PostgresSemantics;
use super::sessions::Session;
use super::set_types::SetTypes;
use super::sql_types::PostgresTypes;
use super::subexpressions::Subexpressions;
use super::{aggregate, scalar_functions};

/// Name, in PostgreSQL's catalogs too, of the only database.
pub const DATABASE: &str = "tidemark";

/// A session for planning and executing: our functions over DataFusion's, PostgreSQL's types, checked arithmetic.
///
/// No file formats, table factories or table functions: what a query may read is decided by its caller.
pub fn session_state(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionStateBuilder {
    // Ours take the places of those of the same name, whose other names would still mean them.
    let (own_scalars, mut own_aggregates) = (scalar_functions(), aggregate::aggregate_functions());
    let mut scalars = SessionStateDefaults::default_scalar_functions();
    // SQL's times count microseconds.
    scalars.retain(|function| function.name() != "to_timestamp_nanos");
    scalars.retain(|function| !own_scalars.iter().any(|own| own.name() == function.name()));
    scalars.extend(own_scalars);
    let mut aggregates = SessionStateDefaults::default_aggregate_functions();
    own_aggregates.extend(aggregate::text_aggregate(&aggregates));
    aggregates.retain(|function| !own_aggregates.iter().any(|own| own.name() == function.name()));
    aggregates.extend(own_aggregates);
    SessionStateBuilder::new()
        .with_config(postgres_config(config))
        .with_runtime_env(runtime)
        .with_expr_planners(expr_planners())
        .with_type_planner(type_planner())
        .with_scalar_functions(scalars)
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(aggregates)
        .with_window_functions(window_functions())
        .with_analyzer_rules(analyzer().rules)
        .with_optimizer_rules(query_optimizer_rules())
}

/// DataFusion's defaults that differ from PostgreSQL's meaning of the same text.
fn postgres_config(mut config: SessionConfig) -> SessionConfig {
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.sql_parser.parse_float_as_decimal = true;
    // `x IS TRUE` is never NULL in a logical plan and might be in the physical one; the check takes that for a fault.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    options.execution.parquet.schema_force_view_types = false;
    options.execution.time_zone = Some("UTC".to_string());
    options.catalog.default_catalog = DATABASE.to_string();
    options.catalog.default_schema = "public".to_string();
    options.catalog.create_default_catalog_and_schema = false;
    options.catalog.information_schema = false;
    config
}

/// Maps PostgreSQL's type names; DataFusion's session does not hand its own out again.
pub fn type_planner() -> Arc<dyn TypePlanner> {
    Arc::new(PostgresTypes)
}

fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(JsonOperators), Arc::new(PostgresOperators)];
    planners.extend(SessionStateDefaults::default_expr_planners());
    planners
}

/// Analysis is the same for queries and views, so that a name has one type and one meaning.
pub fn analyzer() -> Analyzer {
    let rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![
        Arc::new(OuterTypes),
        Arc::new(ResolveGroupingFunction::new()),
        Arc::new(AsWritten),
        Arc::new(TypeCoercion::new()),
        Arc::new(Microseconds),
        Arc::new(SetTypes),
        Arc::new(PostgresSemantics),
    ];
    Analyzer::with_rules(rules)
}

/// DataFusion's rules without `single_distinct_aggregation_to_group_by`: it sums sums, and our sum of a sum has
/// another type than the sum. And with rules of our own, in the places of those of the same name or at the end.
fn query_optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let own: [Arc<dyn OptimizerRule + Send + Sync>; 2] =
        [Arc::new(JoinKeys::default()), Arc::new(Subexpressions::default())];
    let kept = |rule: &Arc<dyn OptimizerRule + Send + Sync>| rule.name() != "single_distinct_aggregation_to_group_by";
    let rules = Optimizer::new().rules.into_iter().filter(kept);
    let rules = rules.map(|rule| own.iter().find(|own| own.name() == rule.name()).cloned().unwrap_or(rule));
    rules.chain([Arc::new(OrderOnce) as Arc<dyn OptimizerRule + Send + Sync>]).collect()
}

fn window_functions() -> Vec<Arc<WindowUDF>> {
    let mut functions = with_signed_ranks(SessionStateDefaults::default_window_functions());
    functions.extend(Session::functions());
    functions
}
