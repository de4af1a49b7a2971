//! One record of COPY data into its fields.
//!
//! A record without quotes or backslashes, which is nearly every one, is cut at its delimiters and its fields are given
//! out as slices. Only fields that need it are rewritten, in a buffer that is used again.

use memchr::{memchr, memchr_iter, memchr2, memchr2_iter};

use crate::error::{Error, Result, SqlState};
use crate::types::{CopyFormat, CopyOptions};

/// A field of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    pub text: &'a str,
    /// It was written as the NULL string.
    pub is_null_string: bool,
    /// CSV: quotes were part of it.
    pub quoted: bool,
}

/// Cuts records by one COPY's options.
pub struct FieldSplitter {
    format: CopyFormat,
    delimiter: u8,
    null: String,
    quote: u8,
    escape: u8,
    /// The field that is being rewritten.
    scratch: Vec<u8>,
}

impl FieldSplitter {
    pub fn new(options: &CopyOptions) -> Self {
        FieldSplitter {
            format: options.format,
            delimiter: options.delimiter,
            null: options.null.clone(),
            quote: options.quote,
            escape: options.escape,
            scratch: Vec::new(),
        }
    }

    /// Gives each field of the record, in order, to `each`. `quoted`: the record has a quote somewhere.
    pub fn split(&mut self, record: &str, quoted: bool, each: &mut impl FnMut(Field<'_>) -> Result<()>) -> Result<()> {
        match self.format {
            CopyFormat::Csv if quoted => self.split_quoted(record, each),
            CopyFormat::Text if memchr(b'\\', record.as_bytes()).is_some() => self.split_escaped(record, each),
            _ => self.split_plain(record, each),
        }
    }

    fn split_plain(&self, record: &str, each: &mut impl FnMut(Field<'_>) -> Result<()>) -> Result<()> {
        if memchr(b'\r', record.as_bytes()).is_some() {
            return Err(self.carriage_return());
        }
        let mut start = 0;
        for end in memchr_iter(self.delimiter, record.as_bytes()) {
            each(self.plain(&record[start..end]))?;
            start = end + 1;
        }
        each(self.plain(&record[start..]))
    }

    fn plain<'a>(&self, text: &'a str) -> Field<'a> {
        Field { text, is_null_string: text == self.null, quoted: false }
    }

    fn carriage_return(&self) -> Error {
        let (message, hint) = match self.format {
            CopyFormat::Text => ("literal carriage return found in data", "Use \"\\r\" to represent carriage return."),
            CopyFormat::Csv => {
                ("unquoted carriage return found in data", "Use quoted CSV field to represent carriage return.")
            }
        };
        Error::new(SqlState::BAD_COPY_FORMAT, message).with_hint(hint)
    }

    /// Text format with backslashes: a delimiter behind one is data.
    fn split_escaped(&mut self, record: &str, each: &mut impl FnMut(Field<'_>) -> Result<()>) -> Result<()> {
        let mut start = 0;
        let mut escaped = false;
        // Position of the byte that the last backslash takes with it.
        let mut taken = usize::MAX;
        for at in memchr2_iter(self.delimiter, b'\\', record.as_bytes()) {
            if at == taken {
                continue;
            }
            if record.as_bytes()[at] == b'\\' {
                escaped = true;
                taken = at + 1;
                continue;
            }
            self.escaped_field(&record[start..at], escaped, each)?;
            start = at + 1;
            escaped = false;
        }
        self.escaped_field(&record[start..], escaped, each)
    }

    fn escaped_field(
        &mut self,
        raw: &str,
        escaped: bool,
        each: &mut impl FnMut(Field<'_>) -> Result<()>,
    ) -> Result<()> {
        if !escaped || raw == self.null {
            return each(self.plain(raw));
        }
        self.scratch.clear();
        unescape(raw.as_bytes(), &mut self.scratch);
        each(Field { text: utf8(&self.scratch)?, is_null_string: false, quoted: false })
    }

    fn split_quoted(&mut self, record: &str, each: &mut impl FnMut(Field<'_>) -> Result<()>) -> Result<()> {
        let mut start = 0;
        loop {
            let end = self.quoted_field(record, start, each)?;
            if end == record.len() {
                return Ok(());
            }
            start = end + 1;
        }
    }

    /// Gives out the field that begins at `start`; returns where it ends.
    fn quoted_field(
        &mut self,
        record: &str,
        start: usize,
        each: &mut impl FnMut(Field<'_>) -> Result<()>,
    ) -> Result<usize> {
        let bytes = &record.as_bytes()[start..];
        let end = match memchr2(self.delimiter, self.quote, bytes) {
            None => record.len(),
            Some(at) if bytes[at] == self.delimiter => start + at,
            Some(0) if let Some(length) = self.simply_quoted(bytes) => {
                let text = &record[start + 1..start + 1 + length];
                each(Field { text, is_null_string: text == self.null, quoted: true })?;
                return Ok(start + length + 2);
            }
            Some(_) => {
                let end = start + self.rewrite_quoted(bytes)?;
                let text = utf8(&self.scratch)?;
                each(Field { text, is_null_string: text == self.null, quoted: true })?;
                return Ok(end);
            }
        };
        let text = &record[start..end];
        if memchr(b'\r', text.as_bytes()).is_some() {
            return Err(self.carriage_return());
        }
        each(self.plain(text))?;
        Ok(end)
    }

    /// Length of what stands between the first quote and the next, if that ends the field and needs no rewriting.
    fn simply_quoted(&self, bytes: &[u8]) -> Option<usize> {
        let length = memchr2(self.quote, self.escape, &bytes[1..])?;
        let ends = bytes[length + 1] == self.quote && bytes.get(length + 2).is_none_or(|byte| *byte == self.delimiter);
        ends.then_some(length)
    }

    /// Quotes may open and close anywhere in a field. Returns the field's length; its text is in `scratch`.
    fn rewrite_quoted(&mut self, bytes: &[u8]) -> Result<usize> {
        self.scratch.clear();
        let mut in_quotes = false;
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let next = bytes.get(at + 1).copied();
            if !in_quotes {
                match byte {
                    _ if byte == self.delimiter => return Ok(at),
                    _ if byte == self.quote => in_quotes = true,
                    b'\r' => return Err(self.carriage_return()),
                    _ => self.scratch.push(byte),
                }
            } else if byte == self.escape
                && let Some(next) = next.filter(|next| *next == self.quote || *next == self.escape)
            {
                self.scratch.push(next);
                at += 1;
            } else if byte == self.quote {
                in_quotes = false;
            } else {
                self.scratch.push(byte);
            }
            at += 1;
        }
        match in_quotes {
            true => Err(unterminated()),
            false => Ok(at),
        }
    }
}

pub fn unterminated() -> Error {
    Error::new(SqlState::BAD_COPY_FORMAT, "unterminated CSV quoted field")
}

/// COPY text format's backslash sequences.
fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    loop {
        rest = match rest {
            // A backslash at the very end stands for nothing, as in PostgreSQL.
            [] | [b'\\'] => return,
            [b'\\', b'x', after @ ..] if after.first().is_some_and(u8::is_ascii_hexdigit) => {
                take_number(after, 16, 2, out)
            }
            [b'\\', after @ ..] if matches!(after.first(), Some(b'0'..=b'7')) => take_number(after, 8, 3, out),
            [b'\\', letter, after @ ..] => {
                out.push(match letter {
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 0x0b,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}

/// Up to so many digits as one byte.
fn take_number<'a>(digits: &'a [u8], radix: u32, length_max: usize, out: &mut Vec<u8>) -> &'a [u8] {
    let mut value = 0u32;
    let mut length = 0;
    while let Some(digit) = digits.get(length).and_then(|byte| (*byte as char).to_digit(radix))
        && length < length_max
    {
        value = value * radix + digit;
        length += 1;
    }
    out.push(value as u8);
    &digits[length..]
}

/// Bytes as text. Errors: 22021, naming the first byte that is wrong.
pub fn utf8(bytes: &[u8]) -> Result<&str> {
    let wrong = |byte: u8| {
        Error::new(SqlState::INVALID_ENCODING, format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"))
    };
    match std::str::from_utf8(bytes) {
        Ok(_) if memchr(0, bytes).is_some() => Err(wrong(0)),
        Ok(text) => Ok(text),
        Err(error) => Err(wrong(bytes.get(error.valid_up_to()).copied().unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests;
