//! What retention has taken from a view: rows from before a time. The view's content, at every commit, is its query's rows
//! without those; rows without a time stay.
//!
//! Does not know: how old rows may be, who says that they expire.

use arrow::array::{Array, AsArray, BooleanArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};

use super::expression::take_rows;
use crate::catalog::Cutoff;
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};

const DAY_US: i64 = 86_400_000_000;

/// The rows whose time is before a moment, microseconds since 1970: of a date, before that moment's day in UTC.
///
/// Errors: of a type that is no time.
pub fn is_before(times: &dyn Array, before_us: i64) -> Result<BooleanArray> {
    let before = match times.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let times = times.as_primitive::<TimestampMicrosecondType>().values();
            times.iter().map(|time| *time < before_us).collect::<BooleanBuffer>()
        }
        DataType::Date32 => {
            let day = before_us.div_euclid(DAY_US);
            let days = times.as_primitive::<Date32Type>().values();
            days.iter().map(|time| i64::from(*time) < day).collect()
        }
        _ => return is_before(&cast(times, &DataType::Timestamp(TimeUnit::Microsecond, None))?, before_us),
    };
    let known = times.nulls().map_or(before.clone(), |nulls| &before & nulls.inner());
    Ok(BooleanArray::new(known, None))
}

/// Rows that are not before the cutoff.
pub fn leave_out(cutoff: Cutoff, delta: DeltaBatch) -> Result<DeltaBatch> {
    let times = delta.rows().columns().get(cutoff.column);
    let before = is_before(times.ok_or_else(|| Error::internal("a view without its time"))?, cutoff.before_us)?;
    if before.true_count() == 0 {
        return Ok(delta);
    }
    let kept: UInt32Array =
        (0..delta.num_rows() as u32).filter(|row| !before.value(*row as usize)).collect::<Vec<_>>().into();
    take_rows(&delta, &kept)
}
