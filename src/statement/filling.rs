//! Materialized views on their way into the stream.
//!
//! A view that takes another's place is filled beside it first, and the commit that swaps the two comes when that went well:
//!
//! ```text
//! CREATE OR REPLACE --> filled under its own id --> commit: the name is the new one's --> the former goes
//!                            |
//!                            `- failed: nothing was committed, the former goes on
//! ```

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::HashMap;
use datafusion::execution::SessionState;
use tokio::sync::oneshot;

use super::handles::Handles;
use super::transaction::stopping;
use crate::catalog::{CatalogChange, MaterializedView, TableKind};
use crate::dataflow::{Backfill, Dataflows, Filling};
use crate::error::{Error, Result, SqlState};
use crate::plan::ViewPlan;
use crate::table::{DurableState, Tables};
use crate::types::RelationId;

/// Rows of a batch while a view is filled.
const BATCH_ROWS: usize = 65_536;

/// Puts a view into the stream behind the last commit in it, at which `then` was durable; answers when it is live. Under the publish
/// lock, or where nobody commits.
pub fn start_filling(
    tables: &Tables,
    dataflows: &Dataflows,
    view: Arc<MaterializedView>,
    plan: Result<ViewPlan>,
    then: &DurableState,
) -> Result<oneshot::Receiver<Result<()>>> {
    let catalog = tables.durable().catalog;
    let mut backfill = HashMap::new();
    for id in plan.iter().flat_map(ViewPlan::sources) {
        if let Some(table) = catalog.table(id) {
            let snapshot = tables.snapshot(id, then.commit)?.kept();
            let columns = (0..table.columns.len()).collect();
            let rows = snapshot.stream(Some(columns), BATCH_ROWS);
            let (append_only, watermark_us) = (table.kind == TableKind::AppendOnly, then.watermarks.get(&id).copied());
            backfill.insert(id, Backfill { rows, append_only, watermark_us });
        }
    }
    let cutoff = then.catalog.cutoff(view.id);
    Ok(dataflows.push_create(view, plan, Filling { tables: backfill, cutoff }))
}

/// The view's stored plan. Errors: those of [`ViewPlan::from_bytes`], naming the view.
pub fn stored_plan(view: &MaterializedView, registry: &SessionState) -> Result<ViewPlan> {
    ViewPlan::from_bytes(&view.plan, registry).map_err(|error| {
        let message = format!("materialized view \"{}\" cannot be read back: {}", view.name, error.message());
        let named = Error::new(error.state(), message);
        let named = error.detail().map_or(named.clone(), |detail| named.clone().with_detail(detail));
        named.with_hint("Drop the view and create it again; pg_matviews has its query.")
    })
}

/// Views that are live and that no commit knows yet. They go when it is dropped, unless they were taken over.
pub struct FilledBeside<'a> {
    dataflows: &'a Dataflows,
    views: Vec<RelationId>,
}

impl<'a> FilledBeside<'a> {
    /// Fills the views that `changes` put in others' places. None where the changes also touch what they read: those are
    /// filled when they are committed. The caller holds the lock of definitions, so that nobody else takes their ids.
    ///
    /// Errors: what kept a view from being filled.
    pub async fn fill(handles: &'a Handles, changes: &[CatalogChange]) -> Result<FilledBeside<'a>> {
        let mut beside = FilledBeside { dataflows: &handles.dataflows, views: Vec::new() };
        let Some(replacing) = replacing(changes) else { return Ok(beside) };
        beside.views = replacing.iter().map(|view| view.id).collect();
        let registry = handles.query.base_state();
        let live = handles.sequencer.at_head(|head| {
            let views = replacing.into_iter();
            let mut then = DurableState { commit: head, ..handles.tables.durable() };
            // What expired of the former has of the one in its place.
            changes.iter().for_each(|change| Arc::make_mut(&mut then.catalog).apply(change));
            let start = |view: &Arc<MaterializedView>| {
                let plan = Ok(stored_plan(view, registry)?);
                start_filling(&handles.tables, &handles.dataflows, view.clone(), plan, &then)
            };
            views.map(start).collect::<Result<Vec<_>>>()
        })?;
        for live in live {
            live.await.map_err(|_| stopping())?.map_err(former_goes_on)?;
        }
        Ok(beside)
    }

    /// The commit that names them is sequenced.
    pub fn take_over(mut self) {
        self.views.clear();
    }
}

impl Drop for FilledBeside<'_> {
    fn drop(&mut self) {
        self.views.iter().for_each(|view| self.dataflows.push_drop(*view));
    }
}

/// The views that come in others' places, if nothing changes but views.
fn replacing(changes: &[CatalogChange]) -> Option<Vec<&Arc<MaterializedView>>> {
    let mut made = HashSet::new();
    let mut views = Vec::new();
    for change in changes {
        match change {
            CatalogChange::ReplaceMaterializedView { former, view } if !made.contains(former) => {
                made.insert(view.id);
                views.push(view);
            }
            CatalogChange::CreateView(_) | CatalogChange::KeepChanges { .. } | CatalogChange::Retain { .. } => {}
            _ => return None,
        }
    }
    Some(views)
}

fn former_goes_on(error: Error) -> Error {
    match error.state() {
        SqlState::PROGRAM_LIMIT_EXCEEDED => error
            .with_hint("Raise dataflow.lag_bytes_max, or make the view cheaper. The former view goes on as it was."),
        _ => error,
    }
}
