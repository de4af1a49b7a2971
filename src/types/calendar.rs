//! The proleptic Gregorian calendar over the whole range of i32 days and i64 microseconds.
//!
//! chrono's types end before PostgreSQL's do, so days and clock times are computed here; chrono-tz is asked for offsets
//! only. Algorithms: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil and civil_from_days.

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

pub const SECOND_US: i64 = 1_000_000;
pub const MINUTE_US: i64 = 60 * SECOND_US;
pub const HOUR_US: i64 = 60 * MINUTE_US;
pub const DAY_US: i64 = 24 * HOUR_US;

/// A day of the calendar; year 0 is 1 BC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CivilDate {
    pub year: i64,
    pub month: u32,
    pub day: u32,
}

impl CivilDate {
    /// Days since 1970-01-01.
    pub fn days(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month_from_march = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    pub fn from_days(days: i64) -> CivilDate {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
        CivilDate { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
    }

    /// Whether the day exists.
    pub fn is_valid(self) -> bool {
        (1..=12).contains(&self.month) && self.day >= 1 && self.day <= days_in_month(self.year, self.month)
    }
}

pub fn days_in_month(year: i64, month: u32) -> u32 {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

/// Seconds east of UTC at an instant, given in microseconds since 1970 UTC.
pub fn offset_at(zone: Tz, instant_us: i64) -> i32 {
    if zone == Tz::UTC {
        return 0;
    }
    zone.offset_from_utc_datetime(&naive(instant_us)).fix().local_minus_utc()
}

/// Seconds east of UTC for a local clock time, as PostgreSQL decides what is not one instant: a time that was skipped
/// takes the offset before the gap, a time that came twice the offset after the change.
pub fn offset_of_local(zone: Tz, local_us: i64) -> i32 {
    if zone == Tz::UTC {
        return 0;
    }
    let local = naive(local_us);
    let before_gap = || local.checked_sub_signed(TimeDelta::days(1)).unwrap_or(local);
    zone.offset_from_local_datetime(&local)
        .latest()
        .or_else(|| zone.offset_from_local_datetime(&before_gap()).latest())
        .map_or(0, |offset| offset.fix().local_minus_utc())
}

/// Beyond chrono's range zones have one offset anyway, so that its ends stand for everything outside.
fn naive(time_us: i64) -> NaiveDateTime {
    const FIRST_US: i64 = -200_000 * 365 * DAY_US;
    const LAST_US: i64 = 200_000 * 365 * DAY_US;
    DateTime::from_timestamp_micros(time_us.clamp(FIRST_US, LAST_US)).unwrap_or_default().naive_utc()
}

#[cfg(test)]
mod tests;
