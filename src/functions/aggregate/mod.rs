//! Aggregates for ad hoc execution: the same answers as the incremental engine's, whatever the order of rows.
//!
//! Each is a [`fold::Fold`], columns in and one small state per group; `fold` makes DataFusion's two kinds of
//! accumulators of it. The result types stand in `result_type`, for both executions.

mod bits;
mod count_distinct;
mod distinct;
mod extreme;
mod filter;
mod first_last;
mod fold;
mod gather;
mod in_frame;
mod regression;
mod result_type;
mod set_functions;
mod single_value;
mod sum;
mod variance;
mod window_text;

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;

pub use count_distinct::APPROX_COUNT_DISTINCT;
pub use filter::filter_arguments;
pub use gather::{ORDERED_ARRAY_AGG, ORDERED_STRING_AGG, literal_float, literal_text, ordered};
pub use in_frame::{ORDERED_NTH_VALUE, constant_place, in_frame};
pub use result_type::{AVERAGE_SCALE_MIN, average_type, sum_type};
pub use set_functions::{ordered_set, set_arguments};
pub use single_value::{SINGLE_VALUE, single_value};
pub use window_text::text_aggregate;

/// Our aggregates; where DataFusion has one of the same name, ours takes its place.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut functions = sum::functions();
    functions.extend(extreme::functions());
    functions.extend(first_last::functions());
    functions.extend(variance::functions());
    functions.extend(regression::functions());
    functions.extend(set_functions::functions());
    functions.extend(gather::functions());
    functions.extend(in_frame::functions());
    functions.extend(bits::functions());
    functions.extend(count_distinct::functions());
    functions
}

#[cfg(test)]
mod tests;
