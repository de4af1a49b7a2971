//! Windows of TUMBLE and HOP: `tumble_start(time, size)`, `hop_starts(time, slide, size)`, `window_end(start, size)`.
//!
//! Windows are counted from 1970-01-01 00:00 UTC, and hold their start but not their end. A time that is NULL is in none.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::{Argument, Width, invalid, microseconds, out_of_range, width_type};

/// A row of HOP is in at most this many windows.
const WINDOWS_OF_A_ROW_MAX: i64 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    TumbleStart,
    HopStarts,
    WindowEnd,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Window {
    kind: Kind,
    signature: Signature,
}

impl Window {
    pub fn functions() -> [Arc<ScalarUDF>; 3] {
        [Kind::TumbleStart, Kind::HopStarts, Kind::WindowEnd].map(|kind| {
            Arc::new(ScalarUDF::from(Window { kind, signature: Signature::user_defined(Volatility::Immutable) }))
        })
    }
}

impl ScalarUDFImpl for Window {
    fn name(&self) -> &str {
        match self.kind {
            Kind::TumbleStart => "tumble_start",
            Kind::HopStarts => "hop_starts",
            Kind::WindowEnd => "window_end",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let widths = if self.kind == Kind::HopStarts { 2 } else { 1 };
        let Some((time, given)) = arg_types.split_first().filter(|(_, given)| given.len() == widths) else {
            return plan_err!("{} takes a time and {widths} intervals", self.name());
        };
        let time = match time {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::Date32 | DataType::Null => microseconds(),
            other => {
                return plan_err!("windows need a time, not a column of type {}", crate::functions::type_name(other));
            }
        };
        for width in given {
            if !matches!(width, DataType::Interval(_) | DataType::Duration(_) | DataType::Null) && !width.is_string() {
                return plan_err!("a window's size is an interval, not {}", crate::functions::type_name(width));
            }
        }
        Ok(std::iter::once(time).chain(given.iter().map(|_| width_type())).collect())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match (self.kind, arg_types.first()) {
            (Kind::HopStarts, Some(time)) => Ok(DataType::new_list(time.clone(), true)),
            (_, Some(time)) => Ok(time.clone()),
            (_, None) => plan_err!("{} takes a time", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let times = Argument::new(args.args.first(), rows, &microseconds())?;
        let widths = [args.args.get(1), args.args.last()].map(|width| Argument::new(width, rows, &width_type()));
        let [first, last] = widths;
        let (first, last) = (first?, last?);
        let target = args.return_field.data_type();
        let values = match self.kind {
            Kind::HopStarts => hop_starts(&times, &first, &last, rows, target)?,
            kind => {
                let one = |row: usize| -> Result<Option<i64>> {
                    let (Some(time), Some(width)) = (times.timestamp(row), last.interval(row)) else { return Ok(None) };
                    let width = Width::new(width)?;
                    let start = width.bucket(time, 0)?;
                    if kind == Kind::TumbleStart { Ok(Some(start)) } else { width.after(time, 1).map(Some) }
                };
                cast(&(0..rows).map(one).collect::<Result<TimestampMicrosecondArray>>()?, target)?
            }
        };
        match scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            false => Ok(ColumnarValue::Array(values)),
        }
    }
}

/// For each time the starts of the windows that hold it, in ascending order.
fn hop_starts(
    times: &Argument,
    slides: &Argument,
    sizes: &Argument,
    rows: usize,
    target: &DataType,
) -> Result<ArrayRef> {
    let (mut starts, mut ends, mut valid) = (Vec::new(), vec![0_i32], Vec::with_capacity(rows));
    for row in 0..rows {
        let given = (times.timestamp(row), slides.interval(row), sizes.interval(row));
        valid.push(matches!(given, (Some(_), Some(_), Some(_))));
        if let (Some(time), Some(slide), Some(size)) = given {
            let (slide, size) = (Width::new(slide)?, Width::new(size)?);
            let last = slide.bucket(time, 0)?;
            for before in (0..windows_of_a_row(slide, size)?).rev() {
                starts.push(slide.after(last, -before)?);
            }
        }
        ends.push(i32::try_from(starts.len()).map_err(|_| out_of_range())?);
    }
    let starts = TimestampMicrosecondArray::from(starts);
    let element = match target {
        DataType::List(element) => Arc::clone(element),
        _ => Arc::new(Field::new_list_field(microseconds(), true)),
    };
    let starts = cast(&starts, element.data_type())?;
    let nulls = NullBuffer::from(valid);
    Ok(Arc::new(ListArray::try_new(element, OffsetBuffer::new(ends.into()), starts, Some(nulls))?))
}

fn windows_of_a_row(slide: Width, size: Width) -> Result<i64> {
    let (slide, size) = match (slide, size) {
        (Width::Months(slide), Width::Months(size)) | (Width::Microseconds(slide), Width::Microseconds(size)) => {
            (slide, size)
        }
        _ => return Err(invalid("the size and the slide of HOP cannot mix months with days or times")),
    };
    if size % slide != 0 {
        return Err(invalid("the size of HOP must be a multiple of its slide"));
    }
    match size / slide {
        windows if windows <= WINDOWS_OF_A_ROW_MAX => Ok(windows),
        _ => Err(invalid("a row of HOP is in at most 10000 windows")),
    }
}

#[cfg(test)]
mod tests;
