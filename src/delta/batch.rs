//! [`DeltaBatch`]: a Z-set as a RecordBatch and a column of weights.

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat, concat_batches, filter, filter_record_batch, take, take_record_batch};
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};

/// +1 is an insert, -1 a delete; an update is both. Never 0 in a consolidated batch.
#[derive(Debug, Clone)]
pub enum Weights {
    /// Every row is an insert.
    AllOne,
    /// One weight per row, no nulls.
    Each(Int64Array),
}

impl Weights {
    pub fn slice(&self, offset: usize, length: usize) -> Weights {
        match self {
            Weights::AllOne => Weights::AllOne,
            Weights::Each(weights) => Weights::Each(weights.slice(offset, length)),
        }
    }

    pub fn take(&self, indices: &UInt32Array) -> Result<Weights> {
        Ok(match self {
            Weights::AllOne => Weights::AllOne,
            Weights::Each(weights) => Weights::Each(as_weights(&take(weights, indices, None)?)?),
        })
    }
}

/// Rows with weights. Belongs to one commit, or to one step of the dataflow.
#[derive(Debug, Clone)]
pub struct DeltaBatch {
    rows: RecordBatch,
    weights: Weights,
}

impl DeltaBatch {
    pub fn inserts(rows: RecordBatch) -> Self {
        DeltaBatch { rows, weights: Weights::AllOne }
    }

    pub fn deletes(rows: RecordBatch) -> Self {
        let weights = Int64Array::from_value(-1, rows.num_rows());
        DeltaBatch { rows, weights: Weights::Each(weights) }
    }

    /// Errors: as many weights as rows, and no null among them, is the caller's duty; anything else is internal.
    pub fn new(rows: RecordBatch, weights: Int64Array) -> Result<Self> {
        if weights.len() != rows.num_rows() || weights.null_count() > 0 {
            return Err(Error::internal(format!("{} weights for {} rows", weights.len(), rows.num_rows())));
        }
        Ok(DeltaBatch { rows, weights: Weights::Each(weights) })
    }

    pub fn empty(schema: SchemaRef) -> Self {
        DeltaBatch::inserts(RecordBatch::new_empty(schema))
    }

    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.num_rows() == 0
    }

    pub fn weight(&self, row: usize) -> i64 {
        match &self.weights {
            Weights::AllOne => 1,
            Weights::Each(weights) => weights.value(row),
        }
    }

    /// The weights as an array, made where they are all one.
    pub fn weights_array(&self) -> Int64Array {
        match &self.weights {
            Weights::AllOne => Int64Array::from_value(1, self.num_rows()),
            Weights::Each(weights) => weights.clone(),
        }
    }

    pub fn negate(&self) -> DeltaBatch {
        let weights: Int64Array = match &self.weights {
            Weights::AllOne => Int64Array::from_value(-1, self.num_rows()),
            Weights::Each(weights) => weights.unary(|weight| -weight),
        };
        DeltaBatch { rows: self.rows.clone(), weights: Weights::Each(weights) }
    }

    /// The same weights over other columns; `rows` has as many rows.
    pub fn with_rows(&self, rows: RecordBatch) -> Result<DeltaBatch> {
        match &self.weights {
            Weights::AllOne if rows.num_rows() == self.num_rows() => Ok(DeltaBatch::inserts(rows)),
            Weights::AllOne => Err(Error::internal(format!("{} rows for {}", rows.num_rows(), self.num_rows()))),
            Weights::Each(weights) => DeltaBatch::new(rows, weights.clone()),
        }
    }

    pub fn project(&self, columns: &[usize]) -> Result<DeltaBatch> {
        Ok(DeltaBatch { rows: self.rows.project(columns)?, weights: self.weights.clone() })
    }

    pub fn slice(&self, offset: usize, length: usize) -> DeltaBatch {
        DeltaBatch { rows: self.rows.slice(offset, length), weights: self.weights.slice(offset, length) }
    }

    /// Rows where `keep` is true (null counts as false).
    pub fn filter(&self, keep: &BooleanArray) -> Result<DeltaBatch> {
        let rows = filter_record_batch(&self.rows, keep)?;
        let weights = match &self.weights {
            Weights::AllOne => Weights::AllOne,
            Weights::Each(weights) => Weights::Each(as_weights(&filter(weights, keep)?)?),
        };
        Ok(DeltaBatch { rows, weights })
    }

    pub fn take(&self, indices: &UInt32Array) -> Result<DeltaBatch> {
        Ok(DeltaBatch { rows: take_record_batch(&self.rows, indices)?, weights: self.weights.take(indices)? })
    }

    /// All rows in one batch; `schema` where there are none.
    pub fn concat(schema: &SchemaRef, batches: &[DeltaBatch]) -> Result<DeltaBatch> {
        match batches {
            [] => Ok(DeltaBatch::empty(schema.clone())),
            [one] => Ok(one.clone()),
            many => {
                let rows = concat_batches(schema, many.iter().map(|batch| &batch.rows))?;
                if many.iter().all(|batch| matches!(batch.weights, Weights::AllOne)) {
                    return Ok(DeltaBatch::inserts(rows));
                }
                let weights: Vec<Int64Array> = many.iter().map(DeltaBatch::weights_array).collect();
                let weights = concat(&weights.iter().map(|weights| weights as &dyn Array).collect::<Vec<_>>())?;
                DeltaBatch::new(rows, as_weights(&weights)?)
            }
        }
    }

    /// Bytes that the columns and weights hold.
    pub fn memory_bytes(&self) -> usize {
        let weights = match &self.weights {
            Weights::AllOne => 0,
            Weights::Each(weights) => weights.get_array_memory_size(),
        };
        self.rows.get_array_memory_size() + weights
    }
}

/// Bytes that these rows need, not counting what else lies in shared buffers.
pub fn batch_bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

fn as_weights(array: &dyn Array) -> Result<Int64Array> {
    array
        .as_any()
        .downcast_ref::<Int64Array>()
        .cloned()
        .ok_or_else(|| Error::internal("weights are not 64-bit integers"))
}
