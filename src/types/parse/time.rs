//! Dates and timestamps from text.
//!
//! ISO forms are read by position. Everything else that PostgreSQL reads with DateStyle `ISO, MDY` is taken apart into
//! words: `Jan 8, 1999 4:05 PM PST`, `1/8/1999`, `19990108`, `0044-03-15 BC`, `epoch`, `infinity`.

use std::str::FromStr;

use chrono_tz::Tz;

use super::{invalid, out_of_range};
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{CivilDate, DAY_US, HOUR_US, MINUTE_US, SECOND_US, offset_of_local};

/// Days since 1970; the ends of the range are the infinities. The clock part of a timestamp is cut off.
pub fn parse_date(text: &str) -> Result<i32> {
    let moment = Moment::read(text, "date")?;
    match moment {
        Moment::Infinity => Ok(i32::MAX),
        Moment::NegativeInfinity => Ok(i32::MIN),
        Moment::Clock { date, .. } => match i32::try_from(date.days()) {
            Ok(days) if date.year >= -4712 && days != i32::MAX => Ok(days),
            _ => Err(out_of_range("date", text)),
        },
    }
}

/// Microseconds since 1970 of a clock without a zone; a zone in the text means nothing, as in PostgreSQL.
pub fn parse_timestamp(text: &str) -> Result<i64> {
    match Moment::read(text, "timestamp")? {
        Moment::Infinity => Ok(i64::MAX),
        Moment::NegativeInfinity => Ok(i64::MIN),
        Moment::Clock { date, time_us, .. } => local_us(date, time_us, text),
    }
}

/// Microseconds since 1970 UTC; without a zone in the text, the clock is `zone`'s.
pub fn parse_timestamptz(text: &str, zone: Tz) -> Result<i64> {
    match Moment::read(text, "timestamp with time zone")? {
        Moment::Infinity => Ok(i64::MAX),
        Moment::NegativeInfinity => Ok(i64::MIN),
        Moment::Clock { date, time_us, zone: named } => {
            let local = local_us(date, time_us, text)?;
            let offset = match named {
                Some(Zone::Offset(seconds)) => seconds,
                Some(Zone::Named(named)) => offset_of_local(named, local),
                None => offset_of_local(zone, local),
            };
            local
                .checked_sub(i64::from(offset) * SECOND_US)
                .filter(|us| *us != i64::MAX && *us != i64::MIN)
                .ok_or_else(|| out_of_range("timestamp", text))
        }
    }
}

/// A zone by its IANA name, in any case, as SET TimeZone takes it. Offsets are not zones.
pub fn parse_time_zone(name: &str) -> Option<Tz> {
    if let Ok(zone) = Tz::from_str(name) {
        return Some(zone);
    }
    chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name)).copied()
}

fn local_us(date: CivilDate, time_us: i64, text: &str) -> Result<i64> {
    date.days()
        .checked_mul(DAY_US)
        .and_then(|us| us.checked_add(time_us))
        .filter(|us| date.year >= -4712 && *us != i64::MAX && *us != i64::MIN)
        .ok_or_else(|| out_of_range("timestamp", text))
}

enum Moment {
    Infinity,
    NegativeInfinity,
    Clock { date: CivilDate, time_us: i64, zone: Option<Zone> },
}

#[derive(Clone, Copy)]
enum Zone {
    /// Seconds east of UTC.
    Offset(i32),
    Named(Tz),
}

impl Moment {
    fn read(text: &str, type_name: &'static str) -> Result<Moment> {
        match read_iso(text.as_bytes()) {
            Some(moment) => Ok(moment),
            None => Words { text, type_name, ..Words::default() }.read(),
        }
    }
}

/// `2024-07-01`, `2024-07-01 12:00[:00[.123456]][Z|+02|-05:30]`; `None` leaves the rest to the slow way.
fn read_iso(text: &[u8]) -> Option<Moment> {
    let (day, rest) = text.split_at_checked(10)?;
    if day[4] != b'-' || day[7] != b'-' {
        return None;
    }
    let year = i64::from(two_digits(day[0], day[1])?) * 100 + i64::from(two_digits(day[2], day[3])?);
    let date = CivilDate { year, month: two_digits(day[5], day[6])?, day: two_digits(day[8], day[9])? };
    if !date.is_valid() || year == 0 {
        return None;
    }
    let Some((separator, clock)) = rest.split_first() else {
        return Some(Moment::Clock { date, time_us: 0, zone: None });
    };
    if !matches!(separator, b' ' | b'T') {
        return None;
    }
    let (time_us, rest) = read_iso_time(clock)?;
    let zone = match rest {
        [] => None,
        [b'Z'] => Some(Zone::Offset(0)),
        [b'+' | b'-', ..] => Some(Zone::Offset(read_offset(rest)?)),
        _ => return None,
    };
    Some(Moment::Clock { date, time_us, zone })
}

fn two_digits(high: u8, low: u8) -> Option<u32> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    (high <= 9 && low <= 9).then(|| u32::from(high) * 10 + u32::from(low))
}

/// `HH:MM[:SS[.fraction]]` within the day, and what follows it.
fn read_iso_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let [h1, h2, b':', m1, m2, rest @ ..] = text else { return None };
    let (hours, minutes) = (two_digits(*h1, *h2)?, two_digits(*m1, *m2)?);
    let (seconds, rest) = match rest {
        [b':', s1, s2, rest @ ..] => (two_digits(*s1, *s2)?, rest),
        rest => (0, rest),
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let whole = i64::from(hours) * HOUR_US + i64::from(minutes) * MINUTE_US + i64::from(seconds) * SECOND_US;
    let (fraction_us, rest) = match rest {
        [b'.', rest @ ..] => read_fraction(rest),
        rest => (0, rest),
    };
    Some((whole + fraction_us, rest))
}

/// Digits behind a point, rounded to microseconds, and what follows them.
fn read_fraction(text: &[u8]) -> (i64, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let mut us = 0;
    let mut unit = 100_000;
    for digit in digits.iter().take(6) {
        us += i64::from(digit - b'0') * unit;
        unit /= 10;
    }
    let round_up = digits.get(6).is_some_and(|digit| *digit >= b'5');
    (us + i64::from(round_up), rest)
}

/// `+02`, `-0530`, `+05:30`, `+00:53:28`; seconds east of UTC, at most 15:59:59.
fn read_offset(text: &[u8]) -> Option<i32> {
    let (sign, digits) = text.split_first()?;
    let number = |digits: &[u8]| -> Option<i32> {
        digits
            .iter()
            .try_fold(0i32, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i32::from(digit - b'0')))
    };
    let mut parts = digits.split(|byte| *byte == b':');
    let first = parts.next().filter(|first| (1..=4).contains(&first.len()))?;
    let (hours, minutes) = match first.len() {
        1 | 2 => (number(first)?, parts.next().map_or(Some(0), number)?),
        _ => (number(first)? / 100, number(first)? % 100),
    };
    let seconds = parts.next().map_or(Some(0), number)?;
    if parts.next().is_some() || hours > 15 || minutes > 59 || seconds > 59 {
        return None;
    }
    let offset = hours * 3600 + minutes * 60 + seconds;
    Some(if *sign == b'-' { -offset } else { offset })
}

/// What the words of a text say so far.
#[derive(Default)]
struct Words<'a> {
    text: &'a str,
    type_name: &'static str,
    date: Option<CivilDate>,
    month: Option<u32>,
    /// Numbers that stand alone: the day and the year beside a month's name.
    numbers: Vec<&'a str>,
    time_us: Option<i64>,
    zone: Option<Zone>,
    before_christ: bool,
    afternoon: Option<bool>,
}

impl<'a> Words<'a> {
    fn read(mut self) -> Result<Moment> {
        let trimmed = self.text.trim_ascii();
        if let Some(moment) = self.special(trimmed)? {
            return Ok(moment);
        }
        for word in trimmed.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|word| !word.is_empty()) {
            self.word(word)?;
        }
        self.finish()
    }

    fn special(&self, word: &str) -> Result<Option<Moment>> {
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        if is("infinity") || is("+infinity") {
            Ok(Some(Moment::Infinity))
        } else if is("-infinity") {
            Ok(Some(Moment::NegativeInfinity))
        } else if is("epoch") {
            let date = CivilDate { year: 1970, month: 1, day: 1 };
            Ok(Some(Moment::Clock { date, time_us: 0, zone: Some(Zone::Offset(0)) }))
        } else if ["now", "today", "tomorrow", "yesterday"].into_iter().any(is) {
            Err(Error::not_built(format_args!("{} value \"{word}\"", self.type_name))
                .with_hint("Use now() or current_date in an expression."))
        } else {
            Ok(None)
        }
    }

    fn word(&mut self, word: &'a str) -> Result<()> {
        let bytes = word.as_bytes();
        let first = bytes[0];
        if first.is_ascii_digit() {
            return self.digits(word);
        }
        if matches!(first, b'+' | b'-') && self.time_us.is_some() {
            return self.set_zone(Zone::Offset(read_offset(bytes).ok_or_else(|| self.invalid())?));
        }
        if matches!(first, b'T' | b't') && bytes.get(1).is_some_and(u8::is_ascii_digit) && self.time_us.is_none() {
            return self.time(&word[1..]);
        }
        self.name(word)
    }

    /// A word that begins with a digit: a date, a time, both joined by T, or a number.
    fn digits(&mut self, word: &'a str) -> Result<()> {
        if let Some((date, time)) = word.split_once(['T', 't'])
            && !date.contains(':')
            && time.starts_with(|c: char| c.is_ascii_digit())
        {
            self.digits(date)?;
            return self.time(time);
        }
        if word.contains(':') {
            return self.time(word);
        }
        if word.contains(['-', '/', '.']) {
            return self.date(word);
        }
        let digits_end = word.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(word.len());
        let (number, rest) = word.split_at(digits_end);
        if !rest.is_empty() {
            // `4PM`, `8th` is not PostgreSQL's.
            let hour = format!("{number}:00");
            return match rest.to_ascii_lowercase().as_str() {
                "am" | "pm" => {
                    self.time_us = Some(self.clock(&hour)?.0);
                    self.name(rest)
                }
                _ => Err(self.invalid()),
            };
        }
        match number.len() {
            8 if self.date.is_none() => self.set_date(&number[..4], &number[4..6], &number[6..]),
            6 if self.date.is_none() && self.month.is_none() => {
                self.set_date(&number[..2], &number[2..4], &number[4..])
            }
            _ => {
                self.numbers.push(number);
                Ok(())
            }
        }
    }

    /// Three parts between `-`, `/` or `.`: year first if it has three digits or more, else month, day, year.
    fn date(&mut self, word: &'a str) -> Result<()> {
        let mut parts = word.split(['-', '/', '.']);
        let (Some(first), Some(second), Some(third), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(self.invalid());
        };
        if let Some(month) = month_of(second) {
            let month = month.to_string();
            return match first.len() > 2 {
                true => self.set_date(first, &month, third),
                false => self.set_date(third, &month, first),
            };
        }
        match first.len() > 2 {
            true => self.set_date(first, second, third),
            false => self.set_date(third, first, second),
        }
    }

    fn set_date(&mut self, year: &str, month: &str, day: &str) -> Result<()> {
        if self.date.is_some() {
            return Err(self.invalid());
        }
        let number = |text: &str| text.parse::<u32>().map_err(|_| self.invalid());
        let written = i64::from(number(year)?);
        let year = match year.len() {
            2 if written < 70 => written + 2000,
            2 => written + 1900,
            _ => written,
        };
        self.date = Some(CivilDate { year, month: number(month)?, day: number(day)? });
        Ok(())
    }

    /// A clock time with whatever zone is stuck to it.
    fn time(&mut self, word: &str) -> Result<()> {
        if self.time_us.is_some() {
            return Err(self.invalid());
        }
        let (time_us, rest) = self.clock(word)?;
        self.time_us = Some(time_us);
        match rest.as_bytes() {
            [] => Ok(()),
            [b'+' | b'-', ..] => {
                self.set_zone(Zone::Offset(read_offset(rest.as_bytes()).ok_or_else(|| self.invalid())?))
            }
            _ => self.name(rest),
        }
    }

    /// `H:M[:S[.fraction]]`; 24:00:00 and a 60th second are the start of the next day or minute.
    fn clock<'t>(&self, text: &'t str) -> Result<(i64, &'t str)> {
        let mut parts = [0i64; 3];
        let mut rest = text;
        let mut fraction_us = 0;
        for (index, part) in parts.iter_mut().enumerate() {
            if index > 0 {
                match rest.strip_prefix(':') {
                    Some(after) => rest = after,
                    None if index == 2 => break,
                    None => return Err(self.invalid()),
                }
            }
            let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
            if end == 0 || end > 2 {
                return Err(self.invalid());
            }
            *part = rest[..end].parse().map_err(|_| self.invalid())?;
            rest = &rest[end..];
        }
        if let Some(digits) = rest.strip_prefix('.') {
            let (us, after) = read_fraction(digits.as_bytes());
            fraction_us = us;
            rest = &digits[digits.len() - after.len()..];
        }
        let [hours, minutes, seconds] = parts;
        let time_us = hours * HOUR_US + minutes * MINUTE_US + seconds * SECOND_US + fraction_us;
        if minutes > 59 || seconds > 60 || time_us > DAY_US {
            return Err(self.field_out_of_range());
        }
        Ok((time_us, rest))
    }

    fn name(&mut self, word: &str) -> Result<()> {
        if let Some(month) = month_of(word) {
            self.month = Some(month);
            return Ok(());
        }
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "bc" => self.before_christ = true,
            "ad" => {}
            "am" => self.afternoon = Some(false),
            "pm" => self.afternoon = Some(true),
            _ if is_weekday(&lower) => {}
            _ => {
                let zone = zone_of(&lower, word);
                return match zone {
                    Some(zone) => self.set_zone(zone),
                    None if word.contains('/') => {
                        Err(Error::new(SqlState::INVALID_PARAMETER, format!("time zone \"{word}\" not recognized")))
                    }
                    None => Err(self.invalid()),
                };
            }
        }
        Ok(())
    }

    fn set_zone(&mut self, zone: Zone) -> Result<()> {
        if self.zone.replace(zone).is_some() {
            return Err(self.invalid());
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Moment> {
        if let Some(month) = self.month {
            // Beside a month's name: day and year in either order, the one of three digits or more is the year.
            let &[first, second] = self.numbers.as_slice() else { return Err(self.invalid()) };
            let month = month.to_string();
            match first.len() > 2 {
                true => self.set_date(first, &month, second)?,
                false => self.set_date(second, &month, first)?,
            }
        } else if !self.numbers.is_empty() {
            return Err(self.invalid());
        }
        let mut date = self.date.ok_or_else(|| self.invalid())?;
        if date.year == 0 {
            return Err(self.field_out_of_range());
        }
        if self.before_christ {
            date.year = 1 - date.year;
        }
        if !date.is_valid() {
            return Err(self.field_out_of_range());
        }
        Ok(Moment::Clock { date, time_us: self.time_of_day()?, zone: self.zone })
    }

    fn time_of_day(&self) -> Result<i64> {
        let time_us = self.time_us.unwrap_or(0);
        match self.afternoon {
            None => Ok(time_us),
            Some(_) if time_us >= 13 * HOUR_US || self.time_us.is_none() => Err(self.field_out_of_range()),
            Some(afternoon) => Ok(time_us % (12 * HOUR_US) + i64::from(afternoon) * 12 * HOUR_US),
        }
    }

    fn invalid(&self) -> Error {
        invalid(self.type_name, self.text)
    }

    fn field_out_of_range(&self) -> Error {
        Error::new(SqlState::DATETIME_OVERFLOW, format!("date/time field value out of range: \"{}\"", self.text))
    }
}

fn month_of(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let lower = word.to_ascii_lowercase();
    let is = |month: &&str| {
        **month == lower
            || (lower.len() == 3 && month.starts_with(&lower))
            || (lower == "sept" && **month == *"september")
    };
    MONTHS.iter().position(is).map(|index| index as u32 + 1)
}

fn is_weekday(lower: &str) -> bool {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    DAYS.iter().any(|day| *day == lower || (lower.len() == 3 && day.starts_with(lower)))
}

/// PostgreSQL's usual abbreviations, and IANA names.
fn zone_of(lower: &str, word: &str) -> Option<Zone> {
    let hours = match lower {
        "z" | "utc" | "gmt" | "ut" | "zulu" | "wet" => 0,
        "cet" | "bst" | "west" => 1,
        "cest" | "eet" | "ist" => 2,
        "eest" | "msk" => 3,
        "jst" | "kst" => 9,
        "edt" => -4,
        "est" | "cdt" => -5,
        "cst" | "mdt" => -6,
        "mst" | "pdt" => -7,
        "pst" => -8,
        _ => return parse_time_zone(word).map(Zone::Named),
    };
    Some(Zone::Offset(hours * 3600))
}
