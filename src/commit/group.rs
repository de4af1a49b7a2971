//! The queue between writers and the log: one open group that writers join, and closed ones that wait their turn.
//!
//! A group that is open takes any writer but these:
//!   * one that would make it larger than `group_bytes_max` opens the next
//!   * catalog changes are a group of their own, so that within a commit no one asks what came first, DDL or rows
//!   * a table's second schema version, or columns of other types, open the next: a commit has one batch per table

use std::collections::VecDeque;

use arrow::datatypes::DataType;
use tokio::sync::oneshot;

use super::record::{SequencedPart, column_types};
use super::write::{TableWrite, Write};
use crate::error::{Error, Result};
use crate::types::{CommitNumber, RelationId, RowId};

/// How a writer hears of its commit.
pub(super) type Waiter = oneshot::Sender<Result<CommitNumber>>;

/// Writers that become one commit.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub number: CommitNumber,
    pub parts: Vec<SequencedPart>,
    /// `parts`, as the record holds them.
    pub encoded: Vec<Vec<u8>>,
    pub waiters: Vec<Waiter>,
    bytes: u64,
    shapes: Vec<TableShape>,
}

impl Group {
    fn new(number: CommitNumber) -> Self {
        Group { number, ..Group::default() }
    }

    fn admits(&self, write: &Write, bytes: u64, bytes_max: u64) -> bool {
        if self.parts.is_empty() {
            return true;
        }
        let fits =
            write.tables.iter().filter_map(TableShape::of).all(|shape| {
                self.shapes.iter().filter(|other| other.table == shape.table).all(|other| *other == shape)
            });
        write.catalog.is_empty() && fits && self.bytes.saturating_add(bytes) <= bytes_max
    }

    fn push(&mut self, write: Write, first_row_id: RowId, encoded: Vec<u8>, waiter: Waiter) {
        for shape in write.tables.iter().filter_map(TableShape::of) {
            if !self.shapes.iter().any(|other| other.table == shape.table) {
                self.shapes.push(shape);
            }
        }
        self.bytes += encoded.len() as u64;
        self.parts.push(SequencedPart { first_row_id, write });
        self.encoded.push(encoded);
        self.waiters.push(waiter);
    }
}

/// What the batches of one table must have in common within a commit.
#[derive(Debug, PartialEq, Eq)]
struct TableShape {
    table: RelationId,
    schema_version: u32,
    /// Of the user's columns.
    types: Vec<DataType>,
}

impl TableShape {
    /// `None` for a write without rows. Within a write inserts and deletes agree: that was checked when it was encoded.
    fn of(write: &TableWrite) -> Option<TableShape> {
        let types = column_types(write)?;
        Some(TableShape { table: write.table, schema_version: write.schema_version, types })
    }
}

/// All that the sequencing lock guards.
#[derive(Debug)]
pub(super) struct Groups {
    open: Group,
    closed: VecDeque<Group>,
    pub next_row_id: RowId,
    /// No writer is taken any more: shutting down, fenced, or the log failed.
    refused: Option<Error>,
    /// No writer is taken until the disk can be written again.
    stalled: Option<Error>,
}

impl Groups {
    pub fn new(next_commit: CommitNumber, next_row_id: RowId) -> Self {
        Groups { open: Group::new(next_commit), closed: VecDeque::new(), next_row_id, refused: None, stalled: None }
    }

    /// The commit that `write` belongs to.
    pub fn admit(&mut self, write: &Write, bytes: u64, bytes_max: u64) -> Result<CommitNumber> {
        if let Some(error) = self.refused.as_ref().or(self.stalled.as_ref()) {
            return Err(error.clone());
        }
        if !self.open.admits(write, bytes, bytes_max) {
            self.close_open();
        }
        Ok(self.open.number)
    }

    /// After [`Groups::admit`] under the same lock.
    pub fn push(&mut self, write: Write, first_row_id: RowId, encoded: Vec<u8>, waiter: Waiter) {
        let alone = !write.catalog.is_empty();
        self.open.push(write, first_row_id, encoded, waiter);
        if alone {
            self.close_open();
        }
    }

    /// The oldest group, closing the open one if it is that.
    pub fn take(&mut self) -> Option<Group> {
        if self.closed.is_empty() && !self.open.parts.is_empty() {
            self.close_open();
        }
        self.closed.pop_front()
    }

    /// From now on writers get `error`; those that wait already are not touched.
    pub fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }

    /// Writers get `error` until [`Groups::resume`].
    pub fn stall(&mut self, error: Error) {
        self.stalled = Some(error);
    }

    pub fn resume(&mut self) {
        self.stalled = None;
    }

    /// Everyone who waits. Their groups stay.
    pub fn take_waiters(&mut self) -> Vec<Waiter> {
        let groups = self.closed.iter_mut().chain([&mut self.open]);
        groups.flat_map(|group| std::mem::take(&mut group.waiters)).collect()
    }

    pub fn is_refusing(&self) -> bool {
        self.refused.is_some()
    }

    fn close_open(&mut self) {
        let next = Group::new(self.open.number.next());
        self.closed.push_back(std::mem::replace(&mut self.open, next));
    }
}
