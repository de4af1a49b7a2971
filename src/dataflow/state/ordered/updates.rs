//! Changes of an ordered state on their way into it, and byte strings put in order.
//!
//! Comparing keys is most of what an arrangement costs, so that keys are compared by the 16 bytes behind what all of them
//! begin with, as one number, and as a whole only where these are equal.

use std::ops::Range;

/// Changes of weights, to be put in order and applied together.
#[derive(Debug, Default)]
pub struct OrderedUpdates {
    ends: Vec<usize>,
    bytes: Vec<u8>,
    weights: Vec<i64>,
}

/// So many changes are put in order at a time.
const PIECE_KEYS: usize = 1 << 16;

/// Keys in ascending order, each once, with a weight that is not 0.
pub type Run<'a> = Vec<(&'a [u8], i64)>;

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

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The n-th key that was pushed.
    pub fn key(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// Some of the changes in order, each key once, without those whose weights cancel.
    pub(super) fn in_order(&self, part: Range<usize>) -> Run<'_> {
        let order = in_order(part.start as u32..part.end as u32, |index| self.key(index as usize));
        consolidated(order.into_iter().map(|index| (self.key(index as usize), self.weights[index as usize])).collect())
    }
}

/// All changes in pieces, each of which is put in order by itself.
pub(super) fn pieces(updates: &[OrderedUpdates]) -> Vec<(&OrderedUpdates, Range<usize>)> {
    let of =
        |updates: &OrderedUpdates| (0..updates.len()).step_by(PIECE_KEYS).map(move |start| start..start + PIECE_KEYS);
    let cut = |updates| of(updates).map(move |part| (updates, part.start..part.end.min(updates.len())));
    updates.iter().flat_map(cut).collect()
}

/// Runs as one.
pub(super) fn joined<'a>(runs: &[&[(&'a [u8], i64)]]) -> Run<'a> {
    if let [run] = runs {
        return run.to_vec();
    }
    let mut all: Run<'a> = runs.concat();
    // Stable, because that sort finds the runs and merges them.
    all.sort_by(|left, right| left.0.cmp(right.0));
    consolidated(all)
}

/// Keys in order, each once, without those whose weights cancel.
fn consolidated(mut sorted: Run<'_>) -> Run<'_> {
    sorted.dedup_by(|next, kept| {
        let equal = next.0 == kept.0;
        if equal {
            kept.1 += next.1;
        }
        equal
    });
    sorted.retain(|(_, weight)| *weight != 0);
    sorted
}

/// The places in the order of their keys; of equal keys in the order of the places.
pub fn in_order<'a>(places: impl Iterator<Item = u32> + Clone, key: impl Fn(u32) -> &'a [u8]) -> Vec<u32> {
    let Some(first) = places.clone().next().map(&key) else { return Vec::new() };
    if places.clone().is_sorted_by_key(&key) {
        return places.collect();
    }
    let shared = places.clone().fold(first.len(), |shared, place| shared_bytes(&first[..shared], key(place)));
    let mut heads: Vec<(u128, u32)> = places.map(|place| (head(&key(place)[shared..]), place)).collect();
    heads.sort_unstable_by(|left, right| {
        left.0.cmp(&right.0).then_with(|| key(left.1)[shared..].cmp(&key(right.1)[shared..])).then(left.1.cmp(&right.1))
    });
    heads.into_iter().map(|(_, place)| place).collect()
}

/// How many bytes both begin with.
fn shared_bytes(prefix: &[u8], key: &[u8]) -> usize {
    if key.starts_with(prefix) {
        return prefix.len();
    }
    prefix.iter().zip(key).take_while(|(left, right)| left == right).count()
}

/// The first 16 bytes as a number that is ordered as they are; shorter keys are filled with zeros.
fn head(key: &[u8]) -> u128 {
    match key.first_chunk::<16>() {
        Some(head) => u128::from_be_bytes(*head),
        None => {
            let mut head = [0; 16];
            head[..key.len()].copy_from_slice(key);
            u128::from_be_bytes(head)
        }
    }
}

#[cfg(test)]
mod tests;
