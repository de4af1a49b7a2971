//! The handle of the worker: what can be put into its queue, and what it tells of its views.
//!
//! Does not know: what the worker does with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arrow::array::RecordBatch;
use datafusion::common::HashMap;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::changelog::History;
use super::checkpoint::{CheckpointImage, SavedView};
use super::subscription::{Subject, Subscription, Taps};
use super::view::ViewSnapshot;
use crate::catalog::{Cutoff, MaterializedView};
use crate::commit::Commit;
use crate::error::{Error, Result, SqlState};
use crate::plan::{OperatorId, ViewPlan};
use crate::types::{CommitNumber, RelationId};

/// What a new view is filled from, at its place in the order.
#[derive(Default)]
pub struct Filling {
    /// For each of its base tables.
    pub tables: HashMap<RelationId, Backfill>,
    /// What it does not show.
    pub cutoff: Option<Cutoff>,
}

/// The rows that a base table has at a new view's place in the order.
pub struct Backfill {
    /// The table's columns; `_row_id` behind them is ignored.
    pub rows: BoxStream<'static, Result<RecordBatch>>,
    /// The table refuses UPDATE and DELETE, so that cheaper operators do.
    pub append_only: bool,
    /// Where the table's watermark is, microseconds since 1970.
    pub watermark_us: Option<i64>,
}

/// What one view is doing, for `tidemark.views`.
#[derive(Debug, Clone)]
pub struct ViewStats {
    pub view: RelationId,
    /// The last commit that its content covers.
    pub commit: CommitNumber,
    /// Before filters that are applied when the view is read.
    pub rows: u64,
    pub state_bytes: usize,
    /// Rows and groups left out.
    pub errors: u64,
    /// Of a view that closes windows: rows that were on time, and that were not.
    pub accepted_rows: u64,
    pub late_rows: u64,
    pub rows_read: u64,
    pub rows_emitted: u64,
    /// In preorder.
    pub operators: Vec<OperatorStats>,
    pub status: ViewStatus,
}

/// What one operator of a view keeps and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorStats {
    pub operator: OperatorId,
    /// In memory.
    pub state_bytes: usize,
    pub rows_read: u64,
    pub rows_emitted: u64,
}

/// Whether a view follows its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewStatus {
    /// It is backfilled.
    Creating,
    Live,
    /// It stopped, and why.
    Failed(String),
    /// It was stopped, because it did not keep up.
    Suspended(String),
}

/// Views as they are at one place in the order; a view that failed has its error.
pub type ViewReads = HashMap<RelationId, Result<ViewSnapshot>>;

pub(super) type ReadAnswer = oneshot::Sender<(CommitNumber, ViewReads)>;

/// With the commit's timestamp, microseconds.
pub(super) type AppliedAnswer = oneshot::Sender<(CommitNumber, i64, ViewReads)>;

pub(super) enum Item {
    Commit(QueuedCommit),
    Create(Box<Create>),
    Restore(Box<Restore>),
    Checkpoint(oneshot::Sender<CheckpointImage>),
    Drop(RelationId),
    Replaced(RelationId),
    Alter(Arc<MaterializedView>, Box<ViewPlan>),
    Read(Vec<RelationId>, ReadAnswer),
    Subscribe(Subject, oneshot::Sender<Result<(ViewSnapshot, Subscription)>>),
    Keep(RelationId, KeepChanges),
    Resume(Subject, CommitNumber, oneshot::Sender<Result<History>>),
    SyncChanges(oneshot::Sender<()>),
    Fail(RelationId, Error),
    PlantWrongRow(RelationId, oneshot::Sender<Result<()>>),
    Stop,
}

pub(super) struct QueuedCommit {
    pub commit: Arc<Commit>,
    /// Counted to what waits.
    pub bytes: u64,
}

/// What is to be done with a relation's changes.
pub enum KeepChanges {
    /// Kept for so many microseconds, 0 for no more; of a table, its columns without the row id.
    For { retention_us: u64, columns: Option<usize> },
    /// Its rows have other columns from here on.
    Anew { columns: usize },
}

pub(super) struct Create {
    pub view: Arc<MaterializedView>,
    /// An error where the plan cannot be read.
    pub plan: Result<ViewPlan>,
    pub filling: Filling,
    pub done: oneshot::Sender<Result<()>>,
}

pub(super) struct Restore {
    pub view: Arc<MaterializedView>,
    pub plan: ViewPlan,
    pub saved: SavedView,
    pub done: oneshot::Sender<Result<()>>,
}

/// The handle: puts things into the worker's queue, in the order of the calls. Never waits.
#[derive(Clone)]
pub struct Dataflows {
    pub(super) queue: mpsc::UnboundedSender<Item>,
    /// Reads that do not stand in the order.
    pub(super) applied: mpsc::UnboundedSender<(Vec<RelationId>, AppliedAnswer)>,
    /// The view that the worker is at; 0 for none.
    pub(super) busy_with: Arc<AtomicU32>,
    pub(super) queued_bytes: Arc<AtomicU64>,
    pub(super) stats: Arc<Mutex<BTreeMap<RelationId, ViewStats>>>,
    /// Subscriptions to tables; those to views are the worker's.
    pub(super) table_taps: Arc<Mutex<Taps>>,
    pub(super) keeps_changes: Arc<AtomicBool>,
    pub(super) follows_time: Arc<AtomicBool>,
}

impl Dataflows {
    pub fn push_commit(&self, commit: Arc<Commit>) {
        let mut taps = self.table_taps.lock();
        for table in &commit.tables {
            taps.send(table.table, commit.number, std::slice::from_ref(&*table.delta));
        }
        drop(taps);
        let bytes = bytes_of(&commit);
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.push(Item::Commit(QueuedCommit { commit, bytes }));
    }

    /// A commit that the last life published already: nobody is subscribed, and what waits of it suspends no view.
    pub fn push_recovered(&self, commit: Arc<Commit>) {
        self.push(Item::Commit(QueuedCommit { commit, bytes: 0 }));
    }

    /// The view joins the stream here. `filling` holds what its base tables contain at exactly this place; views that
    /// it reads are read from the worker's own state. Answers when the view is live. A view whose plan cannot be read is
    /// one that could not be made, and others go on.
    pub fn push_create(
        &self,
        view: Arc<MaterializedView>,
        plan: Result<ViewPlan>,
        filling: Filling,
    ) -> oneshot::Receiver<Result<()>> {
        let (done, receiver) = oneshot::channel();
        self.push(Item::Create(Box::new(Create { view, plan, filling, done })));
        receiver
    }

    /// The view joins the stream here with the state that a checkpoint of exactly this place has of it. Answers when it is
    /// live; after an error it is not there. Errors: 55000 for state of another plan, XX001 for state that is damaged.
    pub fn push_restore(
        &self,
        view: Arc<MaterializedView>,
        plan: ViewPlan,
        saved: SavedView,
    ) -> oneshot::Receiver<Result<()>> {
        let (done, receiver) = oneshot::channel();
        self.push(Item::Restore(Box::new(Restore { view, plan, saved, done })));
        receiver
    }

    /// A barrier: answers with the state of all live views at exactly this place.
    pub fn push_checkpoint(&self) -> oneshot::Receiver<CheckpointImage> {
        let (answer, receiver) = oneshot::channel();
        self.push(Item::Checkpoint(answer));
        receiver
    }

    pub fn push_drop(&self, relation: RelationId) {
        self.table_taps.lock().end_dropped(relation);
        self.push(Item::Drop(relation));
    }

    /// The view goes, and another, which was pushed before, has its name.
    pub fn push_replaced(&self, former: RelationId) {
        self.push(Item::Replaced(former));
    }

    /// The view has another definition from here on, over tables whose columns stand elsewhere. Its rows stay.
    pub fn push_alter(&self, view: Arc<MaterializedView>, plan: ViewPlan) {
        self.push(Item::Alter(view, Box::new(plan)));
    }

    /// Ends what is subscribed to a table.
    pub fn end_subscriptions_of_altered(&self, table: RelationId) {
        self.table_taps.lock().end_altered(table);
    }

    /// A barrier: answers with the view as it is at exactly this place, and with its changes from here on.
    pub fn push_subscribe(&self, view: Subject) -> oneshot::Receiver<Result<(ViewSnapshot, Subscription)>> {
        let (answer, receiver) = oneshot::channel();
        self.push(Item::Subscribe(view, answer));
        receiver
    }

    /// The relation's changes from here on are kept, or not; the ones of a view as soon as it is live.
    pub fn push_keep(&self, relation: RelationId, keep: KeepChanges) {
        self.push(Item::Keep(relation, keep));
    }

    /// A barrier: answers with the changes after a commit, up to exactly this place. Errors: 22023 where they were not
    /// kept.
    pub fn push_resume(&self, subject: Subject, after: CommitNumber) -> oneshot::Receiver<Result<History>> {
        let (answer, receiver) = oneshot::channel();
        self.push(Item::Resume(subject, after, answer));
        receiver
    }

    /// Returns once the kept changes of every commit pushed so far are durable. Before that the log must not forget
    /// those commits.
    pub async fn sync_changes(&self) {
        if self.keeps_changes.load(Ordering::Acquire) {
            let (answer, receiver) = oneshot::channel();
            self.push(Item::SyncChanges(answer));
            // A worker that has ended has synced them.
            let _ = receiver.await;
        }
    }

    /// A table's changes from here on. Between two calls of [`Dataflows::push_commit`], so that the caller knows which
    /// commit is the last that the table has.
    pub fn subscribe_table(&self, table: Subject) -> Subscription {
        self.table_taps.lock().subscribe(table)
    }

    /// A barrier: answers with these views as they are at exactly this place.
    pub fn push_read(&self, views: &[RelationId]) -> oneshot::Receiver<(CommitNumber, ViewReads)> {
        let (answer, receiver) = oneshot::channel();
        self.push(Item::Read(views.to_vec(), answer));
        receiver
    }

    /// No barrier: answers with these views at the commit that all of them have applied, as soon as the step or the
    /// batch of a backfill that is under way ends. Also with the timestamp of that commit, microseconds.
    pub fn read_applied(&self, views: &[RelationId]) -> oneshot::Receiver<(CommitNumber, i64, ViewReads)> {
        let (answer, receiver) = oneshot::channel();
        // Once the worker has ended nobody listens, and who waits finds the channel closed.
        let _ = self.applied.send((views.to_vec(), answer));
        receiver
    }

    /// Whether there is a view whose rows change with time alone, so that a commit is needed now and then.
    pub fn follows_time(&self) -> bool {
        self.follows_time.load(Ordering::Relaxed)
    }

    /// The view that is being stepped or backfilled at the moment: what others wait for.
    pub fn busy_with(&self) -> Option<RelationId> {
        match self.busy_with.load(Ordering::Relaxed) {
            0 => None,
            view => Some(RelationId(view)),
        }
    }

    /// The view is not to be trusted from here on: reads of it get the error until it is made again.
    pub fn push_failure(&self, view: RelationId, error: Error) {
        self.push(Item::Fail(view, error));
    }

    /// Test switch: makes a view's content wrong by one row, for VERIFY's own test.
    pub fn plant_wrong_row(&self, view: RelationId) -> oneshot::Receiver<Result<()>> {
        let (answer, receiver) = oneshot::channel();
        self.push(Item::PlantWrongRow(view, answer));
        receiver
    }

    /// The worker ends when it gets here; who waits for anything later finds its channel closed.
    pub fn stop(&self) {
        self.push(Item::Stop);
    }

    /// Changes that wait for the views.
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    /// As of each view's last step.
    pub fn stats(&self) -> Vec<ViewStats> {
        self.stats.lock().values().cloned().collect()
    }

    /// Once the worker has ended, nobody listens; those who wait find their channel closed.
    fn push(&self, item: Item) {
        let _ = self.queue.send(item);
    }
}

/// What a commit's rows hold in memory.
pub fn bytes_of(commit: &Commit) -> u64 {
    commit.tables.iter().map(|table| table.delta.rows().get_array_memory_size() as u64).sum()
}

impl ViewStats {
    /// Of a view that is not there.
    pub(super) fn unmade(view: RelationId, error: &Error) -> ViewStats {
        let status = match error.state() {
            SqlState::PROGRAM_LIMIT_EXCEEDED => ViewStatus::Suspended(error.to_string()),
            _ => ViewStatus::Failed(error.to_string()),
        };
        let commit = CommitNumber::default();
        ViewStats {
            view,
            commit,
            rows: 0,
            state_bytes: 0,
            errors: 0,
            accepted_rows: 0,
            late_rows: 0,
            rows_read: 0,
            rows_emitted: 0,
            operators: Vec::new(),
            status,
        }
    }
}
