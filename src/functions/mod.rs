//! One registry of functions and aggregates for both executions.

pub mod exact_sum;
pub mod floats;
pub mod numeric;
