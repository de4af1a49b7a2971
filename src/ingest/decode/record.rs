//! Where one record of COPY data ends.
//!
//! Looks only for what can end a record, so that nearly all bytes are passed by memchr. Resumable: a record may arrive in
//! any number of pieces, and no byte is looked at twice.

use memchr::{memchr, memchr2, memchr3};

use crate::types::{CopyFormat, CopyOptions};

/// One whole record within the scanned bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Behind its last byte, without the line end.
    pub end: usize,
    /// Where the next record begins.
    pub next: usize,
    /// Line breaks inside quotes, or behind a backslash.
    pub embedded_lines: u64,
    /// CSV: a quote occurs in it.
    pub quoted: bool,
}

/// The state between two pieces of a record.
#[derive(Debug)]
pub struct RecordScanner {
    format: CopyFormat,
    quote: u8,
    escape: u8,
    /// Bytes of the current record that were looked at.
    scanned: usize,
    in_quotes: bool,
    quoted: bool,
    embedded_lines: u64,
}

impl RecordScanner {
    pub fn new(options: &CopyOptions) -> Self {
        RecordScanner {
            format: options.format,
            quote: options.quote,
            escape: options.escape,
            scanned: 0,
            in_quotes: false,
            quoted: false,
            embedded_lines: 0,
        }
    }

    /// The record that begins at `start`; `None` if its end is not there yet. Then the next call must give the same
    /// `start` relative to the same bytes, with more behind them.
    pub fn next(&mut self, bytes: &[u8], start: usize) -> Option<Record> {
        let found = match self.format {
            CopyFormat::Text => self.text_line_end(bytes, start),
            CopyFormat::Csv => self.csv_line_end(bytes, start),
        };
        let line_break = found?;
        let end = if line_break > start && bytes[line_break - 1] == b'\r' { line_break - 1 } else { line_break };
        let record = Record { end, next: line_break + 1, embedded_lines: self.embedded_lines, quoted: self.quoted };
        self.reset();
        Some(record)
    }

    /// What is left when no more bytes come: a last line without a line break.
    pub fn last(&mut self, bytes: &[u8], start: usize) -> Option<Record> {
        let mut end = bytes.len();
        if end > start && bytes[end - 1] == b'\r' {
            end -= 1;
        }
        let record = (bytes.len() > start).then_some(Record {
            end,
            next: bytes.len(),
            embedded_lines: self.embedded_lines,
            quoted: self.quoted,
        });
        self.reset();
        record
    }

    pub fn in_quotes(&self) -> bool {
        self.in_quotes
    }

    fn reset(&mut self) {
        self.scanned = 0;
        self.in_quotes = false;
        self.quoted = false;
        self.embedded_lines = 0;
    }

    /// A line break that no odd number of backslashes stands before.
    fn text_line_end(&mut self, bytes: &[u8], start: usize) -> Option<usize> {
        let mut from = start + self.scanned;
        while let Some(found) = memchr(b'\n', &bytes[from..]) {
            let at = from + found;
            let backslashes = bytes[start..at].iter().rev().take_while(|byte| **byte == b'\\').count();
            if backslashes % 2 == 0 {
                return Some(at);
            }
            self.embedded_lines += 1;
            from = at + 1;
        }
        self.scanned = bytes.len() - start;
        None
    }

    /// A line break outside quotes.
    fn csv_line_end(&mut self, bytes: &[u8], start: usize) -> Option<usize> {
        let mut from = start + self.scanned;
        loop {
            let rest = &bytes[from..];
            let found = match self.in_quotes {
                false => memchr2(self.quote, b'\n', rest),
                true => memchr3(self.quote, self.escape, b'\n', rest),
            };
            let Some(found) = found else {
                self.scanned = bytes.len() - start;
                return None;
            };
            let at = from + found;
            let byte = bytes[at];
            if !self.in_quotes {
                if byte == b'\n' {
                    return Some(at);
                }
                self.in_quotes = true;
                self.quoted = true;
            } else if byte == self.escape && self.escape != self.quote {
                // The escaped byte is not looked at; it may not have come yet.
                bytes.get(at + 1)?;
                if bytes[at + 1] == self.escape || bytes[at + 1] == self.quote {
                    from = at + 2;
                    self.scanned = from - start;
                    continue;
                }
            } else if byte == self.quote {
                self.in_quotes = false;
            } else {
                self.embedded_lines += 1;
            }
            from = at + 1;
            self.scanned = from - start;
        }
    }
}

#[cfg(test)]
mod tests;
