//! Which entry holds a place among those that begin with a prefix, for many prefixes of which most come again.

use datafusion::common::HashMap;

use super::OrderedState;
use crate::error::Result;

/// Each prefix is looked up once.
pub struct AtRank<'a> {
    state: &'a OrderedState,
    rank: i64,
    found: HashMap<&'a [u8], Option<&'a [u8]>>,
}

impl<'a> AtRank<'a> {
    /// `rank`: from 0, each entry as often as its weight says.
    pub fn new(state: &'a OrderedState, rank: i64) -> Self {
        AtRank { state, rank, found: HashMap::new() }
    }

    /// As [`OrderedState::at_rank`].
    pub fn of(&mut self, prefix: &'a [u8]) -> Result<Option<&'a [u8]>> {
        if let Some(entry) = self.found.get(prefix) {
            return Ok(*entry);
        }
        let entry = match self.rank {
            0 => self.state.first_with_prefix(prefix)?,
            rank => self.state.at_rank(prefix, rank)?,
        };
        self.found.insert(prefix, entry);
        Ok(entry)
    }
}
