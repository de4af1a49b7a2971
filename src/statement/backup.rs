//! BACKUP: everything durable at one commit, copied elsewhere.

use std::path::Path;

use super::response::Response;
use super::scope::Environment;
use super::transaction::Transaction;
use crate::error::{Error, Result, SqlState};
use crate::io::open_store;

/// `BACKUP TO 'url'`: an absolute path or a `file://` URL, of an empty directory or one that is not there yet.
pub async fn backup(environment: &Environment<'_>, transaction: &Transaction, url: &str) -> Result<Response> {
    if !transaction.is_autocommit {
        return Err(Error::new(SqlState::ACTIVE_TRANSACTION, "BACKUP cannot run inside a transaction block")
            .with_hint("COMMIT first: what is not committed cannot be backed up."));
    }
    let handles = environment.handles;
    let is_place = url.contains("://") || Path::new(url).is_absolute();
    if !is_place || url.starts_with("memory://") {
        return Err(Error::new(SqlState::INVALID_PARAMETER, format!("\"{url}\" is no place for a backup"))
            .with_hint("Write an absolute path on the server's machine, or file:///path."));
    }
    let directory = url.strip_prefix("file://").unwrap_or(url);
    let data_dir = handles.settings.data_dir.as_path();
    let inside = |parent: &Path| {
        let parent = std::path::absolute(parent).unwrap_or_else(|_| parent.to_path_buf());
        Path::new(directory).starts_with(parent)
    };
    if inside(data_dir) {
        return Err(Error::new(SqlState::INVALID_PARAMETER, "a backup cannot stand in the data directory")
            .with_hint("Name a place outside of it, better on another disk."));
    }
    let target = open_store(url, Path::new(url))?;
    let backup = handles.tables.backup(target, &handles.sequencer).await?;
    tracing::info!(commit = backup.commit.0, rows = backup.rows(), url, "backed up");
    Ok(Response::Done { tag: "BACKUP".to_owned() })
}
