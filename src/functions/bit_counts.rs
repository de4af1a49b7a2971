//! How many values of a group have each bit: what `bit_and`, `bit_or` and `bit_xor` keep, so that values can be taken out
//! again.
//!
//! Does not know: SQL, NULL.

use crate::error::{Error, Result};

const BITS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BitOperation {
    And,
    Or,
    Xor,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitCounts {
    count: i64,
    ones: [i64; BITS],
}

impl Default for BitCounts {
    fn default() -> Self {
        BitCounts { count: 0, ones: [0; BITS] }
    }
}

impl BitCounts {
    /// Adds a value, sign-extended, `weight` times; a negative weight removes it.
    pub fn add(&mut self, value: i64, weight: i64) {
        self.count += weight;
        for (bit, ones) in self.ones.iter_mut().enumerate() {
            *ones += weight * (value >> bit & 1);
        }
    }

    pub fn merge(&mut self, other: &BitCounts) {
        self.count += other.count;
        self.ones.iter_mut().zip(other.ones).for_each(|(own, other)| *own += other);
    }

    /// `None` for no values.
    pub fn value(&self, operation: BitOperation) -> Option<i64> {
        let is_set = |ones: i64| match operation {
            BitOperation::And => ones == self.count,
            BitOperation::Or => ones != 0,
            BitOperation::Xor => ones & 1 == 1,
        };
        let bits = self.ones.iter().enumerate().filter(|(_, ones)| is_set(**ones));
        (self.count != 0).then(|| bits.fold(0, |value, (bit, _)| value | 1 << bit))
    }

    /// Empty for no values.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self.count {
            0 => Vec::new(),
            count => [count].iter().chain(&self.ones).flat_map(|number| number.to_le_bytes()).collect(),
        }
    }

    /// What [`BitCounts::to_bytes`] wrote. Errors: XX001.
    pub fn from_bytes(bytes: &[u8]) -> Result<BitCounts> {
        let mut counts = BitCounts::default();
        let (numbers, rest) = bytes.as_chunks::<8>();
        match numbers.split_first() {
            None if rest.is_empty() => Ok(counts),
            Some((count, ones)) if rest.is_empty() && ones.len() == BITS => {
                counts.count = i64::from_le_bytes(*count);
                counts.ones.iter_mut().zip(ones).for_each(|(own, stored)| *own = i64::from_le_bytes(*stored));
                Ok(counts)
            }
            _ => Err(Error::corrupted("counts of bits do not read back")),
        }
    }
}

#[cfg(test)]
mod tests;
