//! Numbers as PostgreSQL prints them.

use std::io::Write;

pub fn write_i64(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    write_u64(value.unsigned_abs(), out);
}

pub fn write_u64(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// At least `width` digits, with leading zeros.
pub(super) fn write_padded(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut below = 10u64.pow(width as u32 - 1);
    while below > 1 && value < below {
        out.push(b'0');
        below /= 10;
    }
    write_u64(value, out);
}

/// `unscaled` / 10^`scale`, with exactly `scale` digits behind the point.
pub fn write_decimal(unscaled: i128, scale: i8, out: &mut Vec<u8>) {
    let mut digits = [0u8; 40];
    let mut start = digits.len();
    let mut rest = unscaled.unsigned_abs();
    while rest > u128::from(u64::MAX) {
        // 19 digits at a time: division of 128 bits is slow.
        let (high, mut low) = (rest / 10_000_000_000_000_000_000, (rest % 10_000_000_000_000_000_000) as u64);
        for _ in 0..19 {
            start -= 1;
            digits[start] = b'0' + (low % 10) as u8;
            low /= 10;
        }
        rest = high;
    }
    let mut rest = rest as u64;
    while rest > 0 || start == digits.len() {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let digits = &digits[start..];
    if unscaled < 0 {
        out.push(b'-');
    }
    if scale <= 0 {
        out.extend_from_slice(digits);
        if unscaled != 0 {
            out.extend(std::iter::repeat_n(b'0', usize::from(scale.unsigned_abs())));
        }
        return;
    }
    let scale = usize::from(scale.unsigned_abs());
    match digits.len().checked_sub(scale) {
        None | Some(0) => {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
            out.extend_from_slice(digits);
        }
        Some(whole) => {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }
}

pub fn write_f64(value: f64, extra_digits: i32, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return write_not_finite(value, out);
    }
    let mut text = FloatText::default();
    // Writing into a buffer that is large enough cannot fail.
    let fixed_below = if extra_digits > 0 {
        let _ = write!(text, "{value:e}");
        15
    } else {
        let precision = (15 + extra_digits).max(1);
        let _ = write!(text, "{:.*e}", precision as usize - 1, value);
        precision
    };
    lay_out(text.as_bytes(), fixed_below, out);
}

pub fn write_f32(value: f32, extra_digits: i32, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return write_not_finite(value.into(), out);
    }
    let mut text = FloatText::default();
    let fixed_below = if extra_digits > 0 {
        let _ = write!(text, "{value:e}");
        6
    } else {
        let precision = (6 + extra_digits).max(1);
        let _ = write!(text, "{:.*e}", precision as usize - 1, value);
        precision
    };
    lay_out(text.as_bytes(), fixed_below, out);
}

fn write_not_finite(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(match value {
        _ if value.is_nan() => b"NaN",
        _ if value > 0.0 => b"Infinity",
        _ => b"-Infinity",
    });
}

/// Room for Rust's scientific notation of a float: sign, 17 digits, point, exponent.
#[derive(Default)]
struct FloatText {
    bytes: [u8; 32],
    len: usize,
}

impl FloatText {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Write for FloatText {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// From `-1.25e-7` to PostgreSQL's choice: plain digits for exponents from -4 to below `fixed_below`, else `1.25e-07`.
fn lay_out(scientific: &[u8], fixed_below: i32, out: &mut Vec<u8>) {
    let (negative, unsigned) = match scientific {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut digits = [0u8; 24];
    let mut count = 0;
    let mut exponent = 0i32;
    let mut exponent_negative = false;
    let mut in_exponent = false;
    for &byte in unsigned {
        match byte {
            b'e' => in_exponent = true,
            b'-' => exponent_negative = true,
            b'0'..=b'9' if in_exponent => exponent = exponent * 10 + i32::from(byte - b'0'),
            b'0'..=b'9' if count < digits.len() => {
                digits[count] = byte;
                count += 1;
            }
            _ => {}
        }
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
    }
    if negative {
        out.push(b'-');
    }
    let exponent = if exponent_negative { -exponent } else { exponent };
    if (-4..fixed_below).contains(&exponent) {
        write_fixed(&digits[..count], exponent, out);
    } else {
        write_scientific(&digits[..count], exponent, out);
    }
}

fn write_fixed(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend_from_slice(digits);
        return;
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', whole - digits.len()));
    } else {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    }
}

fn write_scientific(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(&digits[..1]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.push(b'e');
    out.push(if exponent < 0 { b'-' } else { b'+' });
    write_padded(u64::from(exponent.unsigned_abs()), 2, out);
}
