//! Ordered state: distinct byte strings in ascending order, each with a weight, in leaves of a few hundred.
//!
//! ```text
//! leaves: [ a..f ] [ g..k ] [ l..z ]      each shared until it is written; a step rewrites only those it touches (merge)
//! ```
//!
//! Entries are found by binary search over the leaves' first keys, then within one leaf. Keys are memcomparable
//! (arrow's row format, or packed keys that are no prefix of one another), so that all entries that begin with the same
//! key lie together, in the order of what follows.

mod at_rank;
mod merge;
mod updates;

use std::ops::Range;
use std::sync::Arc;

use super::bytes::{KIND_LEAF, Reader, Writer, damaged};
use super::page::{Content, Page};
use super::residence::{Account, Residence};
use super::spine::{Iter, Spine};
use super::stored::{StateReader, StateWriter};
use crate::error::Result;
use crate::io::{Inline, Parallel, parallel};

pub use self::at_rank::AtRank;
pub use self::updates::{OrderedUpdates, in_order};

/// A leaf is split when it has more entries than this.
const LEAF_ENTRIES_MAX: usize = 512;
/// A leaf with fewer entries than this is joined with its neighbour when it is written.
const LEAF_ENTRIES_MIN: usize = 128;

#[derive(Debug, Clone, Default)]
pub struct OrderedState {
    leaves: Spine<LeafPage>,
    entries: usize,
    account: Arc<Account>,
    /// Where eviction goes on.
    hand: usize,
}

/// A leaf, and its first key, by which it is found without being read.
#[derive(Debug, Clone)]
struct LeafPage {
    first: Arc<[u8]>,
    page: Arc<Page<Leaf>>,
}

impl LeafPage {
    /// Of a leaf that is not empty.
    fn new(leaf: Leaf, account: &Arc<Account>) -> Self {
        LeafPage { first: leaf.key(0).into(), page: Page::new(leaf, account) }
    }

    fn leaf(&self) -> Result<&Leaf> {
        Ok(self.page.get(&())?)
    }
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

    fn push(&mut self, key: &[u8], weight: i64) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len() as u32);
        self.weights.push(weight);
    }

    /// Entries of another leaf, behind those that are here.
    fn extend(&mut self, other: &Leaf, entries: Range<usize>) {
        let start = if entries.start == 0 { 0 } else { other.ends[entries.start - 1] as usize };
        let end = if entries.is_empty() { start } else { other.ends[entries.end - 1] as usize };
        let here = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes[start..end]);
        self.ends.extend(other.ends[entries.clone()].iter().map(|end| (*end as usize - start + here) as u32));
        self.weights.extend_from_slice(&other.weights[entries]);
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
}

impl Content for Leaf {
    type Layout = ();

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(KIND_LEAF, self.memory_bytes());
        writer.number(self.len() as u64);
        writer.numbers(&self.weights);
        writer.numbers(&self.ends);
        writer.bytes(&self.bytes);
        Ok(writer.finish())
    }

    fn from_bytes((): &(), bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, KIND_LEAF)?;
        let entries = usize::try_from(reader.number()?).map_err(|_| damaged())?;
        let weights = reader.numbers(entries)?;
        let leaf = Leaf { weights, ends: reader.numbers(entries)?, bytes: reader.bytes()?.to_vec() };
        reader.finish()?;
        let ends_in_order = leaf.ends.is_sorted() && leaf.ends.last().copied() == u32::try_from(leaf.bytes.len()).ok();
        if ends_in_order { Ok(leaf) } else { Err(damaged()) }
    }

    fn memory_bytes(&self) -> usize {
        self.ends.capacity() * 4 + self.bytes.capacity() + self.weights.capacity() * 8
    }

    fn rows(&self) -> usize {
        self.len()
    }
}

impl OrderedState {
    pub fn entries(&self) -> usize {
        self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// What is in memory, copies that clones hold included.
    pub fn memory_bytes(&self) -> usize {
        self.account.bytes() + self.leaves.len() * size_of::<LeafPage>()
    }

    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Adds the weights; entries whose weight becomes zero are gone. Errors: those of reading leaves that are at rest;
    /// the state is then of no use any more.
    pub fn apply(&mut self, updates: &OrderedUpdates) -> Result<()> {
        self.apply_all(std::slice::from_ref(updates), &Inline)
    }

    /// The same with all of these together, on several threads.
    pub fn apply_all(&mut self, updates: &[OrderedUpdates], threads: &dyn Parallel) -> Result<()> {
        let mut runs = parallel::map(threads, updates::pieces(updates), |(updates, part)| updates.in_order(part));
        runs.retain(|run| !run.is_empty());
        let firsts = runs.iter().filter_map(|run| run.first()).map(|(key, _)| *key);
        let lasts = runs.iter().filter_map(|run| run.last()).map(|(key, _)| *key);
        let (Some(first), Some(last)) = (firsts.min(), lasts.max()) else { return Ok(()) };
        // The others stay where they are.
        let touched = self.leaf_of(first)..self.leaves.len().min(self.leaf_of(last) + 1);
        let old = self.leaves.splice(touched.clone(), Vec::new());
        let merged = parallel::map(threads, merge::parts(old, &runs), |part| part.merge(&self.account));
        let mut leaves = Vec::new();
        for merged in merged {
            let (merged, entries) = merged?;
            leaves.extend(merged);
            self.entries = self.entries.wrapping_add_signed(entries);
        }
        self.leaves.splice(touched.start..touched.start, leaves);
        Ok(())
    }

    /// Weight of one key; 0 where there is none.
    pub fn weight(&self, key: &[u8]) -> Result<i64> {
        let Some(leaf) = self.leaves.get(self.leaf_of(key)) else { return Ok(0) };
        let leaf = leaf.leaf()?;
        let entry = leaf.lower_bound(key);
        Ok(if entry < leaf.len() && leaf.key(entry) == key { leaf.weights[entry] } else { 0 })
    }

    /// The leaf that `key` belongs to.
    fn leaf_of(&self, key: &[u8]) -> usize {
        self.leaves.partition_point(|leaf| &*leaf.first <= key).saturating_sub(1)
    }

    /// All entries. Brings every leaf into memory.
    pub fn iter(&self) -> Result<Entries<'_>> {
        self.entries_of(0..self.leaves.len(), &[])
    }

    /// Entries whose key begins with `prefix`.
    pub fn with_prefix<'a>(&'a self, prefix: &'a [u8]) -> Result<impl Iterator<Item = (&'a [u8], i64)>> {
        let start = self.leaf_of(prefix);
        let behind = self.leaves.iter_from(start);
        let leaves = behind.take_while(|leaf| &*leaf.first <= prefix || leaf.first.starts_with(prefix)).count();
        Ok(self.entries_of(start..start + leaves, prefix)?.take_while(move |(key, _)| key.starts_with(prefix)))
    }

    /// Entries of some leaves, from the first one that is at least `from`.
    fn entries_of(&self, leaves: Range<usize>, from: &[u8]) -> Result<Entries<'_>> {
        let pages = self.leaves.iter_from(leaves.start);
        for page in pages.clone().take(leaves.len()) {
            page.leaf()?;
        }
        let mut entries = Entries { pages: pages.take(leaves.len()), leaf: None, entry: 0 };
        entries.next_leaf();
        entries.entry = entries.leaf.map_or(0, |leaf| leaf.lower_bound(from));
        Ok(entries)
    }

    /// As [`OrderedState::with_prefix`], leaf by leaf, until `each` says that it has enough.
    pub fn each_with_prefix<'a>(
        &'a self,
        prefix: &[u8],
        each: impl FnMut(&'a [u8], i64) -> Result<bool>,
    ) -> Result<()> {
        self.each_from(prefix, prefix, each)
    }

    /// Takes out all entries whose key begins with one of `prefixes`.
    pub fn forget(&mut self, prefixes: &[Vec<u8>]) -> Result<()> {
        let before = self.clone();
        let mut updates = OrderedUpdates::default();
        for prefix in prefixes {
            before.each_with_prefix(prefix, |entry, weight| {
                updates.push(&[entry], -weight);
                Ok(true)
            })?;
        }
        self.apply(&updates)
    }

    /// The same from the first entry that is at least `from`, which begins with the prefix.
    pub fn each_from<'a>(
        &'a self,
        prefix: &[u8],
        from: &[u8],
        mut each: impl FnMut(&'a [u8], i64) -> Result<bool>,
    ) -> Result<()> {
        for page in self.leaves.iter_from(self.leaf_of(from)) {
            let leaf = page.leaf()?;
            for entry in leaf.lower_bound(from)..leaf.len() {
                if !leaf.key(entry).starts_with(prefix) || !each(leaf.key(entry), leaf.weights[entry])? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The entries before `key` that begin with `prefix`, the nearest first, until their weights add up to `rows`.
    pub fn before<'a>(&'a self, prefix: &[u8], key: &[u8], rows: i64) -> Result<Vec<(&'a [u8], i64)>> {
        let (mut found, mut rest) = (Vec::new(), rows);
        for place in (0..=self.leaf_of(key)).rev() {
            let Some(page) = self.leaves.get(place) else { continue };
            let leaf = page.leaf()?;
            for entry in (0..leaf.lower_bound(key)).rev() {
                if rest <= 0 || !leaf.key(entry).starts_with(prefix) {
                    return Ok(found);
                }
                rest -= leaf.weights[entry];
                found.push((leaf.key(entry), leaf.weights[entry]));
            }
        }
        Ok(found)
    }

    /// The entry that holds the place `rank`, counted from 0, among all that begin with `prefix`, each as often as its weight
    /// says. Leaves before it are only summed up.
    pub fn at_rank<'a>(&'a self, prefix: &[u8], rank: i64) -> Result<Option<&'a [u8]>> {
        let mut rest = rank;
        for page in self.leaves.iter_from(self.leaf_of(prefix)) {
            let leaf = page.leaf()?;
            let (start, end) = (leaf.lower_bound(prefix), leaf.len());
            if start == end {
                continue;
            }
            let is_within = leaf.key(end - 1).starts_with(prefix);
            let total: i64 = if is_within { leaf.weights[start..].iter().sum() } else { i64::MAX };
            if total <= rest {
                rest -= total;
                continue;
            }
            for entry in start..end {
                if !leaf.key(entry).starts_with(prefix) {
                    return Ok(None);
                }
                rest -= leaf.weights[entry];
                if rest < 0 {
                    return Ok(Some(leaf.key(entry)));
                }
            }
        }
        Ok(None)
    }

    /// The least key that begins with `prefix`.
    pub fn first_with_prefix<'a>(&'a self, prefix: &[u8]) -> Result<Option<&'a [u8]>> {
        let index = self.leaf_of(prefix);
        let Some(page) = self.leaves.get(index) else { return Ok(None) };
        let leaf = page.leaf()?;
        let entry = leaf.lower_bound(prefix);
        let first = match entry < leaf.len() {
            true => Some(leaf.key(entry)),
            false => self.leaves.get(index + 1).map(|next| &*next.first),
        };
        Ok(first.filter(|key| key.starts_with(prefix)))
    }

    /// The greatest key that begins with `prefix`.
    pub fn last_with_prefix<'a>(&'a self, prefix: &[u8]) -> Result<Option<&'a [u8]>> {
        let not_after = |key: &[u8]| key.starts_with(prefix) || key < prefix;
        let last = self.leaves.partition_point(|leaf| not_after(&leaf.first)).checked_sub(1);
        let Some(page) = last.and_then(|last| self.leaves.get(last)) else { return Ok(None) };
        let leaf = page.leaf()?;
        let (mut low, mut high) = (0, leaf.len());
        while low < high {
            let middle = (low + high) / 2;
            if not_after(leaf.key(middle)) { low = middle + 1 } else { high = middle }
        }
        let last = low.checked_sub(1).map(|last| leaf.key(last));
        Ok(last.filter(|key| key.starts_with(prefix)))
    }

    /// Lets leaves go that have not been touched for long, until there is room.
    pub fn make_room(&mut self, residence: &Residence) -> Result<()> {
        Page::sweep(self.leaves.iter_mut().map(|leaf| &mut leaf.page), &mut self.hand, &(), residence)
    }

    /// Writes the leaves that are not at rest, and where each is.
    pub fn settle(self, writer: &mut StateWriter) -> Result<()> {
        writer.number(self.leaves.len() as u64);
        for leaf in self.leaves.iter() {
            writer.bytes(&leaf.first);
            writer.page(&leaf.page, &())?;
        }
        Ok(())
    }

    /// Takes over what [`OrderedState::settle`] wrote; leaves are read when they are touched.
    pub fn restore(&mut self, reader: &mut StateReader<'_>) -> Result<()> {
        let mut leaves = Vec::new();
        for _ in 0..reader.number()? {
            let first = reader.bytes()?.into();
            leaves.push(LeafPage { first, page: reader.page(&self.account)? });
        }
        if !leaves.is_sorted_by(|left, right| left.first < right.first) {
            return Err(damaged());
        }
        self.entries = leaves.iter().map(|leaf| leaf.page.rows()).sum();
        self.leaves = Spine::default();
        self.leaves.splice(0..0, leaves);
        Ok(())
    }
}

/// Entries in order, of leaves that are all in memory: none leaves while it is borrowed.
pub struct Entries<'a> {
    pages: std::iter::Take<Iter<'a, LeafPage>>,
    leaf: Option<&'a Leaf>,
    entry: usize,
}

impl Entries<'_> {
    fn next_leaf(&mut self) {
        self.leaf = self.pages.next().and_then(|leaf| leaf.page.resident());
        self.entry = 0;
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], i64);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let leaf = self.leaf?;
            if self.entry < leaf.len() {
                self.entry += 1;
                return Some((leaf.key(self.entry - 1), leaf.weights[self.entry - 1]));
            }
            self.next_leaf();
        }
    }
}

#[cfg(test)]
mod tests;
