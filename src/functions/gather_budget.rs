//! How much `array_agg` and its like may put together over windows: a frame of all rows gives each of them a list of all, so that n rows
//! make n * n values, more than any count of the rows tells.
//!
//! Whoever evaluates windows says what there is for it, on its thread and for as long as it does; without that, nothing is counted.

use std::cell::RefCell;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;

use crate::error::{Error, SqlState};

/// What may still be put together.
#[derive(Debug)]
pub enum GatherBudget {
    Bytes(usize),
    /// As much as a query's pool gives.
    Pool(MemoryReservation),
}

thread_local! {
    static BUDGET: RefCell<Option<GatherBudget>> = const { RefCell::new(None) };
}

impl GatherBudget {
    /// Runs something within it; what is left comes back.
    pub fn bound<R>(self, run: impl FnOnce() -> R) -> (R, GatherBudget) {
        let outer = BUDGET.replace(Some(self));
        let ran = run();
        let left = BUDGET.replace(outer);
        (ran, left.unwrap_or(GatherBudget::Bytes(0)))
    }

    fn take(&mut self, bytes: usize) -> Result<()> {
        match self {
            GatherBudget::Pool(reservation) => reservation.try_grow(bytes),
            GatherBudget::Bytes(left) => match left.checked_sub(bytes) {
                Some(rest) => {
                    *left = rest;
                    Ok(())
                }
                None => Err(DataFusionError::External(Box::new(too_much()))),
            },
        }
    }
}

/// Counts what was put together. Errors: 53200 where it is more than there may be.
pub(super) fn count(bytes: usize) -> Result<()> {
    BUDGET.with_borrow_mut(|budget| budget.as_mut().map_or(Ok(()), |budget| budget.take(bytes)))
}

fn too_much() -> Error {
    Error::new(SqlState::OUT_OF_MEMORY, "a window function puts more together than fits into memory")
        .with_detail("array_agg, string_agg and their like make a list of the whole frame for each row of it.")
        .with_hint("Use a smaller frame or more partitions, or raise memory.limit_bytes.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_is_counted_within_a_budget_alone() {
        count(usize::MAX).unwrap();
        let (inner, left) = GatherBudget::Bytes(10).bound(|| {
            count(6).unwrap();
            let (inner, _) = GatherBudget::Bytes(100).bound(|| count(50));
            inner.unwrap();
            count(5)
        });
        let error = Error::from(inner.unwrap_err());
        assert_eq!(error.state(), SqlState::OUT_OF_MEMORY);
        assert!(matches!(left, GatherBudget::Bytes(4)));
        count(usize::MAX).unwrap();
    }
}
