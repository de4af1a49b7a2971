//! Times on a clock: `date_trunc`, `extract`, `date_part`, `AT TIME ZONE`, and what casts and arithmetic of timestamptz mean
//! in the session's zone.
//!
//! ```text
//! ts::date                -> clock_cast(ts, NULL::date, 'Europe/Berlin')
//! ts + interval '1 day'   -> clock_add(ts, interval '1 day', 'Europe/Berlin')
//! date_trunc('day', ts)   -> date_trunc('day', ts, 'Europe/Berlin')
//! ts::text                -> text_of(ts, 'Europe/Berlin')
//! ```
//!
//! The zone stands in the plan, so that a view keeps the one it was made with. In UTC the plain casts and sums do the same,
//! and are left as they are, because files are pruned by them.

mod ages;
mod fields;
mod intervals;
mod parts;
mod zones;

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use chrono_tz::Tz;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator, ScalarUDF, lit};

pub use fields::iso_week;
pub use intervals::ScaledInterval;
pub use intervals::{days_and_time, interval_from, interval_length};
pub use parts::DatePart;

use super::from_text::{FromText, from_text_applies};
use super::jsonb::{JSONB, cast_json};
use crate::error::{Error, SqlState};
use crate::types::UUID_BYTES;
use crate::types::parse::parse_time_zone;

/// All of them, for the registry.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = vec![parts::DateTrunc::function(), DatePart::extract(), DatePart::date_part()];
    functions.extend([
        ScaledInterval::function(false),
        ScaledInterval::function(true),
        interval_length(),
        interval_from(),
    ]);
    functions.extend(zones::functions());
    functions.extend(ages::functions());
    functions
}

/// The meaning of a cast, where it depends on the zone or prints as PostgreSQL does.
pub fn rewrite_cast(cast: Cast, schema: &DFSchema, zone: Option<&str>) -> Result<Expr, Cast> {
    let target = cast.field.data_type().clone();
    let Ok(source) = cast.expr.get_type(schema) else { return Err(cast) };
    if from_text_applies(&source, &target) {
        let zone = zone.filter(|_| is_timestamptz(&target));
        return FromText::call(cast.expr.as_ref().clone(), &target, zone).map_err(|_| cast);
    }
    if source == JSONB && target != JSONB && target != DataType::Utf8 {
        return cast_json(cast.expr.as_ref().clone(), &target).map_err(|_| cast);
    }
    if matches!((&source, &target), (DataType::Duration(_), DataType::Interval(_))) {
        return Ok(interval_from().call(vec![*cast.expr]));
    }
    if target == DataType::Utf8 && prints(&source) {
        let zone = zone.filter(|_| is_timestamptz(&source)).unwrap_or("UTC");
        return Ok(zones::text_of().call(vec![*cast.expr, lit(zone)]));
    }
    match zone {
        Some(zone) if changes_clock(&source, &target) => match ScalarValue::try_from(&target) {
            Ok(null) => Ok(zones::clock_cast().call(vec![*cast.expr, lit(null), lit(zone)])),
            Err(_) => Err(cast),
        },
        _ => Err(cast),
    }
}

/// `timestamptz + interval`, in the zone: a day is a day of its clock.
pub fn rewrite_sum(binary: &BinaryExpr, schema: &DFSchema, zone: Option<&str>) -> Option<Expr> {
    let zone = zone?;
    let is_interval = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Interval(_)));
    let is_time = |expr: &Expr| expr.get_type(schema).is_ok_and(|data_type| is_timestamptz(&data_type));
    let (left, right) = (binary.left.as_ref(), binary.right.as_ref());
    let (time, interval) = match binary.op {
        Operator::Plus if is_time(left) && is_interval(right) => (left.clone(), right.clone()),
        Operator::Plus if is_time(right) && is_interval(left) => (right.clone(), left.clone()),
        Operator::Minus if is_time(left) && is_interval(right) => {
            (left.clone(), Expr::Negative(Box::new(right.clone())))
        }
        _ => return None,
    };
    Some(zones::clock_add().call(vec![time, interval, lit(zone)]))
}

/// A call whose meaning depends on the zone, with the zone as its last argument.
pub fn rewrite_call(call: &ScalarFunction, schema: &DFSchema, zone: Option<&str>) -> Option<Expr> {
    let zone = zone?;
    let takes = match (call.name(), call.args.as_slice()) {
        ("date_trunc" | "date_part" | "extract", [_, time]) | ("to_char", [time, _]) => {
            time.get_type(schema).is_ok_and(|data_type| is_timestamptz(&data_type))
        }
        ("to_timestamp", [_, _]) => true,
        ("age", [later, earlier]) => {
            [later, earlier].iter().any(|time| time.get_type(schema).is_ok_and(|found| is_timestamptz(&found)))
        }
        _ => false,
    };
    takes.then(|| {
        let mut args = call.args.clone();
        args.push(lit(zone));
        Expr::ScalarFunction(ScalarFunction::new_udf(call.func.clone(), args))
    })
}

pub fn is_timestamptz(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

fn changes_clock(source: &DataType, target: &DataType) -> bool {
    let has_clock =
        |data_type: &DataType| matches!(data_type, DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, None));
    is_timestamptz(source) && has_clock(target) || has_clock(source) && is_timestamptz(target)
}

/// Types that Arrow's cast prints in another way.
fn prints(source: &DataType) -> bool {
    matches!(
        source,
        DataType::Float32
            | DataType::Float64
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Interval(_)
            | DataType::Binary
            | DataType::FixedSizeBinary(UUID_BYTES)
            | DataType::List(_)
    )
}

fn zone_named(name: &str) -> Result<Tz> {
    parse_time_zone(name).ok_or_else(|| {
        external(Error::new(SqlState::INVALID_PARAMETER, format!("time zone \"{name}\" not recognized")))
    })
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[cfg(test)]
mod tests;
