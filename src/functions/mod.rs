//! One registry of functions and aggregates for both executions, with PostgreSQL's types and errors.
//!
//! ```text
//! operators   as planned:      literals' types, floats beside numerics
//! as_written  before coercion: texts beside times, numeric without modifiers
//! set_types   after coercion:  INTERSECT and EXCEPT in the types that both sides have in common
//! semantics   after coercion:  checked arithmetic, canonical floats, rounding casts
//! aggregate/  sum avg min max first last, variance and deviation, regression, string_agg and array_agg, percentiles,
//!             sketches, what depends on the order of a frame's rows
//! ```
//!
//! The functions that `semantics` puts into plans are registered by name too, because stored plans name them.

mod aggregate;
mod arithmetic;
mod as_written;
mod bit_counts;
mod buckets;
mod casts;
mod clock;
mod comoments;
mod continued;
mod distinct_sketch;
pub mod exact_sum;
pub mod floats;
mod format;
mod from_text;
mod gather_budget;
mod gathered;
mod identity;
mod jsonb;
mod microseconds;
mod moments;
mod null_safe;
pub mod numeric;
mod only_row;
mod operators;
mod order_once;
mod outer_types;
mod peer_frames;
mod ranks;
mod registered;
mod semantics;
mod sentences;
mod server;
mod session;
pub mod sessions;
mod set_order;
mod set_types;
mod sql_types;
mod subexpressions;
mod time;
mod uuid;

use std::sync::Arc;

use arrow::datatypes::DataType;

use datafusion::logical_expr::ScalarUDF;

use crate::types::SqlType;

pub use aggregate::{
    APPROX_COUNT_DISTINCT, AVERAGE_SCALE_MIN, ORDERED_ARRAY_AGG, ORDERED_NTH_VALUE, ORDERED_STRING_AGG, SINGLE_VALUE,
    average_type, constant_place, in_frame, literal_float, literal_text, single_value, sum_type,
};
pub use arithmetic::Arithmetic;
pub use as_written::ATTEMPT;
pub use bit_counts::{BitCounts, BitOperation};
pub use buckets::Buckets;
pub use clock::{days_and_time, interval_from};
pub use comoments::{Comoments, Regression};
pub use continued::ContinuedAggregate;
pub use distinct_sketch::DistinctSketch;
pub use gather_budget::GatherBudget;
pub use gathered::{Entries, Gathered, GatheredForm, null_where_not_taken};
pub use identity::{NAMED, UNARY_PLUS};
pub use jsonb::{JSONB, no_order};
pub use moments::{Moments, Spread};
pub use null_safe::{JoinKeys, null_safe};
pub use only_row::{OnlyRow, more_than_one_row};
pub use registered::{FunctionKind, RegisteredFunction, registered_functions};
pub use sentences::{FunctionSentence, INTERNAL, SENTENCES};
pub use server::POSTGRES_VERSION;
pub use session::{DATABASE, analyzer, session_state, type_planner};
pub use set_order::{Chosen, SetFunction, SetOrder};
pub use sql_types::{NUMERIC_DEFAULT, sql_type};
pub use time::Window;
pub use time::{NOW, NOW_FUNCTIONS, ON_TIME, are_on_time, is_total_bucket, on_time};

/// Our scalar functions; where DataFusion has one of the same name, ours takes its place.
fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = vec![
        floats::CanonicalFloat::function(),
        OnlyRow::function(),
        time::TimeBucket::time_bucket(),
        time::TimeBucket::date_bin(),
        time::Now::function(),
    ];
    functions.extend(Arithmetic::ALL.map(arithmetic::CheckedArithmetic::function));
    functions.extend(casts::IntegerCast::TARGETS.iter().filter_map(|target| casts::IntegerCast::function(target).ok()));
    functions.push(from_text::FromText::function());
    functions.extend(server::functions());
    functions.extend(time::Window::functions());
    functions.extend(clock::functions());
    functions.extend([format::ToChar::function(), format::ToNumber::function()]);
    functions.extend(format::ToTime::functions());
    functions.push(uuid::RandomUuid::function());
    functions.extend(jsonb::JsonFunction::ALL.map(jsonb::JsonFunction::function));
    functions.extend(identity::functions());
    functions
}

/// A type as PostgreSQL names it, for messages; numerics without their precision.
pub fn type_name(data_type: &DataType) -> String {
    match SqlType::from_arrow(data_type) {
        _ if data_type.is_null() => "unknown".to_string(),
        Some(SqlType::Numeric { .. }) => "numeric".to_string(),
        Some(sql_type) => sql_type.to_string(),
        None => data_type.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests;
