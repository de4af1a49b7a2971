//! Dates, timestamps and intervals as PostgreSQL prints them, in its ISO and `postgres` styles.

use chrono_tz::Tz;

use super::number::{write_i64, write_padded};
use crate::types::calendar::{CivilDate, DAY_US, HOUR_US, MINUTE_US, SECOND_US, offset_at};

/// Days since 1970. The ends of the range are the infinities.
pub fn write_date(days: i32, out: &mut Vec<u8>) {
    match days {
        i32::MAX => out.extend_from_slice(b"infinity"),
        i32::MIN => out.extend_from_slice(b"-infinity"),
        _ => {
            let date = CivilDate::from_days(days.into());
            write_civil(date, out);
            write_era(date, out);
        }
    }
}

/// Microseconds since 1970 of a clock without a zone.
pub fn write_timestamp(value_us: i64, out: &mut Vec<u8>) {
    if write_infinity(value_us, out) {
        return;
    }
    let date = write_clock(value_us.into(), out);
    write_era(date, out);
}

/// Microseconds since 1970 UTC, printed as the zone's clock shows it, with the zone's offset.
pub fn write_timestamptz(value_us: i64, zone: Tz, out: &mut Vec<u8>) {
    if write_infinity(value_us, out) {
        return;
    }
    let offset = offset_at(zone, value_us);
    let date = write_clock(i128::from(value_us) + i128::from(offset) * i128::from(SECOND_US), out);
    write_offset(offset, out);
    write_era(date, out);
}

fn write_infinity(value_us: i64, out: &mut Vec<u8>) -> bool {
    match value_us {
        i64::MAX => out.extend_from_slice(b"infinity"),
        i64::MIN => out.extend_from_slice(b"-infinity"),
        _ => return false,
    }
    true
}

/// i128, because a zone's offset may lead out of i64.
fn write_clock(local_us: i128, out: &mut Vec<u8>) -> CivilDate {
    let day_us = i128::from(DAY_US);
    let date = CivilDate::from_days(local_us.div_euclid(day_us) as i64);
    let time_us = local_us.rem_euclid(day_us) as u64;
    write_civil(date, out);
    out.push(b' ');
    write_time(time_us, out);
    date
}

fn write_civil(date: CivilDate, out: &mut Vec<u8>) {
    let year = if date.year > 0 { date.year } else { 1 - date.year };
    write_padded(year.unsigned_abs(), 4, out);
    out.push(b'-');
    write_padded(date.month.into(), 2, out);
    out.push(b'-');
    write_padded(date.day.into(), 2, out);
}

/// PostgreSQL puts the era last, behind time and zone.
fn write_era(date: CivilDate, out: &mut Vec<u8>) {
    if date.year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

/// `04:05:06.7`: hours of at least two digits, fraction without trailing zeros.
fn write_time(time_us: u64, out: &mut Vec<u8>) {
    write_padded(time_us / HOUR_US as u64, 2, out);
    out.push(b':');
    write_padded(time_us / MINUTE_US as u64 % 60, 2, out);
    out.push(b':');
    write_padded(time_us / SECOND_US as u64 % 60, 2, out);
    let mut fraction = time_us % SECOND_US as u64;
    if fraction > 0 {
        let mut width = 6;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        out.push(b'.');
        write_padded(fraction, width, out);
    }
}

/// `+02`, `+05:30`, `-00:01:15`.
fn write_offset(offset: i32, out: &mut Vec<u8>) {
    out.push(if offset < 0 { b'-' } else { b'+' });
    let offset = u64::from(offset.unsigned_abs());
    write_padded(offset / 3600, 2, out);
    if offset % 3600 != 0 {
        out.push(b':');
        write_padded(offset / 60 % 60, 2, out);
    }
    if offset % 60 != 0 {
        out.push(b':');
        write_padded(offset % 60, 2, out);
    }
}

/// `1 year 2 mons -3 days +04:05:06.7`. A part behind a negative one carries its plus sign.
pub fn write_interval(months: i32, days: i32, time_us: i64, out: &mut Vec<u8>) {
    let mut empty = true;
    let mut after_negative = false;
    for (value, unit) in [(months / 12, " year"), (months % 12, " mon"), (days, " day")] {
        if value == 0 {
            continue;
        }
        if !empty {
            out.push(b' ');
        }
        if after_negative && value > 0 {
            out.push(b'+');
        }
        write_i64(value.into(), out);
        out.extend_from_slice(unit.as_bytes());
        if value != 1 {
            out.push(b's');
        }
        after_negative = value < 0;
        empty = false;
    }
    if time_us == 0 && !empty {
        return;
    }
    if !empty {
        out.push(b' ');
    }
    if time_us < 0 {
        out.push(b'-');
    } else if after_negative {
        out.push(b'+');
    }
    write_time(time_us.unsigned_abs(), out);
}
