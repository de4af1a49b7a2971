//! Numbers by a pattern, as text.
//!
//! Follows PostgreSQL 15's numeric_to_char, float8_to_char and NUM_processor (src/backend/utils/adt/formatting.c) in the C
//! locale: a number is rounded to the pattern's places, then each keyword takes its next character.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int64Type, i256};

use super::number_pattern::{NumberKey, NumberPattern, NumberPiece, SignPlace};
use super::print::ROMAN_DIGITS;
use crate::functions::numeric::divide_rounded;

/// A number as a pattern's places show it.
pub struct NumberText {
    negative: bool,
    /// Digits, and a point behind which are as many as the pattern has; `#` for each where they do not fit. Without sign.
    text: String,
    /// Places of the pattern that the number leaves free before it.
    free: usize,
    /// Places of the pattern, those of `V` included.
    whole: usize,
    fraction: usize,
}

impl NumberText {
    /// Of a value that is not NULL: a bigint, a numeric or a float.
    pub fn of(values: &ArrayRef, row: usize, pattern: &NumberPattern) -> NumberText {
        match values.data_type() {
            DataType::Float32 => of_float(values.as_primitive::<Float32Type>().value(row).into(), 6, pattern),
            DataType::Float64 => of_float(values.as_primitive::<Float64Type>().value(row), 15, pattern),
            DataType::Decimal128(_, scale) => {
                of_decimal(values.as_primitive::<Decimal128Type>().value(row), *scale, pattern)
            }
            _ => of_decimal(values.as_primitive::<Int64Type>().value(row).into(), 0, pattern),
        }
    }

    fn fitted(negative: bool, text: String, whole: usize, fraction: usize) -> NumberText {
        let digits = text.find('.').unwrap_or(text.len());
        match whole.checked_sub(digits) {
            Some(free) => NumberText { negative, text, free, whole, fraction },
            None => {
                let text = format!("{}.{}", "#".repeat(whole), "#".repeat(fraction));
                NumberText { negative, text, free: 0, whole, fraction }
            }
        }
    }

    /// Already as it is shown.
    fn whole(text: String) -> NumberText {
        NumberText { negative: false, text, free: 0, whole: 0, fraction: 0 }
    }

    pub fn print(&self, pattern: &NumberPattern) -> String {
        if pattern.exponent {
            return self.text.clone();
        }
        Printer::new(self, pattern).print()
    }
}

fn of_decimal(unscaled: i128, scale: i8, pattern: &NumberPattern) -> NumberText {
    let scale = usize::try_from(scale).unwrap_or(0);
    if pattern.roman {
        let rounded = rounded(unscaled, scale, 0);
        return NumberText::whole(roman(rounded.to_i128().and_then(|number| i64::try_from(number).ok())));
    }
    if pattern.exponent {
        return NumberText::whole(scientific(unscaled, scale, pattern.fraction));
    }
    let fraction = pattern.fraction;
    // Ten for each place of V: the point stands further right.
    let shifted = rounded(unscaled, scale, fraction + pattern.shifted);
    let mut text = decimal_text(shifted.wrapping_abs(), fraction);
    if pattern.shift && fraction == 0 {
        text.truncate(text.find('.').unwrap_or(text.len()));
    }
    let negative = shifted.is_negative();
    NumberText::fitted(negative, text, pattern.whole + pattern.shifted, fraction)
}

/// `unscaled` / 10^`scale` as an integer of 10^-`places`, halves away from zero.
fn rounded(unscaled: i128, scale: usize, places: usize) -> i256 {
    let unscaled = i256::from_i128(unscaled);
    let power = |exponent: usize| i256::from_i128(10).wrapping_pow(exponent as u32);
    match places.checked_sub(scale) {
        // Beyond 76 digits there is nothing to be shown but zeros, which a pattern of so many places is not worth.
        Some(more) => unscaled.wrapping_mul(power(more.min(38))),
        None => divide_rounded(unscaled, power(scale - places)).unwrap_or(unscaled),
    }
}

fn decimal_text(unscaled: i256, scale: usize) -> String {
    let digits = unscaled.to_string();
    if scale == 0 {
        return digits;
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{whole}.{fraction}")
}

/// `digits`: those that the float's type holds.
fn of_float(value: f64, digits: usize, pattern: &NumberPattern) -> NumberText {
    if pattern.roman {
        let rounded = value.round_ties_even();
        return NumberText::whole(roman((rounded.abs() < 1e9).then_some(rounded as i64)));
    }
    if pattern.exponent {
        return NumberText::whole(match value.is_finite() {
            true => signed_scientific(&format!("{:.*e}", pattern.fraction, value)),
            false => {
                let hashes = "#".repeat((pattern.whole + pattern.fraction + 5).saturating_sub(pattern.whole));
                format!(" {}.{}", "#".repeat(pattern.whole), hashes)
            }
        });
    }
    let value = value * 10_f64.powi(pattern.shifted as i32);
    let spelled = |places: usize| match value {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value.is_infinite() => "Infinity".to_owned(),
        _ => format!("{:.places$}", value.abs()),
    };
    let whole_digits = spelled(0).len();
    let fraction = match whole_digits {
        whole if whole >= digits => 0,
        whole => pattern.fraction.min(digits - whole),
    };
    let negative = value < 0.0 || value == 0.0 && value.is_sign_negative();
    NumberText::fitted(negative, spelled(fraction), pattern.whole + pattern.shifted, fraction)
}

fn scientific(unscaled: i128, scale: usize, places: usize) -> String {
    let digits = unscaled.unsigned_abs().to_string();
    let mut exponent = digits.len() as i64 - 1 - scale as i64;
    let mut kept = places + 1;
    let mut shown = match digits.len().checked_sub(kept) {
        // Rounding may carry into one more digit.
        Some(dropped) => {
            let rounded = rounded(unscaled.saturating_abs(), dropped, 0).to_string();
            if rounded.len() > kept {
                exponent += 1;
            }
            rounded
        }
        None => digits,
    };
    if unscaled == 0 {
        exponent = 0;
    }
    while shown.len() < kept {
        shown.push('0');
    }
    shown.truncate(kept);
    let sign = if unscaled < 0 { "-" } else { " " };
    kept = 1;
    let point = if places > 0 { "." } else { "" };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{}{point}{}e{exponent_sign}{:02}", &shown[..kept], &shown[kept..], exponent.abs())
}

/// From `1.5e2` to ` 1.5e+02`.
fn signed_scientific(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    let space = if mantissa.starts_with('-') { "" } else { " " };
    format!("{space}{mantissa}e{sign}{digits:0>2}")
}

/// From 1 to 3999.
fn roman(number: Option<i64>) -> String {
    let Some(mut rest) = number.filter(|number| (1..4000).contains(number)) else { return "#".repeat(15) };
    let mut text = String::new();
    for (value, letters) in ROMAN_DIGITS {
        while rest >= value {
            text.push_str(letters);
            rest -= value;
        }
    }
    text
}

/// What PostgreSQL's NUMProc holds while a number is written.
struct Printer<'a> {
    pattern: &'a NumberPattern,
    number: &'a [u8],
    negative: bool,
    free: usize,
    sign: Option<SignPlace>,
    brackets: bool,
    sign_written: bool,
    /// Places after which a sign behind the number comes.
    places: usize,
    /// With FM, the last character of the number that is not a zero behind the point.
    last_relevant: Option<usize>,
    /// Next character of the number.
    next: usize,
    /// Places so far.
    current: usize,
    /// Whether a digit was written last.
    in_number: bool,
    out: String,
}

impl<'a> Printer<'a> {
    fn new(text: &'a NumberText, pattern: &'a NumberPattern) -> Self {
        let number = text.text.as_bytes();
        let mut printer = Printer {
            pattern,
            number,
            negative: text.negative,
            free: text.free,
            sign: pattern.sign,
            brackets: pattern.brackets,
            sign_written: true,
            places: 0,
            last_relevant: None,
            next: 0,
            current: 0,
            in_number: false,
            out: String::new(),
        };
        if pattern.roman {
            return printer;
        }
        if pattern.plus || pattern.minus {
            printer.sign_written = !pattern.plus || pattern.minus;
        } else {
            printer.brackets &= text.negative || !pattern.fills;
            printer.sign_written = !text.negative && pattern.fills && pattern.sign.is_none();
            if pattern.sign == Some(SignPlace::Before) && text.whole == pattern.places_before_sign {
                printer.sign = Some(SignPlace::Behind);
            }
        }
        if pattern.fills && pattern.has_point {
            printer.last_relevant = last_relevant(number, pattern.zero_last, text.free);
        }
        let for_sign = usize::from(!printer.sign_written && text.free == 0);
        printer.places = (text.fraction + text.whole + for_sign).saturating_sub(1);
        printer
    }

    fn print(mut self) -> String {
        for piece in &self.pattern.pieces {
            match piece {
                NumberPiece::Text(c) => self.out.push(*c),
                NumberPiece::Key(key) => self.key(*key),
            }
        }
        self.out
    }

    fn key(&mut self, key: NumberKey) {
        let fills = self.pattern.fills;
        match key {
            NumberKey::Digit | NumberKey::Zero | NumberKey::Point if !self.pattern.roman => self.place(key),
            NumberKey::Group if self.in_number => self.out.push(','),
            NumberKey::Group if !fills => self.out.push(' '),
            NumberKey::Currency => self.out.push(' '),
            NumberKey::Roman { lower } => {
                let text = String::from_utf8_lossy(self.number);
                let text = if lower { text.to_lowercase() } else { text.into_owned() };
                let width = if fills { 0 } else { 15 };
                self.out.push_str(&format!("{text:>width$}"));
            }
            NumberKey::Ordinal { lower } if self.takes_ordinal() => {
                let ending = super::print::ordinal(&String::from_utf8_lossy(self.number));
                let ending = if lower { ending.to_owned() } else { ending.to_uppercase() };
                self.out.push_str(&ending);
            }
            NumberKey::Minus if self.negative => self.out.push('-'),
            NumberKey::Plus if !self.negative && !self.pattern.roman => self.out.push('+'),
            NumberKey::Minus | NumberKey::Plus if !fills => self.out.push(' '),
            NumberKey::PlusOrMinus => self.out.push(if self.negative { '-' } else { '+' }),
            _ => {}
        }
    }

    fn takes_ordinal(&self) -> bool {
        !(self.pattern.roman || self.pattern.has_point || self.negative || self.number.starts_with(b"#"))
    }

    fn relevant_is_point(&self) -> bool {
        self.last_relevant.is_some_and(|at| self.number.get(at) == Some(&b'.'))
    }

    /// The zero before the point, which a `9` does not show.
    fn is_leading_zero(&self) -> bool {
        self.pattern.zero_first.is_none()
            && self.next == 0
            && self.number.first() == Some(&b'0')
            && self.pattern.fraction != 0
    }

    fn place(&mut self, key: NumberKey) {
        self.in_number = false;
        let zero_first = self.pattern.zero_first.map(|place| place - 1);
        let starts = self.current >= self.free || zero_first == Some(self.current);
        if !self.sign_written && starts && (!self.is_leading_zero() || self.relevant_is_point()) {
            self.write_sign();
        }
        if self.current < self.free && zero_first.is_none_or(|zero| zero > self.current) {
            if !self.pattern.fills {
                self.out.push(' ');
            }
        } else if self.current < self.free {
            self.out.push('0');
            self.in_number = true;
        } else {
            self.write_next(key);
        }
        let point = usize::from(self.pattern.has_point);
        let mut end = self.places + usize::from(self.free > 0) + point;
        if self.last_relevant == Some(self.next) {
            end = self.current;
        }
        if self.current + 1 == end {
            if self.sign_written && self.brackets {
                self.out.push(if self.negative { '>' } else { ' ' });
            } else if self.sign == Some(SignPlace::Behind) {
                self.out.push(if self.negative { '-' } else { '+' });
            }
        }
        self.current += 1;
    }

    fn write_sign(&mut self) {
        if let Some(place) = self.sign {
            if place == SignPlace::Before {
                self.out.push(if self.negative { '-' } else { '+' });
                self.sign_written = true;
            }
            return;
        }
        match (self.brackets, self.negative) {
            (true, negative) => self.out.push(if negative { '<' } else { ' ' }),
            (false, true) => self.out.push('-'),
            (false, false) if !self.pattern.fills => self.out.push(' '),
            (false, false) => {}
        }
        self.sign_written = true;
    }

    /// The number's next character.
    fn write_next(&mut self, key: NumberKey) {
        let Some(character) = self.number.get(self.next).copied() else { return };
        let is_irrelevant = self.last_relevant.is_some_and(|last| self.next > last) && key != NumberKey::Zero;
        if character == b'.' {
            if !self.relevant_is_point() || self.pattern.fills {
                self.out.push('.');
            }
        } else if is_irrelevant {
            // A zero behind the point that FM leaves away.
        } else if self.is_leading_zero() {
            if !self.pattern.fills {
                self.out.push(' ');
            } else if self.relevant_is_point() {
                self.out.push('0');
            }
        } else {
            self.out.push(char::from(character));
            self.in_number = true;
        }
        self.next += 1;
    }
}

/// The last digit behind the point that is not zero, or the point; not before the place of the last `0`.
fn last_relevant(number: &[u8], zero_last: usize, free: usize) -> Option<usize> {
    let point = number.iter().position(|c| *c == b'.')?;
    let last = number.iter().rposition(|c| *c != b'0').unwrap_or(point).max(point);
    Some(match zero_last.checked_sub(free) {
        Some(place) if place > 0 => last.max(place.min(number.len() - 1)),
        _ => last,
    })
}
