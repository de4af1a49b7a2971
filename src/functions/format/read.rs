//! Texts by a pattern, as times: what `to_timestamp` and `to_date` read.
//!
//! Follows PostgreSQL 15's DCH_from_char and do_to_timestamp (src/backend/utils/adt/formatting.c): one separator of the
//! pattern stands for any one of the text or for none, fields take as many characters as their keyword has unless what
//! follows cannot be a digit, and fields that contradict one another are an error.

use super::pattern::{Field, Key, Piece};
use super::print::{DAYS, MONTHS, ROMAN};
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{CivilDate, DAY_US, HOUR_US, MINUTE_US, SECOND_US, days_in_month};

/// What a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadTime {
    /// Days since 1970-01-01.
    pub days: i64,
    pub time_us: i64,
    /// Seconds east of UTC, where the text names an offset.
    pub offset: Option<i64>,
}

impl ReadTime {
    /// Microseconds since 1970 by its own clock; `None` beyond 64 bits.
    pub fn clock_us(&self) -> Option<i64> {
        self.days.checked_mul(DAY_US)?.checked_add(self.time_us)
    }
}

/// Errors: 22007 where the text does not follow the pattern, 22008 for fields out of their range, 22009 for such an
/// offset, 0A000 for fields that are only printed.
pub fn read(text: &str, pieces: &[Piece]) -> Result<ReadTime> {
    let mut reader = Reader { text, rest: text, extra: 0, exact: false, fields: Fields::default() };
    reader.read(pieces)?;
    reader.fields.time(text)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Convention {
    Gregorian,
    IsoWeek,
}

/// Zero is what was not read, as in PostgreSQL.
#[derive(Debug, Default)]
struct Fields {
    convention: Option<Convention>,
    is_12_hours: bool,
    hour: i64,
    afternoon: i64,
    minute: i64,
    second: i64,
    second_of_day: i64,
    millisecond: i64,
    microsecond: i64,
    fraction_digits: Option<usize>,
    /// From Sunday, which is 1.
    weekday: i64,
    day: i64,
    day_of_year: i64,
    month: i64,
    year: i64,
    year_digits: usize,
    before_christ: i64,
    century: i64,
    week: i64,
    week_of_month: i64,
    julian: i64,
    zone_sign: i64,
    zone_hour: i64,
    zone_minute: i64,
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    /// Characters skipped beyond those of the pattern.
    extra: i64,
    /// After FX.
    exact: bool,
    fields: Fields,
}

impl Reader<'_> {
    fn read(&mut self, pieces: &[Piece]) -> Result<()> {
        for (at, piece) in pieces.iter().enumerate() {
            if self.rest.is_empty() {
                break;
            }
            let is_field = matches!(piece, Piece::Field(field) if field.key != Key::Exact);
            if !self.exact && (is_field || at == 0 && !matches!(piece, Piece::Field(_))) {
                self.skip_spaces();
            }
            match piece {
                Piece::Field(field) => self.field(field, &pieces[at + 1..])?,
                Piece::Space | Piece::Separator(_) if !self.exact => {
                    self.extra -= 1;
                    if self.rest.starts_with(|c: char| c.is_ascii_whitespace() || super::pattern::is_separator(c)) {
                        self.skip(1);
                        self.extra += 1;
                    }
                }
                Piece::Text(_) if !self.exact && self.extra > 0 => self.extra -= 1,
                _ => self.skip(1),
            }
        }
        Ok(())
    }

    fn skip(&mut self, characters: usize) {
        let mut rest = self.rest.chars();
        rest.by_ref().take(characters).for_each(drop);
        self.rest = rest.as_str();
    }

    fn skip_spaces(&mut self) {
        let trimmed = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        self.extra += (self.rest.len() - trimmed.len()) as i64;
        self.rest = trimmed;
    }

    fn field(&mut self, field: &Field, following: &[Piece]) -> Result<()> {
        if field.key == Key::Exact {
            self.exact = true;
            return Ok(());
        }
        self.follow(field.key)?;
        let takes_ordinal = self.value(field, following)?;
        if takes_ordinal && field.ordinal.is_some() {
            self.skip(2);
        }
        if !self.exact {
            self.extra = 0;
            self.skip_spaces();
        }
        Ok(())
    }

    /// Gregorian fields and those of ISO weeks do not go together.
    fn follow(&mut self, key: Key) -> Result<()> {
        let Some(convention) = convention(key) else { return Ok(()) };
        match self.fields.convention.replace(convention) {
            Some(other) if other != convention => {
                Err(Error::new(SqlState::INVALID_DATETIME, "invalid combination of date conventions")
                    .with_hint("Do not mix Gregorian and ISO week date conventions in a formatting template."))
            }
            _ => Ok(()),
        }
    }

    /// Whether an ordinal's ending may follow.
    fn value(&mut self, field: &Field, following: &[Piece]) -> Result<bool> {
        let own_width = field.name.len();
        let name = field.name;
        macro_rules! number {
            ($target:ident, $width:expr) => {{
                let (value, _) = self.number(field, following, $width)?;
                set(&mut self.fields.$target, value, name)?;
            }};
        }
        match field.key {
            Key::Meridiem(points) => {
                let names: &[&str] = if points { &["a.m.", "p.m."] } else { &["am", "pm"] };
                let found = self.one_of(names, name)?;
                set(&mut self.fields.afternoon, found as i64, name)?;
                self.fields.is_12_hours = true;
                return Ok(false);
            }
            Key::Era(points) => {
                let names: &[&str] = if points { &["a.d.", "b.c."] } else { &["ad", "bc"] };
                let found = self.one_of(names, name)?;
                set(&mut self.fields.before_christ, found as i64, name)?;
                return Ok(false);
            }
            Key::MonthName | Key::MonthNameShort => {
                let found = self.named(&MONTHS, field.key == Key::MonthNameShort, name)?;
                set(&mut self.fields.month, found as i64 + 1, name)?;
                return Ok(false);
            }
            Key::DayName | Key::DayNameShort => {
                let found = self.named(&DAYS, field.key == Key::DayNameShort, name)?;
                set(&mut self.fields.weekday, found as i64 + 1, name)?;
                return Ok(false);
            }
            Key::Roman => {
                // Longer ones first: VIII begins with VII.
                let mut longest_first: Vec<&str> = ROMAN.to_vec();
                longest_first.sort_by_key(|roman| std::cmp::Reverse(roman.len()));
                let found = longest_first[self.one_of(&longest_first, name)?];
                let month = ROMAN.iter().position(|roman| *roman == found).map_or(0, |at| at as i64 + 1);
                set(&mut self.fields.month, month, name)?;
                return Ok(false);
            }
            Key::Hour12 => {
                number!(hour, 2);
                self.fields.is_12_hours = true;
            }
            Key::Hour24 => number!(hour, 2),
            Key::Minute => number!(minute, own_width),
            Key::Second => number!(second, own_width),
            Key::SecondOfDay => number!(second_of_day, own_width),
            Key::Fraction(3) if name == "MS" => {
                let (value, read) = self.number(field, following, 3)?;
                set(&mut self.fields.millisecond, value, name)?;
                self.fields.millisecond *= 10_i64.pow(3_u32.saturating_sub(read as u32));
            }
            Key::Fraction(digits) => {
                if name != "US" {
                    self.fields.fraction_digits = Some(digits);
                }
                let (value, read) = self.number(field, following, digits)?;
                set(&mut self.fields.microsecond, value, name)?;
                self.fields.microsecond *= 10_i64.pow(6_u32.saturating_sub(read as u32));
            }
            Key::Zone | Key::Offset => {
                let message = format!("formatting field \"{name}\" is only supported in to_char");
                return Err(
                    Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).with_hint("Read an offset by TZH and TZM.")
                );
            }
            Key::ZoneHour => {
                let sign = self.rest.chars().next().filter(|c| matches!(c, '+' | '-' | ' '));
                if sign.is_some() {
                    self.skip(1);
                }
                // A minus may have been skipped as a separator.
                let read = &self.text[..self.text.len() - self.rest.len()];
                let skipped_minus = sign.is_none() && self.extra > 0 && read.ends_with('-');
                self.fields.zone_sign = if sign == Some('-') || skipped_minus { -1 } else { 1 };
                number!(zone_hour, 2);
                return Ok(false);
            }
            Key::ZoneMinute => {
                if self.fields.zone_sign == 0 {
                    self.fields.zone_sign = 1;
                }
                number!(zone_minute, 2);
                return Ok(false);
            }
            Key::Month => number!(month, own_width),
            Key::Day => number!(day, own_width),
            Key::DayOfYear => number!(day_of_year, own_width),
            Key::IsoDayOfYear => number!(day_of_year, 3),
            Key::DayOfWeek => number!(weekday, own_width),
            Key::IsoDayOfWeek => {
                let (value, _) = self.number(field, following, 1)?;
                set(&mut self.fields.weekday, if value >= 7 { 1 } else { value + 1 }, name)?;
            }
            Key::Week | Key::IsoWeek => number!(week, own_width),
            Key::WeekOfMonth => number!(week_of_month, own_width),
            // Which day of the quarter is meant is not known.
            Key::Quarter => drop(self.number(field, following, own_width)?),
            Key::Century => number!(century, own_width),
            Key::Julian => number!(julian, own_width),
            Key::YearComma => self.year_with_comma(name)?,
            Key::Year(digits) | Key::IsoYear(digits) => {
                let (value, read) = self.number(field, following, own_width)?;
                let year = if digits == 4 || read >= 4 { value } else { near_2020(value) };
                set(&mut self.fields.year, year, name)?;
                self.fields.year_digits = digits;
            }
            Key::Exact => {}
        }
        Ok(true)
    }

    fn year_with_comma(&mut self, name: &str) -> Result<()> {
        let wrong = || Error::new(SqlState::INVALID_DATETIME, "invalid input string for \"Y,YYY\"");
        let (thousands, used) = leading_integer(self.rest).ok_or_else(wrong)?;
        let after = self.rest[used..].strip_prefix(',').ok_or_else(wrong)?;
        let digits = after.bytes().take(3).take_while(u8::is_ascii_digit).count();
        let years: i64 = after[..digits].parse().map_err(|_| wrong())?;
        set(&mut self.fields.year, thousands.saturating_mul(1000).saturating_add(years), name)?;
        self.fields.year_digits = 4;
        self.rest = &after[digits..];
        Ok(())
    }

    /// An integer, and how many characters it took. Of `width` characters, unless no digit can follow.
    fn number(&mut self, field: &Field, following: &[Piece], width: usize) -> Result<(i64, usize)> {
        let name = field.name;
        let start = self.rest;
        let trimmed = start.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let shown: String = trimmed.chars().take(width).collect();
        let wrong = || Error::new(SqlState::INVALID_DATETIME, format!("invalid value \"{shown}\" for \"{name}\""));
        let fixed = "If your source string is not fixed-width, try using the \"FM\" modifier.";
        let not_an_integer = || wrong().with_detail("Value must be an integer.");
        let (value, used) = if field.fill || field.ordinal.is_some() || !may_be_digit(following) {
            leading_integer(trimmed).ok_or_else(not_an_integer)?
        } else {
            if trimmed.len() < width {
                return Err(Error::new(
                    SqlState::INVALID_DATETIME,
                    format!("source string too short for \"{name}\" formatting field"),
                )
                .with_detail(format!("Field requires {width} characters, but only {} remain.", trimmed.len()))
                .with_hint(fixed));
            }
            let (value, used) = leading_integer(&shown).ok_or_else(not_an_integer)?;
            if used < width {
                return Err(wrong()
                    .with_detail(format!("Field requires {width} characters, but only {used} could be parsed."))
                    .with_hint(fixed));
            }
            (value, used)
        };
        if i32::try_from(value).is_err() {
            let message = format!("value for \"{name}\" in source string is out of range");
            return Err(Error::new(SqlState::DATETIME_OVERFLOW, message).with_detail(format!(
                "Value must be in the range {} to {}.",
                i32::MIN,
                i32::MAX
            )));
        }
        self.rest = &trimmed[used..];
        Ok((value, start.len() - self.rest.len()))
    }

    /// The names, or their first three letters.
    fn named(&mut self, names: &[&str], short: bool, field: &str) -> Result<usize> {
        let names: Vec<&str> = names.iter().map(|name| if short { &name[..3] } else { name }).collect();
        self.one_of(&names, field)
    }

    /// Which of the names comes next, whatever the case.
    fn one_of(&mut self, names: &[&str], field: &str) -> Result<usize> {
        let comes = |name: &&str| self.rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        match names.iter().position(comes) {
            Some(found) => {
                self.rest = &self.rest[names[found].len()..];
                Ok(found)
            }
            None => {
                let shown = self.rest.split_ascii_whitespace().next().unwrap_or_default();
                let message = format!("invalid value \"{shown}\" for \"{field}\"");
                Err(Error::new(SqlState::INVALID_DATETIME, message)
                    .with_detail("The given value did not match any of the allowed values for this field."))
            }
        }
    }
}

fn set(target: &mut i64, value: i64, name: &str) -> Result<()> {
    if *target != 0 && *target != value {
        let message = format!("conflicting values for \"{name}\" field in formatting string");
        return Err(Error::new(SqlState::INVALID_DATETIME, message)
            .with_detail("This value contradicts a previous setting for the same field type."));
    }
    *target = value;
    Ok(())
}

fn convention(key: Key) -> Option<Convention> {
    match key {
        Key::IsoDayOfYear | Key::IsoDayOfWeek | Key::IsoWeek | Key::IsoYear(_) => Some(Convention::IsoWeek),
        Key::DayOfYear
        | Key::Day
        | Key::DayOfWeek
        | Key::Month
        | Key::MonthName
        | Key::MonthNameShort
        | Key::Roman
        | Key::Week
        | Key::WeekOfMonth
        | Key::YearComma
        | Key::Year(_) => Some(Convention::Gregorian),
        _ => None,
    }
}

/// Whether what follows may begin with a digit. The pattern's end does not.
fn may_be_digit(following: &[Piece]) -> bool {
    match following.first() {
        Some(Piece::Field(field)) => !begins_with_letters(field),
        Some(Piece::Text(c)) => c.is_ascii_digit(),
        _ => false,
    }
}

/// As PostgreSQL's table of keywords has it: FF1 to FF6 do, US does not.
fn begins_with_letters(field: &Field) -> bool {
    match field.key {
        Key::Era(_)
        | Key::Meridiem(_)
        | Key::DayName
        | Key::DayNameShort
        | Key::Exact
        | Key::MonthName
        | Key::MonthNameShort
        | Key::Offset
        | Key::Roman
        | Key::Zone
        | Key::ZoneHour => true,
        Key::Fraction(_) => field.name.starts_with("FF"),
        _ => false,
    }
}

/// A sign and digits as strtol reads them, and their length in bytes.
fn leading_integer(text: &str) -> Option<(i64, usize)> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let used = text.len() - unsigned.len() + digits;
    (digits > 0).then(|| (text[..used].parse().unwrap_or(i64::MAX), used))
}

/// Years of fewer than four digits are the ones nearest to 2020.
fn near_2020(year: i64) -> i64 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

/// A day as far as it is known.
struct Day {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
}

impl Fields {
    fn time(self, text: &str) -> Result<ReadTime> {
        let time_us = self.time_of_day(text)?;
        let days = self.days(text)?;
        Ok(ReadTime { days, time_us, offset: self.offset(text)? })
    }

    fn time_of_day(&self, text: &str) -> Result<i64> {
        let or = |value: i64, otherwise: i64| if value != 0 { value } else { otherwise };
        let mut hour = or(self.hour, self.second_of_day / 3600);
        let minute = or(self.minute, self.second_of_day / 60 % 60);
        let second = or(self.second, self.second_of_day % 60);
        if self.is_12_hours {
            if !(1..=12).contains(&hour) {
                return Err(Error::new(
                    SqlState::INVALID_DATETIME,
                    format!("hour \"{hour}\" is invalid for the 12-hour clock"),
                )
                .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = hour % 12 + if self.afternoon == 1 { 12 } else { 0 };
        }
        let mut fraction = self.millisecond * 1000 + self.microsecond;
        if !(0..24).contains(&hour)
            || !(0..60).contains(&minute)
            || !(0..60).contains(&second)
            || !(0..SECOND_US).contains(&fraction)
        {
            return Err(out_of_range(text));
        }
        if let Some(digits) = self.fraction_digits {
            let unit = 10_i64.pow(6_u32.saturating_sub(digits as u32));
            fraction = (fraction + unit / 2) / unit * unit;
        }
        Ok(hour * HOUR_US + minute * MINUTE_US + second * SECOND_US + fraction)
    }

    fn days(&self, text: &str) -> Result<i64> {
        let mut known = Day { year: self.known_year(), month: None, day: None };
        if self.julian != 0 {
            known = Day::of(self.julian - 2_440_588);
        }
        let mut day_of_year = self.day_of_year;
        if self.week != 0 && self.convention == Some(Convention::IsoWeek) {
            let monday = first_iso_monday(known.year.unwrap_or(0)) + (self.week - 1) * 7;
            // Sunday is 1, and ends the week.
            let behind = if self.weekday == 0 { 0 } else { (self.weekday + 5).rem_euclid(7) };
            known = Day::of(monday + behind);
        } else if self.week != 0 {
            day_of_year = (self.week - 1) * 7 + 1;
        }
        let day = if self.week_of_month != 0 { (self.week_of_month - 1) * 7 + 1 } else { self.day };
        if day != 0 {
            known.day = Some(day);
        }
        if self.month != 0 {
            known.month = Some(self.month);
        }
        if day_of_year != 0 && (known.month.unwrap_or(1) <= 1 || known.day.unwrap_or(1) <= 1) {
            self.place_day_of_year(&mut known, day_of_year)?;
        }
        known.days().ok_or_else(|| out_of_range(text))
    }

    fn known_year(&self) -> Option<i64> {
        let century = if self.before_christ == 1 { -self.century } else { self.century };
        if self.year == 0 {
            return (self.century != 0).then(|| if century >= 0 { (century - 1) * 100 + 1 } else { century * 100 + 1 });
        }
        if self.century != 0 && self.year_digits <= 2 {
            return Some(match (self.year % 100, century >= 0) {
                (0, true) => century * 100,
                (0, false) => century * 100 + 1,
                (year, true) => year + (century - 1) * 100,
                (year, false) => (century + 1) * 100 - year + 1,
            });
        }
        let year = if self.before_christ == 1 { -self.year } else { self.year };
        Some(if year < 0 { year + 1 } else { year })
    }

    fn place_day_of_year(&self, known: &mut Day, day_of_year: i64) -> Result<()> {
        let Some(year) = known.year.filter(|year| *year != 0 || self.before_christ == 1) else {
            return Err(Error::new(
                SqlState::INVALID_DATETIME,
                "cannot calculate day of year without year information",
            ));
        };
        if self.convention == Some(Convention::IsoWeek) {
            *known = Day::of(first_iso_monday(year) + day_of_year - 1);
            return Ok(());
        }
        let (mut month, mut day) = (1, day_of_year);
        while month <= 12 && day > i64::from(days_in_month(year, month)) {
            day -= i64::from(days_in_month(year, month));
            month += 1;
        }
        if known.month.unwrap_or(1) <= 1 {
            known.month = Some(month.into());
        }
        if known.day.unwrap_or(1) <= 1 {
            known.day = Some(day);
        }
        Ok(())
    }

    fn offset(&self, text: &str) -> Result<Option<i64>> {
        if self.zone_sign == 0 {
            return Ok(None);
        }
        if !(0..=15).contains(&self.zone_hour) || !(0..60).contains(&self.zone_minute) {
            return Err(Error::new(
                SqlState::INVALID_TIME_ZONE_DISPLACEMENT,
                format!("time zone displacement out of range: \"{text}\""),
            ));
        }
        Ok(Some(self.zone_sign * (self.zone_hour * 3600 + self.zone_minute * 60)))
    }
}

impl Day {
    fn of(days: i64) -> Day {
        let date = CivilDate::from_days(days);
        Day { year: Some(date.year), month: Some(date.month.into()), day: Some(date.day.into()) }
    }

    /// Days since 1970; what is not known is the first. `None` for a day that does not exist.
    fn days(&self) -> Option<i64> {
        let (year, day) = (self.year.unwrap_or(0), self.day.unwrap_or(1));
        let month = u32::try_from(self.month.unwrap_or(1)).ok().filter(|month| (1..=12).contains(month))?;
        let is_complete = self.year.is_some() && self.month.is_some() && self.day.is_some();
        let most = if is_complete { i64::from(days_in_month(year, month)) } else { 31 };
        (1..=most).contains(&day).then(|| CivilDate { year, month, day: 1 }.days() + day - 1)
    }
}

/// The Monday of the week with January 4.
fn first_iso_monday(year: i64) -> i64 {
    let fourth = CivilDate { year, month: 1, day: 4 }.days();
    fourth - (fourth + 3).rem_euclid(7)
}

fn out_of_range(text: &str) -> Error {
    Error::new(SqlState::DATETIME_OVERFLOW, format!("date/time field value out of range: \"{text}\""))
}
