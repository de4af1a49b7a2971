//! Windows counted from the epoch, before it too, and what is refused.

use arrow::array::{Array, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

use super::super::{Argument, Width, microseconds, width_type};
use super::{hop_starts, windows_of_a_row};

fn hours(hours: i64) -> IntervalMonthDayNano {
    IntervalMonthDayNano::new(0, 0, hours * 3_600_000_000_000)
}

const HOUR_US: i64 = 3_600_000_000;

/// The starts of a time's windows, in hours.
fn starts(time_us: Option<i64>, slide: IntervalMonthDayNano, size: IntervalMonthDayNano) -> Option<Vec<i64>> {
    let scalar = |value: ScalarValue, data_type: &DataType| {
        Argument::new(Some(&ColumnarValue::Scalar(value)), 1, data_type).unwrap()
    };
    let width = |width| scalar(ScalarValue::IntervalMonthDayNano(Some(width)), &width_type());
    let time = scalar(ScalarValue::TimestampMicrosecond(time_us, None), &microseconds());
    let list = DataType::new_list(microseconds(), true);
    let starts = hop_starts(&time, &width(slide), &width(size), 1, &list).unwrap();
    let starts = starts.as_list::<i32>();
    let values: TimestampMicrosecondArray = starts.value(0).as_primitive::<TimestampMicrosecondType>().clone();
    starts.is_valid(0).then(|| values.values().iter().map(|start| start / HOUR_US).collect())
}

#[test]
fn a_time_is_in_every_window_that_began_at_most_a_size_ago() {
    assert_eq!(starts(Some(5 * HOUR_US), hours(2), hours(6)), Some(vec![0, 2, 4]));
    assert_eq!(starts(Some(4 * HOUR_US), hours(2), hours(6)), Some(vec![0, 2, 4]), "a window holds its start");
    assert_eq!(starts(Some(4 * HOUR_US - 1), hours(2), hours(6)), Some(vec![-2, 0, 2]), "and not its end");
    assert_eq!(starts(Some(-1), hours(2), hours(2)), Some(vec![-2]));
    assert_eq!(starts(None, hours(2), hours(6)), None);
    let months = |months| IntervalMonthDayNano::new(months, 0, 0);
    assert_eq!(starts(Some(40 * 24 * HOUR_US), months(1), months(2)), Some(vec![0, 31 * 24]));
}

#[test]
fn sizes_that_are_no_multiple_of_the_slide_are_refused() {
    let refused = |slide, size| windows_of_a_row(slide, size).unwrap_err().to_string();
    assert!(refused(Width::Microseconds(2), Width::Microseconds(3)).contains("multiple of its slide"));
    assert!(refused(Width::Months(1), Width::Microseconds(3)).contains("mix months"));
    assert!(refused(Width::Microseconds(1), Width::Microseconds(1_000_000)).contains("10000 windows"));
}
