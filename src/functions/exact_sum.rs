//! Exact sums of floats: correctly rounded, whatever the order of additions and removals.
//!
//! ```text
//! value  = window * 2^base  +  limbs * 2^-1074  (+ infinities and NaN, counted)
//! window = i128; base is chosen at the first value so that values about 2^37 times smaller and larger still fit
//! limbs  = 2304-bit two's complement, made only when a value does not fit the window; holds every f64 times 2^127
//! ```
//!
//! Both executions use it: the batch aggregate keeps one value per group, the incremental one keeps `window` and `base`
//! as columns and the rest (rare) as bytes. Removing what was added restores the sum exactly, which a running f64
//! cannot do.
//!
//! Does not know: SQL, NULL, and how many rows there were (no rows and a sum of zero look the same here).

use crate::error::{Error, Result};

/// Exponent of the lowest bit of the smallest subnormal.
const EXPONENT_MIN: i32 = -1074;
/// Bits of the window kept free below the first value.
const HEADROOM_BITS: i32 = 37;
/// A value is put in the window only if its lowest bit is at most this far above the base: 53 + 72 < 127.
const WINDOW_SHIFT_MAX: i32 = 72;
/// 36 * 64 = 2304 bits: 1074 below the point, 1024 + 127 above it, and the sign.
const LIMBS: usize = 36;
/// The stored bits of an f64's significand.
const MANTISSA: u64 = (1 << 52) - 1;
const FORMAT: u8 = 1;
const FIXED_BYTES: usize = 1 + 16 + 2;
const REST_BYTES: usize = 3 * 8 + LIMBS * 8;

/// A sum of floats with weights, exact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExactSum {
    window: i128,
    base: i16,
    rest: Option<Box<Rest>>,
}

/// What the window cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rest {
    nan: i64,
    positive_infinity: i64,
    negative_infinity: i64,
    limbs: [u64; LIMBS],
}

impl Rest {
    const ZERO: Rest = Rest { nan: 0, positive_infinity: 0, negative_infinity: 0, limbs: [0; LIMBS] };
}

impl ExactSum {
    pub fn new() -> Self {
        ExactSum::default()
    }

    /// Adds `value`, `weight` times; a negative weight removes it.
    #[inline]
    pub fn add(&mut self, value: f64, weight: i64) {
        if !ExactSum::add_to_window(&mut self.window, self.base, value, weight) {
            self.add_slowly(value, weight);
        }
    }

    /// The common case, for sums kept as columns: true if a window that is in use took the value. Otherwise nothing
    /// happened, and [`ExactSum::add`] is to be called.
    #[inline]
    pub fn add_to_window(window: &mut i128, base: i16, value: f64, weight: i64) -> bool {
        let bits = value.to_bits();
        let exponent_field = ((bits >> 52) & 0x7ff) as i32;
        let shift = exponent_field - 1075 - i32::from(base);
        let usual = exponent_field != 0x7ff && exponent_field != 0 && (weight == 1 || weight == -1);
        if !usual || *window == 0 || !(0..=WINDOW_SHIFT_MAX).contains(&shift) {
            return false;
        }
        let mantissa = i128::from((bits & MANTISSA) | (1 << 52)) << shift;
        let signed = if (value < 0.0) == (weight < 0) { mantissa } else { -mantissa };
        match window.checked_add(signed) {
            Some(sum) => {
                *window = sum;
                true
            }
            None => false,
        }
    }

    fn add_slowly(&mut self, value: f64, weight: i64) {
        let bits = value.to_bits();
        let exponent_field = ((bits >> 52) & 0x7ff) as i32;
        if exponent_field == 0x7ff || exponent_field == 0 {
            return self.add_unusual(value, weight);
        }
        let mantissa = i128::from((bits & MANTISSA) | (1 << 52));
        let signed = if value < 0.0 { -mantissa } else { mantissa };
        self.add_scaled(signed * i128::from(weight), exponent_field - 1075);
    }

    /// `real` is widened, which is exact; read it back with [`ExactSum::sum_f32`].
    #[inline]
    pub fn add_f32(&mut self, value: f32, weight: i64) {
        self.add(f64::from(value), weight);
    }

    /// Zero, subnormals, infinities and NaN.
    #[cold]
    fn add_unusual(&mut self, value: f64, weight: i64) {
        if value.is_finite() {
            let mantissa = i128::from(value.to_bits() & MANTISSA);
            let signed = if value < 0.0 { -mantissa } else { mantissa };
            return self.add_scaled(signed * i128::from(weight), EXPONENT_MIN);
        }
        let rest = self.rest.get_or_insert_with(|| Box::new(Rest::ZERO));
        let counter = if value.is_nan() {
            &mut rest.nan
        } else if value > 0.0 {
            &mut rest.positive_infinity
        } else {
            &mut rest.negative_infinity
        };
        *counter += weight;
        self.drop_empty_rest();
    }

    /// Adds `amount * 2^exponent`, in the window where it fits.
    fn add_scaled(&mut self, amount: i128, exponent: i32) {
        if amount == 0 {
            return;
        }
        if self.window == 0 {
            self.base = (exponent - HEADROOM_BITS).max(EXPONENT_MIN) as i16;
        }
        let shift = exponent - i32::from(self.base);
        match shifted_exactly(amount, shift).and_then(|amount| self.window.checked_add(amount)) {
            Some(window) => self.window = window,
            None => {
                let rest = self.rest.get_or_insert_with(|| Box::new(Rest::ZERO));
                add_to_limbs(&mut rest.limbs, amount, exponent);
                self.drop_empty_rest();
            }
        }
    }

    /// The sum of both.
    pub fn merge(&mut self, other: &ExactSum) {
        if self.window == 0 {
            (self.window, self.base) = (other.window, other.base);
        } else {
            self.add_scaled(other.window, i32::from(other.base));
        }
        let Some(theirs) = &other.rest else { return };
        let ours = self.rest.get_or_insert_with(|| Box::new(Rest::ZERO));
        ours.nan += theirs.nan;
        ours.positive_infinity += theirs.positive_infinity;
        ours.negative_infinity += theirs.negative_infinity;
        let mut carry = false;
        for (limb, other) in ours.limbs.iter_mut().zip(theirs.limbs) {
            (*limb, carry) = add_with_carry(*limb, other, carry);
        }
        self.drop_empty_rest();
    }

    /// Adds `other`, `weight` times; a negative weight removes it.
    pub fn merge_weighted(&mut self, other: &ExactSum, weight: i64) {
        if weight == 1 {
            return self.merge(other);
        }
        // By doubling, so that no product can be too wide for a window.
        let mut power = if weight < 0 { other.negated() } else { other.clone() };
        let mut rest = weight.unsigned_abs();
        while rest > 0 {
            if rest & 1 == 1 {
                self.merge(&power);
            }
            rest >>= 1;
            power.merge(&power.clone());
        }
    }

    fn negated(&self) -> ExactSum {
        let mut negated = ExactSum { window: 0, base: self.base, rest: None };
        if let Some(rest) = &self.rest {
            let mut rest = rest.clone();
            rest.nan = -rest.nan;
            rest.positive_infinity = -rest.positive_infinity;
            rest.negative_infinity = -rest.negative_infinity;
            negate(&mut rest.limbs);
            negated.rest = Some(rest);
        }
        match self.window.checked_neg() {
            Some(window) => negated.window = window,
            // -(-2^127) has one bit too many for the window at this base.
            None => {
                negated.add_scaled(i128::MAX, self.base.into());
                negated.add_scaled(1, self.base.into());
            }
        }
        negated
    }

    fn drop_empty_rest(&mut self) {
        if self.rest.as_deref() == Some(&Rest::ZERO) {
            self.rest = None;
        }
    }

    /// The sum, rounded once, ties to even. Zero where nothing was added, and never -0. `None` if it is finite and beyond
    /// the largest f64 (SQL's 22003).
    pub fn sum(&self) -> Option<f64> {
        self.special().map_or_else(|| self.rounded(1, &F64).map(f64::from_bits), Some)
    }

    /// As [`ExactSum::sum`], rounded once to f32.
    pub fn sum_f32(&self) -> Option<f32> {
        let rounded = || self.rounded(1, &F32).map(|bits| f32::from_bits(bits as u32));
        self.special().map_or_else(rounded, |special| Some(special as f32))
    }

    /// The exact sum divided by `count`, rounded once; `None` for a count of zero or less.
    pub fn mean(&self, count: i64) -> Option<f64> {
        let count = u64::try_from(count).ok().filter(|count| *count > 0)?;
        self.special().map_or_else(|| self.rounded(count, &F64).map(f64::from_bits), Some)
    }

    /// NaN and the infinities, where there are any.
    #[inline]
    fn special(&self) -> Option<f64> {
        let rest = self.rest.as_deref()?;
        match (rest.nan != 0, rest.positive_infinity != 0, rest.negative_infinity != 0) {
            (false, false, false) => None,
            (false, true, false) => Some(f64::INFINITY),
            (false, false, true) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    fn rounded(&self, divisor: u64, format: &Format) -> Option<u64> {
        match self.rest.as_deref() {
            None => {
                let (quotient, exponent, inexact) = quotient(self.window.unsigned_abs(), divisor);
                round(self.window < 0, &[quotient], i32::from(self.base) + exponent, inexact, format)
            }
            Some(rest) => {
                let mut total = rest.limbs;
                add_to_limbs(&mut total, self.window, i32::from(self.base));
                let negative = (total[LIMBS - 1] as i64) < 0;
                if negative {
                    negate(&mut total);
                }
                let mut limbs = [0; LIMBS + 2];
                limbs[2..].copy_from_slice(&total);
                let inexact = divide(&mut limbs, divisor);
                round(negative, &limbs, EXPONENT_MIN - 128, inexact, format)
            }
        }
    }

    /// The window and its base; with [`ExactSum::rest_bytes`] the whole state, laid out for columns.
    #[inline]
    pub fn window(&self) -> (i128, i16) {
        (self.window, self.base)
    }

    /// Empty unless a value did not fit the window.
    pub fn rest_bytes(&self) -> Vec<u8> {
        let Some(rest) = &self.rest else { return Vec::new() };
        let mut bytes = Vec::with_capacity(REST_BYTES);
        for counter in [rest.nan, rest.positive_infinity, rest.negative_infinity] {
            bytes.extend(counter.to_le_bytes());
        }
        for limb in rest.limbs {
            bytes.extend(limb.to_le_bytes());
        }
        bytes
    }

    #[inline]
    pub fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// From what [`ExactSum::window`] and [`ExactSum::rest_bytes`] gave.
    #[inline]
    pub fn from_parts(window: i128, base: i16, rest: &[u8]) -> Result<Self> {
        if rest.is_empty() {
            return Ok(ExactSum { window, base, rest: None });
        }
        if rest.len() != REST_BYTES {
            return Err(Error::corrupted(format!("a float sum's state has {} bytes", rest.len())));
        }
        let words: Vec<u64> =
            rest.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default())).collect();
        let mut limbs = [0; LIMBS];
        limbs.copy_from_slice(&words[3..]);
        let rest = Rest {
            nan: words[0] as i64,
            positive_infinity: words[1] as i64,
            negative_infinity: words[2] as i64,
            limbs,
        };
        Ok(ExactSum { window, base, rest: Some(Box::new(rest)) })
    }

    /// The whole state, versioned: format, window, base, rest.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES);
        bytes.push(FORMAT);
        bytes.extend(self.window.to_le_bytes());
        bytes.extend(self.base.to_le_bytes());
        bytes.extend(self.rest_bytes());
        bytes
    }

    /// Errors: XX001 for anything that [`ExactSum::to_bytes`] did not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::corrupted("a float sum's state does not read back");
        let (fixed, rest) = bytes.split_at_checked(FIXED_BYTES).ok_or_else(damaged)?;
        if fixed[0] != FORMAT {
            return Err(damaged());
        }
        let window = i128::from_le_bytes(fixed[1..17].try_into().map_err(|_| damaged())?);
        let base = i16::from_le_bytes(fixed[17..19].try_into().map_err(|_| damaged())?);
        ExactSum::from_parts(window, base, rest)
    }
}

/// A binary floating-point format.
struct Format {
    /// Bits of the significand, the hidden one included.
    precision: i32,
    exponent_min: i32,
    /// Bits of positive infinity.
    infinity: u64,
    sign: u64,
}

const F64: Format = Format { precision: 53, exponent_min: EXPONENT_MIN, infinity: 0x7ff << 52, sign: 1 << 63 };
const F32: Format = Format { precision: 24, exponent_min: -149, infinity: 0xff << 23, sign: 1 << 31 };

/// `amount * 2^shift` if no bit is lost at either end.
fn shifted_exactly(amount: i128, shift: i32) -> Option<i128> {
    if shift >= 0 {
        let free_bits = amount.unsigned_abs().leading_zeros() as i32 - 1;
        (shift < free_bits).then(|| amount << shift)
    } else {
        (-shift <= amount.trailing_zeros() as i32).then(|| amount >> -shift)
    }
}

fn add_with_carry(left: u64, right: u64, carry: bool) -> (u64, bool) {
    let (sum, first) = left.overflowing_add(right);
    let (sum, second) = sum.overflowing_add(u64::from(carry));
    (sum, first | second)
}

/// Adds `amount * 2^exponent` to a two's complement number in units of 2^-1074; `exponent` is at least -1074.
fn add_to_limbs(limbs: &mut [u64; LIMBS], amount: i128, exponent: i32) {
    let offset = (exponent - EXPONENT_MIN) as usize;
    let (first, bits) = (offset / 64, offset % 64);
    let fill = if amount < 0 { u64::MAX } else { 0 };
    let words = [amount as u64, (amount >> 64) as u64, fill];
    let mut carry = false;
    let mut below = 0;
    for (index, limb) in limbs.iter_mut().skip(first).enumerate() {
        let word = words.get(index).copied().unwrap_or(fill);
        let part = if bits == 0 { word } else { (word << bits) | (below >> (64 - bits)) };
        (*limb, carry) = add_with_carry(*limb, part, carry);
        below = word;
    }
}

fn negate(limbs: &mut [u64]) {
    let mut carry = true;
    for limb in limbs {
        (*limb, carry) = add_with_carry(!*limb, 0, carry);
    }
}

/// `magnitude / divisor` as `quotient * 2^exponent`, the quotient with 63 or 64 significant bits; true if that leaves
/// something out. One division of the machine's, because a correct rounding needs no more than that of what lies below.
#[inline]
fn quotient(magnitude: u128, divisor: u64) -> (u64, i32, bool) {
    // As many bits as give a quotient of 64 at most: the numerator is below 2^(63 + d), the divisor at least 2^(d - 1).
    let bits = 63 + (64 - divisor.leading_zeros() as i32);
    let shift = bits - (128 - magnitude.leading_zeros() as i32);
    let (numerator, lost) = match u32::try_from(shift) {
        Ok(left) => (magnitude.checked_shl(left).unwrap_or(0), false),
        Err(_) => (magnitude >> -shift, magnitude.trailing_zeros() < shift.unsigned_abs()),
    };
    if divisor == 1 {
        return (numerator as u64, -shift, lost);
    }
    let quotient = numerator / u128::from(divisor);
    let remainder = numerator - quotient * u128::from(divisor);
    (quotient as u64, -shift, lost || remainder != 0)
}

/// Divides in place, little-endian limbs; true if there is a remainder.
fn divide(limbs: &mut [u64], divisor: u64) -> bool {
    let mut remainder: u128 = 0;
    for limb in limbs.iter_mut().rev() {
        let current = (remainder << 64) | u128::from(*limb);
        let quotient = current / u128::from(divisor);
        *limb = quotient as u64;
        remainder = current - quotient * u128::from(divisor);
    }
    remainder != 0
}

/// The f64 nearest to `limbs * 2^exponent` (plus a little if `inexact`), ties to even; `None` on overflow.
pub(super) fn round_to_f64(limbs: &[u64], exponent: i32, inexact: bool) -> Option<f64> {
    round(false, limbs, exponent, inexact, &F64).map(f64::from_bits)
}

/// Bits of the float nearest to `limbs * 2^exponent` (plus a little if `inexact`), ties to even; `None` on overflow.
#[inline]
fn round(negative: bool, limbs: &[u64], exponent: i32, inexact: bool, format: &Format) -> Option<u64> {
    let Some(top) = limbs.iter().rposition(|limb| *limb != 0) else { return Some(0) };
    let length = (top as i32 + 1) * 64 - limbs[top].leading_zeros() as i32;
    let lowest = (exponent + length - format.precision).max(format.exponent_min);
    let dropped = lowest - exponent;
    let mantissa = if dropped <= 0 {
        limbs[0] << -dropped
    } else {
        let kept = bits_from(limbs, dropped as usize);
        let half = bit_at(limbs, dropped as usize - 1);
        let more = inexact || any_bit_below(limbs, dropped as usize - 1);
        kept + u64::from(half && (more || kept & 1 == 1))
    };
    // A carry out of the mantissa lands in the exponent, which is what rounding up to the next power of two means.
    let bits = (((lowest - format.exponent_min) as u64) << (format.precision - 1)) + mantissa;
    if bits >= format.infinity {
        return None;
    }
    // What is too small for the format rounds to zero; like every zero here it has no sign.
    Some(if negative && bits != 0 { bits | format.sign } else { bits })
}

/// The 64 bits that start at `bit`.
#[inline]
fn bits_from(limbs: &[u64], bit: usize) -> u64 {
    let (index, offset) = (bit / 64, bit % 64);
    let low = limbs.get(index).copied().unwrap_or(0) >> offset;
    let high = if offset == 0 { 0 } else { limbs.get(index + 1).copied().unwrap_or(0) << (64 - offset) };
    low | high
}

#[inline]
fn bit_at(limbs: &[u64], bit: usize) -> bool {
    limbs.get(bit / 64).is_some_and(|limb| limb >> (bit % 64) & 1 == 1)
}

#[inline]
fn any_bit_below(limbs: &[u64], bit: usize) -> bool {
    let whole = (bit / 64).min(limbs.len());
    limbs[..whole].iter().any(|limb| *limb != 0)
        || limbs.get(whole).is_some_and(|limb| limb & ((1u64 << (bit % 64)) - 1) != 0)
}

#[cfg(test)]
mod tests;
