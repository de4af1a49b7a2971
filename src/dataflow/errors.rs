//! Errors as data: a row or group that cannot be computed is left out of its view and stands here instead, with a weight
//! like any row. Deleting or correcting the row takes its error away again.

use arrow::array::Array;
use datafusion::common::HashMap;

use super::state::{OrderedState, OrderedUpdates, StateRef};
use crate::delta::{DeltaBatch, Digest, digest_batch};
use crate::error::{Error, Result, SqlState};
use crate::plan::OperatorId;
use crate::types::text::{EncodeSettings, write_text};

/// One error of a view's content, for `tidemark.view_errors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewError {
    pub operator: OperatorId,
    pub state: SqlState,
    pub message: String,
    /// The operator's input row, or the group's key, to find it by: `device=truck_0, parts=0`, cut where it is long.
    pub input: String,
    /// Of the whole of it.
    pub digest: Digest,
    /// How many such rows there are.
    pub weight: i64,
}

/// Changes of a view's errors within a step.
#[derive(Debug, Default)]
pub struct ErrorDelta {
    updates: OrderedUpdates,
    rows: i64,
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
        let text = text_of_row(input, row);
        let length = u16::try_from(text.len()).map_err(|_| Error::internal("a row's text that was not cut"))?;
        let parts: [&[u8]; 6] =
            [&operator.to_be_bytes(), &digest.0.to_be_bytes(), state, &length.to_be_bytes(), text.as_bytes(), message];
        self.updates.push(&parts, weight);
        self.rows += weight;
        Ok(())
    }

    pub fn append(&mut self, other: ErrorDelta) {
        self.rows += other.rows;
        self.updates.append(other.updates);
    }

    pub fn is_empty(&self) -> bool {
        self.updates.is_empty()
    }
}

fn digest_of_row(input: &DeltaBatch, row: usize) -> Result<Digest> {
    digest_batch(&DeltaBatch::inserts(input.rows().slice(row, 1)))
}

/// Follows from the row alone, so that a row that goes takes its own error away.
fn text_of_row(input: &DeltaBatch, row: usize) -> String {
    let settings = EncodeSettings::default();
    let mut text = String::new();
    for (field, column) in input.schema().fields().iter().zip(input.rows().columns()) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(field.name());
        text.push('=');
        if column.is_null(row) {
            text.push_str("NULL");
        } else {
            let mut value = Vec::new();
            match write_text(column.as_ref(), row, &settings, &mut value) {
                Ok(()) => text.push_str(&String::from_utf8_lossy(&value)),
                Err(_) => text.push('?'),
            }
        }
        if let Some((cut, _)) = text.char_indices().nth(INPUT_CHARS_MAX) {
            text.truncate(cut);
            text.push_str("...");
            break;
        }
    }
    text
}

/// All errors of a view.
#[derive(Debug, Clone, Default)]
pub struct ErrorSet {
    state: OrderedState,
    rows: i64,
}

const OPERATOR_BYTES: usize = 4;
const DIGEST_BYTES: usize = 16;
const STATE_BYTES: usize = 5;
const LENGTH_BYTES: usize = 2;
/// Of a row's text.
const INPUT_CHARS_MAX: usize = 256;

impl ErrorSet {
    pub fn apply(&mut self, delta: &ErrorDelta) -> Result<()> {
        self.rows += delta.rows;
        self.state.apply(&delta.updates)
    }

    pub fn states(&mut self) -> [StateRef<'_>; 2] {
        [StateRef::Ordered(&mut self.state), StateRef::Count(&mut self.rows)]
    }

    /// Different errors.
    pub fn len(&self) -> usize {
        self.state.entries()
    }

    /// Rows and groups in error, each as often as it is there.
    pub fn rows(&self) -> u64 {
        self.rows.max(0) as u64
    }

    pub fn is_empty(&self) -> bool {
        self.state.is_empty()
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
    }

    /// Errors: XX001, 58030 if state that is at rest cannot be read.
    pub fn iter(&self) -> Result<impl Iterator<Item = ViewError>> {
        let states: HashMap<&str, SqlState> = SqlState::ALL.iter().map(|(state, _)| (state.0, *state)).collect();
        Ok(self.state.iter()?.filter_map(move |(key, weight)| read(key, weight, &states)))
    }
}

fn read(key: &[u8], weight: i64, states: &HashMap<&str, SqlState>) -> Option<ViewError> {
    let (operator, rest) = key.split_first_chunk::<OPERATOR_BYTES>()?;
    let (digest, rest) = rest.split_first_chunk::<DIGEST_BYTES>()?;
    let (state, rest) = rest.split_at_checked(STATE_BYTES)?;
    let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>()?;
    let (input, message) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some(ViewError {
        operator: u32::from_be_bytes(*operator),
        state: states.get(std::str::from_utf8(state).ok()?).copied().unwrap_or(SqlState::INTERNAL),
        message: String::from_utf8_lossy(message).into_owned(),
        input: String::from_utf8_lossy(input).into_owned(),
        digest: Digest(u128::from_be_bytes(*digest)),
        weight,
    })
}
