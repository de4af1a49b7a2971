//! What COPY's options say, for both directions. Plain data: the SQL parser fills it, decoders and encoders read it.

use crate::error::{Error, Result, SqlState};

/// COPY's overall format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    Text,
    Csv,
}

/// HEADER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyHeader {
    Absent,
    /// In: the first line is skipped. Out: a line of names is written.
    Present,
    /// In: the first line must name the columns, in their order.
    Match,
}

/// FORCE_QUOTE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForceQuote {
    All,
    Columns(Vec<String>),
}

/// Options of one COPY. `quote`, `escape` and the forces mean nothing in text format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    pub format: CopyFormat,
    /// One ASCII byte, as quote and escape are.
    pub delimiter: u8,
    pub null: String,
    pub header: CopyHeader,
    pub quote: u8,
    pub escape: u8,
    /// COPY TO: columns whose values are always quoted, NULL excepted.
    pub force_quote: ForceQuote,
    /// COPY FROM: columns where a quoted NULL string means NULL.
    pub force_null: Vec<String>,
    /// COPY FROM: columns where the NULL string is text.
    pub force_not_null: Vec<String>,
}

impl CopyOptions {
    /// Text format: tabs and `\N`.
    pub fn text() -> Self {
        CopyOptions { format: CopyFormat::Text, delimiter: b'\t', null: "\\N".to_owned(), ..CopyOptions::csv() }
    }

    /// CSV: commas, nothing for NULL, double quotes.
    pub fn csv() -> Self {
        CopyOptions {
            format: CopyFormat::Csv,
            delimiter: b',',
            null: String::new(),
            header: CopyHeader::Absent,
            quote: b'"',
            escape: b'"',
            force_quote: ForceQuote::Columns(Vec::new()),
            force_null: Vec::new(),
            force_not_null: Vec::new(),
        }
    }

    /// Errors: 22023 for options that would make the data ambiguous, in PostgreSQL's words.
    pub fn validate(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::new(SqlState::INVALID_PARAMETER, message));
        let is_line_break = |byte: u8| byte == b'\n' || byte == b'\r';
        if !self.delimiter.is_ascii() || !self.quote.is_ascii() || !self.escape.is_ascii() {
            return wrong("COPY delimiter, quote and escape must be single one-byte characters");
        }
        if is_line_break(self.delimiter) {
            return wrong("COPY delimiter cannot be newline or carriage return");
        }
        if self.null.bytes().any(is_line_break) {
            return wrong("COPY null representation cannot use newline or carriage return");
        }
        if self.null.as_bytes().contains(&self.delimiter) {
            return wrong("COPY delimiter character must not appear in the NULL specification");
        }
        match self.format {
            CopyFormat::Text if b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&self.delimiter) => {
                Err(Error::new(
                    SqlState::INVALID_PARAMETER,
                    format!("COPY delimiter cannot be \"{}\"", self.delimiter as char),
                ))
            }
            CopyFormat::Csv if self.delimiter == self.quote => wrong("COPY delimiter and quote must be different"),
            CopyFormat::Csv if self.null.as_bytes().contains(&self.quote) => {
                wrong("CSV quote character must not appear in the NULL specification")
            }
            CopyFormat::Csv if is_line_break(self.quote) || is_line_break(self.escape) => {
                wrong("COPY quote and escape cannot be newline or carriage return")
            }
            _ => Ok(()),
        }
    }
}
