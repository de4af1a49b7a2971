//! VERIFY MATERIALIZED VIEW: recompute the view's query from the base tables at one commit, and compare.
//!
//! The recomputation is the ad hoc engine's and shares no operator with the view. Where the view leaves out rows on which
//! its query raises, so does the recomputation, each expression tried on each row by itself; the status says so.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use chrono::DateTime;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, lit};
use futures::{StreamExt, TryStreamExt, stream};

use super::response::Response;
use super::scope::{Environment, Planned, Scope, no_relation, rename};
use super::select::output_columns;
use super::session_facts::plural;
use super::transaction::{ReadMode, Transaction};
use crate::catalog::{Catalog, Cutoff, MaterializedView, Relation};
use crate::dataflow::ViewSnapshot;
use crate::delta::{DeltaBatch, Digest, difference, digest_batch};
use crate::error::{Error, Result, SqlState};
use crate::functions::days_and_time;
use crate::functions::floats::canonical_array;
use crate::plan::{Found, RelationLookup, TABLE_WATERMARK, close_windows, only_closed};
use crate::query::{RowStream, leave_out_errors};
use crate::sql::parse_query;
use crate::types::RelationId;

/// Rows handed over at a time.
const BATCH_ROWS: usize = 65_536;

/// One row: view, commit, status, differing (rows to add or remove to make the view its query), rows.
pub async fn verify(environment: &Environment<'_>, transaction: &mut Transaction, name: &str) -> Result<Response> {
    let handles = environment.handles;
    let named = |catalog: &Catalog| catalog.find(name).map(|view| with_sources(catalog, view.id())).unwrap_or_default();
    transaction.fix_snapshot(handles, ReadMode::Strict, &named).await?;
    let started_us = transaction.started_us;
    transaction.bind_time_to_commit();
    let verified = verify_at_commit(environment, transaction, name).await;
    transaction.started_us = started_us;
    verified
}

async fn verify_at_commit(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    name: &str,
) -> Result<Response> {
    let handles = environment.handles;
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
    if let Some(expired) = expired_rows(&catalog, view.id) {
        return answer(name, &snapshot, &format!("not verifiable ({expired})"), None);
    }
    let content = || snapshot.batches(None, BATCH_ROWS).map(|batch| inserts(&batch?, &view));
    let mut digest = Digest::default();
    for rows in content() {
        digest.add(digest_batch(&rows?)?);
    }
    let listed = listed_errors(environment, transaction, &catalog, view.id).await;
    let mut recomputation = Recomputation { environment, transaction, catalog: &catalog, view: &view, digest };
    let (surplus, raised) = match recomputation.run(listed > 0).await? {
        Recomputed::Whole(rows) => (rows, None),
        Recomputed::LeavingOut(rows, raised) => (rows, raised),
        Recomputed::Impossible(raised) => {
            let status = format!("not verifiable (the query raises: {})", raised.message());
            return answer(name, &snapshot, &status, None);
        }
    };
    let differing: i64 = match surplus {
        None => 0,
        Some(expected) => wrong_rows(&difference(&view.schema(), &content().collect::<Result<Vec<_>>>()?, &expected)?),
    };
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

/// The query's rows, where they are not those of the view: otherwise only their digest was taken.
type Differing = Option<Vec<DeltaBatch>>;

/// The view's query over the base tables.
enum Recomputed {
    /// As it is written.
    Whole(Differing),
    /// Without the rows on which it raises; the error, where it was run as it is written before.
    LeavingOut(Differing, Option<Error>),
    /// It raises even so.
    Impossible(Error),
}

struct Recomputation<'a, 'e> {
    environment: &'a Environment<'e>,
    transaction: &'a mut Transaction,
    catalog: &'a Arc<Catalog>,
    view: &'a MaterializedView,
    /// Of the view's content.
    digest: Digest,
}

impl Recomputation<'_, '_> {
    /// `leaves_out`: the view, or one below it, says that it leaves rows out. Then the query as it is written says nothing even
    /// where it does not raise: it need not compute what a view below it computes.
    async fn run(&mut self, leaves_out: bool) -> Result<Recomputed> {
        let mut raised = None;
        if !leaves_out {
            match self.compare(false).await {
                Ok(differing) => return Ok(Recomputed::Whole(differing)),
                Err(error) if is_of_the_rows(&error) => raised = Some(error),
                Err(error) => return Err(error),
            }
        }
        match self.compare(true).await {
            Ok(differing) => Ok(Recomputed::LeavingOut(differing, raised)),
            Err(error) if is_of_the_rows(&error) => Ok(Recomputed::Impossible(error)),
            Err(error) => Err(error),
        }
    }

    /// Runs the query for its digest, and once more for its rows where that is not the view's: most views are right, and
    /// their rows need not be in memory for it.
    async fn compare(&mut self, leaves_out: bool) -> Result<Differing> {
        let mut digest = Digest::default();
        let mut rows = self.rows(leaves_out).await?;
        while let Some(batch) = rows.try_next().await? {
            digest.add(digest_batch(&inserts(&batch, self.view)?)?);
        }
        if digest == self.digest {
            return Ok(None);
        }
        let view = self.view;
        let rows = self.rows(leaves_out).await?.map(|batch| inserts(&batch?, view));
        rows.try_collect().await.map(Some)
    }

    async fn rows(&mut self, leaves_out: bool) -> Result<RowStream> {
        let planned = recomputation(self.environment, self.transaction, self.catalog, self.view, leaves_out).await?;
        Ok(self.environment.execute(planned, &[]).await?.rows)
    }
}

/// Rows as the view keeps them.
fn inserts(batch: &RecordBatch, view: &MaterializedView) -> Result<DeltaBatch> {
    canonical(batch, view).map(DeltaBatch::inserts)
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
pub fn with_sources(catalog: &Catalog, view: RelationId) -> HashSet<RelationId> {
    let mut found = HashSet::new();
    let mut open = vec![view];
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(catalog.get(id).into_iter().flat_map(|relation| relation.depends_on()));
        }
    }
    found
}

/// Rows that the view saw, or one below it, and that are not there any more, in words.
pub fn expired_rows(catalog: &Catalog, view: RelationId) -> Option<String> {
    let sorted = |of: RelationId| {
        let mut sources: Vec<RelationId> = with_sources(catalog, of).into_iter().collect();
        sources.sort();
        sources
    };
    let unseen = |reader: RelationId| {
        // What it does not show itself is left out of what it is compared with.
        let sources = sorted(reader).into_iter().filter(move |id| *id != reader);
        let mut expired = sources.filter_map(|id| Some((catalog.get(id)?, catalog.expired(id)?)));
        expired.find(|(_, expired)| reader < expired.unseen_from)
    };
    let is_view = |id: &RelationId| matches!(catalog.get(*id), Some(Relation::MaterializedView(_)));
    let (source, expired) = sorted(view).into_iter().filter(is_view).find_map(unseen)?;
    let moment = DateTime::from_timestamp_micros(expired.before_us)?;
    Some(format!("rows of {} from before {} expired", source.name(), moment.format("%Y-%m-%d %H:%M:%S%.6f+00")))
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
    let mut scope = environment.scope(transaction, &*parse_query(&format!("SELECT 1{from}"))?).await?;
    // Each view is planned in its own zone; what runs is in none.
    scope.context.set_time_zone("UTC");
    let watermarks = transaction.watermarks();
    let plan =
        OverTables { scope: &scope, catalog, watermarks: &watermarks, leaves_out, zone: "UTC" }.plan_view(view)?;
    Ok(Planned { plan, context: scope.context })
}

/// The rows of a view that have not expired.
fn since(plan: LogicalPlan, cutoff: Cutoff) -> Result<LogicalPlan> {
    let schema = plan.schema();
    if cutoff.column >= schema.fields().len() {
        return Err(Error::internal("a view without its time"));
    }
    let (qualifier, field) = schema.qualified_field(cutoff.column);
    let time = Expr::Column(Column::from((qualifier, field)));
    let before = match field.data_type() {
        DataType::Date32 => {
            let day = cutoff.before_us.div_euclid(86_400_000_000);
            ScalarValue::Date32(Some(i32::try_from(day).unwrap_or(if day < 0 { i32::MIN } else { i32::MAX })))
        }
        other => ScalarValue::TimestampMicrosecond(Some(cutoff.before_us), None).cast_to(other)?,
    };
    let stays = time.clone().gt_eq(lit(before)).or(time.is_null());
    Ok(LogicalPlan::Filter(Filter::try_new(stays, Arc::new(plan))?))
}

#[derive(Clone, Copy)]
struct OverTables<'a> {
    scope: &'a Scope,
    catalog: &'a Catalog,
    /// At the commit that is verified.
    watermarks: &'a BTreeMap<RelationId, i64>,
    leaves_out: bool,
    /// Of the session that made the view.
    zone: &'a str,
}

impl OverTables<'_> {
    fn plan_view(&self, view: &MaterializedView) -> Result<LogicalPlan> {
        let zone = view.settings.get("timezone").map_or("UTC", String::as_str);
        let own = OverTables { zone, ..*self };
        let plan = own.plan(&view.sql, view.columns.iter().map(|column| column.name.as_str()))?;
        let plan = if view.emits_on_close { self.with_closed_windows(plan)? } else { plan };
        let plan = match self.catalog.cutoff(view.id) {
            Some(cutoff) => since(plan, cutoff)?,
            None => plan,
        };
        Ok(if self.leaves_out { leave_out_errors(plan, self.scope.context.state())? } else { plan })
    }

    /// Without late rows, and only the groups that the watermark has passed.
    fn with_closed_windows(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let (plan, closing) = close_windows(plan, self.catalog)?;
        let table =
            self.catalog.table(closing.relation).ok_or_else(|| Error::internal("a watermark without a table"))?;
        let time = table.watermark_column().and_then(|at| table.columns.get(at));
        let time = time.ok_or_else(|| Error::internal("a watermark without its column"))?;
        let watermark_us = self.watermarks.get(&table.id).copied();
        let watermark = ScalarValue::TimestampMicrosecond(watermark_us, None).cast_to(&time.sql_type.arrow())?;
        let bound = closing.bound.clone().transform_up(|expr| match &expr {
            Expr::Column(column) if column.name == TABLE_WATERMARK => Ok(Transformed::yes(lit(watermark.clone()))),
            _ => Ok(Transformed::no(expr)),
        })?;
        only_closed(plan, &closing, bound.data)
    }

    fn plan<'n>(&self, sql: &str, names: impl Iterator<Item = &'n str>) -> Result<LogicalPlan> {
        let plan = self.scope.plan_in_zone(self.zone, self, &*parse_query(sql)?, sql)?;
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
                return match self.scope.context.relation(name) {
                    Some(provider) => self.scope.found(name, provider).map(Some),
                    None => Ok(None),
                };
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
        let column = match (column.data_type(), field.data_type()) {
            (found, wanted) if found == wanted => column.clone(),
            (DataType::Duration(_), DataType::Interval(_)) => days_and_time(column)?,
            (_, wanted) => cast_with_options(column, wanted, &options)?,
        };
        Ok(canonical_array(&column))
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>>>()?)?)
}
