//! COPY FROM STDIN: decodes as bytes arrive, and writes once, at the end.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use async_trait::async_trait;

use super::connection::{SharedState, State, Working, commit, failed_transaction};
use super::dispatch::refuse_in_read_only;
use crate::commit::HeldBytes;
use crate::error::{Error, Result, SqlState};
use crate::ingest::decode::CopyDecoder;
use crate::sql::{CopyStatement, Statement};
use crate::statement::copy::CopyFrom;
use crate::statement::{CopyInSink, Response};
use crate::statement::{Environment, Handles, SessionView, Transaction, insert_new, into_table, upsert};

/// The data of one COPY FROM STDIN.
pub struct CopyIn {
    handles: Arc<Handles>,
    view: SessionView,
    state: SharedState,
    copy: CopyFrom,
    decoder: CopyDecoder,
    rows: Vec<RecordBatch>,
    bytes: usize,
    held: HeldBytes,
}

impl CopyIn {
    pub fn start(
        handles: Arc<Handles>,
        view: SessionView,
        state: SharedState,
        text: &str,
        statement: &CopyStatement,
    ) -> Result<Response> {
        let environment = Environment { handles: &handles, session: &view, text, declared: &[], slot: None };
        let whole = Statement::Copy(statement.clone());
        let copy = match &*state.lock() {
            State::Failed { .. } => return Err(failed_transaction()),
            State::Open(open) => {
                refuse_in_read_only(&open.transaction, &whole)?;
                CopyFrom::new(&environment, &open.transaction, statement)?
            }
            State::Idle => {
                let mut transaction = Transaction::autocommit(&handles);
                transaction.read_only = view.variables().is_read_only_by_default();
                refuse_in_read_only(&transaction, &whole)?;
                CopyFrom::new(&environment, &transaction, statement)?
            }
        };
        let zone = view.variables().time_zone();
        let decoder = CopyDecoder::new(copy.data_columns(), &copy.options, &copy.table.name, zone)?;
        let (columns, format) = (copy.columns.len(), copy.options.format);
        let held = handles.sequencer.admission().hold();
        let sink = CopyIn { handles, view, state, copy, decoder, rows: Vec::new(), bytes: 0, held };
        Ok(Response::CopyIn { sink: Box::new(sink), columns, format })
    }

    fn keep(&mut self, batches: Vec<RecordBatch>) -> Result<()> {
        let bytes_max = self.handles.settings.server.copy_bytes_max;
        let bytes = batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        self.bytes += bytes;
        self.held.add(bytes as u64)?;
        if self.bytes > bytes_max {
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the COPY is too large for one commit")
                .with_detail(format!("Its rows take more than copy_bytes_max, {bytes_max} bytes."))
                .with_hint("Load the file in parts, or raise server.copy_bytes_max and memory.limit_bytes."));
        }
        self.rows.extend(batches);
        Ok(())
    }

    /// Puts the rows into a transaction.
    async fn write(&self, transaction: &mut Transaction) -> Result<u64> {
        let environment =
            Environment { handles: &self.handles, session: &self.view, text: "", declared: &[], slot: None };
        let table = &self.copy.table;
        let schema = match self.rows.first() {
            Some(batch) => batch.schema(),
            None => return Ok(0),
        };
        let mut rows = concat_batches(&schema, &self.rows)?;
        if let Some(query) = self.copy.completion(DATA)? {
            let data = vec![(DATA.to_owned(), rows)];
            rows = environment.rows_of_query_over(transaction, &query, data, &[]).await?;
        }
        let rows = into_table(table, &rows)?;
        if table.upsert {
            transaction.lock_for_change(&self.handles, table).await?;
            upsert(&environment, transaction, table, &rows).await?;
        } else {
            insert_new(&environment, transaction, table, &rows).await?;
        }
        Ok(rows.num_rows() as u64)
    }
}

/// Name of the decoded rows in the query that completes them; quoted, so that no table has it by accident.
const DATA: &str = "__copy";

#[async_trait]
impl CopyInSink for CopyIn {
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let batches = self.decoder.push(bytes)?;
        self.keep(batches)
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        let batches = self.decoder.finish()?;
        self.keep(batches)?;
        if let Some(mut working) = Working::take(&self.state) {
            let rows = CopyIn::write(&self, working.transaction()?).await?;
            working.done();
            return Ok(rows);
        }
        let is_failed = matches!(&*self.state.lock(), State::Failed { .. });
        if is_failed {
            return Err(failed_transaction());
        }
        let mut transaction = Transaction::autocommit(&self.handles);
        let rows = CopyIn::write(&self, &mut transaction).await?;
        commit(self.handles.clone(), transaction).await?;
        Ok(rows)
    }
}
