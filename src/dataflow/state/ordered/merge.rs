//! A step's changes into leaves: cut into parts of the order that share nothing, each merged by itself.
//!
//! ```text
//! leaves   [ a..f ] [ g..k ] [ l..p ]
//! runs      b    h    m    q    t          each in order
//! parts    | .... | ....... | .... |       cut where a leaf begins, or behind the last one
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::updates::{Run, joined};
use super::{LEAF_ENTRIES_MAX, LEAF_ENTRIES_MIN, Leaf, LeafPage};
use crate::dataflow::state::page::Page;
use crate::dataflow::state::residence::Account;
use crate::error::Result;

/// Leaves, and what changes between the first one and the next part's.
pub struct Part<'r, 'a> {
    leaves: Vec<LeafPage>,
    runs: Vec<&'r [(&'a [u8], i64)]>,
}

/// As many parts as there are runs, or fewer.
pub fn parts<'r, 'a>(leaves: Vec<LeafPage>, runs: &'r [Run<'a>]) -> Vec<Part<'r, 'a>> {
    let mut parts = Vec::new();
    let mut rest: Vec<&[(&[u8], i64)]> = runs.iter().map(Vec::as_slice).collect();
    let mut places = 0;
    let cuts = cuts(&leaves, runs);
    let mut leaves = leaves.into_iter();
    for (key, place) in cuts {
        let below = rest.iter_mut().map(|run| {
            let (below, others) = run.split_at(run.partition_point(|(other, _)| *other < &*key));
            *run = others;
            below
        });
        let runs = below.filter(|run| !run.is_empty()).collect();
        parts.push(Part { leaves: leaves.by_ref().take(place - places).collect(), runs });
        places = place;
    }
    rest.retain(|run| !run.is_empty());
    parts.push(Part { leaves: leaves.collect(), runs: rest });
    parts
}

/// Where parts begin: a key, and the leaf that begins there or behind it.
fn cuts(leaves: &[LeafPage], runs: &[Run<'_>]) -> Vec<(Arc<[u8]>, usize)> {
    let mut cuts: Vec<(Arc<[u8]>, usize)> = Vec::new();
    let Some(longest) = runs.iter().max_by_key(|run| run.len()) else { return cuts };
    for part in 1..runs.len() {
        let (key, _) = longest[part * longest.len() / runs.len()];
        let place = leaves.partition_point(|leaf| &*leaf.first <= key);
        let cut = match place.checked_sub(1).map(|place| &leaves[place]) {
            None if leaves.is_empty() => (key.into(), 0),
            None => continue,
            Some(leaf) if place == leaves.len() && is_behind(key, leaf) => (key.into(), place),
            Some(leaf) => (leaf.first.clone(), place - 1),
        };
        // What is below the first leaf belongs to it.
        let is_new = cuts.last().is_none_or(|(before, _)| *before < cut.0);
        if is_new && (cut.1 > 0 || leaves.is_empty()) {
            cuts.push(cut);
        }
    }
    cuts
}

/// Whether a key is known to be above all of a leaf.
fn is_behind(key: &[u8], leaf: &LeafPage) -> bool {
    leaf.page.resident().is_some_and(|leaf| leaf.key(leaf.len() - 1) < key)
}

impl Part<'_, '_> {
    /// The leaves with the changes in them, and by how many the entries grow.
    pub fn merge(self, account: &Arc<Account>) -> Result<(Vec<LeafPage>, isize)> {
        let updates = joined(&self.runs);
        let mut written = LeafWriter { leaves: Vec::with_capacity(self.leaves.len() + 1), account };
        let mut entries = 0;
        let mut rest = &updates[..];
        let mut old = self.leaves.into_iter().peekable();
        while let Some(leaf) = old.next() {
            // A leaf takes everything below its successor's first key; the first leaf also what is below its own.
            let taken = match old.peek() {
                Some(next) => rest.partition_point(|(key, _)| *key < &*next.first),
                None => rest.len(),
            };
            let (mine, after) = rest.split_at(taken);
            rest = after;
            if mine.is_empty() {
                written.leaves.push(leaf);
            } else {
                let present = leaf.page.peek(&())?;
                entries -= present.len() as isize;
                entries += written.add_all(merge(&present, mine))?;
            }
        }
        if !rest.is_empty() {
            entries += written.add_all(merge(&Leaf::default(), rest))?;
        }
        Ok((written.leaves, entries))
    }
}

struct LeafWriter<'a> {
    leaves: Vec<LeafPage>,
    account: &'a Arc<Account>,
}

impl LeafWriter<'_> {
    /// Returns how many entries they have.
    fn add_all(&mut self, leaves: Vec<Leaf>) -> Result<isize> {
        let entries = leaves.iter().map(Leaf::len).sum::<usize>();
        leaves.into_iter().try_for_each(|leaf| self.add(leaf))?;
        Ok(entries as isize)
    }

    /// Joins small leaves, so that deletes do not leave many with hardly an entry.
    fn add(&mut self, leaf: Leaf) -> Result<()> {
        if leaf.len() < LEAF_ENTRIES_MIN
            && let Some(before) = self.leaves.last_mut()
            && before.page.rows() + leaf.len() <= LEAF_ENTRIES_MAX
        {
            Page::open(&mut before.page, &())?.extend(&leaf, 0..leaf.len());
        } else if leaf.len() > 0 {
            let mut leaf = LeafPage::new(leaf, self.account);
            Page::leave_if_full(&mut leaf.page, &());
            self.leaves.push(leaf);
        }
        Ok(())
    }
}

/// The leaf with the updates in it, as one or several leaves.
fn merge(leaf: &Leaf, updates: &[(&[u8], i64)]) -> Vec<Leaf> {
    let mut merged = Merged::new(leaf, updates);
    let mut entry = 0;
    for (key, weight) in updates {
        let next = lower_bound_from(leaf, entry, key);
        merged.extend(leaf, entry..next);
        entry = next;
        let mut weight = *weight;
        if entry < leaf.len() && leaf.key(entry) == *key {
            weight += leaf.weights[entry];
            entry += 1;
        }
        if weight != 0 {
            merged.room().push(key, weight);
        }
    }
    merged.extend(leaf, entry..leaf.len());
    merged.leaves
}

/// The first entry from `start` on whose key is at least `key`, which is near.
fn lower_bound_from(leaf: &Leaf, start: usize, key: &[u8]) -> usize {
    let (mut low, mut step) = (start, 1);
    while low + step <= leaf.len() && leaf.key(low + step - 1) < key {
        (low, step) = (low + step, step * 2);
    }
    let mut high = leaf.len().min(low + step - 1);
    while low < high {
        let middle = (low + high) / 2;
        if leaf.key(middle) < key { low = middle + 1 } else { high = middle }
    }
    low
}

/// Leaves of about the same size.
struct Merged {
    leaves: Vec<Leaf>,
    /// Entries of one.
    target: usize,
    /// Of its keys, about.
    bytes: usize,
}

impl Merged {
    fn new(leaf: &Leaf, updates: &[(&[u8], i64)]) -> Merged {
        let entries = leaf.len() + updates.len();
        let count = entries.div_ceil(LEAF_ENTRIES_MAX).max(1);
        let bytes = leaf.bytes.len() + updates.iter().map(|(key, _)| key.len()).sum::<usize>();
        Merged { leaves: Vec::with_capacity(count), target: entries.div_ceil(count), bytes: bytes.div_ceil(count) }
    }

    /// The last leaf, with room for an entry.
    fn room(&mut self) -> &mut Leaf {
        if self.leaves.last().is_none_or(|last| last.len() >= self.target) {
            self.leaves.push(Leaf {
                ends: Vec::with_capacity(self.target),
                bytes: Vec::with_capacity(self.bytes),
                weights: Vec::with_capacity(self.target),
            });
        }
        let last = self.leaves.len() - 1;
        &mut self.leaves[last]
    }

    fn extend(&mut self, leaf: &Leaf, mut entries: Range<usize>) {
        while !entries.is_empty() {
            let target = self.target;
            let room = self.room();
            let taken = entries.len().min(target - room.len());
            room.extend(leaf, entries.start..entries.start + taken);
            entries.start += taken;
        }
    }
}
