//! The worker: takes commits in their order and steps every view, views before those that read them.
//!
//! ```text
//! queue:  commit 7 | commit 8 | create v | commit 9 | read v,w | commit 10
//! steps:  [   7, 8           ]            [    9   ]            [   10   ]
//! ```
//!
//! A step may cover several commits, but never reaches across anything else in the queue, nor across a commit by which rows of a view
//! expire; so a read sees every view at exactly its place in the order, a new view joins the stream without a gap, and what has expired
//! does not depend on how commits are cut into steps.
//!
//! Does not know: how commits become durable, where tables keep their rows, time.
//!
//! Invariants:
//!   * a view's id is greater than those of the views that it reads, so the order of ids is an order of dependency
//!   * a view that failed stays failed, and so do those that read it: they are not stepped again, and reads get the error
//!   * between two steps all views are at one commit
//!   * the queue holds little more than `lag_bytes_max` of changes: when a step or a batch of a backfill ends with more, the
//!     view that costs the most is suspended, until everyone who is left keeps up

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use datafusion::common::{HashMap, HashSet};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::changelog::Changelogs;
use super::checkpoint::{CheckpointImage, SavedView};
use super::handle::{
    AppliedAnswer, Create, Dataflows, Filling, Item, KeepChanges, QueuedCommit, Restore, ViewReads, ViewStats,
    ViewStatus,
};
use super::live_view::{LiveView, source_relations};
use super::parts::Parts;
use super::readers::Readers;
use super::state::Residence;
use super::subscription::{Subject, Subscription, Taps};
use super::tree::StepInput;
use super::view::ViewSnapshot;
use crate::catalog::{CatalogChange, Cutoff, MaterializedView};
use crate::commit::Commit;
use crate::delta::{DeltaBatch, batch_bytes};
use crate::error::{Error, Result, SqlState};
use crate::io::{Inline, Parallel};
use crate::plan::ViewPlan;
use crate::settings::DataflowSettings;
use crate::types::{CommitNumber, RelationId};

/// Rows of a part of a step, where memory is short: as many as state had room for lately, between these.
const PART_ROWS: RangeInclusive<usize> = 1024..=1 << 17;
/// A step may bring so many times its input's bytes of state into memory before it counts as too large for it.
const STATE_PER_INPUT: usize = 8;

/// The other end of the queue; owns all views.
pub struct Worker {
    settings: DataflowSettings,
    parallel: Arc<dyn Parallel>,
    residence: Arc<Residence>,
    /// Of the next part of a step that is cut.
    part_rows: usize,
    queue: mpsc::UnboundedReceiver<Item>,
    applied: mpsc::UnboundedReceiver<(Vec<RelationId>, AppliedAnswer)>,
    busy_with: Arc<AtomicU32>,
    queued_bytes: Arc<AtomicU64>,
    stats: Arc<Mutex<BTreeMap<RelationId, ViewStats>>>,
    views: BTreeMap<RelationId, LiveView>,
    readers: Readers,
    taps: Taps,
    changelogs: Changelogs,
    follows_time: Arc<AtomicBool>,
    /// Views that could not be made, or were suspended.
    unmade: BTreeMap<RelationId, Error>,
    /// What was waiting when a view was suspended, until nobody is behind; else 0.
    suspended_at_bytes: u64,
    /// The last commit taken from the queue.
    commit: CommitNumber,
    /// Its time.
    timestamp_us: i64,
}

impl Worker {
    /// `commit` is the one that the first views will be backfilled at.
    pub fn new(settings: DataflowSettings, commit: CommitNumber) -> (Dataflows, Worker) {
        let (sender, queue) = mpsc::unbounded_channel();
        let stats = Arc::new(Mutex::new(BTreeMap::new()));
        let (applied_sender, applied) = mpsc::unbounded_channel();
        let (busy_with, queued_bytes) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
        let table_taps = Arc::new(Mutex::new(Taps::new(settings.subscription_bytes_max)));
        let taps = Taps::new(settings.subscription_bytes_max);
        let changelogs = Changelogs::none();
        let handle = Dataflows {
            queue: sender,
            applied: applied_sender,
            busy_with: busy_with.clone(),
            queued_bytes: queued_bytes.clone(),
            stats: stats.clone(),
            table_taps,
            keeps_changes: changelogs.keeps(),
            follows_time: Arc::default(),
        };
        let follows_time = handle.follows_time.clone();
        let (views, unmade) = (BTreeMap::new(), BTreeMap::new());
        let readers = Readers::new(settings.snapshot_bytes_max);
        let worker = Worker {
            settings,
            readers,
            parallel: Arc::new(Inline),
            residence: Arc::default(),
            part_rows: *PART_ROWS.end(),
            queue,
            applied,
            busy_with,
            queued_bytes,
            stats,
            views,
            unmade,
            suspended_at_bytes: 0,
            taps,
            changelogs,
            follows_time,
            commit,
            timestamp_us: i64::MIN,
        };
        (handle, worker)
    }

    /// Steps may use these threads; without, they use the worker's own alone.
    pub fn with_threads(mut self, parallel: Arc<dyn Parallel>) -> Worker {
        self.parallel = parallel;
        self
    }

    /// State counts to `residence`, and leaves for its store when there is too much of it.
    pub fn with_residence(mut self, residence: Arc<Residence>) -> Worker {
        if self.settings.step_cuts_seed != 0 {
            residence.set_piece_bytes_max(64 << (mixed(self.settings.step_cuts_seed) % 4 * 4));
        }
        self.residence = residence;
        self
    }

    /// The time of the commit that views are made at before another one comes. Those that a checkpoint brings back may still take
    /// commits from before it, each at its own time, so that they make the same changes again.
    pub fn at_time(mut self, timestamp_us: i64) -> Worker {
        self.timestamp_us = timestamp_us;
        self
    }

    /// Changes can be kept; without, nobody can resume.
    pub fn with_changelogs(mut self, changelogs: Changelogs) -> Worker {
        self.changelogs = changelogs.told_to(self.changelogs.keeps());
        self
    }

    /// Runs until [`Dataflows::stop`], or until every handle is gone and the queue is empty.
    pub async fn run(mut self) {
        let mut next = self.next_item().await;
        while let Some(item) = next.take() {
            self.answer_applied();
            match item {
                Item::Commit(commit) => next = self.step_from(commit).await,
                Item::Create(create) => self.create(*create).await,
                Item::Restore(restore) => {
                    let Restore { view, plan, saved, done } = *restore;
                    let restored = self.restore(&view, &plan, &saved);
                    self.publish_stats();
                    let _ = done.send(restored);
                }
                Item::Checkpoint(answer) => {
                    // The log may go up to the checkpoint, so what was kept must not.
                    self.changelogs.sync(self.timestamp_us);
                    let _ = answer.send(self.image());
                }
                Item::Stop => break,
                Item::Drop(view) => {
                    self.taps.end_dropped(view);
                    self.forget(view);
                }
                Item::Replaced(view) => {
                    self.taps.end_replaced(view);
                    self.forget(view);
                }
                Item::Alter(view, plan) => self.alter(&view, &plan),
                Item::Read(views, answer) => {
                    // The reader may have gone away; then its snapshot is dropped here.
                    let _ = answer.send(self.read(&views));
                }
                Item::Subscribe(subject, answer) => {
                    let _ = answer.send(self.subscribe(subject));
                }
                Item::Keep(relation, keep) => self.keep(relation, keep),
                Item::Resume(subject, after, answer) => {
                    let name = &subject.name;
                    let _ = answer.send(self.changelogs.history(subject.relation, name, after, self.commit));
                }
                Item::SyncChanges(answer) => {
                    self.changelogs.sync(self.timestamp_us);
                    let _ = answer.send(());
                }
                Item::Fail(view, error) => {
                    if let Some(view) = self.views.get_mut(&view) {
                        view.failed.get_or_insert(error);
                    }
                    self.publish_stats();
                }
                Item::PlantWrongRow(view, answer) => {
                    let _ = answer.send(self.view_mut(view).and_then(LiveView::plant_wrong_row));
                }
            }
            if next.is_none() {
                next = self.next_item().await;
            }
        }
        self.changelogs.sync(self.timestamp_us);
    }

    fn forget(&mut self, view: RelationId) {
        self.views.remove(&view);
        self.changelogs.forget(view);
        self.unmade.remove(&view);
        self.stats.lock().remove(&view);
    }

    /// A view that is not live is made from the catalog's definition, if it ever is again.
    fn alter(&mut self, view: &MaterializedView, plan: &ViewPlan) {
        if let Some(altered) = self.views.get_mut(&view.id)
            && let Err(error) = altered.alter(view, plan)
        {
            altered.failed.get_or_insert(error);
        }
    }

    async fn next_item(&mut self) -> Option<Item> {
        loop {
            tokio::select! {
                biased;
                Some((views, answer)) = self.applied.recv() => self.answer_applied_to(&views, answer),
                item = self.queue.recv() => return item,
            }
        }
    }

    /// Between two steps, and between the batches of a backfill.
    fn answer_applied(&mut self) {
        while let Ok((views, answer)) = self.applied.try_recv() {
            self.answer_applied_to(&views, answer);
        }
    }

    fn answer_applied_to(&mut self, views: &[RelationId], answer: AppliedAnswer) {
        let (commit, reads) = self.read(views);
        // Who asked may have gone.
        let _ = answer.send((commit, self.timestamp_us, reads));
    }

    /// One step over `first` and the commits that are waiting behind it; returns what ended the step, if anything did.
    async fn step_from(&mut self, first: QueuedCommit) -> Option<Item> {
        let (mut input, mut watermarks) = (StepInput::default(), BTreeMap::new());
        let mut rows = self.take(&first, &mut input, &mut watermarks);
        let (mut commits, mut last, mut timestamp_us) = (1, first.commit.number, first.commit.timestamp_us);
        let (mut next, mut cutoffs) = (None, cutoffs(&first.commit));
        while cutoffs.is_empty() && self.step_has_room(commits, rows) && !self.is_cut_after(last) {
            match self.next_for_step().await {
                Some(Item::Commit(queued)) => {
                    cutoffs = self::cutoffs(&queued.commit);
                    rows += self.take(&queued, &mut input, &mut watermarks);
                    (commits, last, timestamp_us) = (commits + 1, queued.commit.number, queued.commit.timestamp_us);
                }
                other => {
                    next = other;
                    break;
                }
            }
        }
        (self.commit, self.timestamp_us) = (last, timestamp_us);
        self.step(input, &watermarks);
        self.expire(cutoffs);
        self.changelogs.advance(last, self.timestamp_us);
        self.suspend_while_behind();
        next
    }

    /// Behind the step whose commits say so, so that those who read a view learned of its rows.
    fn expire(&mut self, cutoffs: Vec<(RelationId, Cutoff)>) {
        if cutoffs.is_empty() {
            return;
        }
        for (id, cutoff) in cutoffs {
            if let Some(view) = self.views.get_mut(&id).filter(|view| view.failed.is_none()) {
                view.expire(cutoff);
            }
        }
        self.make_room();
        self.publish_stats();
    }

    /// Takes a commit out of the queue into a step.
    fn take(
        &mut self,
        queued: &QueuedCommit,
        input: &mut StepInput,
        watermarks: &mut BTreeMap<RelationId, i64>,
    ) -> usize {
        self.queued_bytes.fetch_sub(queued.bytes, Ordering::Relaxed);
        let commit = &queued.commit;
        for table in &commit.tables {
            let delta = std::slice::from_ref(&*table.delta);
            self.changelogs.append(table.table, commit.number, commit.timestamp_us, delta);
        }
        watermarks.extend(commit.watermarks.iter().map(|advance| (advance.table, advance.at_us)));
        take_commit(commit, input)
    }

    /// What waits, if that is too much.
    fn bytes_behind(&self) -> Option<u64> {
        let bytes = self.queued_bytes.load(Ordering::Relaxed);
        (bytes > self.settings.lag_bytes_max).then_some(bytes)
    }

    /// Suspends the view that costs the most, and those that read it. The others get the time to catch up: the next one is
    /// suspended only if even more waits by then.
    fn suspend_while_behind(&mut self) {
        let Some(bytes) = self.bytes_behind() else {
            self.suspended_at_bytes = 0;
            return;
        };
        if bytes <= self.suspended_at_bytes {
            return;
        }
        self.suspended_at_bytes = bytes;
        let Some((slowest, _)) = self.views.iter().max_by_key(|(_, view)| view.cost) else { return };
        let error = fell_behind(bytes, self.settings.lag_bytes_max);
        let mut gone = BTreeSet::from([*slowest]);
        for (id, view) in &self.views {
            if view.sources.iter().any(|source| gone.contains(source)) {
                gone.insert(*id);
            }
        }
        for id in gone {
            tracing::warn!(view = id.0, bytes, "a materialized view did not keep up and is suspended");
            self.views.remove(&id);
            self.taps.end(id, &error);
            self.changelogs.stop(id, self.commit);
            self.unmade.insert(id, error.clone());
        }
        self.publish_stats();
    }

    fn keep(&mut self, relation: RelationId, keep: KeepChanges) {
        match keep {
            KeepChanges::For { retention_us, columns } => {
                self.changelogs.keep(relation, retention_us, columns);
                // A view that is not made yet joins when it is.
                if columns.is_some() || self.views.get(&relation).is_some_and(|view| view.failed.is_none()) {
                    self.changelogs.join(relation, self.commit, self.timestamp_us);
                }
            }
            KeepChanges::Anew { columns } => {
                self.changelogs.begin_anew(relation, self.commit, self.timestamp_us, columns)
            }
        }
    }

    /// Where changes are kept, every commit is a step of its own: whoever resumes may have ended at any of them, and a
    /// restart makes the same changes again.
    fn step_has_room(&self, commits: usize, rows: usize) -> bool {
        if self.changelogs.is_keeping() {
            return false;
        }
        let commits_max = self.settings.commits_per_step_max;
        (commits_max == 0 || commits < commits_max) && rows < self.settings.rows_per_step_max
    }

    /// What is in the queue already. Under random cuts the worker waits instead, so that steps do not depend on timing;
    /// but not while somebody waits for the step's changes.
    async fn next_for_step(&mut self) -> Option<Item> {
        let waits = self.settings.step_cuts_seed != 0 && self.taps.is_empty();
        // A read of what is applied stands in no queue, and must not wait for a commit to come.
        if waits { self.next_item().await } else { self.queue.try_recv().ok() }
    }

    /// One step in three ends by chance where it might go on; the same seed gives the same cuts.
    fn is_cut_after(&self, commit: CommitNumber) -> bool {
        let seed = self.settings.step_cuts_seed;
        seed != 0 && mixed(seed.wrapping_add(commit.0)).is_multiple_of(3)
    }

    /// `watermarks`: those that moved. Groups are closed when all rows have come to them.
    fn step(&mut self, input: StepInput, watermarks: &BTreeMap<RelationId, i64>) {
        // Parts of a step cannot be told from the whole by anyone: nothing is answered, and nothing is sent, in between.
        let mut changes = BTreeMap::new();
        let bytes: usize = input.values().flatten().map(|delta| batch_bytes(delta.rows())).sum();
        let rows: usize = input.values().flatten().map(DeltaBatch::num_rows).sum();
        let is_large = self.residence.may_overflow(bytes.saturating_mul(STATE_PER_INPUT));
        // One that cannot be cut is taken whole.
        let mut parts = match is_large.then(|| Parts::cut(input.clone())) {
            Some(Ok(parts)) => parts,
            _ => Parts::whole(input),
        };
        let row_bytes = (bytes / rows.max(1)).max(1);
        while let Some(part) = parts.next(self.part_rows.min(self.part_bytes_max() / row_bytes)) {
            self.step_part(part, &BTreeMap::new(), &mut changes);
            let rows = if self.residence.is_full() { self.part_rows / 2 } else { self.part_rows * 2 };
            self.part_rows = rows.clamp(*PART_ROWS.start(), *PART_ROWS.end());
            self.make_room();
        }
        if !watermarks.is_empty() {
            self.step_part(StepInput::default(), watermarks, &mut changes);
            self.make_room();
        }
        for (id, change) in changes {
            // Once for the whole step: what a commit changed is one record.
            self.changelogs.append(id, self.commit, self.timestamp_us, &change);
            self.taps.send(id, self.commit, &change);
        }
        for (id, view) in &self.views {
            if let Some(error) = &view.failed {
                self.taps.end(*id, error);
                self.changelogs.stop(*id, self.commit);
            }
        }
        self.publish_stats();
    }

    /// What a part of a step may bring, so that its state fits.
    fn part_bytes_max(&self) -> usize {
        match self.residence.bytes_max() {
            0 => usize::MAX,
            bytes_max => (bytes_max / STATE_PER_INPUT).max(1),
        }
    }

    /// Takes a part of a step through all views. What a view changes comes to those that read it when it is whole; of a change in several
    /// pieces the first ones are taken through them by themselves, as parts of a step are.
    fn step_part(
        &mut self,
        mut input: StepInput,
        watermarks: &BTreeMap<RelationId, i64>,
        changes: &mut BTreeMap<RelationId, Vec<DeltaBatch>>,
    ) {
        let consumed: HashSet<RelationId> = self.views.values().flat_map(|view| view.sources.iter().copied()).collect();
        let mut failed: HashMap<RelationId, Error> = HashMap::new();
        let ids: Vec<RelationId> = self.views.keys().copied().collect();
        for id in ids {
            // Not among the views while it is stepped: they take what it gives.
            let Some(mut view) = self.views.remove(&id) else { continue };
            if let Some(error) = view.sources.iter().find_map(|source| failed.get(source)) {
                view.failed.get_or_insert(error.clone());
            }
            let is_told = self.taps.wants(id) || self.changelogs.wants(id);
            let is_consumed = consumed.contains(&id);
            let (now_us, residence) = (self.timestamp_us, self.residence.clone());
            let mut last: Option<Vec<DeltaBatch>> = None;
            self.busy_with.store(id.0, Ordering::Relaxed);
            view.step(&input, watermarks, is_told || is_consumed, now_us, &residence, &mut |piece| {
                if is_told {
                    changes.entry(id).or_default().extend(piece.iter().cloned());
                }
                if is_consumed && let Some(earlier) = last.replace(piece) {
                    self.step_part(StepInput::from_iter([(id, earlier)]), &BTreeMap::new(), changes);
                    self.busy_with.store(id.0, Ordering::Relaxed);
                }
            });
            if is_consumed {
                input.insert(id, last.unwrap_or_default());
            }
            if let Some(error) = &view.failed {
                failed.insert(id, error.clone());
            }
            self.views.insert(id, view);
        }
        self.busy_with.store(0, Ordering::Relaxed);
    }

    async fn create(&mut self, create: Create) {
        let Create { view, plan, filling, done } = create;
        if self.views.get(&view.id).is_some_and(|view| view.failed.is_none()) {
            let _ = done.send(Ok(()));
            return;
        }
        self.views.remove(&view.id);
        self.unmade.remove(&view.id);
        self.busy_with.store(view.id.0, Ordering::Relaxed);
        let made = match plan {
            Ok(plan) => self.backfill(&view, &plan, filling).await,
            Err(error) => Err(error),
        };
        self.busy_with.store(0, Ordering::Relaxed);
        let answer = match made {
            Ok(made) => {
                self.views.insert(view.id, made);
                self.changelogs.join(view.id, self.commit, self.timestamp_us);
                Ok(())
            }
            Err(error) => {
                tracing::error!(view = %view.name, %error, "a materialized view could not be made");
                self.unmade.insert(view.id, error.clone());
                Err(error)
            }
        };
        self.publish_stats();
        // The client may have gone away; the view stays.
        let _ = done.send(answer);
    }

    /// Builds the view and steps it through what its sources contain now. Sources are read one after the other, a step
    /// for each few batches: the result is the same, because every step adds to what the former ones saw.
    async fn backfill(&mut self, view: &MaterializedView, plan: &ViewPlan, filling: Filling) -> Result<LiveView> {
        let Filling { tables: backfill, cutoff } = filling;
        let waiting = self.queued_bytes.load(Ordering::Relaxed);
        let append_only = backfill.iter().filter(|(_, base)| base.append_only).map(|(id, _)| *id).collect();
        let made = LiveView::build(view, plan, append_only, self.parallel.clone(), &self.residence)?;
        let mut made = made.with_cutoff(cutoff)?;
        made.advance_to(self.timestamp_us)?;
        made.dataflow_step(&StepInput::default(), &self.residence)?;
        for source in source_relations(&plan.root) {
            if let Some(error) = self.unmade.get(&source) {
                return Err(error.clone());
            }
            if let Some(upstream) = self.views.get(&source) {
                for delta in upstream
                    .snapshot(self.commit, &mut self.readers)?
                    .deltas(self.settings.rows_per_step_max.min(1 << 16))
                {
                    made.dataflow_step(&StepInput::from_iter([(source, vec![delta?])]), &self.residence)?;
                    made.make_room(&self.residence)?;
                }
            } else if !backfill.contains_key(&source) {
                return Err(Error::internal(format!("no backfill for relation {source} of view {}", view.name)));
            }
        }
        let mut backfill: Vec<_> = backfill.into_iter().collect();
        backfill.sort_by_key(|(relation, _)| *relation);
        let mut watermarks = Vec::new();
        for (relation, mut base) in backfill {
            watermarks.extend(base.watermark_us.map(|watermark_us| (relation, watermark_us)));
            loop {
                let (mut deltas, mut rows, mut bytes) = (Vec::new(), 0, 0);
                while rows < self.settings.rows_per_step_max
                    && bytes < self.part_bytes_max()
                    && let Some(batch) = base.rows.next().await
                {
                    let batch = batch?;
                    rows += batch.num_rows();
                    bytes += batch_bytes(&batch);
                    deltas.push(DeltaBatch::inserts(batch));
                }
                if deltas.is_empty() {
                    break;
                }
                made.dataflow_step(&StepInput::from_iter([(relation, deltas)]), &self.residence)?;
                made.make_room(&self.residence)?;
                self.stats.lock().insert(view.id, made.stats(view.id, self.commit, ViewStatus::Creating));
                self.answer_applied();
                if let Some(bytes) = self.bytes_behind().filter(|bytes| *bytes > waiting) {
                    return Err(fell_behind(bytes, self.settings.lag_bytes_max));
                }
            }
        }
        for (relation, watermark_us) in watermarks {
            made.close_to(relation, watermark_us, &self.residence)?;
        }
        Ok(made)
    }

    fn restore(&mut self, view: &MaterializedView, plan: &ViewPlan, saved: &SavedView) -> Result<()> {
        let append_only = saved.append_only.iter().copied().collect();
        let mut made = LiveView::build(view, plan, append_only, self.parallel.clone(), &self.residence)?;
        if made.plan != saved.plan {
            return Err(Error::new(SqlState::OBJECT_NOT_IN_STATE, "the checkpoint is of another plan"));
        }
        let store = self.residence.store().ok_or_else(|| Error::internal("no store of pages"))?;
        made.restore(store, &saved.states)?;
        self.views.insert(view.id, made.with_cutoff(saved.cutoff)?);
        self.changelogs.join(view.id, self.commit, self.timestamp_us);
        Ok(())
    }

    /// Views that failed are not in it: they are made again at the next start.
    fn image(&mut self) -> CheckpointImage {
        let live = self.views.iter_mut().filter(|(_, view)| view.failed.is_none());
        CheckpointImage { commit: self.commit, views: live.map(|(id, view)| view.image(*id)).collect() }
    }

    /// Lets state go that has not been touched for long, while memory is full.
    fn make_room(&mut self) {
        // The first round forgets what was touched, the second finds what still was not.
        for _ in 0..2 {
            self.readers.make_room(&self.residence);
            if !self.residence.is_full() {
                return;
            }
            for view in self.views.values_mut() {
                if let Err(error) = view.make_room(&self.residence) {
                    tracing::warn!(%error, "state could not leave memory");
                    return;
                }
            }
        }
        // What has just left the states, readers may still keep.
        self.readers.make_room(&self.residence);
    }

    fn read(&mut self, views: &[RelationId]) -> (CommitNumber, ViewReads) {
        let read = |id: &RelationId| match (self.views.get(id), self.unmade.get(id)) {
            (Some(view), _) => (*id, view.snapshot(self.commit, &mut self.readers)),
            (None, Some(error)) => (*id, Err(error.clone())),
            (None, None) => (*id, Err(no_such_view(*id))),
        };
        (self.commit, views.iter().map(read).collect())
    }

    fn subscribe(&mut self, subject: Subject) -> Result<(ViewSnapshot, Subscription)> {
        let unmade = || self.unmade.get(&subject.relation).cloned();
        let view = self.views.get(&subject.relation);
        let view = view.ok_or_else(|| unmade().unwrap_or_else(|| no_such_view(subject.relation)))?;
        let snapshot = view.snapshot(self.commit, &mut self.readers)?;
        Ok((snapshot, self.taps.subscribe(subject)))
    }

    fn view_mut(&mut self, id: RelationId) -> Result<&mut LiveView> {
        self.views.get_mut(&id).ok_or_else(|| no_such_view(id))
    }

    fn publish_stats(&self) {
        self.follows_time.store(self.views.values().any(|view| view.follows_time), Ordering::Relaxed);
        let stats = self.views.iter().map(|(id, view)| (*id, view.stats(*id, self.commit, view.status())));
        let unmade = self.unmade.iter().map(|(id, error)| (*id, ViewStats::unmade(*id, error)));
        *self.stats.lock() = stats.chain(unmade).collect();
    }
}

/// SplitMix64's output function (Steele, Lea, Flood 2014).
fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn no_such_view(id: RelationId) -> Error {
    Error::new(SqlState::UNDEFINED_TABLE, format!("materialized view {id} does not exist"))
}

fn fell_behind(bytes: u64, bytes_max: u64) -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "it did not keep up with the changes of its tables")
        .with_detail(format!("{bytes} bytes of changes were waiting, and dataflow.lag_bytes_max is {bytes_max}."))
        .with_hint("Raise dataflow.lag_bytes_max, or make the view cheaper; ALTER MATERIALIZED VIEW ... RESUME fills it again.")
}

/// Views of which rows expire by the commit.
fn cutoffs(commit: &Commit) -> Vec<(RelationId, Cutoff)> {
    let cutoff = |change: &CatalogChange| match change {
        CatalogChange::ExpireView { view, cutoff } => Some((*view, *cutoff)),
        _ => None,
    };
    commit.catalog.iter().filter_map(cutoff).collect()
}

/// Adds a commit's deltas to a step's input; returns how many rows they have.
fn take_commit(commit: &Commit, input: &mut StepInput) -> usize {
    let mut rows = 0;
    for table in &commit.tables {
        rows += table.delta.num_rows();
        input.entry(table.table).or_default().push((*table.delta).clone());
    }
    rows
}

#[cfg(test)]
mod tests;
