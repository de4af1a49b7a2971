//! Patterns of numbers: keywords, and what they say together.
//!
//! Follows PostgreSQL 15's NUMDesc_prepare (src/backend/utils/adt/formatting.c).

use crate::error::{Error, Result, SqlState};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberPiece {
    Key(NumberKey),
    Text(char),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberKey {
    /// `9`
    Digit,
    /// `0`
    Zero,
    /// `.` and `D`
    Point,
    /// `,` and `G`
    Group,
    /// `B`
    Blank,
    /// `L`; the C locale's is a space.
    Currency,
    /// `S`
    Sign,
    /// `MI`, `PL`, `SG`
    Minus,
    Plus,
    PlusOrMinus,
    /// `PR`
    Brackets,
    /// `RN`, `rn`
    Roman {
        lower: bool,
    },
    /// `TH`, `th`
    Ordinal {
        lower: bool,
    },
    /// `V`
    Shift,
    /// `EEEE`
    Exponent,
    /// `FM`
    Fill,
}

/// Longer names before those that they begin with.
const KEYS: &[(&str, NumberKey)] = &[
    ("EEEE", NumberKey::Exponent),
    ("FM", NumberKey::Fill),
    ("MI", NumberKey::Minus),
    ("PL", NumberKey::Plus),
    ("PR", NumberKey::Brackets),
    ("RN", NumberKey::Roman { lower: false }),
    ("SG", NumberKey::PlusOrMinus),
    ("TH", NumberKey::Ordinal { lower: false }),
    (",", NumberKey::Group),
    (".", NumberKey::Point),
    ("0", NumberKey::Zero),
    ("9", NumberKey::Digit),
    ("B", NumberKey::Blank),
    ("D", NumberKey::Point),
    ("G", NumberKey::Group),
    ("L", NumberKey::Currency),
    ("S", NumberKey::Sign),
    ("V", NumberKey::Shift),
];

/// Where the sign of `S` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignPlace {
    Before,
    Behind,
}

/// A pattern, and what its keywords say together.
#[derive(Debug, Clone, Default)]
pub struct NumberPattern {
    pub pieces: Vec<NumberPiece>,
    /// Places before the point.
    pub whole: usize,
    /// Places behind it.
    pub fraction: usize,
    /// Places behind `V`.
    pub shifted: usize,
    /// Place of the first `0`, from 1, where it stands before the point.
    pub zero_first: Option<usize>,
    /// Place of the last `0`.
    pub zero_last: usize,
    pub sign: Option<SignPlace>,
    /// Places before the sign.
    pub places_before_sign: usize,
    pub has_point: bool,
    pub fills: bool,
    pub blank: bool,
    pub brackets: bool,
    pub minus: bool,
    pub plus: bool,
    pub roman: bool,
    pub shift: bool,
    pub exponent: bool,
}

impl NumberPattern {
    /// Errors: 42601 for keywords that do not go together.
    pub fn parse(pattern: &str) -> Result<NumberPattern> {
        let mut parsed = NumberPattern::default();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            if let Some((name, key)) = key_at(rest) {
                parsed.add(key)?;
                parsed.pieces.push(NumberPiece::Key(key));
                rest = &rest[name.len()..];
                continue;
            }
            rest = &rest[first.len_utf8()..];
            match first {
                '"' => rest = parsed.quoted(rest),
                '\\' if rest.starts_with('"') => {
                    parsed.pieces.push(NumberPiece::Text('"'));
                    rest = &rest[1..];
                }
                text => parsed.pieces.push(NumberPiece::Text(text)),
            }
        }
        Ok(parsed)
    }

    /// Up to the closing quote, or to the end.
    fn quoted<'a>(&mut self, text: &'a str) -> &'a str {
        let mut characters = text.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => return &text[at + 1..],
                '\\' => self.pieces.extend(characters.next().map(|(_, c)| NumberPiece::Text(c))),
                c => self.pieces.push(NumberPiece::Text(c)),
            }
        }
        ""
    }

    fn add(&mut self, key: NumberKey) -> Result<()> {
        if self.exponent && key != NumberKey::Exponent {
            return Err(wrong("\"EEEE\" must be the last pattern used"));
        }
        match key {
            NumberKey::Digit | NumberKey::Zero => self.place(key)?,
            NumberKey::Blank => self.blank |= self.whole == 0 && self.fraction == 0,
            NumberKey::Point => {
                refuse(self.has_point, "multiple decimal points")?;
                refuse(self.shift, "cannot use \"V\" and decimal point together")?;
                self.has_point = true;
            }
            NumberKey::Fill => self.fills = true,
            NumberKey::Sign => {
                refuse(self.sign.is_some(), "cannot use \"S\" twice")?;
                refuse(
                    self.plus || self.minus || self.brackets,
                    "cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together",
                )?;
                self.sign = Some(if self.has_point { SignPlace::Behind } else { SignPlace::Before });
                self.places_before_sign = self.whole;
            }
            NumberKey::Minus => {
                refuse(self.sign.is_some(), "cannot use \"S\" and \"MI\" together")?;
                self.minus = true;
            }
            NumberKey::Plus => {
                refuse(self.sign.is_some(), "cannot use \"S\" and \"PL\" together")?;
                self.plus = true;
            }
            NumberKey::PlusOrMinus => {
                refuse(self.sign.is_some(), "cannot use \"S\" and \"SG\" together")?;
                (self.plus, self.minus) = (true, true);
            }
            NumberKey::Brackets => {
                let others = self.sign.is_some() || self.plus || self.minus;
                refuse(others, "cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together")?;
                self.brackets = true;
            }
            NumberKey::Roman { .. } => self.roman = true,
            NumberKey::Shift => {
                refuse(self.has_point, "cannot use \"V\" and decimal point together")?;
                self.shift = true;
            }
            NumberKey::Exponent => {
                refuse(self.exponent, "cannot use \"EEEE\" twice")?;
                let signs = self.sign.is_some() || self.brackets || self.minus || self.plus;
                if self.blank || self.fills || signs || self.roman || self.shift {
                    return Err(wrong("\"EEEE\" is incompatible with other formats")
                        .with_detail("\"EEEE\" may only be used together with digit and decimal point patterns."));
                }
                self.exponent = true;
            }
            NumberKey::Group | NumberKey::Currency | NumberKey::Ordinal { .. } => {}
        }
        Ok(())
    }

    fn place(&mut self, key: NumberKey) -> Result<()> {
        let is_zero = key == NumberKey::Zero;
        if self.brackets {
            return Err(wrong(if is_zero { "\"0\" must be ahead of \"PR\"" } else { "\"9\" must be ahead of \"PR\"" }));
        }
        if self.shift && !is_zero {
            self.shifted += 1;
            return Ok(());
        }
        if is_zero && self.zero_first.is_none() && !self.has_point {
            self.zero_first = Some(self.whole + 1);
        }
        match self.has_point {
            true => self.fraction += 1,
            false => self.whole += 1,
        }
        if is_zero {
            self.zero_last = self.whole + self.fraction;
        }
        Ok(())
    }
}

fn key_at(text: &str) -> Option<(&'static str, NumberKey)> {
    let comes = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let (name, key) = KEYS.iter().find(|(name, _)| comes(name)).copied()?;
    let lower = text.starts_with(|c: char| c.is_ascii_lowercase());
    Some(match key {
        NumberKey::Roman { .. } => (name, NumberKey::Roman { lower }),
        NumberKey::Ordinal { .. } => (name, NumberKey::Ordinal { lower }),
        key => (name, key),
    })
}

fn refuse(wrong_here: bool, message: &str) -> Result<()> {
    if wrong_here { Err(wrong(message)) } else { Ok(()) }
}

fn wrong(message: &str) -> Error {
    Error::new(SqlState::SYNTAX_ERROR, message)
}
