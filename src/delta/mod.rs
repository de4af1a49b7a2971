//! A change is Arrow: rows with weights, their consolidation and their digest.

mod batch;
mod consolidate;
mod digest;

pub use batch::{DeltaBatch, Weights, batch_bytes};
pub use consolidate::{consolidate, difference};
pub use digest::{DIGEST_FORMAT, Digest, digest_batch, hash_value};
