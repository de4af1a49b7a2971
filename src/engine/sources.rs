//! Tasks that read sources: each takes batches from its connector, commits rows and position together, and goes on from
//! the committed position after a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::publisher::SourceChange;
use crate::catalog::Table;
use crate::commit::SequencedWrite;
use crate::error::{Error, Result, SqlState};
use crate::ingest;
use crate::ingest::batcher::{self, Batcher, BatcherLimits, CommitWrite};
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
async fn run(handles: Arc<Handles>, table: Arc<Table>, position: Option<Vec<u8>>) {
    let position = Arc::new(Mutex::new(position));
    loop {
        match read(&handles, &table, &position).await {
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
async fn read(handles: &Arc<Handles>, table: &Arc<Table>, position: &Arc<Mutex<Option<Vec<u8>>>>) -> Result<()> {
    let Some(source) = &table.source else { return Err(Error::internal("not a source")) };
    let from = position.lock().clone();
    let reader = ingest::open(source, table.user_columns(), from.as_deref(), handles.clock.clone())?;
    handles.sources.update(table.id, |stats| stats.error = None);
    let batcher = Batcher::new(table.id, table.schema_version, BatcherLimits::default());
    let commit: CommitWrite = {
        let (handles, position, id) = (handles.clone(), position.clone(), table.id);
        Box::new(move |write| {
            let (handles, position) = (handles.clone(), position.clone());
            Box::pin(async move {
                let rows =
                    write.tables.iter().flat_map(|table| &table.inserts).map(RecordBatch::num_rows).sum::<usize>();
                let read_to = write.positions.last().map(|position| position.position.clone());
                handles.sequencer.admission().admitted().await;
                let apply = |sequenced: &SequencedWrite<'_>| handles.tables.apply_write(sequenced);
                let ((), durable) =
                    handles.tables.sequence_marked(write, |write| handles.sequencer.sequence(write, apply))?;
                durable.await?;
                *position.lock() = read_to;
                handles.sources.update(id, |stats| stats.rows += rows as u64);
                Ok(())
            })
        })
    };
    batcher::run(reader, batcher, handles.clock.clone(), commit).await
}
