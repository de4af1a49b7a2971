//! Exact sums over pairs of floats, for covariance, correlation and linear regression: numbers without a limit, and one
//! rounding at the end.
//!
//! ```text
//! values    x = m * 2^ex, y = k * 2^ey        ex, ey: the least exponents of the values so far
//! state     n, Sx, Sy, Sxx, Syy, Sxy          in units of 2^ex, 2^ey, 2^2ex, 2^2ey, 2^(ex+ey)
//! ```
//!
//! Removing what was added restores the state, and the order of rows plays no part. A pair that is not finite makes every
//! result NaN but the count.
//!
//! Does not know: SQL, NULL.

use num_bigint::{BigInt, Sign};

use super::moments::{parts, quotient_to_f64};
use crate::error::{Error, Result};

const FORMAT: u8 = 1;

/// What is computed of pairs. PostgreSQL's aggregates of these names take y first, then x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Regression {
    CovarPop,
    CovarSamp,
    Corr,
    Slope,
    Intercept,
    R2,
    AvgX,
    AvgY,
    Sxx,
    Syy,
    Sxy,
    Count,
}

impl Regression {
    pub const ALL: [(&'static str, Regression); 12] = [
        ("covar_pop", Regression::CovarPop),
        ("covar_samp", Regression::CovarSamp),
        ("corr", Regression::Corr),
        ("regr_slope", Regression::Slope),
        ("regr_intercept", Regression::Intercept),
        ("regr_r2", Regression::R2),
        ("regr_avgx", Regression::AvgX),
        ("regr_avgy", Regression::AvgY),
        ("regr_sxx", Regression::Sxx),
        ("regr_syy", Regression::Syy),
        ("regr_sxy", Regression::Sxy),
        ("regr_count", Regression::Count),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, found)| *found == self).map_or("", |(name, _)| name)
    }

    pub fn named(name: &str) -> Option<Regression> {
        Self::ALL.iter().find(|(found, _)| *found == name).map(|(_, regression)| *regression)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comoments {
    count: i64,
    /// Pairs with a NaN or an infinity.
    specials: i64,
    x: Axis,
    y: Axis,
    products: BigInt,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Axis {
    exponent: i32,
    sum: BigInt,
    squares: BigInt,
}

impl Axis {
    /// Makes the exponent at most `exponent`; returns by how many bits the sums moved. `is_free`: nothing else is in units of the
    /// axis. Sums can be zero while products are not, where a row that goes and one that comes have the same value.
    fn align(&mut self, exponent: i32, is_free: bool) -> u32 {
        if is_free && self.sum.sign() == Sign::NoSign && self.squares.sign() == Sign::NoSign {
            self.exponent = exponent;
            return 0;
        }
        if exponent >= self.exponent {
            return 0;
        }
        let shift = (self.exponent - exponent) as u32;
        self.sum <<= shift;
        self.squares <<= 2 * shift;
        self.exponent = exponent;
        shift
    }

    /// The value in units of the axis, whose exponent is not above the value's.
    fn units(&self, value: f64) -> BigInt {
        if value == 0.0 {
            return BigInt::ZERO;
        }
        let (mantissa, exponent) = parts(value);
        BigInt::from(mantissa) << (exponent - self.exponent) as u32
    }

    fn add(&mut self, units: &BigInt, weight: i64) {
        self.sum += units * weight;
        self.squares += units * units * weight;
    }

    /// n * S.. - S. * S., which is n^2 times the variance.
    fn spread(&self, count: i64) -> BigInt {
        &self.squares * count - &self.sum * &self.sum
    }
}

impl Comoments {
    /// Adds a pair, `weight` times; a negative weight removes it.
    pub fn add(&mut self, y: f64, x: f64, weight: i64) {
        self.count += weight;
        if !x.is_finite() || !y.is_finite() {
            self.specials += weight;
            return;
        }
        for (value, is_x) in [(x, true), (y, false)] {
            if value != 0.0 {
                self.align(parts(value).1, is_x);
            }
        }
        let (x, y) = (self.x.units(x), self.y.units(y));
        self.x.add(&x, weight);
        self.y.add(&y, weight);
        self.products += x * y * weight;
    }

    fn align(&mut self, exponent: i32, is_x: bool) {
        let is_free = self.products.sign() == Sign::NoSign;
        let axis = if is_x { &mut self.x } else { &mut self.y };
        self.products <<= axis.align(exponent, is_free);
    }

    pub fn merge(&mut self, other: &Comoments) {
        self.count += other.count;
        self.specials += other.specials;
        self.align(other.x.exponent, true);
        self.align(other.y.exponent, false);
        let shift_x = (other.x.exponent - self.x.exponent) as u32;
        let shift_y = (other.y.exponent - self.y.exponent) as u32;
        for (axis, added, shift) in [(&mut self.x, &other.x, shift_x), (&mut self.y, &other.y, shift_y)] {
            axis.sum += &added.sum << shift;
            axis.squares += &added.squares << (2 * shift);
        }
        self.products += &other.products << (shift_x + shift_y);
    }

    pub fn count(&self) -> i64 {
        self.count
    }

    /// `Ok(None)`: NULL. Errors: 22003 beyond the largest f64.
    pub fn value(&self, regression: Regression) -> Result<Option<f64>> {
        let n = self.count;
        if n < 1 || (n < 2 && regression == Regression::CovarSamp) {
            return Ok(None);
        }
        if self.specials != 0 {
            return Ok(Some(f64::NAN));
        }
        let (xx, yy) = (self.x.spread(n), self.y.spread(n));
        let xy = &self.products * n - &self.x.sum * &self.y.sum;
        let (ex, ey) = (self.x.exponent, self.y.exponent);
        let rational = |numerator: BigInt, divisor: BigInt, exponent: i32| {
            quotient_to_f64(&numerator, &divisor, exponent, false).map(Some).ok_or_else(out_of_range)
        };
        let flat_x = xx.sign() == Sign::NoSign;
        let flat_y = yy.sign() == Sign::NoSign;
        let n = BigInt::from(n);
        match regression {
            Regression::CovarPop => rational(xy, &n * &n, ex + ey),
            Regression::CovarSamp => rational(xy, &n * (&n - 1), ex + ey),
            Regression::Corr if flat_x || flat_y => Ok(None),
            Regression::Corr => {
                let squared = quotient_to_f64(&(&xy * &xy), &(xx * yy), 0, true).ok_or_else(out_of_range)?;
                Ok(Some(if xy.sign() == Sign::Minus { -squared } else { squared }))
            }
            Regression::Slope | Regression::Intercept | Regression::R2 if flat_x => Ok(None),
            Regression::Slope => rational(xy, xx, ey - ex),
            Regression::Intercept => {
                let numerator = &self.y.sum * &self.x.squares - &self.x.sum * &self.products;
                rational(numerator, xx, ey)
            }
            Regression::R2 if flat_y => Ok(Some(1.0)),
            Regression::R2 => rational(&xy * &xy, xx * yy, 0),
            Regression::AvgX => rational(self.x.sum.clone(), n, ex),
            Regression::AvgY => rational(self.y.sum.clone(), n, ey),
            Regression::Sxx => rational(xx, n, 2 * ex),
            Regression::Syy => rational(yy, n, 2 * ey),
            Regression::Sxy => rational(xy, n, ex + ey),
            Regression::Count => Ok(None),
        }
    }

    /// Empty for no rows.
    pub fn to_bytes(&self) -> Vec<u8> {
        if *self == Comoments::default() {
            return Vec::new();
        }
        let mut bytes = vec![FORMAT];
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(self.specials.to_le_bytes());
        bytes.extend(self.x.exponent.to_le_bytes());
        bytes.extend(self.y.exponent.to_le_bytes());
        for number in [&self.x.sum, &self.x.squares, &self.y.sum, &self.y.squares, &self.products] {
            let number = number.to_signed_bytes_le();
            bytes.extend((number.len() as u32).to_le_bytes());
            bytes.extend(number);
        }
        bytes
    }

    /// What [`Comoments::to_bytes`] wrote. Errors: XX001.
    pub fn from_bytes(bytes: &[u8]) -> Result<Comoments> {
        if bytes.is_empty() {
            return Ok(Comoments::default());
        }
        let read = || {
            let rest = bytes.strip_prefix(&[FORMAT])?;
            let (count, rest) = rest.split_first_chunk::<8>()?;
            let (specials, rest) = rest.split_first_chunk::<8>()?;
            let (ex, rest) = rest.split_first_chunk::<4>()?;
            let (ey, mut rest) = rest.split_first_chunk::<4>()?;
            let mut number = || {
                let (length, after) = rest.split_first_chunk::<4>()?;
                let (number, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                rest = after;
                Some(BigInt::from_signed_bytes_le(number))
            };
            Some(Comoments {
                count: i64::from_le_bytes(*count),
                specials: i64::from_le_bytes(*specials),
                x: Axis { exponent: i32::from_le_bytes(*ex), sum: number()?, squares: number()? },
                y: Axis { exponent: i32::from_le_bytes(*ey), sum: number()?, squares: number()? },
                products: number()?,
            })
        };
        read().ok_or_else(|| Error::corrupted("a regression's state does not read back"))
    }

    /// Bytes beyond its own size.
    pub fn heap_bytes(&self) -> usize {
        let numbers = [&self.x.sum, &self.x.squares, &self.y.sum, &self.y.squares, &self.products];
        numbers.iter().map(|number| (number.bits() / 8) as usize + 8).sum()
    }
}

fn out_of_range() -> Error {
    Error::new(crate::error::SqlState::NUMERIC_OUT_OF_RANGE, "value out of range: overflow")
}

#[cfg(test)]
mod tests;
