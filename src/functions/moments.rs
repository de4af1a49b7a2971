//! Exact variance: count, sum and sum of squares as numbers without a limit, and one rounding at the end.
//!
//! ```text
//! values    v = m * 2^e (floats), or m alone (integers, unscaled numerics)
//! state     n, sum = S * 2^e, squares = Q * 2^2e       e: the least exponent of the values so far
//! variance  (n * Q - S^2) * 2^2e / (n * (n - 1))       exact up to here; the population's divides by n^2
//! ```
//!
//! Removing what was added restores the state, and the order of rows plays no part. Values of similar size need a few
//! words; a group that holds the smallest and the largest float needs about 800 bytes.
//!
//! Does not know: SQL, NULL.

use num_bigint::{BigInt, Sign};

use super::exact_sum::round_to_f64;
use crate::error::{Error, Result};

const FORMAT: u8 = 1;
/// Bits of a quotient before it is rounded: more than an f64 has, and an even number of them has a root of more as well.
const QUOTIENT_BITS: i64 = 128;

/// Which of the four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spread {
    /// Divides by n instead of n - 1.
    pub population: bool,
    /// The square root.
    pub deviation: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moments {
    count: i64,
    /// Rows that are NaN or infinite.
    specials: i64,
    exponent: i32,
    sum: BigInt,
    squares: BigInt,
}

impl Moments {
    /// Adds `value`, `weight` times; a negative weight removes it.
    pub fn add_float(&mut self, value: f64, weight: i64) {
        self.count += weight;
        if !value.is_finite() {
            self.specials += weight;
            return;
        }
        if value != 0.0 {
            let (mantissa, exponent) = parts(value);
            self.align(exponent);
            self.add_aligned(BigInt::from(mantissa) << (exponent - self.exponent) as u32, weight);
        }
    }

    pub fn add_integer(&mut self, value: i128, weight: i64) {
        self.count += weight;
        self.add_aligned(BigInt::from(value), weight);
    }

    fn add_aligned(&mut self, value: BigInt, weight: i64) {
        self.squares += &value * &value * weight;
        self.sum += value * weight;
    }

    /// Makes the exponent at most `exponent`.
    fn align(&mut self, exponent: i32) {
        if self.sum.sign() == Sign::NoSign && self.squares.sign() == Sign::NoSign {
            self.exponent = exponent;
        } else if exponent < self.exponent {
            let shift = (self.exponent - exponent) as u32;
            self.sum <<= shift;
            self.squares <<= 2 * shift;
            self.exponent = exponent;
        }
    }

    pub fn merge(&mut self, other: &Moments) {
        self.count += other.count;
        self.specials += other.specials;
        if other.sum.sign() == Sign::NoSign && other.squares.sign() == Sign::NoSign {
            return;
        }
        self.align(other.exponent);
        let shift = (other.exponent - self.exponent) as u32;
        self.sum += &other.sum << shift;
        self.squares += &other.squares << (2 * shift);
    }

    pub fn count(&self) -> i64 {
        self.count
    }

    /// Whether there is a value: a sample needs two rows, a population one.
    pub fn is_defined(&self, spread: Spread) -> bool {
        self.count > i64::from(!spread.population)
    }

    /// Of floats. `None`: beyond the largest f64.
    pub fn float(&self, spread: Spread) -> Option<f64> {
        if self.specials != 0 {
            return Some(f64::NAN);
        }
        let (numerator, divisor) = self.ratio(spread);
        quotient_to_f64(&numerator, &divisor, 2 * self.exponent, spread.deviation)
    }

    /// Of unscaled values with `scale` digits after the point, unscaled with `digits`, rounded half away from zero.
    /// `None`: more than 38 digits.
    pub fn numeric(&self, spread: Spread, scale: u32, digits: u32) -> Option<i128> {
        let (numerator, divisor) = self.ratio(spread);
        let divisor = divisor * power_of_ten(2 * scale);
        let rounded = if spread.deviation {
            let numerator = numerator * power_of_ten(2 * digits);
            let root = (&numerator / &divisor).sqrt();
            // Half a unit more: (2 root + 1)^2 / 4 <= numerator / divisor.
            let half: BigInt = &root * 2 + 1;
            if &half * &half * divisor <= numerator * 4 { root + 1 } else { root }
        } else {
            (numerator * power_of_ten(digits) * 2 + &divisor) / (divisor * 2)
        };
        i128::try_from(rounded).ok().filter(|value| *value < 10_i128.pow(38))
    }

    /// Without the power of two.
    fn ratio(&self, spread: Spread) -> (BigInt, BigInt) {
        let count = BigInt::from(self.count);
        let others = if spread.population { count.clone() } else { &count - 1 };
        (&count * &self.squares - &self.sum * &self.sum, count * others)
    }

    /// Empty for no rows.
    pub fn to_bytes(&self) -> Vec<u8> {
        if *self == Moments::default() {
            return Vec::new();
        }
        let (sum, squares) = (self.sum.to_signed_bytes_le(), self.squares.to_signed_bytes_le());
        let mut bytes = vec![FORMAT];
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(self.specials.to_le_bytes());
        bytes.extend(self.exponent.to_le_bytes());
        bytes.extend((sum.len() as u32).to_le_bytes());
        bytes.extend(sum);
        bytes.extend(squares);
        bytes
    }

    /// What [`Moments::to_bytes`] wrote. Errors: XX001.
    pub fn from_bytes(bytes: &[u8]) -> Result<Moments> {
        if bytes.is_empty() {
            return Ok(Moments::default());
        }
        let read = || {
            let rest = bytes.strip_prefix(&[FORMAT])?;
            let (count, rest) = rest.split_first_chunk::<8>()?;
            let (specials, rest) = rest.split_first_chunk::<8>()?;
            let (exponent, rest) = rest.split_first_chunk::<4>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (sum, squares) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            Some(Moments {
                count: i64::from_le_bytes(*count),
                specials: i64::from_le_bytes(*specials),
                exponent: i32::from_le_bytes(*exponent),
                sum: BigInt::from_signed_bytes_le(sum),
                squares: BigInt::from_signed_bytes_le(squares),
            })
        };
        read().ok_or_else(|| Error::corrupted("a variance's state does not read back"))
    }

    /// Bytes beyond its own size.
    pub fn heap_bytes(&self) -> usize {
        (self.sum.bits() / 8 + self.squares.bits() / 8) as usize + 16
    }
}

/// The float nearest to `numerator / divisor * 2^exponent`, or to its root; the divisor is positive. `None`: beyond the
/// largest f64.
pub(super) fn quotient_to_f64(numerator: &BigInt, divisor: &BigInt, exponent: i32, root: bool) -> Option<f64> {
    let (sign, numerator) = (numerator.sign(), BigInt::from(numerator.magnitude().clone()));
    let bits = numerator.bits() as i64 - divisor.bits() as i64;
    // A root halves the exponent, so that it must be even.
    let shift = QUOTIENT_BITS - bits - ((QUOTIENT_BITS - bits - i64::from(exponent)) & 1);
    let (quotient, exact) = divide(shifted(&numerator, shift), shifted(divisor, -shift));
    let exponent = exponent - shift as i32;
    let rounded = match root {
        false => round_to_f64(&quotient.to_u64_digits().1, exponent, !exact),
        true => {
            let root = quotient.sqrt();
            let exact = exact && &root * &root == quotient;
            round_to_f64(&root.to_u64_digits().1, exponent / 2, !exact)
        }
    };
    rounded.map(|value| if sign == Sign::Minus { -value } else { value })
}

/// A finite float, not zero, as an odd mantissa times a power of two.
pub(super) fn parts(value: f64) -> (i64, i32) {
    let bits = value.to_bits();
    let stored = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, exponent) = if stored == 0 { (fraction, -1074) } else { (fraction | 1 << 52, stored - 1075) };
    let zeros = mantissa.trailing_zeros();
    let mantissa = (mantissa >> zeros) as i64;
    (if value < 0.0 { -mantissa } else { mantissa }, exponent + zeros as i32)
}

/// `value * 2^shift`, and `value` itself for a negative shift: the other side of a fraction is shifted instead.
fn shifted(value: &BigInt, shift: i64) -> BigInt {
    if shift > 0 { value << shift as u64 } else { value.clone() }
}

/// The quotient, and whether nothing is left.
fn divide(dividend: BigInt, divisor: BigInt) -> (BigInt, bool) {
    let quotient = &dividend / &divisor;
    let exact = &quotient * divisor == dividend;
    (quotient, exact)
}

fn power_of_ten(digits: u32) -> BigInt {
    BigInt::from(10).pow(digits)
}

#[cfg(test)]
mod tests;
