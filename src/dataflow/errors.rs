//! Errors as data: a row or group that cannot be computed is left out of its view and stands here instead, with a weight
//! like any row. Deleting or correcting the row takes its error away again.

use datafusion::common::HashMap;

use super::state::{OrderedState, OrderedUpdates};
use crate::delta::{DeltaBatch, Digest, digest_batch};
use crate::error::{Error, Result, SqlState};
use crate::plan::OperatorId;

/// One error of a view's content, for `tidemark.view_errors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewError {
    pub operator: OperatorId,
    pub state: SqlState,
    pub message: String,
    /// Of the operator's input row, or of the group's key.
    pub input: Digest,
    /// How many such rows there are.
    pub weight: i64,
}

/// Changes of a view's errors within a step.
#[derive(Debug, Default)]
pub struct ErrorDelta {
    updates: OrderedUpdates,
}

impl ErrorDelta {
    /// `row` of `input` raised `error` in `operator`; it counts `weight` times.
    pub fn push(
        &mut self,
        operator: OperatorId,
        error: &Error,
        input: &DeltaBatch,
        row: usize,
        weight: i64,
    ) -> Result<()> {
        let digest = digest_of_row(input, row)?;
        let state = error.state().0.as_bytes();
        let message = error.message().as_bytes();
        self.updates.push(&[&operator.to_be_bytes(), &digest.0.to_be_bytes(), state, message], weight);
        Ok(())
    }

    pub fn append(&mut self, other: ErrorDelta) {
        self.updates.append(other.updates);
    }

    pub fn is_empty(&self) -> bool {
        self.updates.is_empty()
    }
}

fn digest_of_row(input: &DeltaBatch, row: usize) -> Result<Digest> {
    digest_batch(&DeltaBatch::inserts(input.rows().slice(row, 1)))
}

/// All errors of a view.
#[derive(Debug, Clone, Default)]
pub struct ErrorSet {
    state: OrderedState,
}

const OPERATOR_BYTES: usize = 4;
const DIGEST_BYTES: usize = 16;
const STATE_BYTES: usize = 5;

impl ErrorSet {
    pub fn apply(&mut self, delta: &ErrorDelta) {
        self.state.apply(&delta.updates);
    }

    pub fn len(&self) -> usize {
        self.state.entries()
    }

    pub fn is_empty(&self) -> bool {
        self.state.is_empty()
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
    }

    pub fn list(&self) -> Vec<ViewError> {
        let states: HashMap<&str, SqlState> = SqlState::ALL.iter().map(|(state, _)| (state.0, *state)).collect();
        self.state.iter().filter_map(|(key, weight)| read(key, weight, &states)).collect()
    }
}

fn read(key: &[u8], weight: i64, states: &HashMap<&str, SqlState>) -> Option<ViewError> {
    let (operator, rest) = key.split_first_chunk::<OPERATOR_BYTES>()?;
    let (digest, rest) = rest.split_first_chunk::<DIGEST_BYTES>()?;
    let (state, message) = rest.split_at_checked(STATE_BYTES)?;
    Some(ViewError {
        operator: u32::from_be_bytes(*operator),
        state: states.get(std::str::from_utf8(state).ok()?).copied().unwrap_or(SqlState::INTERNAL),
        message: String::from_utf8_lossy(message).into_owned(),
        input: Digest(u128::from_be_bytes(*digest)),
        weight,
    })
}
