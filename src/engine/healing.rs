//! Views whose state turns out damaged are made again from their tables, by themselves.
//!
//! A page of state is checked whenever it is read: by a step, a reader, or a checkpoint that moves it. Whoever meets the
//! damage gets XX001; the view is then out of the stream until it has been filled again, as if by
//! ALTER MATERIALIZED VIEW ... RESUME.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::catalog::{CatalogChange, Relation};
use crate::commit::Write;
use crate::dataflow::state::Residence;
use crate::error::{Error, Result, SqlState};
use crate::statement::Handles;
use crate::types::RelationId;

/// Between two rounds, so that a disk that damages whatever it is given costs no more than it must.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until `stop` says so.
pub async fn heal(handles: Arc<Handles>, residence: Arc<Residence>, mut stop: watch::Receiver<bool>) {
    loop {
        let damaged = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            damaged = residence.damaged() => damaged,
        };
        for view in damaged {
            // What was sequenced goes on by itself.
            let made = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                made = make_again(&handles, view) => made,
            };
            if let Err(error) = made {
                tracing::error!(view = view.0, %error, "a view with damaged state could not be made again");
            }
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = handles.clock.sleep(PAUSE) => {}
        }
    }
}

/// Views above it follow, as far as they stopped with it.
async fn make_again(handles: &Handles, view: RelationId) -> Result<()> {
    let definitions = handles.definitions.lock().await;
    let catalog = handles.catalog();
    let Some(Relation::MaterializedView(found)) = catalog.get(view) else { return Ok(()) };
    tracing::warn!(view = %found.name, "a page of its state is damaged; the view is made again from its tables");
    handles.dataflows.push_failure(view, Error::corrupted("a page of its state is damaged"));
    let write = Write { catalog: vec![CatalogChange::Resume(view)], ..Write::default() };
    let ((), durable) =
        handles.sequencer.sequence(write, |sequenced| handles.tables.apply_with_definitions(sequenced))?;
    durable.await?;
    drop(definitions);
    match handles.live_views.take(view) {
        Some(live) => live.await.map_err(|_| Error::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down"))?,
        None => Ok(()),
    }
}
