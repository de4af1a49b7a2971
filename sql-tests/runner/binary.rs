//! Values in PostgreSQL's binary format, read back to the text that PostgreSQL prints.
//!
//! Written from PostgreSQL's documentation and sources, and apart from the server's own encoders, which it judges.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

type Result<T> = std::result::Result<T, String>;

/// How the session prints what depends on settings.
#[derive(Debug, Clone, Copy)]
pub struct Printing {
    pub time_zone: Tz,
}

/// A value of the type with this oid.
pub fn text_of(oid: u32, bytes: &[u8], printing: Printing) -> Result<String> {
    let mut reader = Reader(bytes);
    let text = reader.value(oid, printing)?;
    if reader.0.is_empty() { Ok(text) } else { Err(format!("{} bytes too many for type {oid}", reader.0.len())) }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("a binary value ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "a binary value ends early".to_owned())
    }

    fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn value(&mut self, oid: u32, printing: Printing) -> Result<String> {
        Ok(match oid {
            16 => match self.take(1)? {
                [1] => "t".to_owned(),
                [0] => "f".to_owned(),
                other => return Err(format!("a boolean of {other:?}")),
            },
            17 => {
                let hex: String = self.rest().iter().map(|byte| format!("{byte:02x}")).collect();
                format!("\\x{hex}")
            }
            20 => self.i64()?.to_string(),
            21 => self.i16()?.to_string(),
            23 => self.i32()?.to_string(),
            26 => self.array().map(u32::from_be_bytes)?.to_string(),
            700 => {
                let value = self.array().map(f32::from_be_bytes)?;
                float(&format!("{value:e}"), f64::from(value), 6)
            }
            701 => {
                let value = self.array().map(f64::from_be_bytes)?;
                float(&format!("{value:e}"), value, 15)
            }
            1082 => self.date()?,
            1114 => match self.i64()? {
                i64::MAX => "infinity".to_owned(),
                i64::MIN => "-infinity".to_owned(),
                us => local_time(instant(us)?),
            },
            1184 => match self.i64()? {
                i64::MAX => "infinity".to_owned(),
                i64::MIN => "-infinity".to_owned(),
                us => zoned_time(instant(us)?, printing.time_zone),
            },
            1186 => {
                let (us, days, months) = (self.i64()?, self.i32()?, self.i32()?);
                interval(months, days, us)
            }
            1700 => self.numeric()?,
            3802 => match self.take(1)? {
                [1] => String::from_utf8(self.rest().to_vec()).map_err(|_| "a jsonb that is not UTF-8".to_owned())?,
                other => return Err(format!("a jsonb of version {other:?}")),
            },
            2950 => {
                let hex: String = self.array::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
                let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
                groups.join("-")
            }
            1000 | 1001 | 1002 | 1003 | 1005 | 1007 | 1009 | 1015 | 1016 | 1021 | 1022 | 1028 | 1115 | 1182 | 1185
            | 1187 | 1231 | 2951 | 3807 => self.list(printing)?,
            _ => String::from_utf8(self.rest().to_vec()).map_err(|_| format!("type {oid}: not UTF-8"))?,
        })
    }

    fn rest(&mut self) -> &[u8] {
        std::mem::take(&mut self.0)
    }

    fn date(&mut self) -> Result<String> {
        let days = self.i32()?;
        let date = match days {
            i32::MAX => return Ok("infinity".to_owned()),
            i32::MIN => return Ok("-infinity".to_owned()),
            0.. => epoch().date().checked_add_days(Days::new(days as u64)),
            _ => epoch().date().checked_sub_days(Days::new(u64::from(days.unsigned_abs()))),
        };
        let date = date.ok_or("a date out of range")?;
        Ok(format!("{}{}", calendar_day(date), era(date)))
    }

    /// Base 10,000 digits, of which the first stands `weight` places before the point.
    fn numeric(&mut self) -> Result<String> {
        let (count, weight) = (self.i16()?, self.i16()?);
        let (sign, scale) = (self.i16()? as u16, self.i16()?);
        let digits = (0..count).map(|_| self.i16()).collect::<Result<Vec<i16>>>()?;
        if sign == 0xC000 {
            return Ok("NaN".to_owned());
        }
        let at = |place: i32| digits.get(usize::try_from(i32::from(weight) - place).ok()?).copied();
        let mut text: String =
            (0..=i32::from(weight).max(0)).rev().map(|p| format!("{:04}", at(p).unwrap_or(0))).collect();
        text = match text.trim_start_matches('0') {
            "" => "0".to_owned(),
            digits => digits.to_owned(),
        };
        if scale > 0 {
            let places = (i32::from(scale) + 3) / 4;
            let fraction: String = (1..=places).map(|place| format!("{:04}", at(-place).unwrap_or(0))).collect();
            text.push('.');
            text.push_str(&fraction[..scale as usize]);
        }
        Ok(if sign == 0x4000 { format!("-{text}") } else { text })
    }

    fn list(&mut self, printing: Printing) -> Result<String> {
        let (dimensions, _nulls, oid) = (self.i32()?, self.i32()?, self.i32()? as u32);
        if dimensions == 0 {
            return Ok("{}".to_owned());
        }
        if dimensions != 1 {
            return Err(format!("a list of {dimensions} dimensions"));
        }
        let (count, _first) = (self.i32()?, self.i32()?);
        let mut elements = Vec::new();
        for _ in 0..count {
            let length = self.i32()?;
            elements.push(match usize::try_from(length) {
                Err(_) => "NULL".to_owned(),
                Ok(length) => quoted(&text_of(oid, self.take(length)?, printing)?),
            });
        }
        Ok(format!("{{{}}}", elements.join(",")))
    }
}

fn quoted(element: &str) -> String {
    let plain = |letter: char| !matches!(letter, '{' | '}' | ',' | '"' | '\\') && !letter.is_whitespace();
    if !element.is_empty() && !element.eq_ignore_ascii_case("null") && element.chars().all(plain) {
        return element.to_owned();
    }
    format!("\"{}\"", element.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Shortest digits, with an exponent below 1e-4 and from 1e15 (real: 1e6) on.
fn float(scientific: &str, value: f64, plain_max: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..plain_max).contains(&exponent) && value != 0.0 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits.replace('.', "")),
        None => ("", mantissa.replace('.', "")),
    };
    let places = exponent + 1;
    if places <= 0 {
        return format!("{sign}0.{}{digits}", "0".repeat(places.unsigned_abs() as usize));
    }
    let places = places as usize;
    if digits.len() <= places {
        return format!("{sign}{digits}{}", "0".repeat(places - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..places], &digits[places..])
}

fn epoch() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default().into()
}

fn instant(us: i64) -> Result<NaiveDateTime> {
    epoch().checked_add_signed(TimeDelta::microseconds(us)).ok_or("a time out of range".to_owned())
}

fn calendar_day(date: NaiveDate) -> String {
    let year = if date.year() > 0 { date.year() } else { 1 - date.year() };
    format!("{year:04}-{:02}-{:02}", date.month(), date.day())
}

fn era(date: NaiveDate) -> &'static str {
    if date.year() > 0 { "" } else { " BC" }
}

fn day_and_time(time: NaiveDateTime) -> String {
    let whole = time.format("%H:%M:%S");
    let fraction = match time.and_utc().timestamp_subsec_micros() {
        0 => String::new(),
        us => format!(".{us:06}").trim_end_matches('0').to_owned(),
    };
    format!("{} {whole}{fraction}", calendar_day(time.date()))
}

fn local_time(time: NaiveDateTime) -> String {
    format!("{}{}", day_and_time(time), era(time.date()))
}

fn zoned_time(utc: NaiveDateTime, zone: Tz) -> String {
    let zoned: DateTime<Tz> = zone.from_utc_datetime(&utc);
    let offset = zoned.offset().fix().local_minus_utc();
    let (sign, seconds) = (if offset < 0 { '-' } else { '+' }, offset.abs());
    let mut text = format!("{sign}{:02}", seconds / 3600);
    if seconds % 3600 != 0 {
        text.push_str(&format!(":{:02}", seconds % 3600 / 60));
    }
    if seconds % 60 != 0 {
        text.push_str(&format!(":{:02}", seconds % 60));
    }
    let local = zoned.naive_local();
    format!("{}{text}{}", day_and_time(local), era(local.date()))
}

/// IntervalStyle postgres: after a negative part, a positive one says so.
fn interval(months: i32, days: i32, us: i64) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut after_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value != 0 {
            let plus = if after_negative && value > 0 { "+" } else { "" };
            let plural = if value == 1 { "" } else { "s" };
            parts.push(format!("{plus}{value} {unit}{plural}"));
            after_negative = value < 0;
        }
    }
    if us != 0 || parts.is_empty() {
        let sign = if us < 0 {
            "-"
        } else if after_negative {
            "+"
        } else {
            ""
        };
        let (seconds, fraction) = (us.unsigned_abs() / 1_000_000, us.unsigned_abs() % 1_000_000);
        let mut time = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        if fraction != 0 {
            time.push_str(format!(".{fraction:06}").trim_end_matches('0'));
        }
        parts.push(time);
    }
    parts.join(" ")
}
