//! Has rows expire that are older than the retention of their table or view, again and again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::server::run_sql;
use crate::catalog::Relation;
use crate::session::Sessions;
use crate::statement::Handles;
use crate::types::RelationId;

/// To look for old rows of a view all of it is read: no more often than this part of its retention.
const LOOKS_IN_RETENTION: u64 = 64;

/// Runs until `stop` says so.
pub async fn expire_by_age(sessions: Arc<Sessions>, handles: Arc<Handles>, mut stop: watch::Receiver<bool>) {
    let period = Duration::from_millis(handles.settings.table.expire_poll_ms.max(1));
    let mut looked: HashMap<RelationId, Duration> = HashMap::new();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = handles.clock.sleep(period) => {}
        }
        let catalog = handles.catalog();
        let now = handles.clock.monotonic();
        looked.retain(|view, _| catalog.get(*view).is_some());
        for relation in catalog.relations() {
            let Some(retention) = catalog.retention(relation.id()) else { continue };
            let pause = Duration::from_micros(retention.about_us() / LOOKS_IN_RETENTION);
            if looked.get(&relation.id()).is_some_and(|last| now.saturating_sub(*last) < pause) {
                continue;
            }
            let sql = format!("EXPIRE \"{}\"", relation.name().replace('"', "\"\""));
            let expired = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                expired = run_sql(&sessions, &sql) => expired,
            };
            match (expired, relation) {
                (Err(error), _) => {
                    tracing::warn!(relation = relation.name(), %error, "rows that are too old stay, trying again");
                }
                (Ok(()), Relation::MaterializedView(view)) => drop(looked.insert(view.id, now)),
                (Ok(()), _) => {}
            }
        }
    }
}
