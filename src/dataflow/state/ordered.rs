//! Ordered state: distinct byte strings in ascending order, each with a weight, in leaves of a few hundred.
//!
//! ```text
//! leaves: [ a..f ] [ g..k ] [ l..z ]      each shared until it is written; a step rewrites only those it touches
//! ```
//!
//! Entries are found by binary search over the leaves' first keys, then within one leaf. Keys are memcomparable
//! (arrow's row format, or packed keys that are no prefix of one another), so that all entries that begin with the same
//! key lie together, in the order of what follows.

use std::sync::Arc;

use super::bytes::{KIND_ORDERED, Reader, Writer, damaged};
use crate::error::Result;

/// A leaf is split when it has more entries than this.
const LEAF_ENTRIES_MAX: usize = 512;
/// A leaf with fewer entries than this is joined with its neighbour when it is written.
const LEAF_ENTRIES_MIN: usize = 128;

#[derive(Debug, Clone, Default)]
pub struct OrderedState {
    leaves: Vec<Arc<Leaf>>,
    entries: usize,
    /// Of the leaves' contents.
    memory_bytes: usize,
}

#[derive(Debug, Clone, Default)]
struct Leaf {
    /// End of each key in `bytes`.
    ends: Vec<u32>,
    bytes: Vec<u8>,
    weights: Vec<i64>,
}

impl Leaf {
    fn len(&self) -> usize {
        self.weights.len()
    }

    fn key(&self, entry: usize) -> &[u8] {
        let start = if entry == 0 { 0 } else { self.ends[entry - 1] as usize };
        &self.bytes[start..self.ends[entry] as usize]
    }

    fn first(&self) -> &[u8] {
        self.key(0)
    }

    fn push(&mut self, key: &[u8], weight: i64) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len() as u32);
        self.weights.push(weight);
    }

    /// The first entry whose key is at least `key`.
    fn lower_bound(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.key(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn memory_bytes(&self) -> usize {
        self.ends.len() * 4 + self.bytes.len() + self.weights.len() * 8
    }
}

/// Changes of weights, to be put in order and applied together.
#[derive(Debug, Default)]
pub struct OrderedUpdates {
    ends: Vec<usize>,
    bytes: Vec<u8>,
    weights: Vec<i64>,
}

impl OrderedUpdates {
    /// `parts` together are the key.
    pub fn push(&mut self, parts: &[&[u8]], weight: i64) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.ends.push(self.bytes.len());
        self.weights.push(weight);
    }

    pub fn append(&mut self, other: OrderedUpdates) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend(other.bytes);
        self.ends.extend(other.ends.into_iter().map(|end| start + end));
        self.weights.extend(other.weights);
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn key(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// In order, each key once, without those whose weights cancel.
    fn consolidated(&self) -> Vec<(&[u8], i64)> {
        let mut order: Vec<(&[u8], i64)> =
            (0..self.weights.len()).map(|index| (self.key(index), self.weights[index])).collect();
        order.sort_unstable_by(|left, right| left.0.cmp(right.0));
        order.dedup_by(|next, kept| {
            let equal = next.0 == kept.0;
            if equal {
                kept.1 += next.1;
            }
            equal
        });
        order.retain(|(_, weight)| *weight != 0);
        order
    }
}

impl OrderedState {
    pub fn entries(&self) -> usize {
        self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes + self.leaves.len() * size_of::<Leaf>()
    }

    /// Adds the weights; entries whose weight becomes zero are gone.
    pub fn apply(&mut self, updates: &OrderedUpdates) {
        let updates = updates.consolidated();
        if updates.is_empty() {
            return;
        }
        let old = std::mem::take(&mut self.leaves);
        let mut written = LeafWriter { leaves: Vec::with_capacity(old.len() + updates.len() / LEAF_ENTRIES_MAX + 1) };
        let mut rest = &updates[..];
        let mut old = old.into_iter().peekable();
        while let Some(leaf) = old.next() {
            // A leaf takes everything below its successor's first key; the first leaf also what is below its own.
            let taken = match old.peek() {
                Some(next) => rest.partition_point(|(key, _)| *key < next.first()),
                None => rest.len(),
            };
            let (mine, after) = rest.split_at(taken);
            rest = after;
            if mine.is_empty() {
                written.keep(leaf);
            } else {
                self.entries -= leaf.len();
                self.memory_bytes -= leaf.memory_bytes();
                for merged in merge(&leaf, mine) {
                    self.entries += merged.len();
                    self.memory_bytes += merged.memory_bytes();
                    written.add(merged);
                }
            }
        }
        if !rest.is_empty() {
            for merged in merge(&Leaf::default(), rest) {
                self.entries += merged.len();
                self.memory_bytes += merged.memory_bytes();
                written.add(merged);
            }
        }
        self.leaves = written.leaves;
    }

    /// Weight of one key; 0 where there is none.
    pub fn weight(&self, key: &[u8]) -> i64 {
        match self.seek(key).next() {
            Some((found, weight)) if found == key => weight,
            _ => 0,
        }
    }

    /// All entries from the first one that is at least `key`.
    pub fn seek<'a>(&'a self, key: &[u8]) -> Entries<'a> {
        let leaf = self.leaves.partition_point(|leaf| leaf.first() <= key).saturating_sub(1);
        let entry = self.leaves.get(leaf).map_or(0, |leaf| leaf.lower_bound(key));
        Entries { leaves: &self.leaves, leaf, entry }
    }

    pub fn iter(&self) -> Entries<'_> {
        Entries { leaves: &self.leaves, leaf: 0, entry: 0 }
    }

    /// Entries whose key begins with `prefix`.
    pub fn with_prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a [u8], i64)> {
        self.seek(prefix).take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// The greatest key that begins with `prefix`.
    pub fn last_with_prefix<'a>(&'a self, prefix: &[u8]) -> Option<&'a [u8]> {
        let not_after = |key: &[u8]| key.starts_with(prefix) || key < prefix;
        let leaf = &**self.leaves.get(self.leaves.partition_point(|leaf| not_after(leaf.first())).checked_sub(1)?)?;
        let (mut low, mut high) = (0, leaf.len());
        while low < high {
            let middle = (low + high) / 2;
            if not_after(leaf.key(middle)) { low = middle + 1 } else { high = middle }
        }
        let key = leaf.key(low.checked_sub(1)?);
        key.starts_with(prefix).then_some(key)
    }

    /// The entries from number `leaf` of the leaves on: where a long scan, interrupted, goes on.
    pub fn leaf_entries(&self, leaf: usize) -> Option<impl Iterator<Item = (&[u8], i64)>> {
        let leaf = self.leaves.get(leaf)?;
        Some((0..leaf.len()).map(|entry| (leaf.key(entry), leaf.weights[entry])))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(KIND_ORDERED);
        writer.number(self.entries as u64);
        for (key, weight) in self.iter() {
            writer.number(weight as u64);
            writer.bytes(key);
        }
        writer.finish()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, KIND_ORDERED)?;
        let entries = reader.number()?;
        let mut updates = OrderedUpdates::default();
        for _ in 0..entries {
            let weight = reader.number()? as i64;
            updates.push(&[reader.bytes()?], weight);
        }
        reader.finish()?;
        let mut state = OrderedState::default();
        state.apply(&updates);
        if state.entries as u64 != entries {
            return Err(damaged());
        }
        Ok(state)
    }
}

/// Entries in order.
pub struct Entries<'a> {
    leaves: &'a [Arc<Leaf>],
    leaf: usize,
    entry: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], i64);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let leaf: &'a Leaf = self.leaves.get(self.leaf)?;
            if self.entry < leaf.len() {
                self.entry += 1;
                return Some((leaf.key(self.entry - 1), leaf.weights[self.entry - 1]));
            }
            self.leaf += 1;
            self.entry = 0;
        }
    }
}

struct LeafWriter {
    leaves: Vec<Arc<Leaf>>,
}

impl LeafWriter {
    fn keep(&mut self, leaf: Arc<Leaf>) {
        self.leaves.push(leaf);
    }

    /// Joins small leaves, so that deletes do not leave many with hardly an entry.
    fn add(&mut self, leaf: Leaf) {
        if leaf.len() < LEAF_ENTRIES_MIN
            && let Some(before) = self.leaves.last_mut()
            && before.len() + leaf.len() <= LEAF_ENTRIES_MAX
        {
            let before = Arc::make_mut(before);
            (0..leaf.len()).for_each(|entry| before.push(leaf.key(entry), leaf.weights[entry]));
        } else if leaf.len() > 0 {
            self.leaves.push(Arc::new(leaf));
        }
    }
}

/// The leaf with the updates in it, as one or several leaves.
fn merge(leaf: &Leaf, updates: &[(&[u8], i64)]) -> Vec<Leaf> {
    let total = leaf.len() + updates.len();
    let leaf_count = total.div_ceil(LEAF_ENTRIES_MAX);
    let target = total.div_ceil(leaf_count);
    let mut leaves = vec![Leaf::default()];
    let mut push = |key: &[u8], weight: i64| {
        if weight != 0 {
            match leaves.last_mut() {
                Some(last) if last.len() < target => last.push(key, weight),
                _ => {
                    let mut next = Leaf::default();
                    next.push(key, weight);
                    leaves.push(next);
                }
            }
        }
    };
    let (mut entry, mut update) = (0, 0);
    while entry < leaf.len() || update < updates.len() {
        let order = match (entry < leaf.len(), updates.get(update)) {
            (true, Some((key, _))) => leaf.key(entry).cmp(key),
            (true, None) => std::cmp::Ordering::Less,
            (false, _) => std::cmp::Ordering::Greater,
        };
        match order {
            std::cmp::Ordering::Less => {
                push(leaf.key(entry), leaf.weights[entry]);
                entry += 1;
            }
            std::cmp::Ordering::Greater => {
                push(updates[update].0, updates[update].1);
                update += 1;
            }
            std::cmp::Ordering::Equal => {
                push(leaf.key(entry), leaf.weights[entry] + updates[update].1);
                (entry, update) = (entry + 1, update + 1);
            }
        }
    }
    leaves
}

#[cfg(test)]
mod tests;
