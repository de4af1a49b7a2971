//! COPY TO STDOUT: batches into lines of text or CSV.
//!
//! Values have the text that the wire prints (`types::text`); this file adds delimiters, NULLs, escapes and quotes.

use arrow::array::RecordBatch;
use bytes::Bytes;

use crate::error::{Error, Result, SqlState};
use crate::types::text::{ColumnText, EncodeSettings};
use crate::types::{CopyFormat, CopyHeader, CopyOptions, ForceQuote};

/// Encodes the rows of one COPY.
pub struct CopyEncoder {
    options: CopyOptions,
    settings: EncodeSettings,
    names: Vec<String>,
    /// By column: FORCE_QUOTE.
    force_quote: Vec<bool>,
    /// A value of a number or a time may hold the delimiter.
    odd_delimiter: bool,
}

impl CopyEncoder {
    /// `names` of the columns, in the order of the batches'.
    ///
    /// Errors: 22023 for options that contradict each other, 42703 for a forced column that there is not.
    pub fn new(names: Vec<String>, options: CopyOptions, settings: EncodeSettings) -> Result<Self> {
        options.validate()?;
        let force_quote = match &options.force_quote {
            ForceQuote::All => vec![true; names.len()],
            ForceQuote::Columns(forced) => {
                if let Some(unknown) = forced.iter().find(|forced| !names.contains(forced)) {
                    return Err(Error::new(
                        SqlState::UNDEFINED_COLUMN,
                        format!("FORCE_QUOTE column \"{unknown}\" not referenced by COPY"),
                    ));
                }
                names.iter().map(|name| forced.contains(name)).collect()
            }
        };
        let odd_delimiter = !matches!(options.delimiter, b'\t' | b',' | b';' | b'|');
        Ok(CopyEncoder { options, settings, names, force_quote, odd_delimiter })
    }

    /// The line of names, if HEADER asks for one.
    pub fn header(&self) -> Option<Bytes> {
        if self.options.header == CopyHeader::Absent {
            return None;
        }
        let mut out = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            if index > 0 {
                out.push(self.options.delimiter);
            }
            let start = out.len();
            out.extend_from_slice(name.as_bytes());
            self.protect(&mut out, start, false);
        }
        out.push(b'\n');
        Some(out.into())
    }

    /// Whole lines.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Bytes> {
        let columns =
            batch.columns().iter().map(|array| ColumnText::new(array.as_ref())).collect::<Result<Vec<_>>>()?;
        let mut out = Vec::with_capacity(batch.num_rows() * columns.len() * 8);
        for row in 0..batch.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                if index > 0 {
                    out.push(self.options.delimiter);
                }
                self.value(column, index, row, &mut out);
            }
            out.push(b'\n');
        }
        Ok(out.into())
    }

    fn value(&self, column: &ColumnText<'_>, index: usize, row: usize, out: &mut Vec<u8>) {
        if column.is_null(row) {
            out.extend_from_slice(self.options.null.as_bytes());
            return;
        }
        let start = out.len();
        column.write(row, &self.settings, out);
        let force_quote = self.force_quote.get(index).is_some_and(|force| *force);
        let may_need_it = column.is_free_text() || self.odd_delimiter || force_quote;
        if may_need_it || out[start..] == *self.options.null.as_bytes() {
            self.protect(out, start, force_quote);
        }
    }

    /// Escapes or quotes the value that stands from `start` to the end.
    fn protect(&self, out: &mut Vec<u8>, start: usize, force_quote: bool) {
        match self.options.format {
            CopyFormat::Text => self.escape(out, start),
            CopyFormat::Csv => self.quote(out, start, force_quote),
        }
    }

    fn escape(&self, out: &mut Vec<u8>, start: usize) {
        let needs = |byte: u8| matches!(byte, b'\\' | 0x08..=0x0d) || byte == self.options.delimiter;
        let Some(first) = out[start..].iter().position(|byte| needs(*byte)) else { return };
        let rest = out.split_off(start + first);
        for byte in rest {
            match byte {
                0x08 => out.extend_from_slice(b"\\b"),
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\n' => out.extend_from_slice(b"\\n"),
                0x0b => out.extend_from_slice(b"\\v"),
                0x0c => out.extend_from_slice(b"\\f"),
                b'\r' => out.extend_from_slice(b"\\r"),
                byte if needs(byte) => out.extend_from_slice(&[b'\\', byte]),
                byte => out.push(byte),
            }
        }
    }

    fn quote(&self, out: &mut Vec<u8>, start: usize, force_quote: bool) {
        let CopyOptions { delimiter, quote, escape, null, .. } = &self.options;
        let value = &out[start..];
        let needs = |byte: &u8| byte == delimiter || byte == quote || matches!(byte, b'\n' | b'\r');
        let is_end_marker = self.names.len() == 1 && value == b"\\.";
        if !force_quote && !is_end_marker && value != null.as_bytes() && !value.iter().any(needs) {
            return;
        }
        let value = out.split_off(start);
        out.push(*quote);
        for byte in value {
            if byte == *quote || byte == *escape {
                out.push(*escape);
            }
            out.push(byte);
        }
        out.push(*quote);
    }
}

#[cfg(test)]
mod tests;
