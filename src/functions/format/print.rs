//! Times by a pattern, as text.

use chrono::{DateTime, TimeZone};
use chrono_tz::{OffsetName, Tz};

use super::pattern::{Case, Field, Key, Piece};
use crate::error::{Error, SqlState};
use crate::functions::clock::iso_week;
use crate::types::calendar::{CivilDate, DAY_US, HOUR_US, MINUTE_US, SECOND_US};

pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
pub const ROMAN_DIGITS: [(i64, &str); 13] = [
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
];

/// What is printed.
pub struct Printed {
    year: i64,
    month: i64,
    day: i64,
    /// `None` of an interval.
    days: Option<i64>,
    /// Of an interval: years of 360 days, months of 30.
    interval_days: i64,
    hour: i64,
    time_us: i64,
    /// Seconds east of UTC, and the zone's name at that time; of a timestamp without zone 0 and nothing.
    offset: i64,
    zone: String,
}

impl Printed {
    pub fn clock(local_us: i64) -> Self {
        let days = local_us.div_euclid(DAY_US);
        let date = CivilDate::from_days(days);
        let time_us = local_us.rem_euclid(DAY_US);
        Printed {
            year: date.year,
            month: date.month.into(),
            day: date.day.into(),
            days: Some(days),
            interval_days: 0,
            hour: time_us / HOUR_US,
            time_us,
            offset: 0,
            zone: String::new(),
        }
    }

    /// `None` where the zone's clock leaves the range.
    pub fn instant(instant_us: i64, zone: Tz) -> Option<Self> {
        let offset = i64::from(crate::types::calendar::offset_at(zone, instant_us));
        let mut printed = Printed::clock(instant_us.checked_add(offset * SECOND_US)?);
        let at = DateTime::from_timestamp_micros(instant_us).unwrap_or_default().naive_utc();
        let known = zone.offset_from_utc_datetime(&at);
        printed.zone = known.abbreviation().unwrap_or_default().to_owned();
        printed.offset = offset;
        Some(printed)
    }

    pub fn interval(months: i32, days: i32, time_us: i64) -> Self {
        let (year, month) = (i64::from(months) / 12, i64::from(months) % 12);
        Printed {
            year,
            month,
            day: days.into(),
            days: None,
            interval_days: year * 360 + month * 30 + i64::from(days),
            hour: time_us / HOUR_US,
            time_us,
            offset: 0,
            zone: String::new(),
        }
    }

    pub fn print(&self, pieces: &[Piece]) -> Result<String, Error> {
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Field(field) => self.field(field, &mut out)?,
                Piece::Space => out.push(' '),
                Piece::Separator(c) | Piece::Text(c) => out.push(*c),
            }
        }
        Ok(out)
    }

    fn field(&self, field: &Field, out: &mut String) -> Result<(), Error> {
        let start = out.len();
        let width = |width: usize| if field.fill { 0 } else { width };
        let number = |value: i64, width: usize, out: &mut String| {
            // The sign is part of the width, as printf has it.
            out.push_str(&format!("{value:0width$}"));
        };
        let days = || self.days.ok_or_else(not_of_an_interval);
        // There is no year 0: 1 BC is printed as 1.
        let shown = |year: i64| if self.days.is_some() && year <= 0 { 1 - year } else { year };
        match field.key {
            Key::Era(points) => {
                days()?;
                let name = if self.year > 0 { "AD" } else { "BC" };
                out.push_str(&cased(&pointed(name, points), field.case));
            }
            Key::Meridiem(points) => {
                let name = if self.hour.rem_euclid(24) >= 12 { "PM" } else { "AM" };
                out.push_str(&cased(&pointed(name, points), field.case));
            }
            Key::Century => {
                let century = match self.days {
                    None => self.year / 100,
                    Some(_) if self.year > 0 => (self.year - 1) / 100 + 1,
                    Some(_) => self.year / 100 - 1,
                };
                number(century, width(if century >= 0 { 2 } else { 3 }), out);
            }
            Key::DayName => padded(DAYS[weekday(days()?)], field, 9, out),
            Key::DayNameShort => padded(&DAYS[weekday(days()?)][..3], field, 0, out),
            Key::DayOfYear => match self.days {
                Some(days) => {
                    number(days - CivilDate { year: self.year, month: 1, day: 1 }.days() + 1, width(3), out);
                }
                None => number(self.interval_days, width(3), out),
            },
            Key::IsoDayOfYear => {
                let days = days()?;
                let (_, week) = iso_week(days);
                number((week - 1) * 7 + (days + 3).rem_euclid(7) + 1, width(3), out);
            }
            Key::Day => number(self.day, width(2), out),
            Key::DayOfWeek => number(weekday(days()?) as i64 + 1, 0, out),
            Key::IsoDayOfWeek => number((days()? + 3).rem_euclid(7) + 1, 0, out),
            Key::Fraction(digits) => {
                let fraction = (self.time_us % SECOND_US) / 10_i64.pow(6 - digits as u32);
                number(fraction, digits, out);
            }
            Key::Exact => {}
            Key::Hour24 => number(self.hour, width(if self.hour >= 0 { 2 } else { 3 }), out),
            Key::Hour12 => {
                let hour = if self.hour % 12 == 0 { 12 } else { self.hour % 12 };
                number(hour, width(if self.hour >= 0 { 2 } else { 3 }), out);
            }
            Key::Minute => {
                let minute = self.time_us / MINUTE_US % 60;
                number(minute, width(if minute >= 0 { 2 } else { 3 }), out);
            }
            Key::Second => {
                let second = self.time_us / SECOND_US % 60;
                number(second, width(if second >= 0 { 2 } else { 3 }), out);
            }
            Key::SecondOfDay => number(self.time_us / SECOND_US, 0, out),
            Key::IsoWeek => number(iso_week(days()?).1, width(2), out),
            Key::IsoYear(digits) => last_digits(shown(iso_week(days()?).0), digits, field.fill, out),
            Key::Year(digits) => last_digits(shown(self.year), digits, field.fill, out),
            Key::YearComma => {
                let year = shown(self.year);
                out.push_str(&format!("{},{:03}", year / 1000, year % 1000));
            }
            Key::Julian => number(days()? + 2_440_588, 0, out),
            Key::Month => number(self.month, width(if self.month >= 0 { 2 } else { 3 }), out),
            Key::MonthName => {
                days()?;
                padded(MONTHS[(self.month as usize).clamp(1, 12) - 1], field, 9, out);
            }
            Key::MonthNameShort => {
                days()?;
                padded(&MONTHS[(self.month as usize).clamp(1, 12) - 1][..3], field, 0, out);
            }
            Key::Quarter => match self.month {
                0 => {}
                month => number((month - 1) / 3 + 1, 0, out),
            },
            Key::Roman => match self.month {
                0 => {}
                month => padded(ROMAN[(month - 1).rem_euclid(12) as usize], field, 4, out),
            },
            Key::Week => {
                let days = days()?;
                number((days - CivilDate { year: self.year, month: 1, day: 1 }.days()) / 7 + 1, width(2), out);
            }
            Key::WeekOfMonth => number((self.day - 1) / 7 + 1, 0, out),
            Key::Zone => {
                days()?;
                out.push_str(&cased(&self.zone, field.case));
            }
            Key::ZoneHour => {
                days()?;
                out.push(if self.offset < 0 { '-' } else { '+' });
                number(self.offset.abs() / 3600, 2, out);
            }
            Key::ZoneMinute => {
                days()?;
                number(self.offset.abs() / 60 % 60, 2, out);
            }
            Key::Offset => {
                days()?;
                out.push(if self.offset < 0 { '-' } else { '+' });
                number(self.offset.abs() / 3600, width(2), out);
                if self.offset % 3600 != 0 {
                    out.push(':');
                    number(self.offset.abs() / 60 % 60, 2, out);
                }
            }
        }
        if let Some(case) = field.ordinal
            && field.key != Key::Exact
        {
            let ending = ordinal(&out[start..]);
            out.push_str(&cased(ending, case));
        }
        Ok(())
    }
}

fn weekday(days: i64) -> usize {
    (days + 4).rem_euclid(7) as usize
}

fn pointed(name: &str, points: bool) -> String {
    match points {
        true => name.chars().flat_map(|c| [c, '.']).collect(),
        false => name.to_owned(),
    }
}

fn cased(text: &str, case: Case) -> String {
    match case {
        Case::Upper => text.to_uppercase(),
        Case::Lower => text.to_lowercase(),
        Case::Title => text.to_owned(),
    }
}

fn padded(name: &str, field: &Field, width: usize, out: &mut String) {
    let width = if field.fill { 0 } else { width };
    out.push_str(&format!("{:width$}", cased(name, field.case)));
}

fn last_digits(year: i64, digits: usize, fill: bool, out: &mut String) {
    let shown = if digits == 4 { year } else { year % 10_i64.pow(digits as u32) };
    let width = if fill { 0 } else { digits + usize::from(digits == 4 && year < 0) };
    out.push_str(&format!("{shown:0width$}"));
}

/// Of a number that ends with these digits.
pub fn ordinal(number: &str) -> &'static str {
    let digits: Vec<char> = number.chars().rev().take(2).collect();
    match digits.as_slice() {
        [_, '1'] => "th",
        ['1', ..] => "st",
        ['2', ..] => "nd",
        ['3', ..] => "rd",
        _ => "th",
    }
}

fn not_of_an_interval() -> Error {
    Error::new(SqlState::INVALID_DATETIME, "invalid format specification for an interval value")
        .with_hint("Intervals are not tied to specific calendar dates.")
}
