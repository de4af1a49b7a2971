//! EXPIRE of a materialized view: a commit that names the view and a moment. From it on the view shows no row from before that
//! moment, whatever comes of them later; those who read or follow the view do not hear of it.
//!
//! ```text
//! 1  rows that are too old, at the head
//! 2  two checkpoints at or past that, each read back     what views above learned of the rows is durable twice
//! 3  the commit; the worker ends a step with it          the view forgets the rows, and what it kept for them alone
//! ```

use std::sync::Arc;

use super::define::plan_of;
use super::expire::{cutoff_of_commits, cutoff_us, learn};
use super::handles::Handles;
use super::response::Response;
use super::session_facts::plural;
use super::transaction::stopping;
use crate::catalog::{Catalog, CatalogChange, Cutoff, MaterializedView, Retention};
use crate::commit::{SequencedWrite, Write};
use crate::dataflow::cutoff::is_before;
use crate::error::{Error, Result, SqlState};

/// Rows read at a time.
const BATCH_ROWS: usize = 65_536;

/// Errors: 55000 for a view without retention, or one that does not follow its tables, or above which one does not.
pub(super) async fn expire_view(
    handles: &Handles,
    catalog: &Catalog,
    view: &Arc<MaterializedView>,
) -> Result<Response> {
    let Some(retention) = catalog.retention(view.id) else {
        let message = format!("materialized view \"{}\" has no retention", view.name);
        return Err(Error::new(SqlState::OBJECT_NOT_IN_STATE, message)
            .with_hint("ALTER MATERIALIZED VIEW ... SET (retention = '30 days')."));
    };
    // Whatever the commits' time is, it is not later than that: mostly there is nothing to do.
    let latest = cutoff(retention, cutoff_us(handles.clock.now_us(), retention)?);
    if rows_before(handles, view, latest).await? == 0 && !is_due(handles, catalog, view, latest) {
        return done(0);
    }
    // From here to the commit no view is made or filled again.
    let _definitions = handles.definitions.lock().await;
    let catalog = handles.catalog();
    let Some(retention) = catalog.retention(view.id) else { return done(0) };
    let cutoff = cutoff(retention, cutoff_of_commits(handles, retention).await?);
    let rows = rows_before(handles, view, cutoff).await?;
    if rows > 0 || is_due(handles, &catalog, view, cutoff) {
        learn(handles, &catalog, view.id, &format!("materialized view \"{}\"", view.name)).await?;
        tracing::info!(view = %view.name, rows = %plural(rows, "row"), "expired");
        let write = Write { catalog: vec![CatalogChange::ExpireView { view: view.id, cutoff }], ..Write::default() };
        let apply = |sequenced: &SequencedWrite<'_>| handles.tables.apply_with_definitions(sequenced);
        handles.sequencer.sequence(write, apply)?.1.await?;
    }
    done(rows)
}

/// Where the view keeps groups of which it shows no row, as by HAVING, they go with every eighth of the retention.
fn is_due(handles: &Handles, catalog: &Catalog, view: &MaterializedView, cutoff: Cutoff) -> bool {
    let plan = plan_of(view, handles.query.base_state());
    let step_us = handles.clock.now_us().saturating_sub(cutoff.before_us) / 8;
    plan.is_ok_and(|plan| plan.hides_groups(cutoff.column))
        && catalog.cutoff(view.id).is_none_or(|former| cutoff.before_us.saturating_sub(former.before_us) >= step_us)
}

fn cutoff(retention: &Retention, before_us: i64) -> Cutoff {
    Cutoff { column: retention.view_column(), before_us }
}

/// Rows that the view shows at the head.
async fn rows_before(handles: &Handles, view: &MaterializedView, cutoff: Cutoff) -> Result<u64> {
    let read = handles.sequencer.at_head(|_| handles.dataflows.push_read(&[view.id]));
    let (_, mut read) = read.await.map_err(|_| stopping())?;
    let snapshot = read.remove(&view.id).ok_or_else(stopping)??;
    let mut found = 0;
    for delta in snapshot.deltas(BATCH_ROWS) {
        let delta = delta?;
        let before = is_before(delta.rows().column(cutoff.column), cutoff.before_us)?;
        found += before.values().set_indices().map(|row| delta.weight(row).max(0).unsigned_abs()).sum::<u64>();
    }
    Ok(found)
}

fn done(rows: u64) -> Result<Response> {
    Ok(Response::Done { tag: format!("EXPIRE {rows}") })
}
