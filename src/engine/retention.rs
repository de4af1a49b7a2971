//! Has rows expire that are older than their table's retention, again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::server::run_sql;
use crate::session::Sessions;
use crate::statement::Handles;

/// Runs until `stop` says so.
pub async fn expire_by_age(sessions: Arc<Sessions>, handles: Arc<Handles>, mut stop: watch::Receiver<bool>) {
    let period = Duration::from_millis(handles.settings.table.expire_poll_ms.max(1));
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = handles.clock.sleep(period) => {}
        }
        let catalog = handles.catalog();
        for table in catalog.tables().filter(|table| catalog.retention(table.id).is_some()) {
            let sql = format!("EXPIRE \"{}\"", table.name.replace('"', "\"\""));
            let expired = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                expired = run_sql(&sessions, &sql) => expired,
            };
            if let Err(error) = expired {
                tracing::warn!(table = %table.name, %error, "rows that are too old stay, trying again");
            }
        }
    }
}
