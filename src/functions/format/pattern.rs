//! Patterns of `to_char`, `to_timestamp` and `to_date`: keywords with their modifiers, and the text between them.

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Field(Field),
    Space,
    /// A printable character that is neither a letter nor a digit, outside of quotes.
    Separator(char),
    Text(char),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The keyword, in upper case where the case says nothing.
    pub name: &'static str,
    pub key: Key,
    pub case: Case,
    /// FM: no padding when printed, any number of digits when read.
    pub fill: bool,
    /// TH and th: the ordinal's ending, in upper or lower case.
    pub ordinal: Option<Case>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Upper,
    Title,
    Lower,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// With points or without.
    Era(bool),
    Meridiem(bool),
    Century,
    DayName,
    DayNameShort,
    DayOfYear,
    IsoDayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    /// So many digits of the second's fraction.
    Fraction(usize),
    Exact,
    Hour24,
    Hour12,
    IsoWeek,
    /// So many of the year's last digits.
    IsoYear(usize),
    Julian,
    Minute,
    Month,
    MonthName,
    MonthNameShort,
    Offset,
    Quarter,
    Roman,
    SecondOfDay,
    Second,
    ZoneHour,
    ZoneMinute,
    Zone,
    Week,
    WeekOfMonth,
    YearComma,
    Year(usize),
}

use Case::{Lower, Title, Upper};

/// Longer names before those that they begin with. Where the lower case means the same, it is not listed.
const KEYS: &[(&str, Key, Case)] = &[
    ("A.D.", Key::Era(true), Upper),
    ("B.C.", Key::Era(true), Upper),
    ("a.d.", Key::Era(true), Lower),
    ("b.c.", Key::Era(true), Lower),
    ("A.M.", Key::Meridiem(true), Upper),
    ("P.M.", Key::Meridiem(true), Upper),
    ("a.m.", Key::Meridiem(true), Lower),
    ("p.m.", Key::Meridiem(true), Lower),
    ("AD", Key::Era(false), Upper),
    ("BC", Key::Era(false), Upper),
    ("ad", Key::Era(false), Lower),
    ("bc", Key::Era(false), Lower),
    ("AM", Key::Meridiem(false), Upper),
    ("PM", Key::Meridiem(false), Upper),
    ("am", Key::Meridiem(false), Lower),
    ("pm", Key::Meridiem(false), Lower),
    ("CC", Key::Century, Upper),
    ("DAY", Key::DayName, Upper),
    ("Day", Key::DayName, Title),
    ("day", Key::DayName, Lower),
    ("DDD", Key::DayOfYear, Upper),
    ("DD", Key::Day, Upper),
    ("DY", Key::DayNameShort, Upper),
    ("Dy", Key::DayNameShort, Title),
    ("dy", Key::DayNameShort, Lower),
    ("D", Key::DayOfWeek, Upper),
    ("FF1", Key::Fraction(1), Upper),
    ("FF2", Key::Fraction(2), Upper),
    ("FF3", Key::Fraction(3), Upper),
    ("FF4", Key::Fraction(4), Upper),
    ("FF5", Key::Fraction(5), Upper),
    ("FF6", Key::Fraction(6), Upper),
    ("FX", Key::Exact, Upper),
    ("HH24", Key::Hour24, Upper),
    ("HH12", Key::Hour12, Upper),
    ("HH", Key::Hour12, Upper),
    ("IDDD", Key::IsoDayOfYear, Upper),
    ("ID", Key::IsoDayOfWeek, Upper),
    ("IW", Key::IsoWeek, Upper),
    ("IYYY", Key::IsoYear(4), Upper),
    ("IYY", Key::IsoYear(3), Upper),
    ("IY", Key::IsoYear(2), Upper),
    ("I", Key::IsoYear(1), Upper),
    ("J", Key::Julian, Upper),
    ("MI", Key::Minute, Upper),
    ("MM", Key::Month, Upper),
    ("MONTH", Key::MonthName, Upper),
    ("Month", Key::MonthName, Title),
    ("month", Key::MonthName, Lower),
    ("MON", Key::MonthNameShort, Upper),
    ("Mon", Key::MonthNameShort, Title),
    ("mon", Key::MonthNameShort, Lower),
    ("MS", Key::Fraction(3), Upper),
    ("OF", Key::Offset, Upper),
    ("Q", Key::Quarter, Upper),
    ("RM", Key::Roman, Upper),
    ("rm", Key::Roman, Lower),
    ("SSSSS", Key::SecondOfDay, Upper),
    ("SSSS", Key::SecondOfDay, Upper),
    ("SS", Key::Second, Upper),
    ("TZH", Key::ZoneHour, Upper),
    ("TZM", Key::ZoneMinute, Upper),
    ("TZ", Key::Zone, Upper),
    ("tz", Key::Zone, Lower),
    ("US", Key::Fraction(6), Upper),
    ("WW", Key::Week, Upper),
    ("W", Key::WeekOfMonth, Upper),
    ("Y,YYY", Key::YearComma, Upper),
    ("YYYY", Key::Year(4), Upper),
    ("YYY", Key::Year(3), Upper),
    ("YY", Key::Year(2), Upper),
    ("Y", Key::Year(1), Upper),
];

/// Names whose lower case is a keyword of its own.
fn is_cased(key: Key) -> bool {
    matches!(
        key,
        Key::Era(_)
            | Key::Meridiem(_)
            | Key::DayName
            | Key::DayNameShort
            | Key::MonthName
            | Key::MonthNameShort
            | Key::Roman
            | Key::Zone
    )
}

pub fn parse(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some((field, after)) = field(rest) {
            pieces.push(Piece::Field(field));
            rest = after;
            continue;
        }
        rest = &rest[first.len_utf8()..];
        match first {
            '"' => rest = quoted(rest, &mut pieces),
            // Within quotes alone a backslash escapes; before them it keeps them from opening.
            '\\' if rest.starts_with('"') => {
                pieces.push(Piece::Text('"'));
                rest = &rest[1..];
            }
            c if c.is_whitespace() => pieces.push(Piece::Space),
            c if is_separator(c) => pieces.push(Piece::Separator(c)),
            c => pieces.push(Piece::Text(c)),
        }
    }
    pieces
}

pub fn is_separator(c: char) -> bool {
    c.is_ascii_graphic() && !c.is_ascii_alphanumeric()
}

/// Up to the closing quote, or to the end.
fn quoted<'a>(text: &'a str, pieces: &mut Vec<Piece>) -> &'a str {
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return &text[at + 1..],
            '\\' => pieces.extend(characters.next().map(|(_, c)| Piece::Text(c))),
            c => pieces.push(Piece::Text(c)),
        }
    }
    ""
}

/// A keyword with what stands before and behind it.
fn field(text: &str) -> Option<(Field, &str)> {
    let (mut rest, mut fill, mut translated) = (text, false, false);
    let is_prefix = |prefix: &&str| prefix.eq_ignore_ascii_case("FM") || prefix.eq_ignore_ascii_case("TM");
    while let Some(prefix) = rest.get(..2).filter(is_prefix) {
        match prefix.eq_ignore_ascii_case("FM") {
            true => fill = true,
            false => translated = true,
        }
        rest = &rest[2..];
    }
    let found = KEYS.iter().find(|(name, key, _)| match rest.get(..name.len()) {
        Some(start) if is_cased(*key) => start == *name,
        Some(start) => start.eq_ignore_ascii_case(name),
        None => false,
    });
    let (name, key, case) = *found?;
    rest = &rest[name.len()..];
    let ordinal = match rest.get(..2) {
        Some("TH") => Some(Upper),
        Some("th") => Some(Lower),
        _ => None,
    };
    if ordinal.is_some() {
        rest = &rest[2..];
    }
    // A translated name has no width of its own, and English is the one language.
    let fill = fill || translated && matches!(key, Key::DayName | Key::MonthName);
    Some((Field { name, key, case, fill, ordinal }, rest))
}
