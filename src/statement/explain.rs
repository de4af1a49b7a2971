//! EXPLAIN: of a query its plan in the ad hoc engine, of a view the dataflow.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::execution::SessionState;
use futures::{StreamExt, stream};
use sqlparser::ast;

use super::define::{named, plan_of};
use super::definitions::Definitions;
use super::expire::retention_of_view;
use super::response::{Notice, Response};
use super::scope::{Environment, no_relation, with_parameters};
use super::select::output_columns;
use super::transaction::Transaction;
use crate::catalog::{Catalog, MaterializedView, Relation, Retention, TableKind};
use crate::error::{Error, Result, SqlState};
use crate::plan::{Relations, ViewPlan, plan_view};
use crate::query::ExplainOptions;
use crate::sql::{CreateMaterializedView, Explain, Statement};
use crate::types::RelationId;

pub async fn explain(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    explain: &Explain,
    parameters: &[ScalarValue],
) -> Result<Response> {
    match explain.statement.as_ref() {
        Statement::Query(query) if explain.state => explain_state(environment, transaction, query, None),
        Statement::CreateMaterializedView(create) if explain.state => {
            explain_state(environment, transaction, &create.query, Some(create))
        }
        Statement::Query(query) => explain_query(environment, transaction, query, explain, parameters).await,
        Statement::CreateMaterializedView(create) if !explain.analyze => {
            let catalog = transaction.catalog(environment.handles);
            let definitions = Definitions::new(environment, catalog.clone(), transaction.started_us);
            let query = definitions.rewritten(&create.query)?;
            let closes = create.emits_on_close.then_some(&*catalog);
            let plan = plan_view(definitions.state(), &definitions, &query, environment.text, closes)?;
            lines(plan.explain().lines())
        }
        _ => Err(Error::not_built("EXPLAIN of this statement")
            .with_hint("EXPLAIN a query, or CREATE MATERIALIZED VIEW without ANALYZE.")),
    }
}

/// What the query keeps as a materialized view, with a WARNING for all that nothing bounds.
fn explain_state(
    environment: &Environment<'_>,
    transaction: &Transaction,
    query: &ast::Query,
    create: Option<&CreateMaterializedView>,
) -> Result<Response> {
    let catalog = transaction.catalog(environment.handles);
    let definitions = Definitions::new(environment, catalog.clone(), transaction.started_us);
    let query = definitions.rewritten(query)?;
    let closes = create.is_some_and(|create| create.emits_on_close).then_some(&*catalog);
    let plan = plan_view(definitions.state(), &definitions, &query, environment.text, closes)?;
    let retention = create.and_then(|create| create.retention.as_ref().map(|option| (create, option)));
    let retention = retention.map(|(create, option)| {
        let columns = named(plan.columns.clone(), &create.columns)?;
        Ok::<_, Error>(retention_of_view(&create.name, &columns, option)?.view_column())
    });
    let relations = Known { catalog: &catalog, registry: definitions.state() };
    let report = plan.explain_state(&relations, retention.transpose()?);
    if !report.unbounded.is_empty() {
        environment.session.notice(Notice {
            severity: "WARNING",
            code: "01000",
            message: "the state of this view has no bound".to_owned(),
            detail: Some(report.unbounded.iter().map(|sentence| format!("{sentence}.")).collect::<Vec<_>>().join("\n")),
            hint: Some(
                "Let rows go by a condition on the time, such as time > now() - INTERVAL '1 day', or group by less."
                    .to_owned(),
            ),
        });
    }
    lines(report.lines.iter().map(String::as_str))
}

/// The catalog's relations.
struct Known<'a> {
    catalog: &'a Catalog,
    registry: &'a SessionState,
}

impl Relations for Known<'_> {
    fn is_append_only(&self, relation: RelationId) -> bool {
        self.catalog.table(relation).is_some_and(|table| table.kind == TableKind::AppendOnly)
    }

    fn grows(&self, relation: RelationId) -> bool {
        match self.catalog.get(relation) {
            Some(Relation::MaterializedView(view)) => plan_of(view, self.registry).is_ok_and(|plan| plan.grows(self)),
            _ => self.is_append_only(relation),
        }
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
    if let Some(retention) = catalog.retention(view.id) {
        text.push(retention_line(view, &plan, retention));
    }
    let stats = environment.handles.dataflows.stats();
    if let Some(stats) = stats.iter().find(|stats| stats.view == view.id) {
        for kept in stats.operators.iter().filter(|kept| kept.state_bytes > 0) {
            let ending = format!(" [{}]", kept.operator);
            if let Some(line) = text.iter_mut().find(|line| line.ends_with(&ending)) {
                line.push_str(&format!(", {} bytes of state", kept.state_bytes));
            }
        }
        text.push(format!(
            "State: {} bytes, {} rows read and {} emitted so far, at commit {}",
            stats.state_bytes, stats.rows_read, stats.rows_emitted, stats.commit
        ));
    }
    lines(text.iter().map(String::as_str))
}

/// Which rows go, and who forgets something with them.
fn retention_line(view: &MaterializedView, plan: &ViewPlan, retention: &Retention) -> String {
    let column = view.columns.get(retention.view_column()).map_or("", |column| column.name.as_str());
    let forget: Vec<String> =
        plan.expiring(retention.view_column()).iter().map(|expiring| format!("[{}]", expiring.operator)).collect();
    let forget = match forget.is_empty() {
        true => "no operator forgets with it".to_owned(),
        false => format!("groups are forgotten with it by {}", forget.join(", ")),
    };
    format!("Retention: {} by {column}; {forget}", retention.text)
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
