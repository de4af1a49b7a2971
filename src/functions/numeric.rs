//! Exact numbers for sums and averages: a sum of i128 that cannot overflow, and division that rounds as PostgreSQL's.
//!
//! Both executions finish `sum` and `avg` of integers and numerics here, so that they agree to the last digit.

use arrow::datatypes::i256;

/// 10^38: the first unscaled value that does not fit numeric's 38 digits.
const BEYOND: i128 = 10_i128.pow(38);

/// A sum of 128-bit integers: `low + high * 2^128`, whatever the order of additions and removals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WideSum {
    pub low: i128,
    pub high: i64,
}

impl WideSum {
    /// Adds `value`, `weight` times; a negative weight removes it.
    pub fn add(&mut self, value: i128, weight: i64) {
        match value.checked_mul(i128::from(weight)) {
            Some(product) => self.add_once(product),
            None => {
                // Beyond 128 bits only for numerics of over 30 digits with a weight of over a billion.
                let (low, high) = i256::from_i128(value).wrapping_mul(i256::from(weight)).to_parts();
                self.merge(WideSum { low: low as i128, high: (high as i64) + i64::from((low as i128) < 0) });
            }
        }
    }

    fn add_once(&mut self, value: i128) {
        let (low, overflowed) = self.low.overflowing_add(value);
        if overflowed {
            self.high += if value < 0 { -1 } else { 1 };
        }
        self.low = low;
    }

    pub fn merge(&mut self, other: WideSum) {
        self.add_once(other.low);
        self.high += other.high;
    }

    fn wide(self) -> i256 {
        let high = i256::from_i128(i128::from(self.high)).wrapping_mul(i256::from_parts(0, 1));
        high.wrapping_add(i256::from_i128(self.low))
    }

    /// The sum, if it has at most 38 digits.
    pub fn total(self) -> Option<i128> {
        in_precision(self.wide())
    }

    /// The sum divided by `count`, with `shift` more digits after the point than the values have, rounded half away
    /// from zero. `None` beyond 38 digits and for no rows.
    pub fn mean(self, count: i64, shift: u8) -> Option<i128> {
        let scaled = self.wide().checked_mul(i256::from_i128(10).checked_pow(u32::from(shift))?)?;
        in_precision(divide_rounded(scaled, i256::from(count))?)
    }
}

/// Rounds half away from zero; `None` for a zero divisor.
pub fn divide_rounded(dividend: i256, divisor: i256) -> Option<i256> {
    let quotient = dividend.checked_div(divisor)?;
    let remainder = dividend.checked_rem(divisor)?;
    let doubled = remainder.wrapping_abs().checked_mul(i256::from_i128(2))?;
    if doubled < divisor.wrapping_abs() {
        return Some(quotient);
    }
    let away = if (dividend < i256::ZERO) == (divisor < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(away)
}

/// An unscaled value of at most 38 digits.
pub fn in_precision(value: i256) -> Option<i128> {
    value.to_i128().filter(|value| (-BEYOND + 1..BEYOND).contains(value))
}

#[cfg(test)]
mod tests;
