//! EXPLAIN: of a query its plan in the ad hoc engine, of a view the dataflow.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use futures::{StreamExt, stream};
use sqlparser::ast;

use super::define::plan_of;
use super::definitions::Definitions;
use super::response::Response;
use super::scope::{Environment, no_relation, with_parameters};
use super::select::output_columns;
use super::transaction::Transaction;
use crate::catalog::Relation;
use crate::error::{Error, Result, SqlState};
use crate::plan::plan_view;
use crate::query::ExplainOptions;
use crate::sql::{Explain, Statement};

pub async fn explain(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    explain: &Explain,
    parameters: &[ScalarValue],
) -> Result<Response> {
    match explain.statement.as_ref() {
        Statement::Query(query) => explain_query(environment, transaction, query, explain, parameters).await,
        Statement::CreateMaterializedView(create) if !explain.analyze => {
            let catalog = transaction.catalog(environment.handles);
            let definitions = Definitions::new(environment, catalog, transaction.started_us);
            let query = definitions.rewritten(&create.query)?;
            let plan = plan_view(definitions.state(), &definitions, &query, environment.text)?;
            lines(plan.explain().lines())
        }
        _ => Err(Error::not_built("EXPLAIN of this statement")
            .with_hint("EXPLAIN a query, or CREATE MATERIALIZED VIEW without ANALYZE.")),
    }
}

async fn explain_query(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    query: &ast::Query,
    explain: &Explain,
    parameters: &[ScalarValue],
) -> Result<Response> {
    let planned = environment.plan(transaction, query).await?;
    let plan = with_parameters(planned.plan, parameters)?;
    let options = ExplainOptions { analyze: explain.analyze, verbose: explain.verbose };
    let timeout = environment.session.variables().statement_timeout();
    let text = environment.handles.query.explain(&planned.context, plan, options, timeout).await?;
    lines(text.iter().map(String::as_str))
}

/// EXPLAIN MATERIALIZED VIEW: the stored plan and what its operators keep.
pub fn explain_view(environment: &Environment<'_>, transaction: &Transaction, name: &str) -> Result<Response> {
    let catalog = transaction.catalog(environment.handles);
    let view = match catalog.find(name) {
        Some(Relation::MaterializedView(view)) => view,
        Some(other) => {
            return Err(Error::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{name}\" is not a materialized view but a {}", other.kind_name()),
            ));
        }
        None => return Err(no_relation(&catalog, name)),
    };
    let definitions = Definitions::new(environment, catalog.clone(), transaction.started_us);
    let plan = plan_of(view, definitions.state())?;
    let mut text: Vec<String> = plan.explain().lines().map(str::to_owned).collect();
    let stats = environment.handles.dataflows.stats();
    if let Some(stats) = stats.iter().find(|stats| stats.view == view.id) {
        text.push(format!(
            "State: {} bytes, {} rows read and {} emitted so far, at commit {}",
            stats.state_bytes, stats.rows_read, stats.rows_emitted, stats.commit
        ));
    }
    lines(text.iter().map(String::as_str))
}

fn lines<'a>(text: impl Iterator<Item = &'a str>) -> Result<Response> {
    let schema = Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]));
    let text: Vec<&str> = text.collect();
    let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(StringArray::from(text))])?;
    Ok(Response::Rows {
        columns: output_columns(&schema)?,
        schema,
        rows: stream::iter([Ok(rows)]).boxed(),
        tag: "EXPLAIN".to_owned(),
        is_live: false,
    })
}
