//! Bringing a Z-set to its normal form: every row once, with its summed weight, none with weight zero.

use std::hash::BuildHasher;

use arrow::array::{Int64Array, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use super::DeltaBatch;
use crate::error::Result;

/// Sums the weights of equal rows over all batches and drops what sums to zero. The order is that of each row's first
/// appearance, so that it depends on the input alone. NULL equals NULL; floats are equal when their bits are.
pub fn consolidate(schema: &SchemaRef, batches: &[DeltaBatch]) -> Result<DeltaBatch> {
    let all = DeltaBatch::concat(schema, batches)?;
    if all.num_rows() == 0 || schema.fields().is_empty() {
        return Ok(all);
    }
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(all.rows().columns())?;
    let hasher = FxBuildHasher;
    let mut index: HashTable<u32> = HashTable::with_capacity(all.num_rows());
    let mut first_rows: Vec<u32> = Vec::new();
    let mut weights: Vec<i64> = Vec::new();
    for row in 0..all.num_rows() {
        let bytes = rows.row(row);
        let hash = hasher.hash_one(bytes.data());
        let entry = index.entry(
            hash,
            |slot| rows.row(first_rows[*slot as usize] as usize) == bytes,
            |slot| hasher.hash_one(rows.row(first_rows[*slot as usize] as usize).data()),
        );
        let slot = *entry
            .or_insert_with(|| {
                first_rows.push(row as u32);
                weights.push(0);
                (weights.len() - 1) as u32
            })
            .get();
        weights[slot as usize] += all.weight(row);
    }
    let (kept_rows, kept_weights): (Vec<u32>, Vec<i64>) =
        first_rows.into_iter().zip(weights).filter(|(_, weight)| *weight != 0).unzip();
    let rows = take_record_batch(all.rows(), &UInt32Array::from(kept_rows))?;
    DeltaBatch::new(rows, Int64Array::from(kept_weights))
}

/// What must be added to `from` to make it `to`, consolidated; empty when the two are the same multiset.
pub fn difference(schema: &SchemaRef, from: &[DeltaBatch], to: &[DeltaBatch]) -> Result<DeltaBatch> {
    let both: Vec<DeltaBatch> = to.iter().cloned().chain(from.iter().map(DeltaBatch::negate)).collect();
    consolidate(schema, &both)
}
