//! DECLARE, FETCH, MOVE and CLOSE: results that a transaction reads in parts, forward.
//!
//! FETCH of a query's cursor reads as far as it is asked. FETCH of a subscription's reads what is there: every change
//! that was committed before FETCH began, as any read sees it; where that is nothing, it waits for the first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::response::{OutputColumn, Response, RowStream};
use super::scope::{Environment, with_parameters};
use super::select::{output_columns, refuse_locks};
use super::slow_clients::{LeftOpen, SlowClients, too_slow};
use super::subscribe::{Barrier, Feed};
use super::transaction::Transaction;
use crate::error::{Error, Result, SqlState};
use crate::query::Deadline;
use crate::sql::{CursorQuery, DeclareCursor, Fetch};
use crate::system::CursorFact;

/// The cursors of one transaction; they end with it.
#[derive(Default)]
pub struct Cursors(BTreeMap<String, Cursor>);

impl Cursors {
    pub fn get(&self, name: &str) -> Result<&Cursor> {
        self.0.get(name).ok_or_else(|| no_cursor(name))
    }

    pub fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// What pg_cursors shows.
    pub fn facts(&self) -> Vec<CursorFact> {
        let fact = |(name, cursor): (&String, &Cursor)| CursorFact {
            name: name.clone(),
            declaration: cursor.declaration.clone(),
        };
        self.0.iter().map(fact).collect()
    }

    /// Closes the others.
    pub fn keep(&mut self, names: &BTreeSet<String>) {
        self.0.retain(|name, _| names.contains(name));
    }
}

pub struct Cursor {
    pub columns: Arc<[OutputColumn]>,
    /// The text that declared it.
    declaration: String,
    schema: SchemaRef,
    /// Held by the FETCH that reads.
    source: Arc<Mutex<Source>>,
}

/// What a cursor reads, and where it stands.
struct Source {
    rows: Rows,
    /// Of a batch that was read in part.
    rest: Option<RecordBatch>,
}

enum Rows {
    Query(RowStream),
    /// Of a query, between two FETCHes.
    Left(LeftOpen<RowStream>),
    /// Was ended there.
    Ended,
    Subscription(Box<Feed>),
}

impl Source {
    /// Before it is read. Errors: 53400 where it was ended since it was read last.
    fn resume(&mut self) -> Result<()> {
        self.rows = match std::mem::replace(&mut self.rows, Rows::Ended) {
            Rows::Left(rows) => Rows::Query(rows.take()?),
            Rows::Ended => return Err(too_slow()),
            rows => rows,
        };
        Ok(())
    }

    /// When it is not read any more, for now.
    fn leave(&mut self, slow: &Arc<SlowClients>) {
        self.rows = match std::mem::replace(&mut self.rows, Rows::Ended) {
            Rows::Query(rows) => Rows::Left(slow.leave_open(rows)),
            rows => rows,
        };
    }
}

pub async fn declare_cursor(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    declare: &DeclareCursor,
    parameters: &[ScalarValue],
) -> Result<Response> {
    if transaction.is_autocommit {
        return Err(Error::new(
            SqlState::NO_ACTIVE_TRANSACTION,
            "DECLARE CURSOR can only be used in transaction blocks",
        )
        .with_hint("BEGIN first; the cursor ends with the transaction."));
    }
    if transaction.cursors.0.contains_key(&declare.name) {
        return Err(Error::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{}\" already exists", declare.name)));
    }
    let (columns, schema, rows) = match &declare.query {
        CursorQuery::Query(query) => {
            refuse_locks(query)?;
            let planned = environment.plan(transaction, query).await?;
            let plan = with_parameters(planned.plan, parameters)?;
            // statement_timeout bounds each FETCH, not the life of the cursor.
            let result = environment.handles.query.execute(&planned.context, plan, None).await?;
            // At its end it may be asked again and again.
            let rows = environment.handles.slow.leave_open(result.rows.fuse().boxed());
            (output_columns(&result.schema)?, result.schema, Rows::Left(rows))
        }
        CursorQuery::Subscribe(subscribe) => {
            let feed = Feed::open(environment, transaction, subscribe).await?;
            (feed.columns.clone(), feed.schema.clone(), Rows::Subscription(Box::new(feed)))
        }
    };
    let source = Arc::new(Mutex::new(Source { rows, rest: None }));
    let declaration = environment.text.trim().to_owned();
    transaction.cursors.0.insert(declare.name.clone(), Cursor { columns, declaration, schema, source });
    Ok(Response::Done { tag: "DECLARE CURSOR".to_owned() })
}

/// FETCH and MOVE.
pub async fn fetch(environment: &Environment<'_>, transaction: &Transaction, fetch: &Fetch) -> Result<Response> {
    let cursor = transaction.cursors.get(&fetch.cursor)?;
    let mut source = cursor.source.clone().try_lock_owned().map_err(|_| {
        Error::new(SqlState::OBJECT_IN_USE, format!("cursor \"{}\" is being read by another portal", fetch.cursor))
            .with_hint("Read that portal to its end, or close it.")
    })?;
    let is_live = matches!(source.rows, Rows::Subscription(_));
    if fetch.timeout.is_some() && !is_live {
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("cursor \"{}\" reads a query", fetch.cursor))
            .with_detail("A timeout says how long to wait for changes of a subscription.")
            .with_hint("Use statement_timeout to bound a query."));
    }
    source.resume()?;
    let barrier = match &source.rows {
        Rows::Subscription(feed) => Some(feed.barrier(environment.handles)),
        Rows::Query(_) | Rows::Left(_) | Rows::Ended => None,
    };
    let (slow, rows_left) = (environment.handles.slow.clone(), fetch.rows_max);
    let reading = Reading { source, slow, rows_left, any: false, barrier, patience: fetch.timeout };
    let deadline = Deadline::after(environment.session.variables().statement_timeout());
    let rows = reading.rows(deadline);
    if fetch.moves {
        let passed = rows.try_fold(0, |sum, rows| async move { Ok(sum + rows.num_rows()) }).await?;
        return Ok(Response::Done { tag: format!("MOVE {passed}") });
    }
    let (columns, schema) = (cursor.columns.clone(), cursor.schema.clone());
    Ok(Response::Rows { columns, schema, rows, tag: "FETCH".to_owned(), is_live })
}

/// `None` closes all of them.
pub fn close_cursor(transaction: &mut Transaction, name: Option<&str>) -> Result<Response> {
    let tag = match name {
        Some(name) => {
            transaction.cursors.0.remove(name).ok_or_else(|| no_cursor(name))?;
            "CLOSE CURSOR"
        }
        None => {
            transaction.cursors.0.clear();
            "CLOSE CURSOR ALL"
        }
    };
    Ok(Response::Done { tag: tag.to_owned() })
}

/// One FETCH under way.
struct Reading {
    source: OwnedMutexGuard<Source>,
    slow: Arc<SlowClients>,
    /// `None`: all that there are.
    rows_left: Option<u64>,
    /// A row was read.
    any: bool,
    /// What must be there at least, of a subscription.
    barrier: Option<Barrier>,
    /// How long to wait for a subscription's first row; `None`: for ever.
    patience: Option<Duration>,
}

impl Reading {
    fn rows(self, deadline: Deadline) -> RowStream {
        let patience = Deadline::after(self.patience);
        stream::try_unfold((self, deadline, patience), |(mut reading, mut deadline, mut patience)| async move {
            let rows = deadline.bound(reading.next(&mut patience)).await??;
            Ok(rows.map(|rows| (rows, (reading, deadline, patience))))
        })
        .boxed()
    }

    async fn next(&mut self, patience: &mut Deadline) -> Result<Option<RecordBatch>> {
        if self.rows_left == Some(0) {
            return Ok(None);
        }
        let read = match self.source.rest.take() {
            Some(rest) => Some(rest),
            None => self.read(patience).await?,
        };
        let Some(mut rows) = read else { return Ok(None) };
        if let Some(left) = &mut self.rows_left {
            let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
            if wanted < rows.num_rows() {
                self.source.rest = Some(rows.slice(wanted, rows.num_rows() - wanted));
                rows = rows.slice(0, wanted);
            }
            *left -= rows.num_rows() as u64;
        }
        self.any |= rows.num_rows() > 0;
        Ok(Some(rows))
    }

    async fn read(&mut self, patience: &mut Deadline) -> Result<Option<RecordBatch>> {
        let feed = match &mut self.source.rows {
            Rows::Query(rows) => return rows.next().await.transpose(),
            Rows::Left(_) | Rows::Ended => return Err(Error::internal("a cursor that is read and left open")),
            Rows::Subscription(feed) => feed,
        };
        if let Some(rows) = feed.ready().await? {
            return Ok(Some(rows));
        }
        if let Some(barrier) = self.barrier.take() {
            barrier.pass().await;
            if let Some(rows) = feed.ready().await? {
                return Ok(Some(rows));
            }
        }
        if self.any {
            return Ok(None);
        }
        // Out of patience is no error: there is nothing.
        patience.bound(feed.next()).await.ok().transpose()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.source.leave(&self.slow);
    }
}

fn no_cursor(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SystemClock;

    fn source(slow: &Arc<SlowClients>) -> Source {
        let batch = RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
        let rows = slow.leave_open(stream::iter([Ok(batch.clone()), Ok(batch)]).boxed());
        Source { rows: Rows::Left(rows), rest: None }
    }

    #[tokio::test]
    async fn a_cursor_waits_for_its_next_fetch_and_may_be_ended_meanwhile() {
        let slow = SlowClients::new(Arc::new(SystemClock::new()));
        let mut source = source(&slow);
        for _ in 0..2 {
            source.resume().unwrap();
            assert!(!slow.end_first(Duration::ZERO), "it is being read");
            let Rows::Query(rows) = &mut source.rows else { panic!("it is not read") };
            rows.next().await.unwrap().unwrap();
            source.leave(&slow);
        }
        assert!(slow.end_first(Duration::ZERO));
        for _ in 0..2 {
            assert_eq!(source.resume().unwrap_err().state(), SqlState::CONFIGURATION_LIMIT_EXCEEDED);
            source.leave(&slow);
        }
        assert!(!slow.end_first(Duration::ZERO));
    }
}
