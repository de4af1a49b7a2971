//! Groups that leave with all that is kept of them: shown once when a watermark has closed them, or forgotten because they expired.

use std::sync::Arc;

use arrow::array::Scalar;
use arrow::compute::kernels::cmp::lt;

use super::{Aggregate, Output};
use crate::catalog::Cutoff;
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::state::Chunk;
use crate::error::{Error, Result};

impl Aggregate {
    /// Forgets the groups before the cutoff. Nothing consumes that they go; their errors go with them.
    pub fn expire(&mut self, cutoff: Cutoff, errors: &mut ErrorDelta) -> Result<()> {
        if !self.expiry.begin_at(Some(cutoff)) {
            return Ok(());
        }
        let mut forgotten = Vec::new();
        for index in 0..self.state.chunk_count() {
            let chunk = self.state.chunk(index)?;
            let all: Vec<u32> = (0..chunk.len() as u32).collect();
            let keys = self.groups.group_columns(&chunk, &all)?;
            self.counters.rows_read += chunk.len() as u64;
            let Some(expired) = self.expiry.expired(&keys, all.len())? else { continue };
            let places: Vec<u32> = expired.values().set_indices().map(|place| place as u32).collect();
            self.groups.output(&chunk, places.clone(), None)?.tell_errors(&self.groups, &chunk, -1, errors)?;
            self.take_out(index, chunk, places, &mut forgotten)?;
        }
        self.forget(&forgotten)?;
        self.state.rebalance()
    }

    /// Takes the groups out whose window is below the bound that is due. Reads those whose window is open, too: there are few.
    pub(super) fn close(&mut self, output: &mut Output<'_>) -> Result<()> {
        let Some(closing) = &mut self.closing else { return Ok(()) };
        let (key, Some(bound)) = (closing.key, closing.due.take()) else { return Ok(()) };
        let passed = Scalar::new(bound.clone());
        let mut forgotten = Vec::new();
        for index in 0..self.state.chunk_count() {
            let chunk = self.state.chunk(index)?;
            let all: Vec<u32> = (0..chunk.len() as u32).collect();
            let keys = self.groups.group_columns(&chunk, &all)?;
            let window = keys.get(key).ok_or_else(|| Error::internal("groups without a window"))?;
            let below = lt(window, &passed)?;
            let closed: Vec<u32> = all.into_iter().filter(|place| below.value(*place as usize)).collect();
            self.counters.rows_read += chunk.len() as u64;
            if closed.is_empty() {
                continue;
            }
            output.put(self.groups.rows(&chunk, closed.clone())?)?;
            self.take_out(index, chunk, closed, &mut forgotten)?;
        }
        self.forget(&forgotten)?;
        if let Some(closing) = &mut self.closing {
            closing.reached = Some(bound);
        }
        Ok(())
    }

    /// Takes groups out of a chunk, whose places ascend. `forgotten`: their keys, where there is more than the chunk of them.
    fn take_out(
        &mut self,
        index: usize,
        chunk: Arc<Chunk>,
        mut places: Vec<u32>,
        forgotten: &mut impl Extend<Vec<u8>>,
    ) -> Result<()> {
        if !self.multisets.is_empty() || !self.gathered.is_empty() || !self.sets.is_empty() {
            forgotten.extend(places.iter().map(|place| chunk.key(*place as usize).to_vec()));
        }
        // Held by nobody else, it is not copied.
        drop(chunk);
        // From the highest on: what moves into a gap is then never one of those that are to go.
        places.reverse();
        self.state.write(index, |chunk| {
            places.into_iter().for_each(|place| chunk.remove(place as usize));
            Ok(())
        })
    }

    /// Takes out what is kept of groups besides their rows.
    fn forget(&mut self, groups: &[Vec<u8>]) -> Result<()> {
        self.multisets.iter_mut().try_for_each(|multiset| multiset.forget(groups))?;
        self.gathered.iter_mut().try_for_each(|values| values.forget(groups))?;
        self.sets.iter_mut().try_for_each(|sets| sets.forget(groups))
    }
}
