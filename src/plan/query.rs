//! A query's syntax to its logical plan: names, types, and PostgreSQL's errors with their position.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use sqlparser::ast::{Query, Statement};

use super::errors::{no_such_relation, plan_error};
use super::in_values::in_values;
use super::lateral::lower_lateral;
use super::lateral_first::Known;
use super::output_names::{name_output, restore_names};
use super::quantified::name_quantified;
use super::relations::{ExpandedView, Found, RelationLookup};
use super::ties::break_ties;
use crate::error::Result;
use crate::functions::type_planner;
use crate::types::SqlType;

/// Plans a query against named relations. Output columns have the names that PostgreSQL gives them, duplicates included.
///
/// `sql_text` is the text that `query` was parsed from; positions of errors count its characters.
///
/// Errors: 42703 and 42P01 with position and suggestion, 42883, 42803, 42702, 42804, 0A000.
pub fn plan_query(
    state: &SessionState,
    relations: &dyn RelationLookup,
    query: &Query,
    sql_text: &str,
) -> Result<LogicalPlan> {
    plan_query_with_parameters(state, relations, query, sql_text, &[])
}

/// As [`plan_query`], with the types that the client declared for `$1`, `$2`, ...; others are inferred from their use.
pub fn plan_query_with_parameters(
    state: &SessionState,
    relations: &dyn RelationLookup,
    query: &Query,
    sql_text: &str,
    declared: &[Option<SqlType>],
) -> Result<LogicalPlan> {
    let mut query = query.clone();
    name_output(&mut query);
    let provider = Provider { state, relations };
    let known = Known { functions: state.window_functions(), relations };
    let mut context = PlannerContext::new().with_prepare_param_data_types(declared_fields(declared));
    SqlToRel::new(&provider)
        .sql_statement_to_plan_with_context(Statement::Query(Box::new(query)), &mut context)
        .and_then(restore_names)
        .and_then(name_quantified)
        .and_then(|plan| lower_lateral(plan, &known))
        .and_then(|plan| analyze(state, plan))
        .and_then(in_values)
        .and_then(break_ties)
        .map_err(|error| plan_error(error, sql_text))
}

/// The plan with its final types and PostgreSQL's semantics; analyzing it again, as execution does, changes nothing.
///
/// Parameters may keep a plan from being analyzed until their values are known; such a plan is given back as it is.
fn analyze(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let parameters = plan.get_parameter_names()?;
    let unanalyzed = (!parameters.is_empty()).then(|| plan.clone());
    // Without DataFusion's final check: it refuses subqueries that `query::decorrelate` knows how to run.
    let rules = &state.analyzer().rules;
    match rules.iter().try_fold(plan, |plan, rule| rule.analyze(plan, state.config_options())) {
        Ok(analyzed) => Ok(analyzed),
        Err(error) => unanalyzed.ok_or(error),
    }
}

fn declared_fields(declared: &[Option<SqlType>]) -> Vec<Option<FieldRef>> {
    let field = |sql_type: &SqlType| Arc::new(Field::new("", sql_type.arrow(), true));
    declared.iter().map(|declared| declared.as_ref().map(field)).collect()
}

/// What DataFusion's planner asks for.
struct Provider<'a> {
    state: &'a SessionState,
    relations: &'a dyn RelationLookup,
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>, DataFusionError> {
        match self.relations.find(&name).map_err(external)? {
            Some(Found::Rows(source)) => Ok(source),
            Some(Found::Query(plan)) => Ok(Arc::new(ExpandedView(*plan))),
            None => Err(external(no_such_relation(&name, &self.relations.names()))),
        }
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> Result<Arc<dyn TableSource>, DataFusionError> {
        match self.relations.table_function(name, args).map_err(external)? {
            Some(source) => Ok(source),
            None => Err(DataFusionError::Plan(format!("Invalid function '{name}'"))),
        }
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>, DataFusionError> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(type_planner())
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.relations.function(name).or_else(|| self.state.scalar_functions().get(name).cloned())
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

fn external(error: crate::error::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
