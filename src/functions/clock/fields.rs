//! Fields of a time as PostgreSQL names them: what `extract` reads, and what `date_trunc` cuts to.

use crate::error::{Error, SqlState};
use crate::types::calendar::{CivilDate, DAY_US, HOUR_US, MINUTE_US, SECOND_US};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    Epoch,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

impl Field {
    pub fn parse(name: &str) -> Option<Field> {
        Some(match name.trim().to_lowercase().as_str() {
            "microseconds" | "microsecond" | "us" | "usec" | "usecs" | "usecond" | "useconds" => Field::Microseconds,
            "milliseconds" | "millisecond" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" => Field::Milliseconds,
            "second" | "seconds" | "s" | "sec" | "secs" => Field::Second,
            "minute" | "minutes" | "m" | "min" | "mins" => Field::Minute,
            "hour" | "hours" | "h" | "hr" | "hrs" => Field::Hour,
            "day" | "days" | "d" => Field::Day,
            "week" | "weeks" | "w" => Field::Week,
            "month" | "months" | "mon" | "mons" => Field::Month,
            "quarter" | "qtr" => Field::Quarter,
            "year" | "years" | "y" | "yr" | "yrs" => Field::Year,
            "decade" | "decades" | "dec" | "decs" => Field::Decade,
            "century" | "centuries" | "c" | "cent" => Field::Century,
            "millennium" | "millennia" | "mil" | "mils" => Field::Millennium,
            "dow" => Field::DayOfWeek,
            "isodow" => Field::IsoDayOfWeek,
            "doy" => Field::DayOfYear,
            "isoyear" => Field::IsoYear,
            "epoch" => Field::Epoch,
            "timezone" => Field::Timezone,
            "timezone_h" | "timezone_hour" => Field::TimezoneHour,
            "timezone_m" | "timezone_minute" => Field::TimezoneMinute,
            _ => return None,
        })
    }

    /// Digits behind the point, of a field that `extract` gives of a time with a clock.
    pub fn scale(self) -> i8 {
        match self {
            Field::Second | Field::Epoch => 6,
            Field::Milliseconds => 3,
            _ => 0,
        }
    }
}

/// 22023 for a name that is no field, 0A000 for one that the type does not have.
pub fn unknown_field(name: &str, type_name: &str) -> Error {
    let name = name.to_lowercase();
    match Field::parse(&name).is_some() || name == "julian" {
        true => {
            Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("unit \"{name}\" not supported for type {type_name}"))
        }
        false => {
            Error::new(SqlState::INVALID_PARAMETER, format!("unit \"{name}\" not recognized for type {type_name}"))
        }
    }
}

/// A field of a clock's time, times 10^scale; `None` for those that are not of the clock.
pub fn field_of_clock(field: Field, local_us: i64) -> Option<i64> {
    let days = local_us.div_euclid(DAY_US);
    let time_us = local_us.rem_euclid(DAY_US);
    let date = CivilDate::from_days(days);
    Some(match field {
        Field::Microseconds | Field::Second | Field::Milliseconds => time_us % MINUTE_US,
        Field::Minute => time_us / MINUTE_US % 60,
        Field::Hour => time_us / HOUR_US,
        Field::Day => date.day.into(),
        Field::Week => iso_week(days).1,
        Field::Month => date.month.into(),
        Field::Quarter => i64::from(date.month - 1) / 3 + 1,
        // There is no year 0: 1 BC is -1.
        Field::Year => {
            if date.year > 0 {
                date.year
            } else {
                date.year - 1
            }
        }
        Field::IsoYear => {
            let year = iso_week(days).0;
            if year > 0 { year } else { year - 1 }
        }
        Field::Decade => date.year.div_euclid(10),
        Field::Century => {
            if date.year > 0 {
                (date.year + 99) / 100
            } else {
                -((99 - (date.year - 1)) / 100)
            }
        }
        Field::Millennium => {
            if date.year > 0 {
                (date.year + 999) / 1000
            } else {
                -((999 - (date.year - 1)) / 1000)
            }
        }
        Field::DayOfWeek => (days + 4).rem_euclid(7),
        Field::IsoDayOfWeek => (days + 3).rem_euclid(7) + 1,
        Field::DayOfYear => days - CivilDate { year: date.year, month: 1, day: 1 }.days() + 1,
        Field::Epoch => local_us,
        Field::Timezone | Field::TimezoneHour | Field::TimezoneMinute => return None,
    })
}

/// The ISO year and week of a day.
pub fn iso_week(days: i64) -> (i64, i64) {
    // A week belongs to the year of its Thursday.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let year = CivilDate::from_days(thursday).year;
    let first = CivilDate { year, month: 1, day: 1 }.days();
    (year, (thursday - first) / 7 + 1)
}

/// A field of an interval, times 10^scale.
pub fn field_of_interval(field: Field, months: i32, days: i32, time_us: i64) -> Option<i64> {
    let (years, months_left) = (i64::from(months) / 12, i64::from(months) % 12);
    Some(match field {
        Field::Microseconds | Field::Second | Field::Milliseconds => time_us % MINUTE_US,
        Field::Minute => time_us / MINUTE_US % 60,
        Field::Hour => time_us / HOUR_US,
        Field::Day => days.into(),
        Field::Month => months_left,
        Field::Quarter => months_left / 3 + 1,
        Field::Year => years,
        Field::Decade => years / 10,
        Field::Century => years / 100,
        Field::Millennium => years / 1000,
        // A year has 365.25 days here, and a month 30.
        Field::Epoch => {
            let seconds = years * 31_557_600 + months_left * 30 * 86_400 + i64::from(days) * 86_400;
            seconds.checked_mul(SECOND_US)?.checked_add(time_us)?
        }
        _ => return None,
    })
}

/// The start of the unit that a clock's time is in; `None` for fields that are no units.
pub fn truncate_clock(field: Field, local_us: i64) -> Option<i64> {
    let floor = |unit: i64| local_us.checked_sub(local_us.rem_euclid(unit));
    let date = CivilDate::from_days(local_us.div_euclid(DAY_US));
    let first = |year: i64, month: u32| CivilDate { year, month, day: 1 }.days().checked_mul(DAY_US);
    // The first century began with the year 1.
    let years = |length: i64| match date.year > 0 {
        true => first((date.year + length - 1) / length * length - (length - 1), 1),
        false => first(-((length - date.year) / length) * length + 1, 1),
    };
    match field {
        Field::Microseconds => Some(local_us),
        Field::Milliseconds => floor(1000),
        Field::Second => floor(SECOND_US),
        Field::Minute => floor(MINUTE_US),
        Field::Hour => floor(HOUR_US),
        Field::Day => floor(DAY_US),
        Field::Week => {
            let days = local_us.div_euclid(DAY_US);
            (days - (days + 3).rem_euclid(7)).checked_mul(DAY_US)
        }
        Field::Month => first(date.year, date.month),
        Field::Quarter => first(date.year, (date.month - 1) / 3 * 3 + 1),
        Field::Year => first(date.year, 1),
        Field::Decade => first(date.year.div_euclid(10) * 10, 1),
        Field::Century => years(100),
        Field::Millennium => years(1000),
        _ => None,
    }
}

/// The same of an interval; `None` for what is no unit of one.
pub fn truncate_interval(field: Field, months: i32, days: i32, time_us: i64) -> Option<(i32, i32, i64)> {
    let time = |unit: i64| Some((months, days, time_us / unit * unit));
    let years = |count: i32| Some((months / (12 * count) * (12 * count), 0, 0));
    match field {
        Field::Microseconds => time(1),
        Field::Milliseconds => time(1000),
        Field::Second => time(SECOND_US),
        Field::Minute => time(MINUTE_US),
        Field::Hour => time(HOUR_US),
        Field::Day => Some((months, days, 0)),
        Field::Month => Some((months, 0, 0)),
        Field::Quarter => Some((months / 3 * 3, 0, 0)),
        Field::Year => years(1),
        Field::Decade => years(10),
        Field::Century => years(100),
        Field::Millennium => years(1000),
        _ => None,
    }
}
