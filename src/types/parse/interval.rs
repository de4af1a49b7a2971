//! Intervals from text: `1 year 2 mons -3 days 04:05:06.7`, `90 min`, `5 days ago`, `P1Y2M3DT4H`.

use arrow::datatypes::IntervalMonthDayNano;

use super::{interval, invalid};
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{DAY_US, HOUR_US, MINUTE_US, SECOND_US};

pub fn parse_interval(text: &str) -> Result<IntervalMonthDayNano> {
    let trimmed = text.trim_ascii();
    let parts = match trimmed.strip_prefix(['P', 'p']) {
        Some(designators) => read_iso(designators),
        None => read_words(trimmed),
    };
    match parts {
        Ok(parts) => interval(parts.months, parts.days, parts.time_us, text),
        Err(Wrong::Syntax) => Err(invalid("interval", text)),
        Err(Wrong::Range) => {
            Err(Error::new(SqlState::DATETIME_OVERFLOW, format!("interval field value out of range: \"{text}\"")))
        }
    }
}

enum Wrong {
    Syntax,
    Range,
}

#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    months: i32,
    days: i32,
    time_us: i64,
}

/// A decimal number, whole and fraction of the same sign.
#[derive(Clone, Copy)]
struct Number {
    whole: i64,
    fraction: f64,
}

/// What one of a unit adds.
#[derive(Clone, Copy)]
enum Unit {
    Months(i32),
    Days(i32),
    Microseconds(i64),
}

impl Parts {
    /// Fractions run down: of years to months, of months to days of 30, of days to the clock.
    fn add(&mut self, number: Number, unit: Unit) -> Result<(), Wrong> {
        match unit {
            Unit::Months(1) => {
                self.add_months(number.whole)?;
                self.add_days(number.fraction * 30.0)
            }
            Unit::Months(months) => {
                let whole = number.whole.checked_mul(months.into()).ok_or(Wrong::Range)?;
                self.add_months(whole.saturating_add((number.fraction * f64::from(months)).round() as i64))
            }
            Unit::Days(days) => {
                let whole = number.whole.checked_mul(days.into()).ok_or(Wrong::Range)?;
                self.add_whole_days(whole)?;
                self.add_days(number.fraction * f64::from(days))
            }
            Unit::Microseconds(us) => {
                let whole = number.whole.checked_mul(us).ok_or(Wrong::Range)?;
                self.add_time(whole)?;
                self.add_time((number.fraction * us as f64).round() as i64)
            }
        }
    }

    fn add_months(&mut self, months: i64) -> Result<(), Wrong> {
        let months = i32::try_from(months).ok().and_then(|months| self.months.checked_add(months));
        self.months = months.ok_or(Wrong::Range)?;
        Ok(())
    }

    fn add_whole_days(&mut self, days: i64) -> Result<(), Wrong> {
        let days = i32::try_from(days).ok().and_then(|days| self.days.checked_add(days));
        self.days = days.ok_or(Wrong::Range)?;
        Ok(())
    }

    fn add_days(&mut self, days: f64) -> Result<(), Wrong> {
        self.add_whole_days(days.trunc() as i64)?;
        self.add_time((days.fract() * DAY_US as f64).round() as i64)
    }

    fn add_time(&mut self, time_us: i64) -> Result<(), Wrong> {
        self.time_us = self.time_us.checked_add(time_us).ok_or(Wrong::Range)?;
        Ok(())
    }

    fn negate(&mut self) -> Result<(), Wrong> {
        self.months = self.months.checked_neg().ok_or(Wrong::Range)?;
        self.days = self.days.checked_neg().ok_or(Wrong::Range)?;
        self.time_us = self.time_us.checked_neg().ok_or(Wrong::Range)?;
        Ok(())
    }
}

/// The `postgres`, verbose and SQL-standard styles.
fn read_words(text: &str) -> Result<Parts, Wrong> {
    let mut cursor = Cursor { rest: text.as_bytes() };
    let mut parts = Parts::default();
    let mut any = false;
    cursor.skip(|byte| byte == b'@' || byte.is_ascii_whitespace());
    loop {
        cursor.skip(|byte| byte == b',' || byte.is_ascii_whitespace());
        if cursor.rest.is_empty() {
            break;
        }
        if cursor.rest[0].is_ascii_alphabetic() {
            let ago = cursor.word().eq_ignore_ascii_case(b"ago");
            cursor.skip(|byte| byte.is_ascii_whitespace());
            if !ago || !any || !cursor.rest.is_empty() {
                return Err(Wrong::Syntax);
            }
            parts.negate()?;
            break;
        }
        read_field(&mut cursor, &mut parts)?;
        any = true;
    }
    if any { Ok(parts) } else { Err(Wrong::Syntax) }
}

/// A number with its unit, a clock time, or `years-months`.
fn read_field(cursor: &mut Cursor<'_>, parts: &mut Parts) -> Result<(), Wrong> {
    let negative = cursor.sign();
    let number = cursor.number(negative)?;
    match cursor.rest {
        [b':', ..] => {
            let time_us = read_time(cursor, number, negative)?;
            parts.add_time(time_us)
        }
        [b'-', b'0'..=b'9', ..] if number.fraction == 0.0 => {
            cursor.skip_one();
            let months = cursor.number(negative)?;
            parts.add(number, Unit::Months(12))?;
            parts.add(months, Unit::Months(1))
        }
        _ => {
            cursor.skip(|byte| byte.is_ascii_whitespace());
            let word = cursor.word();
            let unit = match word {
                // `1 12:00` is a day and twelve hours; a number alone at the end is seconds.
                [] if cursor.rest.is_empty() => Unit::Microseconds(SECOND_US),
                [] => Unit::Days(1),
                word => unit_of(word).ok_or(Wrong::Syntax)?,
            };
            parts.add(number, unit)
        }
    }
}

/// The rest of `hours:minutes[:seconds[.fraction]]`.
fn read_time(cursor: &mut Cursor<'_>, hours: Number, negative: bool) -> Result<i64, Wrong> {
    if hours.fraction != 0.0 {
        return Err(Wrong::Syntax);
    }
    let mut total = hours.whole.checked_mul(HOUR_US).ok_or(Wrong::Range)?;
    for (unit_us, limit) in [(MINUTE_US, 60), (SECOND_US, 61)] {
        if cursor.rest.first() != Some(&b':') {
            break;
        }
        cursor.skip_one();
        let number = cursor.number(negative)?;
        if number.whole.abs() >= limit {
            return Err(Wrong::Range);
        }
        if number.fraction != 0.0 && unit_us != SECOND_US {
            return Err(Wrong::Syntax);
        }
        let us = number.whole * unit_us + (number.fraction * unit_us as f64).round() as i64;
        total = total.checked_add(us).ok_or(Wrong::Range)?;
    }
    Ok(total)
}

/// ISO 8601 with designators, behind its P.
fn read_iso(text: &str) -> Result<Parts, Wrong> {
    let mut cursor = Cursor { rest: text.as_bytes() };
    let mut parts = Parts::default();
    let mut in_time = false;
    let mut any = false;
    while !cursor.rest.is_empty() {
        if let [b'T' | b't', rest @ ..] = cursor.rest {
            cursor.rest = rest;
            in_time = true;
            continue;
        }
        let negative = cursor.sign();
        let number = cursor.number(negative)?;
        let designator = cursor.rest.first().map(u8::to_ascii_uppercase);
        cursor.skip_one();
        let unit = match (designator, in_time) {
            (Some(b'Y'), false) => Unit::Months(12),
            (Some(b'M'), false) => Unit::Months(1),
            (Some(b'W'), false) => Unit::Days(7),
            (Some(b'D'), false) => Unit::Days(1),
            (Some(b'H'), true) => Unit::Microseconds(HOUR_US),
            (Some(b'M'), true) => Unit::Microseconds(MINUTE_US),
            (Some(b'S'), true) => Unit::Microseconds(SECOND_US),
            _ => return Err(Wrong::Syntax),
        };
        parts.add(number, unit)?;
        any = true;
    }
    if any { Ok(parts) } else { Err(Wrong::Syntax) }
}

fn unit_of(word: &[u8]) -> Option<Unit> {
    Some(match word.to_ascii_lowercase().as_slice() {
        b"us" | b"usec" | b"usecs" | b"usecond" | b"useconds" | b"microsecond" | b"microseconds" => {
            Unit::Microseconds(1)
        }
        b"ms" | b"msec" | b"msecs" | b"msecond" | b"mseconds" | b"millisecond" | b"milliseconds" => {
            Unit::Microseconds(1000)
        }
        b"s" | b"sec" | b"secs" | b"second" | b"seconds" => Unit::Microseconds(SECOND_US),
        b"m" | b"min" | b"mins" | b"minute" | b"minutes" => Unit::Microseconds(MINUTE_US),
        b"h" | b"hr" | b"hrs" | b"hour" | b"hours" => Unit::Microseconds(HOUR_US),
        b"d" | b"day" | b"days" => Unit::Days(1),
        b"w" | b"week" | b"weeks" => Unit::Days(7),
        b"mon" | b"mons" | b"month" | b"months" => Unit::Months(1),
        b"y" | b"yr" | b"yrs" | b"year" | b"years" => Unit::Months(12),
        b"dec" | b"decs" | b"decade" | b"decades" => Unit::Months(120),
        b"c" | b"cent" | b"century" | b"centuries" => Unit::Months(1200),
        b"mil" | b"mils" | b"millennium" | b"millennia" => Unit::Months(12_000),
        _ => return None,
    })
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn skip(&mut self, while_true: impl Fn(u8) -> bool) {
        while let [first, rest @ ..] = self.rest
            && while_true(*first)
        {
            self.rest = rest;
        }
    }

    fn skip_one(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn take(&mut self, while_true: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !while_true(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn word(&mut self) -> &'a [u8] {
        self.take(|byte| byte.is_ascii_alphabetic())
    }

    fn sign(&mut self) -> bool {
        let negative = self.rest.first() == Some(&b'-');
        if negative || self.rest.first() == Some(&b'+') {
            self.skip_one();
        }
        negative
    }

    fn number(&mut self, negative: bool) -> Result<Number, Wrong> {
        let digits = self.take(|byte| byte.is_ascii_digit());
        let mut whole = 0i64;
        for digit in digits {
            let next = whole.checked_mul(10).and_then(|value| value.checked_add((digit - b'0').into()));
            whole = next.ok_or(Wrong::Range)?;
        }
        let mut fraction = 0.0;
        let mut any = !digits.is_empty();
        if self.rest.first() == Some(&b'.') {
            let text = std::str::from_utf8(self.rest).unwrap_or_default();
            let end = text[1..].bytes().position(|byte| !byte.is_ascii_digit()).map_or(text.len(), |end| end + 1);
            any |= end > 1;
            if end > 1 {
                fraction = text[..end].parse().map_err(|_| Wrong::Syntax)?;
            }
            self.rest = self.rest.get(end..).unwrap_or_default();
        }
        if !any {
            return Err(Wrong::Syntax);
        }
        let sign = if negative { -1 } else { 1 };
        Ok(Number { whole: whole * sign, fraction: fraction * sign as f64 })
    }
}
