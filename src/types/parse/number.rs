//! Integers, floats and numerics from text.

use datafusion::common::ScalarValue;

use super::invalid;
use crate::error::{Error, Result, SqlState};

pub fn parse_i16(text: &str) -> Result<i16> {
    i16::try_from(integer(text, "smallint")?).map_err(|_| integer_out_of_range(text, "smallint"))
}

pub fn parse_i32(text: &str) -> Result<i32> {
    i32::try_from(integer(text, "integer")?).map_err(|_| integer_out_of_range(text, "integer"))
}

pub fn parse_i64(text: &str) -> Result<i64> {
    integer(text, "bigint")
}

/// A sign and up to 18 digits at once; everything rarer on the slow way.
fn integer(text: &str, type_name: &str) -> Result<i64> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return slow_integer(text, type_name);
    }
    let mut value = 0i64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return slow_integer(text, type_name);
        }
        value = value * 10 + i64::from(digit);
    }
    Ok(if negative { -value } else { value })
}

/// Spaces around, a plus sign, 0x, 0o and 0b, underscores between digits, and numbers near the limit.
fn slow_integer(text: &str, type_name: &str) -> Result<i64> {
    let trimmed = text.trim_ascii();
    let (negative, unsigned) = match trimmed.as_bytes() {
        [b'-', ..] => (true, &trimmed[1..]),
        [b'+', ..] => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let prefix = unsigned.get(..2).unwrap_or_default();
    let (radix, digits) = match prefix {
        "0x" | "0X" => (16, &unsigned[2..]),
        "0o" | "0O" => (8, &unsigned[2..]),
        "0b" | "0B" => (2, &unsigned[2..]),
        _ => (10, unsigned),
    };
    let mut value = 0i128;
    let mut after_digit = radix != 10;
    let mut any = false;
    for byte in digits.bytes() {
        if byte == b'_' && after_digit {
            after_digit = false;
            continue;
        }
        let digit = (byte as char).to_digit(radix).ok_or_else(|| invalid(type_name, text))?;
        value = (value * i128::from(radix) + i128::from(digit)).min(1 << 64);
        after_digit = true;
        any = true;
    }
    if !any || !after_digit {
        return Err(invalid(type_name, text));
    }
    i64::try_from(if negative { -value } else { value }).map_err(|_| integer_out_of_range(text, type_name))
}

fn integer_out_of_range(text: &str, type_name: &str) -> Error {
    Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("value \"{text}\" is out of range for type {type_name}"))
}

pub fn parse_f64(text: &str) -> Result<f64> {
    let trimmed = text.trim_ascii();
    let value: f64 = trimmed.parse().map_err(|_| invalid("double precision", text))?;
    match float_fits(trimmed, value == 0.0, value.is_infinite()) {
        true => Ok(value),
        false => Err(float_out_of_range(text, "double precision")),
    }
}

pub fn parse_f32(text: &str) -> Result<f32> {
    let trimmed = text.trim_ascii();
    let value: f32 = trimmed.parse().map_err(|_| invalid("real", text))?;
    match float_fits(trimmed, value == 0.0, value.is_infinite()) {
        true => Ok(value),
        false => Err(float_out_of_range(text, "real")),
    }
}

/// Whether a zero was written as zero, and infinity by its name, rather than reached by rounding.
fn float_fits(text: &str, is_zero: bool, is_infinite: bool) -> bool {
    let mantissa = || text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
    (!is_zero || !mantissa().any(|byte| matches!(byte, b'1'..=b'9')))
        && (!is_infinite || !text.bytes().any(|byte| byte.is_ascii_digit()))
}

fn float_out_of_range(text: &str, type_name: &str) -> Error {
    Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("\"{text}\" is out of range for type {type_name}"))
}

/// The unscaled value of a numeric(precision, scale), rounded half away from zero.
///
/// Errors: 22003 where the rounded value has more than `precision` digits; 0A000 for NaN and the infinities.
pub fn parse_decimal(text: &str, precision: u8, scale: i8) -> Result<i128> {
    let number = Digits::read(text)?;
    // So many of the written digits stand before the last place that is kept.
    let kept = number.point + i64::from(scale);
    let (magnitude, round_up) = match number.digits_to(kept) {
        Some(found) => found,
        None => return Err(numeric_overflow(precision, scale)),
    };
    let magnitude = magnitude + i128::from(round_up);
    if magnitude >= 10i128.pow(u32::from(precision.min(38))) {
        return Err(numeric_overflow(precision, scale));
    }
    Ok(if number.negative { -magnitude } else { magnitude })
}

fn numeric_overflow(precision: u8, scale: i8) -> Error {
    let whole = i32::from(precision) - i32::from(scale);
    Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{whole}."
    ))
}

/// A number as written: 0.d1d2d3... times 10^point.
struct Digits<'a> {
    negative: bool,
    /// Digits, with at most one point among them.
    mantissa: &'a [u8],
    point: i64,
}

impl<'a> Digits<'a> {
    fn read(text: &'a str) -> Result<Digits<'a>> {
        let trimmed = text.trim_ascii().as_bytes();
        let (negative, unsigned) = match trimmed {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let end = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(unsigned.len());
        let (mantissa, exponent) = unsigned.split_at(end);
        let mut digits = 0i64;
        let mut point = None;
        for &byte in mantissa {
            match byte {
                b'0'..=b'9' => digits += 1,
                b'.' if point.is_none() => point = Some(digits),
                _ => return Err(not_a_numeric(text)),
            }
        }
        if digits == 0 {
            return Err(not_a_numeric(text));
        }
        let exponent = read_exponent(exponent).ok_or_else(|| invalid("numeric", text))?;
        Ok(Digits { negative, mantissa, point: point.unwrap_or(digits) + exponent })
    }

    /// The first `kept` digits as a number, and whether the next one rounds up. `None` beyond 38 digits.
    fn digits_to(&self, kept: i64) -> Option<(i128, bool)> {
        let mut digits = self.mantissa.iter().filter(|byte| **byte != b'.').map(|byte| byte - b'0');
        if kept < 0 {
            return Some((0, false));
        }
        let mut value = 0i128;
        let mut taken = 0;
        // Machine words as long as they hold the digits: i128 is several times slower.
        let mut word = 0u64;
        while taken < kept.min(18) {
            let Some(digit) = digits.next() else { break };
            word = word * 10 + u64::from(digit);
            taken += 1;
        }
        value += i128::from(word);
        while taken < kept {
            let digit = match digits.next() {
                Some(digit) => digit,
                None if value == 0 => return Some((0, false)),
                None => 0,
            };
            value = value.checked_mul(10)?.checked_add(digit.into())?;
            taken += 1;
        }
        Some((value, digits.next().is_some_and(|digit| digit >= 5)))
    }
}

/// `e-12` or nothing; far exponents are cut to what overflows or vanishes anyway.
fn read_exponent(text: &[u8]) -> Option<i64> {
    let signed = match text {
        [] => return Some(0),
        [_, signed @ ..] => signed,
    };
    let (negative, digits) = match signed {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = (value * 10 + i64::from(digit)).min(1_000_000_000_000);
    }
    Some(if negative { -value } else { value })
}

fn not_a_numeric(text: &str) -> Error {
    let word = text.trim_ascii().trim_start_matches(['-', '+']);
    if ["nan", "inf", "infinity"].iter().any(|name| name.eq_ignore_ascii_case(word)) {
        return Error::not_built(format_args!("numeric value \"{}\"", text.trim_ascii()))
            .with_hint("Store it as NULL, or make the column double precision.");
    }
    invalid("numeric", text)
}

/// A numeric with as many digits as the text has: a parameter carries no modifier, so nothing may be rounded here.
pub fn parse_numeric(text: &str) -> Result<ScalarValue> {
    let (precision, scale) = numeric_digits(text);
    Ok(ScalarValue::Decimal128(Some(parse_decimal(text, precision, scale)?), precision, scale))
}

/// Precision and scale that hold the number exactly, as far as 38 digits do; what is no number gets any.
fn numeric_digits(text: &str) -> (u8, i8) {
    let text = text.trim_ascii().trim_start_matches(['+', '-']);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().unwrap_or_default().clamp(-10_000, 10_000)),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole_digits = whole.trim_start_matches('0').len().min(1_000_000) as i64;
    let fraction_digits = fraction.len().min(1_000_000) as i64;
    let most = DIGITS_MAX as i64;
    let whole_digits = (whole_digits + exponent).clamp(0, most);
    let scale = (fraction_digits - exponent).clamp(0, most - whole_digits);
    ((whole_digits + scale).max(1) as u8, scale as i8)
}

/// The most decimal digits that a numeric has.
const DIGITS_MAX: usize = 38;
