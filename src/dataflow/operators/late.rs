//! Rows whose window had closed when they came: counted, kept apart, and not part of the view.
//!
//! Does not know: how rows are marked with their table's watermark, when groups are closed.

use arrow::array::{Array, ArrayRef, UInt32Array};

use super::Counters;
use crate::dataflow::errors::{ErrorDelta, ErrorSet};
use crate::dataflow::expression::{Expressions, take_rows};
use crate::dataflow::state::StateRef;
use crate::delta::DeltaBatch;
use crate::error::{Error, Result, SqlState};
use crate::functions::are_on_time;
use crate::plan::OperatorId;
use crate::types::text::{EncodeSettings, write_text};

#[derive(Debug)]
pub struct Late {
    operator: OperatorId,
    /// The row's window, and the one that its watermark had reached.
    windows: Expressions,
    rows: LateRows,
    pub counters: Counters,
}

/// Rows that came too late, and how many did not.
#[derive(Debug, Clone, Default)]
pub struct LateRows {
    late: ErrorSet,
    accepted: i64,
}

impl LateRows {
    /// Each with its window for a message.
    pub fn rows(&self) -> &ErrorSet {
        &self.late
    }

    /// Rows that were on time.
    pub fn accepted(&self) -> u64 {
        self.accepted.max(0) as u64
    }
}

impl Late {
    /// `windows`: two expressions of one type over the input.
    pub fn new(operator: OperatorId, windows: Expressions) -> Self {
        let types = windows.types();
        let windows = match types.first() {
            Some(window) => windows.cast_to(&[window.clone(), window.clone()]),
            None => windows,
        };
        Late { operator, windows, rows: LateRows::default(), counters: Counters::default() }
    }

    pub fn memory_bytes(&self) -> usize {
        self.rows.late.memory_bytes()
    }

    pub fn states(&mut self) -> impl Iterator<Item = StateRef<'_>> {
        self.rows.late.states().into_iter().chain([StateRef::Count(&mut self.rows.accepted)])
    }

    pub fn late_rows(&self) -> &LateRows {
        &self.rows
    }

    pub fn step(&mut self, input: Vec<DeltaBatch>, errors: &mut ErrorDelta) -> Result<Vec<DeltaBatch>> {
        let (mut output, mut late) = (Vec::with_capacity(input.len()), ErrorDelta::default());
        for delta in input {
            let (delta, windows) = self.windows.evaluate(delta, errors)?;
            let [window, passed] = windows.as_slice() else { return Err(Error::internal("a row without its window")) };
            let on_time = are_on_time(window, passed)?;
            let mut kept = Vec::with_capacity(delta.num_rows());
            for row in 0..delta.num_rows() {
                if on_time.value(row) {
                    self.rows.accepted += delta.weight(row);
                    kept.push(row as u32);
                } else {
                    let error = Error::new(SqlState::OBJECT_NOT_IN_STATE, text_of(window, row)?);
                    late.push(self.operator, &error, &delta, row, delta.weight(row))?;
                }
            }
            match kept.len() == delta.num_rows() {
                true => output.push(delta),
                false if kept.is_empty() => {}
                false => output.push(take_rows(&delta, &UInt32Array::from(kept))?),
            }
        }
        self.rows.late.apply(&late)?;
        self.counters.rows_emitted += output.iter().map(|delta| delta.num_rows() as u64).sum::<u64>();
        Ok(output)
    }
}

fn text_of(window: &ArrayRef, row: usize) -> Result<String> {
    if window.is_null(row) {
        return Ok(String::new());
    }
    let mut text = Vec::new();
    write_text(window.as_ref(), row, &EncodeSettings::default(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests;
