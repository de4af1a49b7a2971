//! Contents that readers hold: how long what a view has changed since is kept for them.
//!
//! ```text
//! view:     [ a' ] [ b ] [ c'' ]          a page is copied when it is changed while a reader holds it
//! reader 1: [ a  ] [ b ] [ c   ]          so a reader that is slow, or stalls, alone keeps a and c
//! reader 2: [ a' ] [ b ] [ c'  ]
//! ```
//!
//! Where memory is short, what readers alone keep leaves first, as pages of state do; a reader reads it from disk. In memory and
//! on disk together it may be so many bytes; past them, and where the disk does not take it, the readers that began first are
//! ended: they get an error, and what they kept is gone.
//!
//! Does not know: what the rows mean, who reads, sockets.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::content::Content;
use super::state::{LeftPage, Residence};
use crate::error::{Error, Result, SqlState};
use crate::types::CommitNumber;

/// A content at one commit, for as long as somebody reads it.
#[derive(Debug)]
pub struct HeldContent {
    commit: CommitNumber,
    content: RwLock<Result<Arc<Content>>>,
}

impl HeldContent {
    /// The content, to be asked for again for each batch: who keeps it keeps its pages in memory. Errors: 53400 once it is no
    /// longer kept.
    pub fn content(&self) -> Result<Arc<Content>> {
        self.content.read().clone()
    }

    fn left(&self) -> Vec<LeftPage> {
        self.content.read().as_ref().map_or_else(|_| Vec::new(), |content| content.left())
    }

    fn evict_left(&self, residence: &Residence) -> Result<()> {
        match (&mut *self.content.write(), residence.store()) {
            (Ok(content), Some(store)) => Arc::make_mut(content).evict_left(store),
            _ => Ok(()),
        }
    }

    fn end(&self, why: String) {
        let error = Error::new(
            SqlState::CONFIGURATION_LIMIT_EXCEEDED,
            format!(
                "the statement reads a materialized view as of commit {}, which is not kept any longer",
                self.commit
            ),
        )
        .with_detail(format!("The view has changed since, and what is kept of it for slow readers {why}."))
        .with_hint("Read again and faster, or raise dataflow.snapshot_bytes_max.");
        *self.content.write() = Err(error);
    }
}

/// Everything that readers hold, in the order in which they began.
#[derive(Debug)]
pub struct Readers {
    /// Of what readers alone keep, in memory and on disk.
    bytes_max: u64,
    held: Vec<Weak<HeldContent>>,
    /// Those who are gone are forgotten once there are so many.
    forget_at: usize,
}

/// Fewer are not worth a look.
const FORGET_AT_MIN: usize = 64;

impl Readers {
    pub fn new(bytes_max: u64) -> Self {
        Readers { bytes_max, held: Vec::new(), forget_at: FORGET_AT_MIN }
    }

    pub fn hold(&mut self, commit: CommitNumber, content: Content) -> Arc<HeldContent> {
        let held = Arc::new(HeldContent { commit, content: RwLock::new(Ok(Arc::new(content))) });
        if self.held.len() >= self.forget_at {
            self.held.retain(|held| held.strong_count() > 0);
            self.forget_at = (self.held.len() * 2).max(FORGET_AT_MIN);
        }
        self.held.push(Arc::downgrade(&held));
        held
    }

    /// Lets what readers alone keep leave memory, and ends those for whom too much is kept. Before memory is full, so that the
    /// copies of the next step have room, and what the view itself needs can stay.
    pub fn make_room(&mut self, residence: &Residence) {
        if !residence.is_half_full() {
            return;
        }
        self.held.retain(|held| held.strong_count() > 0);
        let held: Vec<Arc<HeldContent>> = self.held.iter().filter_map(Weak::upgrade).collect();
        self.end_those_beyond_the_bound(&held);
        for held in &held {
            if !residence.is_half_full() {
                return;
            }
            if let Err(error) = held.evict_left(residence) {
                tracing::warn!(%error, "what slow readers of a view keep could not leave memory");
                held.end(format!("could not leave memory: {error}"));
            }
        }
    }

    /// The last ones keep what they have, as far as it goes; those before them go who have more than they share with these.
    fn end_those_beyond_the_bound(&self, held: &[Arc<HeldContent>]) {
        let (mut kept, mut bytes, mut is_full) = (HashSet::new(), 0_u64, false);
        for held in held.iter().rev() {
            let left = held.left();
            let own = left.iter().filter(|page| !kept.contains(&page.id)).map(|page| page.bytes as u64).sum::<u64>();
            is_full |= bytes.saturating_add(own) > self.bytes_max;
            if !is_full {
                bytes += own;
                kept.extend(left.iter().map(|page| page.id));
            } else if own > 0 {
                held.end(format!("may take dataflow.snapshot_bytes_max, {} bytes", self.bytes_max));
            }
        }
    }
}

#[cfg(test)]
mod tests;
