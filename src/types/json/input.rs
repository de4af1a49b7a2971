//! JSON as it is written, checked and brought to the one text of its value.

use std::borrow::Cow;

use super::{ObjectBuilder, write_array, write_string};
use crate::error::{Error, Result, SqlState};

/// Deeper values would be more than the walk through them should carry.
const DEPTH_MAX: usize = 512;
/// PostgreSQL's numeric has so many digits before and behind the point at most.
const WHOLE_DIGITS_MAX: i64 = 131_072;
const FRACTION_DIGITS_MAX: i64 = 16_383;

/// The value's text as it is kept and printed.
///
/// Errors: 22P02 for what is not JSON, 22P05 for `\u0000`, 22003 for a number that no numeric holds, 54001 for what is nested too
/// deep.
pub fn parse_jsonb(text: &str) -> Result<String> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = reader.value()?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(invalid(format!("Expected end of input, but found \"{}\".", reader.token()))),
    }
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json").with_detail(detail)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// What stands here, for messages: a sign, a string, or a word.
    fn token(&self) -> &'a str {
        let rest = &self.text[self.at..];
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.') || !c.is_ascii();
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let length = match rest.as_bytes().first() {
            Some(b'"') => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            _ if word > 0 => word,
            _ => rest.chars().next().map_or(0, char::len_utf8),
        };
        &rest[..length]
    }

    /// `expected`: as PostgreSQL says it.
    fn unexpected(&self, expected: &str) -> Error {
        match self.peek() {
            None => invalid("The input string ended unexpectedly."),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..) => {
                let token = self.token();
                match token {
                    "true" | "false" | "null" => invalid(format!("Expected {expected}, but found \"{token}\".")),
                    token => invalid(format!("Token \"{token}\" is invalid.")),
                }
            }
            Some(b'{' | b'}' | b'[' | b']' | b',' | b':' | b'"' | b'-' | b'0'..=b'9') => {
                invalid(format!("Expected {expected}, but found \"{}\".", self.token()))
            }
            Some(_) => invalid(format!("Token \"{}\" is invalid.", self.token())),
        }
    }

    fn value(&mut self) -> Result<String> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => {
                let mut out = String::new();
                write_string(&self.string()?, &mut out);
                Ok(out)
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let word = self.token();
                match word {
                    "true" | "false" | "null" => {
                        self.at += word.len();
                        Ok(word.to_owned())
                    }
                    _ => Err(self.unexpected("JSON value")),
                }
            }
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<String>) -> Result<String> {
        if self.depth == DEPTH_MAX {
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, "JSON is nested too deep")
                .with_detail(format!("At most {DEPTH_MAX} objects and arrays stand in one another.")));
        }
        self.depth += 1;
        self.at += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn object(&mut self) -> Result<String> {
        let mut members = ObjectBuilder::default();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok("{}".to_owned());
        }
        let mut expected = "string or \"}\"";
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected(expected));
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("\":\""));
            }
            self.at += 1;
            members.insert(key, Cow::Owned(self.value()?));
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.unexpected("\",\" or \"}\"")),
            }
            expected = "string";
        }
        self.at += 1;
        let mut out = String::new();
        members.write(&mut out);
        Ok(out)
    }

    fn array(&mut self) -> Result<String> {
        let mut elements = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok("[]".to_owned());
        }
        loop {
            elements.push(self.value()?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.unexpected("\",\" or \"]\"")),
            }
        }
        self.at += 1;
        let mut out = String::new();
        write_array(elements, &mut out);
        Ok(out)
    }

    /// The characters of the string that begins here.
    fn string(&mut self) -> Result<Cow<'a, str>> {
        let start = self.at + 1;
        let rest = &self.text[start..];
        let plain = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\') || byte < b' ');
        if let Some(end) = plain
            && rest.as_bytes()[end] == b'"'
        {
            self.at = start + end + 1;
            return Ok(Cow::Borrowed(&rest[..end]));
        }
        self.at = start;
        let mut out = String::new();
        loop {
            let Some(c) = self.text[self.at..].chars().next() else {
                let token = &self.text[start - 1..];
                return Err(invalid(format!("Token \"{token}\" is invalid.")));
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(Cow::Owned(out)),
                '\\' => out.push(self.escaped()?),
                c if c < ' ' => {
                    return Err(invalid(format!("Character with value 0x{:02x} must be escaped.", u32::from(c))));
                }
                c => out.push(c),
            }
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Result<char> {
        let Some(c) = self.text[self.at..].chars().next() else {
            return Err(invalid("The input string ended unexpectedly."));
        };
        self.at += c.len_utf8();
        Ok(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.code_point(),
            other => return Err(invalid(format!("Escape sequence \"\\{other}\" is invalid."))),
        })
    }

    fn code_point(&mut self) -> Result<char> {
        const LOW: &str = "Unicode low surrogate must follow a high surrogate.";
        match self.hex()? {
            0 => Err(Error::new(SqlState::UNTRANSLATABLE_CHARACTER, "unsupported Unicode escape sequence")
                .with_detail("\\u0000 cannot be converted to text.")),
            high @ 0xd800..=0xdbff => {
                if !self.text[self.at..].starts_with("\\u") {
                    return Err(invalid(LOW));
                }
                self.at += 2;
                match self.hex()? {
                    low @ 0xdc00..=0xdfff => {
                        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        char::from_u32(code).ok_or_else(|| invalid(LOW))
                    }
                    0xd800..=0xdbff => Err(invalid("Unicode high surrogate must not follow a high surrogate.")),
                    _ => Err(invalid(LOW)),
                }
            }
            code => char::from_u32(code).ok_or_else(|| invalid(LOW)),
        }
    }

    fn hex(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        code.ok_or_else(|| invalid("\"\\u\" must be followed by four hexadecimal digits."))
    }

    fn number(&mut self) -> Result<String> {
        let token = self.token();
        let number = Number::read(token).ok_or_else(|| invalid(format!("Token \"{token}\" is invalid.")))?;
        self.at += token.len();
        number.text()
    }
}

/// A number as JSON writes it.
struct Number<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: Option<i64>,
}

impl<'a> Number<'a> {
    fn read(token: &'a str) -> Option<Self> {
        let (negative, unsigned) = match token.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, token),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let number = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if !digits(number) {
                    return None;
                }
                // Beyond what fits, it is out of every range.
                let least = if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
                (mantissa, Some(exponent.parse().unwrap_or(least)))
            }
            None => (unsigned, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if digits(fraction) => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        (digits(whole) && !leading_zero).then_some(Number { negative, whole, fraction, exponent })
    }

    /// As numeric prints it: written out, with as many digits behind the point as there were.
    fn text(&self) -> Result<String> {
        let exponent = self.exponent.unwrap_or(0);
        let all = format!("{}{}", self.whole, self.fraction);
        let is_zero = all.bytes().all(|byte| byte == b'0');
        let point = self.whole.len() as i64 + exponent;
        let shown = (self.fraction.len() as i64 - exponent).max(0);
        if (!is_zero && point > WHOLE_DIGITS_MAX) || shown > FRACTION_DIGITS_MAX {
            return Err(Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "value overflows numeric format"));
        }
        let shown = shown as usize;
        let sign = if self.negative && !is_zero { "-" } else { "" };
        if is_zero {
            return Ok(if shown == 0 { "0".to_owned() } else { format!("0.{}", "0".repeat(shown)) });
        }
        // Zeros in front and behind, so that the point stands within the digits.
        let ahead = "0".repeat(usize::try_from(1 - point).unwrap_or(0));
        let behind = "0".repeat(usize::try_from(exponent - self.fraction.len() as i64).unwrap_or(0));
        let digits = format!("{ahead}{all}{behind}");
        let (whole, fraction) = digits.split_at(digits.len() - shown);
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            whole => whole,
        };
        Ok(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
    }
}
