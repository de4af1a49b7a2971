//! Aggregates that look at a group's values in order: percentiles and the most frequent value, for both executions.
//!
//! Rows without a value do not count. Values that are equal in SQL (-0 and 0, all NaN) are one value; the least of several
//! most frequent values, in the order that was asked for, is the mode.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, UInt32Array, new_null_array};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};

use super::floats::canonical_array;
use crate::error::{Error, Result, SqlState};

/// The functions, by the names that SQL and stored plans have for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetFunction {
    /// Between the two values around the fraction, in proportion.
    PercentileCont,
    /// The first value at which the fraction is reached.
    PercentileDisc,
    Mode,
    /// `percentile_cont(0.5)`.
    Median,
    /// As `percentile_disc`, of values in [`super::Buckets`].
    ApproxPercentile,
}

impl SetFunction {
    pub const ALL: [SetFunction; 5] = [
        SetFunction::PercentileCont,
        SetFunction::PercentileDisc,
        SetFunction::Mode,
        SetFunction::Median,
        SetFunction::ApproxPercentile,
    ];

    pub fn name(self) -> &'static str {
        match self {
            SetFunction::PercentileCont => "percentile_cont",
            SetFunction::PercentileDisc => "percentile_disc",
            SetFunction::Mode => "mode",
            SetFunction::Median => "median",
            SetFunction::ApproxPercentile => "approx_percentile",
        }
    }

    pub fn named(name: &str) -> Option<SetFunction> {
        SetFunction::ALL.into_iter().find(|function| function.name() == name)
    }

    /// Whether it is written with WITHIN GROUP (ORDER BY ...).
    pub fn is_within_group(self) -> bool {
        matches!(self, SetFunction::PercentileCont | SetFunction::PercentileDisc | SetFunction::Mode)
    }

    pub fn has_fraction(self) -> bool {
        !matches!(self, SetFunction::Mode | SetFunction::Median)
    }

    /// Whether values are read as double precision, which the result is then too.
    pub fn is_of_floats(self) -> bool {
        matches!(self, SetFunction::PercentileCont | SetFunction::Median | SetFunction::ApproxPercentile)
    }
}

/// A percentile's fraction. Errors: 22003.
pub fn checked_fraction(fraction: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&fraction) {
        return Ok(fraction);
    }
    let message = format!("percentile value {fraction} is not between 0 and 1");
    Err(Error::new(SqlState::NUMERIC_OUT_OF_RANGE, message))
}

/// Where in `count` values, from 0, the fraction of them is reached.
pub fn rank_of(fraction: f64, count: i64) -> i64 {
    ((fraction * count as f64).ceil() as i64).clamp(1, count.max(1)) - 1
}

/// One call's order, and what it takes of the values.
#[derive(Debug)]
pub struct SetOrder {
    function: SetFunction,
    /// NULL gives NULL; unused by the mode.
    fraction: Option<f64>,
    descending: bool,
    value: DataType,
    converter: RowConverter,
}

impl PartialEq for SetOrder {
    fn eq(&self, other: &Self) -> bool {
        let of = |order: &Self| (order.function, order.fraction.map(f64::to_bits), order.descending);
        of(self) == of(other) && self.value == other.value
    }
}

/// The entries that a call's value is made of, and the second one's share in it.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'a> {
    pub first: &'a [u8],
    pub second: &'a [u8],
    pub share: f64,
}

impl SetOrder {
    /// `value`: the type of the values, double precision for functions of floats. `direction`: `d` for DESC.
    pub fn new(
        function: SetFunction,
        fraction: Option<f64>,
        direction: Option<&str>,
        value: &DataType,
    ) -> Result<SetOrder> {
        let descending = direction == Some("d");
        let fraction = if function == SetFunction::Median { Some(0.5) } else { fraction };
        let options = SortOptions { descending, nulls_first: false };
        let converter = RowConverter::new(vec![SortField::new_with_options(value.clone(), options)])?;
        Ok(SetOrder { function, fraction, descending, value: value.clone(), converter })
    }

    pub fn function(&self) -> SetFunction {
        self.function
    }

    pub fn is_descending(&self) -> bool {
        self.descending
    }

    /// Entries whose bytes compare as the values do.
    pub fn entries(&self, values: &ArrayRef) -> Result<Rows> {
        Ok(self.converter.convert_columns(&[canonical_array(values)])?)
    }

    /// Which of `count` values in order make the percentile, from 0, and the second one's share.
    pub fn ranks(&self, count: i64) -> Option<(i64, i64, f64)> {
        let fraction = self.fraction.filter(|_| count > 0)?;
        if self.function == SetFunction::PercentileDisc {
            let rank = rank_of(fraction, count);
            return Some((rank, rank, 0.0));
        }
        let position = fraction * (count - 1) as f64;
        let first = position.floor();
        Some((first as i64, position.ceil() as i64, position - first))
    }

    /// The values that the entries make; NULL for none.
    pub fn values(&self, chosen: &[Option<Chosen<'_>>]) -> Result<ArrayRef> {
        let firsts = self.decode(chosen.iter().map(|chosen| chosen.map(|chosen| chosen.first)))?;
        if !self.function.is_of_floats() {
            return Ok(firsts);
        }
        let seconds = self.decode(chosen.iter().map(|chosen| chosen.map(|chosen| chosen.second)))?;
        let (firsts, seconds) = (firsts.as_primitive::<Float64Type>(), seconds.as_primitive::<Float64Type>());
        let between = |(row, chosen): (usize, &Option<Chosen<'_>>)| {
            let Chosen { first, second, share } = (*chosen)?;
            let (low, high) = (firsts.value(row), seconds.value(row));
            Some(if first == second { low } else { low + share * (high - low) })
        };
        Ok(std::sync::Arc::new(chosen.iter().enumerate().map(between).collect::<Float64Array>()))
    }

    fn decode<'a>(&self, entries: impl Iterator<Item = Option<&'a [u8]>> + Clone) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let present = entries.clone().flatten().map(|entry| parser.parse(entry));
        let values = self.converter.convert_rows(present)?.pop();
        let values = values.ok_or_else(|| Error::internal("an entry without a value"))?;
        let mut next = 0;
        let places: UInt32Array = entries
            .map(|entry| {
                entry.map(|_| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        match values.is_empty() {
            true => Ok(new_null_array(&self.value, places.len())),
            false => Ok(take(&values, &places, None)?),
        }
    }
}
