//! Keys of a PRIMARY KEY table in a form that compares and hashes.
//!
//! Keys compare as GROUP BY does: -0 is 0, and every NaN is the same.
//!
//! Does not know: where rows are.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use arrow::row::{Row, RowConverter, Rows, SortField};
use rustc_hash::FxBuildHasher;

use crate::error::Result;

/// How the keys of one table are encoded.
#[derive(Debug)]
pub(super) struct KeyForm {
    /// Positions of the key's columns in the table.
    columns: Vec<usize>,
    converter: RowConverter,
}

impl KeyForm {
    /// `key`: positions in `schema`, in key order.
    pub fn new(schema: &Schema, key: &[usize]) -> Result<KeyForm> {
        let fields = key.iter().map(|column| SortField::new(schema.field(*column).data_type().clone())).collect();
        Ok(KeyForm { converter: RowConverter::new(fields)?, columns: key.to_vec() })
    }

    /// Positions of the key's columns in the table, in key order.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The key's columns of whole rows.
    pub fn columns_of(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.columns.iter().map(|column| rows.column(*column).clone()).collect()
    }

    /// Keys, given as columns in key order. Encoded keys are in the order of the keys.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let columns: Vec<ArrayRef> = columns.iter().map(canonical).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    /// No keys yet, to be pushed.
    pub fn empty(&self) -> Rows {
        self.converter.empty_rows(0, 0)
    }
}

/// The same in all of a process's life.
pub(super) fn hash_of(key: Row<'_>) -> u64 {
    FxBuildHasher.hash_one(key.data())
}

/// Floats as GROUP BY sees them: 0 for -0, one NaN.
pub(super) fn canonical(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let floats: Float32Array =
                column.as_primitive::<Float32Type>().unary(|value| if value.is_nan() { f32::NAN } else { value + 0.0 });
            Arc::new(floats)
        }
        DataType::Float64 => {
            let floats: Float64Array =
                column.as_primitive::<Float64Type>().unary(|value| if value.is_nan() { f64::NAN } else { value + 0.0 });
            Arc::new(floats)
        }
        _ => column.clone(),
    }
}
