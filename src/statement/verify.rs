//! VERIFY MATERIALIZED VIEW: recompute the view's query from the base tables at one commit, and compare.
//!
//! The recomputation is the ad hoc engine's and shares no operator with the view. Where the view leaves out rows on which
//! its query raises, so does the recomputation, each expression tried on each row by itself; the status says so.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;
use futures::{StreamExt, TryStreamExt, stream};

use super::response::Response;
use super::scope::{Environment, Planned, Scope, no_relation, rename};
use super::select::output_columns;
use super::session_facts::plural;
use super::transaction::Transaction;
use crate::catalog::{Catalog, MaterializedView, Relation};
use crate::dataflow::ViewSnapshot;
use crate::delta::{DeltaBatch, difference};
use crate::error::{Error, Result, SqlState};
use crate::functions::floats::canonical_array;
use crate::plan::{Found, RelationLookup};
use crate::query::leave_out_errors;
use crate::sql::parse_query;
use crate::types::RelationId;

/// Rows handed over at a time.
const BATCH_ROWS: usize = 65_536;

/// One row: view, commit, status, differing (rows to add or remove to make the view its query), rows.
pub async fn verify(environment: &Environment<'_>, transaction: &mut Transaction, name: &str) -> Result<Response> {
    let handles = environment.handles;
    let named = |catalog: &Catalog| catalog.find(name).map(|view| with_sources(catalog, view.id())).unwrap_or_default();
    transaction.fix_snapshot(handles, environment.session.read_mode(), &named).await?;
    let catalog = transaction.catalog(handles);
    let view = match catalog.find(name) {
        Some(Relation::MaterializedView(view)) => view.clone(),
        Some(other) => {
            return Err(Error::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{name}\" is not a materialized view but a {}", other.kind_name()),
            ));
        }
        None => return Err(no_relation(&catalog, name)),
    };
    let snapshot = transaction.view_snapshot(handles, view.id).await?;
    let schema = view.schema();
    let content = snapshot
        .batches(None, BATCH_ROWS)
        .map(|batch| canonical(&batch?, &view).map(DeltaBatch::inserts))
        .collect::<Result<Vec<_>>>()?;
    let listed = listed_errors(environment, transaction, &catalog, view.id).await;
    let recomputed = recompute(environment, transaction, &catalog, &view, listed > 0).await?;
    let (batches, raised) = match recomputed {
        Recomputed::Whole(batches) => (batches, None),
        Recomputed::LeavingOut(batches, raised) => (batches, raised),
        Recomputed::Impossible(raised) => {
            let status = format!("not verifiable (the query raises: {})", raised.message());
            return answer(name, &snapshot, &status, None);
        }
    };
    let expected =
        batches.iter().map(|batch| canonical(batch, &view).map(DeltaBatch::inserts)).collect::<Result<Vec<_>>>()?;
    let wrong = difference(&schema, &content, &expected)?;
    let differing: i64 = wrong_rows(&wrong);
    let status = match (differing, raised, listed) {
        (0, None, 0) => "verified".to_owned(),
        // The query raises, and the view does not say that it leaves anything out.
        (_, Some(raised), 0) => {
            format!("differing (the query raises: {}; no error is listed)", raised.message())
        }
        (0, _, _) => format!("verified ({} in error left out)", plural(listed, "row")),
        _ => "differing".to_owned(),
    };
    answer(name, &snapshot, &status, Some(differing))
}

/// The view's query over the base tables.
enum Recomputed {
    /// As it is written.
    Whole(Vec<RecordBatch>),
    /// Without the rows on which it raises; the error, where it was run as it is written before.
    LeavingOut(Vec<RecordBatch>, Option<Error>),
    /// It raises even so.
    Impossible(Error),
}

/// `leaves_out`: the view, or one below it, says that it leaves rows out. Then the query as it is written says nothing even
/// where it does not raise: it need not compute what a view below it computes.
async fn recompute(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    catalog: &Arc<Catalog>,
    view: &MaterializedView,
    leaves_out: bool,
) -> Result<Recomputed> {
    let mut raised = None;
    if !leaves_out {
        let planned = recomputation(environment, transaction, catalog, view, false).await?;
        match run(environment, planned).await {
            Ok(batches) => return Ok(Recomputed::Whole(batches)),
            Err(error) if is_of_the_rows(&error) => raised = Some(error),
            Err(error) => return Err(error),
        }
    }
    let planned = recomputation(environment, transaction, catalog, view, true).await?;
    match run(environment, planned).await {
        Ok(batches) => Ok(Recomputed::LeavingOut(batches, raised)),
        Err(error) if is_of_the_rows(&error) => Ok(Recomputed::Impossible(error)),
        Err(error) => Err(error),
    }
}

/// Data exceptions and violated cardinalities: what rows raise, and a view leaves out.
fn is_of_the_rows(error: &Error) -> bool {
    ["22", "21"].iter().any(|class| error.state().0.starts_with(class))
}

/// Rows and groups that the view, and the views below it, leave out.
async fn listed_errors(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    catalog: &Catalog,
    view: RelationId,
) -> u64 {
    let mut listed = 0;
    for id in with_sources(catalog, view) {
        if let Some(Relation::MaterializedView(_)) = catalog.get(id)
            && let Ok(snapshot) = transaction.view_snapshot(environment.handles, id).await
        {
            listed += snapshot.error_counts().1;
        }
    }
    listed
}

async fn run(environment: &Environment<'_>, planned: Planned) -> Result<Vec<RecordBatch>> {
    environment.execute(planned, &[]).await?.rows.try_collect().await
}

/// `differing` is NULL where nothing could be compared.
fn answer(name: &str, snapshot: &ViewSnapshot, status: &str, differing: Option<i64>) -> Result<Response> {
    let rows = RecordBatch::try_from_iter([
        ("view", Arc::new(StringArray::from_iter_values([name])) as _),
        ("commit", Arc::new(Int64Array::from(vec![snapshot.commit().0 as i64])) as _),
        ("status", Arc::new(StringArray::from_iter_values([status])) as _),
        ("differing", Arc::new(Int64Array::from(vec![differing])) as _),
        ("rows", Arc::new(Int64Array::from(vec![snapshot.rows()? as i64])) as _),
    ])?;
    let schema = rows.schema();
    Ok(Response::Rows {
        columns: output_columns(&schema)?,
        schema,
        rows: stream::iter([Ok(rows)]).boxed(),
        tag: "VERIFY".to_owned(),
        is_live: false,
    })
}

/// A wrong row counts once: the larger of what must be added and what must be removed.
fn wrong_rows(difference: &DeltaBatch) -> i64 {
    let weights = (0..difference.num_rows()).map(|row| difference.weight(row));
    let (missing, surplus) =
        weights.fold(
            (0, 0),
            |(missing, surplus), weight| {
                if weight > 0 { (missing + weight, surplus) } else { (missing, surplus - weight) }
            },
        );
    missing.max(surplus)
}

/// The view and everything that it is computed from, through other views down to tables.
fn with_sources(catalog: &Catalog, view: RelationId) -> HashSet<RelationId> {
    let mut found = HashSet::new();
    let mut open = vec![view];
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(catalog.get(id).into_iter().flat_map(|relation| relation.depends_on()));
        }
    }
    found
}

/// The view's query over base tables alone: a materialized view below it stands as its query. `leaves_out`: each of these
/// queries leaves out the rows on which it raises, as its view does.
async fn recomputation(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    catalog: &Arc<Catalog>,
    view: &MaterializedView,
    leaves_out: bool,
) -> Result<Planned> {
    let mut names: Vec<String> = Vec::new();
    for id in with_sources(catalog, view.id) {
        if let Some(Relation::Table(table)) = catalog.get(id) {
            names.push(format!("\"{}\"", table.name.replace('"', "\"\"")));
        }
    }
    let from = if names.is_empty() { String::new() } else { format!(" FROM {}", names.join(", ")) };
    let scope = environment.scope(transaction, &*parse_query(&format!("SELECT 1{from}"))?).await?;
    let plan = OverTables { scope: &scope, catalog, leaves_out }.plan_view(view)?;
    Ok(Planned { plan, context: scope.context })
}

struct OverTables<'a> {
    scope: &'a Scope,
    catalog: &'a Catalog,
    leaves_out: bool,
}

impl OverTables<'_> {
    fn plan_view(&self, view: &MaterializedView) -> Result<LogicalPlan> {
        let plan = self.plan(&view.sql, view.columns.iter().map(|column| column.name.as_str()))?;
        Ok(if self.leaves_out { leave_out_errors(plan, self.scope.context.state())? } else { plan })
    }

    fn plan<'n>(&self, sql: &str, names: impl Iterator<Item = &'n str>) -> Result<LogicalPlan> {
        let plan = self.scope.plan_with(self, &*parse_query(sql)?, sql, &[])?;
        rename(plan, names)
    }
}

impl RelationLookup for OverTables<'_> {
    fn find(&self, name: &TableReference) -> Result<Option<Found>> {
        let relation = match name.schema() {
            None | Some("public") => self.catalog.find(name.table()),
            Some(_) => None,
        };
        let plan = match relation {
            Some(Relation::View(view)) => {
                self.plan(&view.sql, view.columns.iter().map(|column| column.name.as_str()))?
            }
            Some(Relation::MaterializedView(view)) => self.plan_view(view)?,
            _ => {
                return Ok(self.scope.context.relation(name).map(|provider| Found::Rows(provider_as_source(provider))));
            }
        };
        Ok(Some(Found::Query(Box::new(plan))))
    }
}

/// The view's types; floats with one NaN and one zero, as the view keeps them.
fn canonical(batch: &RecordBatch, view: &MaterializedView) -> Result<RecordBatch> {
    let schema = view.schema();
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let column = match column.data_type() == field.data_type() {
            true => column.clone(),
            false => cast_with_options(column, field.data_type(), &options)?,
        };
        Ok(canonical_array(&column))
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>>>()?)?)
}
