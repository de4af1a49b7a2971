//! SUBSCRIBE: the rows of a table or view as they are, then every change of them, as one endless result.
//!
//! ```text
//! tidemark_commit | tidemark_progressed | tidemark_weight | the row
//! ----------------+---------------------+-----------------+--------
//!              12 | f                   |               1 | ...         the snapshot, taken at commit 12
//!              15 | f                   |              -1 | ...         an update by commit 15: the row as it was
//!              15 | f                   |               1 | ...         and as it is
//!              15 | t                   |                 |             with PROGRESS alone: commit 15 is complete
//! ```
//!
//! Snapshot and changes meet at one commit: both are asked for under the lock under which commits are published. The
//! stream is not part of a transaction's snapshot; it shows what is committed.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::oneshot;

use super::handles::Handles;
use super::response::{OutputColumn, Response, RowStream};
use super::scope::{Environment, no_relation};
use super::select::output_columns;
use super::transaction::{Transaction, stopping};
use crate::catalog::{Catalog, Relation};
use crate::dataflow::{History, HistoryPart, Subject, Subscription, ViewReads, ViewSnapshot};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result, SqlState};
use crate::query::Deadline;
use crate::sql::Subscribe;
use crate::types::CommitNumber;

/// Rows handed over at a time.
const BATCH_ROWS: usize = 8192;

/// SUBSCRIBE as a statement.
pub async fn subscribe(
    environment: &Environment<'_>,
    transaction: &Transaction,
    subscribe: &Subscribe,
) -> Result<Response> {
    let feed = Feed::open(environment, transaction, subscribe).await?;
    let (columns, schema) = (feed.columns.clone(), feed.schema.clone());
    let rows = feed.rows(Deadline::after(environment.session.variables().statement_timeout()));
    Ok(Response::Rows { columns, schema, rows, tag: "SUBSCRIBE".to_owned(), is_live: true })
}

/// Columns of a subscription's result, for Describe.
pub fn subscription_columns(catalog: &Catalog, subscribe: &Subscribe) -> Result<Arc<[OutputColumn]>> {
    output_columns(&result_schema(&subject(catalog, &subscribe.name)?.schema, subscribe.progress))
}

/// A subscription's result as it comes.
pub struct Feed {
    pub columns: Arc<[OutputColumn]>,
    pub schema: SchemaRef,
    /// Of the rows alone.
    rows: SchemaRef,
    progress: bool,
    /// The commit that the snapshot is of.
    at: CommitNumber,
    /// What is left of the snapshot; `None` once its end was told.
    snapshot: Option<BoxStream<'static, Result<DeltaBatch>>>,
    /// What was kept of commits after the one that it resumes from.
    history: VecDeque<HistoryPart>,
    changes: Subscription,
    /// Its changes come from the worker, not from the publisher.
    is_view: bool,
    /// Made, and not handed over yet.
    waiting: VecDeque<RecordBatch>,
}

impl Feed {
    pub async fn open(environment: &Environment<'_>, transaction: &Transaction, subscribe: &Subscribe) -> Result<Feed> {
        let handles = environment.handles;
        let seen = transaction.catalog(handles);
        let subject = subject(&seen, &subscribe.name)?;
        let schema = result_schema(&subject.schema, subscribe.progress);
        let columns = output_columns(&schema)?;
        let opened = handles.sequencer.at_head(|at| {
            check_as_of(subscribe, at)?;
            let opened = open_at(environment, &subject, at)?;
            let resumed = subscribe.as_of.map(|after| handles.dataflows.push_resume(subject.clone(), after));
            Ok::<_, Error>((at, opened, resumed))
        });
        let (at, opened, resumed) = opened?;
        let history = match resumed {
            Some(resumed) => resumed.await.map_err(|_| stopping())??,
            None => History::default(),
        };
        let at = subscribe.as_of.unwrap_or(at);
        let is_view = matches!(opened, Opened::View(_));
        let (snapshot, changes) = match opened {
            Opened::Table(snapshot, changes) => (snapshot, changes),
            Opened::View(pending) => {
                let (snapshot, changes) = pending.await.map_err(|_| stopping())??;
                environment.session.warn_of_errors(&subscribe.name, &snapshot);
                (stream::iter(snapshot.deltas(BATCH_ROWS)).boxed(), changes)
            }
        };
        let snapshot = if subscribe.snapshot { snapshot } else { stream::empty().boxed() };
        let progress = subscribe.progress;
        let (snapshot, waiting) = (Some(snapshot), VecDeque::new());
        let history = history.parts;
        Ok(Feed { columns, schema, rows: subject.schema, progress, at, snapshot, history, changes, is_view, waiting })
    }

    /// The next rows. Waits for them; loses none if it is dropped meanwhile.
    pub async fn next(&mut self) -> Result<RecordBatch> {
        loop {
            if let Some(rows) = self.ready().await? {
                return Ok(rows);
            }
            let change = self.changes.next().await?;
            self.put(change.commit, &change.rows)?;
        }
    }

    /// The next rows of those that are there: all of the snapshot, and the changes that came so far.
    pub async fn ready(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(rows) = self.waiting.pop_front() {
                return Ok(Some(rows));
            }
            if let Some(snapshot) = &mut self.snapshot {
                match snapshot.next().await.transpose()? {
                    Some(rows) => self.put_rows(self.at, &rows)?,
                    None => {
                        self.snapshot = None;
                        self.put_progress(self.at)?;
                    }
                }
            } else if let Some(part) = self.history.front().cloned() {
                let schema = self.rows.clone();
                let read = tokio::task::spawn_blocking(move || part.read(&schema));
                let changes = read.await.map_err(Error::internal)??;
                self.history.pop_front();
                changes.iter().try_for_each(|change| self.put(change.commit, &change.rows))?;
            } else {
                match self.changes.take()? {
                    Some(change) => self.put(change.commit, &change.rows)?,
                    None => return Ok(None),
                }
            }
        }
    }

    /// Once it is passed, every change that is committed now is there.
    pub fn barrier(&self, handles: &Handles) -> Barrier {
        Barrier(self.is_view.then(|| handles.sequencer.at_head(|_| handles.dataflows.push_read(&[]))))
    }

    /// As a stream that ends with an error alone.
    pub fn rows(self, deadline: Deadline) -> RowStream {
        stream::try_unfold((self, deadline), |(mut feed, mut deadline)| async move {
            let rows = deadline.bound(feed.next()).await??;
            Ok(Some((rows, (feed, deadline))))
        })
        .boxed()
    }

    fn put(&mut self, commit: CommitNumber, rows: &DeltaBatch) -> Result<()> {
        self.put_rows(commit, rows)?;
        self.put_progress(commit)
    }

    fn put_rows(&mut self, commit: CommitNumber, rows: &DeltaBatch) -> Result<()> {
        for start in (0..rows.num_rows()).step_by(BATCH_ROWS) {
            let part = rows.slice(start, BATCH_ROWS.min(rows.num_rows() - start));
            let count = part.num_rows();
            let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_value(commit.0 as i64, count))];
            if self.progress {
                columns.push(Arc::new(BooleanArray::from(vec![false; count])));
            }
            columns.push(Arc::new(part.weights_array()));
            columns.extend(part.rows().columns().iter().cloned());
            self.waiting.push_back(RecordBatch::try_new(self.schema.clone(), columns)?);
        }
        Ok(())
    }

    fn put_progress(&mut self, commit: CommitNumber) -> Result<()> {
        if self.progress {
            let mut columns: Vec<ArrayRef> =
                vec![Arc::new(Int64Array::from_value(commit.0 as i64, 1)), Arc::new(BooleanArray::from(vec![true]))];
            columns.extend(self.schema.fields()[2..].iter().map(|field| new_null_array(field.data_type(), 1)));
            self.waiting.push_back(RecordBatch::try_new(self.schema.clone(), columns)?);
        }
        Ok(())
    }
}

/// A place in the order of commits that a view's changes have to reach.
pub struct Barrier(Option<oneshot::Receiver<(CommitNumber, ViewReads)>>);

impl Barrier {
    pub async fn pass(self) {
        if let Some(barrier) = self.0 {
            // A worker that has ended told the subscription why.
            let _ = barrier.await;
        }
    }
}

enum Opened {
    Table(BoxStream<'static, Result<DeltaBatch>>, Subscription),
    View(oneshot::Receiver<Result<(ViewSnapshot, Subscription)>>),
}

/// Under the publish lock, with the head.
fn open_at(environment: &Environment<'_>, subject: &Subject, at: CommitNumber) -> Result<Opened> {
    let handles = environment.handles;
    match handles.catalog().get(subject.relation) {
        Some(Relation::MaterializedView(_)) => Ok(Opened::View(handles.dataflows.push_subscribe(subject.clone()))),
        Some(Relation::Table(table)) => {
            let snapshot = handles.tables.snapshot(table.id, at)?;
            let columns = (0..table.user_columns().len()).collect();
            let rows = snapshot.stream(Some(columns), BATCH_ROWS).map(|rows| Ok(DeltaBatch::inserts(rows?))).boxed();
            Ok(Opened::Table(rows, handles.dataflows.subscribe_table(subject.clone())))
        }
        // Dropped since the transaction began, or created by it.
        _ => Err(Error::new(SqlState::OBJECT_NOT_IN_STATE, format!("{} is not committed", subject.name))
            .with_hint("COMMIT before you subscribe to what the transaction creates.")),
    }
}

/// What can be subscribed to.
fn subject(catalog: &Catalog, name: &str) -> Result<Subject> {
    match catalog.find(name) {
        Some(Relation::View(view)) => Err(Error::not_built(format!("SUBSCRIBE to the plain view \"{}\"", view.name))
            .with_hint("CREATE MATERIALIZED VIEW with its query, and SUBSCRIBE to that.")),
        Some(relation) => Ok(Subject {
            relation: relation.id(),
            name: format!("{} \"{name}\"", relation.kind_name()),
            schema: relation.schema(),
        }),
        None => Err(no_relation(catalog, name)),
    }
}

fn result_schema(rows: &Schema, progress: bool) -> SchemaRef {
    let mut fields = vec![Field::new("tidemark_commit", DataType::Int64, false)];
    if progress {
        fields.push(Field::new("tidemark_progressed", DataType::Boolean, false));
    }
    fields.push(Field::new("tidemark_weight", DataType::Int64, true));
    fields.extend(rows.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(fields))
}

/// What is to come cannot be resumed from.
fn check_as_of(subscribe: &Subscribe, head: CommitNumber) -> Result<()> {
    match subscribe.as_of {
        Some(commit) if commit > head => {
            Err(Error::new(SqlState::INVALID_PARAMETER, format!("commit {commit} has not happened yet"))
                .with_detail(format!("The last commit is {head}.")))
        }
        _ => Ok(()),
    }
}
