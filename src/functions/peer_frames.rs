//! Window frames over an order of values that have no distances: UUIDs, byte strings, intervals.
//!
//! DataFusion's coercion refuses them in a frame of RANGE, which is every window's that says nothing else, though none of its ends is a
//! distance. One of GROUPS with such ends is the same, and passes: so it is that one while types are made to fit.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{ExprSchemable, WindowFrameBound, WindowFrameUnits};

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
