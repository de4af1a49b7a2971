//! Window frames over an order of values that have no distances: UUIDs, byte strings, intervals; and distances that an order has not.
//!
//! DataFusion's coercion refuses them in a frame of RANGE, which is every window's that says nothing else, though none of its ends is a
//! distance. One of GROUPS with such ends is the same, and passes: so it is that one while types are made to fit.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{ExprSchemable, WindowFrameBound, WindowFrameUnits};

use super::type_name;
use crate::error::{Error, SqlState};

/// Before types are made to fit, while a distance is the text that was written.
///
/// Errors: 0A000 for a frame of RANGE with a distance that the order's values do not have.
pub fn check_distances(call: &WindowFunction, schema: &DFSchema) -> Result<()> {
    let frame = &call.params.window_frame;
    let [key] = call.params.order_by.as_slice() else { return Ok(()) };
    let Ok(key) = key.expr.get_type(schema) else { return Ok(()) };
    for bound in [&frame.start_bound, &frame.end_bound] {
        let (WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by)) = bound else { continue };
        let ScalarValue::Utf8(Some(by)) = by else { continue };
        if frame.units == WindowFrameUnits::Range {
            check_distance(by, &key)?;
        }
    }
    Ok(())
}

fn check_distance(by: &str, key: &DataType) -> Result<()> {
    let is_number = by.trim().parse::<f64>().is_ok();
    let offset = match key {
        DataType::Date32 | DataType::Timestamp(..) if is_number => " and offset type integer",
        key if key.is_numeric() && !is_number => " and offset type interval",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Boolean | DataType::List(_) => "",
        key if has_no_distances(key) => "",
        _ => return Ok(()),
    };
    let of = type_name(key);
    let message = format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {of}{offset}");
    let mut error = Error::new(SqlState::FEATURE_NOT_SUPPORTED, message);
    if !offset.is_empty() {
        error = error.with_hint("Cast the offset value to an appropriate type.");
    }
    Err(DataFusionError::External(Box::new(error)))
}

/// Before types are made to fit. Whether it is another frame now.
pub fn to_groups(call: &mut WindowFunction, schema: &DFSchema) -> bool {
    swap(call, schema, WindowFrameUnits::Range, WindowFrameUnits::Groups)
}

/// Afterwards.
pub fn to_range(call: &mut WindowFunction, schema: &DFSchema) -> bool {
    swap(call, schema, WindowFrameUnits::Groups, WindowFrameUnits::Range)
}

fn swap(call: &mut WindowFunction, schema: &DFSchema, from: WindowFrameUnits, to: WindowFrameUnits) -> bool {
    let frame = &call.params.window_frame;
    let is_distance = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => false,
        WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) => !by.is_null(),
    };
    let key = call.params.order_by.first().and_then(|key| key.expr.get_type(schema).ok());
    let swaps = frame.units == from
        && !is_distance(&frame.start_bound)
        && !is_distance(&frame.end_bound)
        && key.is_some_and(|key| has_no_distances(&key));
    if swaps {
        call.params.window_frame.units = to;
    }
    swaps
}

fn has_no_distances(key: &DataType) -> bool {
    matches!(key, DataType::FixedSizeBinary(_) | DataType::Binary | DataType::Interval(_))
}
