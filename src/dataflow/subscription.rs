//! Subscriptions: the changes of a table or a view on their way to one reader each.
//!
//! ```text
//! publisher, under the publish lock:  a table's committed deltas --+
//! worker, at the end of a step:       a view's delta --------------+--> Tap ==> queue of bounded bytes ==> Subscription
//! ```
//!
//! Whoever feeds a tap never waits. A reader that falls behind by more bytes than it may is cut: what it has not read is
//! thrown away, and it gets an error. A change that alone is larger than the bound is let in where nothing else waits, so
//! that a reader that keeps up is never cut.
//!
//! Does not know: SQL, sockets, where a reader got its first rows from.
//!
//! Invariants:
//!   * a subscription sees every change after the place in the order of commits where it was made, once, in order
//!   * all changes of one commit, or of one step, come as one [`Change`], consolidated, deletes before inserts

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::expression::batch;
use crate::delta::{DeltaBatch, consolidate};
use crate::error::{Error, Result, SqlState};
use crate::types::{CommitNumber, RelationId};

/// What a commit, or a step that ends with it, changed.
#[derive(Debug, Clone)]
pub struct Change {
    pub commit: CommitNumber,
    /// Consolidated and never empty; negative weights first.
    pub rows: DeltaBatch,
}

/// What is subscribed to, for messages and for the shape of rows.
#[derive(Debug, Clone)]
pub struct Subject {
    pub relation: RelationId,
    /// For example `materialized view "minutes"`.
    pub name: String,
    /// Of its rows, without the row id that tables have behind them.
    pub schema: SchemaRef,
}

/// The reading end. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
}

impl Subscription {
    /// The next change. Waits for it, for ever if need be.
    ///
    /// Errors, the same ones when called again: 53400 for a reader that was too slow, 42P01 once the relation was
    /// dropped, the view's own error if it failed, 57P01 when the server stops.
    pub async fn next(&mut self) -> Result<Change> {
        loop {
            if let Some(change) = self.take()? {
                return Ok(change);
            }
            self.queue.ready.notified().await;
        }
    }

    /// The next change, if one is there.
    pub fn take(&mut self) -> Result<Option<Change>> {
        while let Some(waiting) = self.queue.pop()? {
            let rows = normal_form(&self.queue.subject.schema, &waiting.deltas)?;
            if !rows.is_empty() {
                return Ok(Some(Change { commit: waiting.commit, rows }));
            }
        }
        Ok(None)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.abandoned = true;
        state.forget();
    }
}

/// One row for each that differs, what goes before what comes: who applies the rows in their order never holds two rows
/// of one key.
pub(super) fn normal_form(schema: &SchemaRef, deltas: &[DeltaBatch]) -> Result<DeltaBatch> {
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let projected = deltas.iter().map(|delta| {
        let rows = delta.rows().project(&columns)?;
        delta.with_rows(batch(schema, rows.columns().to_vec(), delta.num_rows())?)
    });
    let rows = consolidate(schema, &projected.collect::<Result<Vec<_>>>()?)?;
    let (mut order, inserts): (Vec<u32>, Vec<u32>) =
        (0..rows.num_rows() as u32).partition(|row| rows.weight(*row as usize) < 0);
    if order.is_empty() || inserts.is_empty() {
        return Ok(rows);
    }
    order.extend(inserts);
    rows.take(&UInt32Array::from(order))
}

/// The feeding end.
#[derive(Debug)]
struct Tap {
    queue: Arc<Queue>,
}

impl Tap {
    /// False: nobody reads any more, or may.
    fn send(&self, commit: CommitNumber, deltas: &[DeltaBatch]) -> bool {
        let mut state = self.queue.state.lock();
        if state.is_over() {
            return false;
        }
        let bytes: usize = deltas.iter().map(DeltaBatch::memory_bytes).sum();
        if state.waiting.is_empty() || state.bytes.saturating_add(bytes) <= self.queue.bytes_max {
            state.bytes = state.bytes.saturating_add(bytes);
            state.waiting.push_back(Waiting { commit, deltas: deltas.to_vec(), bytes });
        } else {
            let error = self.queue.too_slow(&state);
            state.end(error);
        }
        let goes_on = !state.is_over();
        drop(state);
        self.queue.ready.notify_one();
        goes_on
    }

    /// What the reader has not read yet comes before the error.
    fn end(&self, error: Error) {
        let mut state = self.queue.state.lock();
        state.ended.get_or_insert(error);
        drop(state);
        self.queue.ready.notify_one();
    }

    fn is_over(&self) -> bool {
        self.queue.state.lock().is_over()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.end(Error::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down"));
    }
}

#[derive(Debug)]
struct Queue {
    subject: Subject,
    bytes_max: usize,
    state: Mutex<QueueState>,
    /// Rung for a change and for the end.
    ready: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Commit of the last change that was read.
    read: Option<CommitNumber>,
    ended: Option<Error>,
    abandoned: bool,
}

#[derive(Debug)]
struct Waiting {
    commit: CommitNumber,
    deltas: Vec<DeltaBatch>,
    bytes: usize,
}

impl Queue {
    fn pop(&self) -> Result<Option<Waiting>> {
        let mut state = self.state.lock();
        match (state.waiting.pop_front(), &state.ended) {
            (Some(waiting), _) => {
                state.bytes = state.bytes.saturating_sub(waiting.bytes);
                state.read = Some(waiting.commit);
                Ok(Some(waiting))
            }
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Ok(None),
        }
    }

    fn too_slow(&self, state: &QueueState) -> Error {
        let read = match state.read {
            Some(commit) => format!("The last change that it read is of commit {commit}."),
            None => "It has not read a change yet.".to_owned(),
        };
        Error::new(
            SqlState::CONFIGURATION_LIMIT_EXCEEDED,
            format!("the subscription to {} was cut because its reader is too slow", self.subject.name),
        )
        .with_detail(format!(
            "Changes that wait for the reader would take more than dataflow.subscription_bytes_max, {} bytes. {read}",
            self.bytes_max
        ))
        .with_hint("Subscribe again and read faster, or raise dataflow.subscription_bytes_max.")
    }
}

impl QueueState {
    fn is_over(&self) -> bool {
        self.abandoned || self.ended.is_some()
    }

    fn forget(&mut self) {
        self.waiting = VecDeque::new();
        self.bytes = 0;
    }

    /// At once: what waits is not read any more.
    fn end(&mut self, error: Error) {
        self.forget();
        self.ended.get_or_insert(error);
    }
}

/// The taps of many relations.
#[derive(Debug)]
pub(super) struct Taps {
    /// Of changes that may wait for one reader.
    bytes_max: usize,
    taps: BTreeMap<RelationId, Vec<Tap>>,
}

impl Taps {
    pub fn new(bytes_max: usize) -> Self {
        Taps { bytes_max, taps: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.taps.is_empty()
    }

    /// Changes from here on.
    pub fn subscribe(&mut self, subject: Subject) -> Subscription {
        let relation = subject.relation;
        let queue =
            Arc::new(Queue { subject, bytes_max: self.bytes_max, state: Mutex::default(), ready: Notify::new() });
        self.taps.entry(relation).or_default().push(Tap { queue: queue.clone() });
        Subscription { queue }
    }

    /// Does anybody read this relation's changes? Forgets who does no more.
    pub fn wants(&mut self, relation: RelationId) -> bool {
        let Some(taps) = self.taps.get_mut(&relation) else { return false };
        taps.retain(|tap| !tap.is_over());
        let wanted = !taps.is_empty();
        if !wanted {
            self.taps.remove(&relation);
        }
        wanted
    }

    pub fn send(&mut self, relation: RelationId, commit: CommitNumber, deltas: &[DeltaBatch]) {
        if deltas.iter().all(DeltaBatch::is_empty) {
            return;
        }
        if let Some(taps) = self.taps.get_mut(&relation) {
            taps.retain(|tap| tap.send(commit, deltas));
        }
    }

    /// Tells every reader of the relation why no more comes.
    pub fn end(&mut self, relation: RelationId, error: &Error) {
        for tap in self.taps.remove(&relation).unwrap_or_default() {
            tap.end(error.clone());
        }
    }

    /// The same for a table whose columns are now others.
    pub fn end_altered(&mut self, relation: RelationId) {
        for tap in self.taps.remove(&relation).unwrap_or_default() {
            let name = &tap.queue.subject.name;
            let message = format!("{name} was altered while it was subscribed to");
            tap.end(Error::new(SqlState::OBJECT_NOT_IN_STATE, message).with_hint("SUBSCRIBE again."));
        }
    }

    /// The same for a view whose name another has.
    pub fn end_replaced(&mut self, relation: RelationId) {
        for tap in self.taps.remove(&relation).unwrap_or_default() {
            let name = &tap.queue.subject.name;
            let message = format!("{name} was replaced while it was subscribed to");
            tap.end(Error::new(SqlState::OBJECT_NOT_IN_STATE, message).with_hint("SUBSCRIBE again."));
        }
    }

    /// The same for a relation that is no more.
    pub fn end_dropped(&mut self, relation: RelationId) {
        for tap in self.taps.remove(&relation).unwrap_or_default() {
            let name = &tap.queue.subject.name;
            tap.end(Error::new(SqlState::UNDEFINED_TABLE, format!("{name} was dropped while it was subscribed to")));
        }
    }
}

#[cfg(test)]
mod tests;
