//! Values counted in buckets, for percentiles that need not be exact: a value stands for all that have its sign, exponent and
//! first eight digits of the mantissa, and is nearer to zero by less than a 256th.
//!
//! The buckets do not depend on what else is counted, so that rows can be taken back, in any order: the idea of DDSketch
//! (Masson, Rim, Lee 2019), with the buckets of HdrHistogram, which need no logarithm.

use std::collections::BTreeMap;

use super::floats::canonical_f64;
use super::set_order::rank_of;
use crate::error::{Error, Result};

/// Bits of a double that its bucket leaves away.
const DROPPED_BITS: u32 = 44;
const SIGN: u64 = 1 << 63;

/// How many values are in each bucket, in the order of the values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buckets(BTreeMap<u32, i64>);

impl Buckets {
    /// Adds a value as often as `weight` says.
    pub fn add(&mut self, value: f64, weight: i64) {
        *self.0.entry(bucket_of(value)).or_default() += weight;
    }

    pub fn merge(&mut self, other: &Buckets) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// The first value at which the fraction of all is reached; `None` for no values.
    pub fn percentile(&self, fraction: f64) -> Option<f64> {
        let count = self.0.values().sum();
        let mut rest = rank_of(fraction, count);
        let reached = self.0.iter().filter(|(_, count)| **count > 0).find(|(_, count)| {
            rest -= **count;
            rest < 0
        });
        reached.map(|(bucket, _)| value_of(*bucket))
    }

    /// Each bucket (4 bytes) and its count (8 bytes), little-endian; nothing for no values.
    pub fn to_bytes(&self) -> Vec<u8> {
        let filled = self.0.iter().filter(|(_, count)| **count != 0);
        filled.flat_map(|(bucket, count)| bucket.to_le_bytes().into_iter().chain(count.to_le_bytes())).collect()
    }

    /// Errors: XX000 for bytes that [`Buckets::to_bytes`] did not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Buckets> {
        let (pairs, rest) = bytes.as_chunks::<12>();
        if !rest.is_empty() {
            return Err(Error::internal("buckets that do not read back"));
        }
        let pair = |pair: &[u8; 12]| {
            let [a, b, c, d, count @ ..] = *pair;
            (u32::from_le_bytes([a, b, c, d]), i64::from_le_bytes(count))
        };
        Ok(Buckets(pairs.iter().map(pair).collect()))
    }

    pub fn heap_bytes(&self) -> usize {
        self.0.len() * 24
    }
}

fn bucket_of(value: f64) -> u32 {
    let bits = canonical_f64(value).to_bits();
    let ordered = if bits & SIGN == 0 { bits ^ SIGN } else { !bits };
    (ordered >> DROPPED_BITS) as u32
}

/// The value of the bucket that is nearest to zero.
fn value_of(bucket: u32) -> f64 {
    let ordered = u64::from(bucket) << DROPPED_BITS;
    let bits = if ordered & SIGN == 0 { !(ordered | ((1 << DROPPED_BITS) - 1)) } else { ordered ^ SIGN };
    f64::from_bits(bits)
}

#[cfg(test)]
mod tests;
