//! Time for views that follow it: an empty commit where a view has a condition with now() and no other commit comes, and one that moves
//! the watermarks of tables to which no row has come for as long as they say.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::commit::Write;
use crate::error::Result;
use crate::statement::{Handles, WriteSet, sequence};
use crate::types::RelationId;

/// How often it is looked whether a commit is due, while no view follows time.
const IDLE: Duration = Duration::from_secs(1);

/// Ticks until `stop` says so.
pub async fn tick(handles: Arc<Handles>, mut stop: watch::Receiver<bool>) {
    let period_us = i64::try_from(handles.settings.dataflow.tick_ms).unwrap_or(i64::MAX).saturating_mul(1000);
    loop {
        if let Err(error) = move_idle(&handles).await {
            tracing::warn!(%error, "watermarks of idle tables stay for now");
        }
        let wait = match handles.dataflows.follows_time() && period_us > 0 {
            false => IDLE,
            true => {
                let since_us = handles.clock.now_us().saturating_sub(handles.tables.durable().timestamp_us);
                match u64::try_from(period_us.saturating_sub(since_us)) {
                    Ok(rest_us) if rest_us > 0 => Duration::from_micros(rest_us.min(period_us as u64)),
                    _ => {
                        if let Err(error) = commit(&handles).await {
                            tracing::warn!(%error, "views do not follow time for now");
                        }
                        Duration::from_micros(period_us as u64)
                    }
                }
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = handles.clock.sleep(wait) => {}
        }
    }
}

async fn commit(handles: &Handles) -> Result<()> {
    sequence(handles, WriteSet::default())?.await.map(drop)
}

async fn move_idle(handles: &Handles) -> Result<()> {
    let catalog = handles.catalog();
    let closes = |table: RelationId| {
        catalog.materialized_views().any(|view| view.emits_on_close && view.depends_on.contains(&table))
    };
    let sequence = |write: Write| Ok(handles.sequencer.sequence(write, |_| Ok(()))?.1);
    let moved = handles.tables.sequence_idle(&closes, sequence)?;
    for durable in moved {
        durable.await?;
    }
    Ok(())
}
