//! Tasks that read sources: each takes batches from its connector, commits rows and position together, and goes on from
//! the committed position after a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::publisher::SourceChange;
use crate::catalog::Table;
use crate::commit::{SourcePosition, TableWrite, Write};
use crate::error::{Error, Result, SqlState};
use crate::ingest;
use crate::statement::Handles;
use crate::types::RelationId;

/// After an error, before a source is opened again.
const RETRY: Duration = Duration::from_secs(5);

/// Starts and stops the sources' tasks until `stop` says so.
pub async fn supervise(
    handles: Arc<Handles>,
    initial: Vec<(Arc<Table>, Option<Vec<u8>>)>,
    mut changes: mpsc::UnboundedReceiver<SourceChange>,
    mut stop: watch::Receiver<bool>,
) {
    let mut running: HashMap<RelationId, JoinHandle<()>> = HashMap::new();
    for (table, position) in initial {
        running.insert(table.id, tokio::spawn(run(handles.clone(), table, position)));
    }
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            change = changes.recv() => match change {
                Some(SourceChange::Created(table)) => {
                    running.insert(table.id, tokio::spawn(run(handles.clone(), table, None)));
                }
                Some(SourceChange::Dropped(id)) => {
                    if let Some(task) = running.remove(&id) {
                        task.abort();
                    }
                    handles.sources.remove(id);
                }
                None => break,
            },
        }
    }
    running.into_values().for_each(|task| task.abort());
}

/// One source, opened again after an error from its last committed position.
async fn run(handles: Arc<Handles>, table: Arc<Table>, mut position: Option<Vec<u8>>) {
    loop {
        match read(&handles, &table, &mut position).await {
            Ok(()) => return,
            Err(error) if matches!(error.state(), SqlState::ADMIN_SHUTDOWN | SqlState::UNDEFINED_TABLE) => return,
            Err(error) => {
                tracing::warn!(source = %table.name, %error, "source stopped; it is opened again");
                handles.sources.update(table.id, |stats| stats.error = Some(error.to_string()));
            }
        }
        handles.clock.sleep(RETRY).await;
    }
}

/// Reads to the source's end. `position` follows what was committed.
async fn read(handles: &Handles, table: &Arc<Table>, position: &mut Option<Vec<u8>>) -> Result<()> {
    let Some(source) = &table.source else { return Err(Error::internal("not a source")) };
    let mut reader = ingest::open(source, &table.columns, position.as_deref(), handles.clock.clone())?;
    handles.sources.update(table.id, |stats| stats.error = None);
    while let Some(batch) = reader.next().await? {
        let rows = batch.rows.num_rows() as u64;
        let write = Write {
            tables: vec![TableWrite {
                table: table.id,
                schema_version: table.schema_version,
                inserts: (rows > 0).then_some(batch.rows),
                deletes: None,
            }],
            positions: vec![SourcePosition { source: table.id, position: batch.position.clone() }],
            ..Write::default()
        };
        let ((), durable) = handles.sequencer.sequence(write, |sequenced| handles.tables.apply_write(sequenced))?;
        durable.await?;
        *position = Some(batch.position);
        handles.sources.update(table.id, |stats| stats.rows += rows);
    }
    Ok(())
}
