//! FLUSH: everything durable goes cold now.

use super::response::Response;
use super::scope::{Environment, change_target};
use super::transaction::Transaction;
use crate::error::{Error, Result, SqlState};

/// `FLUSH` flushes every table, `FLUSH [TABLE] name` one.
pub async fn flush(environment: &Environment<'_>, transaction: &Transaction, table: Option<&str>) -> Result<Response> {
    if !transaction.is_autocommit && !transaction.is_untouched_pipeline() {
        return Err(Error::new(SqlState::ACTIVE_TRANSACTION, "FLUSH cannot run inside a transaction block")
            .with_hint("COMMIT first: what is not committed cannot be flushed."));
    }
    let handles = environment.handles;
    match table {
        Some(name) => {
            let table = change_target(&transaction.catalog(handles), name)?;
            handles.tables.flush(table.id, &handles.sequencer).await?;
        }
        None => {
            handles.tables.flush_all(&handles.sequencer).await?;
        }
    }
    Ok(Response::Done { tag: "FLUSH".to_owned() })
}
