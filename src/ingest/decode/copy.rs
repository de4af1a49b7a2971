//! COPY FROM STDIN: bytes, cut anywhere, into batches of typed columns.
//!
//! Record ends are found by [`RecordScanner`], fields by [`FieldSplitter`], values by [`ColumnBuilder`]; this file keeps
//! what lies between two pieces, counts lines, and puts each error in its place: `COPY readings, line 3, column
//! temperature: "abc"`.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;

use super::column::ColumnBuilder;
use super::field::{Field, FieldSplitter, unterminated, utf8};
use super::record::{Record, RecordScanner};
use crate::catalog::{Column, arrow_schema};
use crate::error::{Error, Result, SqlState};
use crate::types::{CopyFormat, CopyHeader, CopyOptions};

/// Rows of a batch given out before the end.
const BATCH_ROWS: usize = 65_536;
/// A record longer than this is refused: without a line break the data would be gathered without end.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// Decodes the data of one COPY.
pub struct CopyDecoder {
    rows: Rows,
    scanner: RecordScanner,
    splitter: FieldSplitter,
    header: CopyHeader,
    /// Bytes that no whole record has been made of yet.
    carry: Vec<u8>,
    /// Of the last record, counted from 1.
    line: u64,
    /// The end marker came, or an error: what follows is not read.
    ended: bool,
}

/// The columns as they grow.
struct Rows {
    table: String,
    columns: Vec<CopyColumn>,
    schema: SchemaRef,
    count: usize,
}

struct CopyColumn {
    name: String,
    not_null: bool,
    force_null: bool,
    force_not_null: bool,
    builder: ColumnBuilder,
}

impl CopyDecoder {
    /// `columns` are those of COPY's list, in its order; the batches have just these. `zone` is the session's.
    ///
    /// Errors: 22023 for options that contradict each other, 42703 for a forced column that is not in the list.
    pub fn new(columns: Vec<Column>, options: &CopyOptions, table: &str, zone: Tz) -> Result<Self> {
        options.validate()?;
        for name in options.force_null.iter().chain(&options.force_not_null) {
            if !columns.iter().any(|column| column.name == *name) {
                return Err(Error::new(
                    SqlState::UNDEFINED_COLUMN,
                    format!("FORCE_NULL or FORCE_NOT_NULL column \"{name}\" not referenced by COPY"),
                ));
            }
        }
        Ok(CopyDecoder {
            scanner: RecordScanner::new(options),
            splitter: FieldSplitter::new(options),
            header: options.header,
            rows: Rows::new(columns, options, table, zone),
            carry: Vec::new(),
            line: 0,
            ended: false,
        })
    }

    pub fn schema(&self) -> SchemaRef {
        self.rows.schema.clone()
    }

    /// Takes the next bytes; gives the batches that became full. After an error nothing more is read.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<RecordBatch>> {
        if self.ended {
            return Ok(Vec::new());
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(bytes);
        let mut batches = Vec::new();
        let mut start = 0;
        while !self.ended
            && let Some(record) = self.scanner.next(&carry, start)
        {
            self.record(&carry[start..record.end], record, &mut batches)?;
            start = record.next;
        }
        carry.drain(..start);
        if carry.len() > RECORD_BYTES_MAX {
            self.ended = true;
            let error = Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "COPY line is too long")
                .with_detail(format!("A line may hold at most {RECORD_BYTES_MAX} bytes."));
            return Err(self.rows.at_line(error, self.line + 1, None));
        }
        self.carry = carry;
        Ok(batches)
    }

    /// After the last byte: the rest of the rows.
    pub fn finish(&mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        let carry = std::mem::take(&mut self.carry);
        if !self.ended {
            if self.scanner.in_quotes() {
                self.ended = true;
                return Err(self.rows.at_line(unterminated(), self.line + 1, None));
            }
            if let Some(record) = self.scanner.last(&carry, 0) {
                self.record(&carry[..record.end], record, &mut batches)?;
            }
        }
        self.ended = true;
        if self.rows.count > 0 {
            batches.push(self.rows.take()?);
        }
        Ok(batches)
    }

    fn record(&mut self, bytes: &[u8], record: Record, batches: &mut Vec<RecordBatch>) -> Result<()> {
        self.line += 1 + record.embedded_lines;
        if bytes == b"\\." {
            self.ended = true;
            return Ok(());
        }
        let header = std::mem::replace(&mut self.header, CopyHeader::Absent);
        let result = match header {
            CopyHeader::Present => Ok(()),
            CopyHeader::Match => self.header(bytes, record),
            CopyHeader::Absent => self.row(bytes, record),
        };
        if result.is_err() {
            self.ended = true;
        }
        result?;
        if self.rows.count == BATCH_ROWS {
            batches.push(self.rows.take()?);
        }
        Ok(())
    }

    fn row(&mut self, bytes: &[u8], record: Record) -> Result<()> {
        let (rows, line) = (&mut self.rows, self.line);
        let text = utf8(bytes).map_err(|error| rows.at_line(error, line, None))?;
        let mut column = 0;
        self.splitter
            .split(text, record.quoted, &mut |field| {
                rows.field(column, field, text, line)?;
                column += 1;
                Ok(())
            })
            .map_err(|error| if error.context().is_some() { error } else { rows.at_line(error, line, Some(text)) })?;
        match rows.columns.get(column) {
            None => {
                rows.count += 1;
                Ok(())
            }
            Some(missing) => {
                let message = format!("missing data for column \"{}\"", missing.name);
                Err(rows.at_line(Error::new(SqlState::BAD_COPY_FORMAT, message), line, Some(text)))
            }
        }
    }

    fn header(&mut self, bytes: &[u8], record: Record) -> Result<()> {
        let (rows, line) = (&self.rows, self.line);
        let text = utf8(bytes).map_err(|error| rows.at_line(error, line, None))?;
        let mut names = Vec::new();
        self.splitter.split(text, record.quoted, &mut |field| {
            names.push(field.text.to_owned());
            Ok(())
        })?;
        let wrong =
            |message: String| Err(rows.at_line(Error::new(SqlState::BAD_COPY_FORMAT, message), line, Some(text)));
        if names.len() != rows.columns.len() {
            return wrong(format!(
                "wrong number of fields in header line: got {}, expected {}",
                names.len(),
                rows.columns.len()
            ));
        }
        for (index, (name, column)) in names.iter().zip(&rows.columns).enumerate() {
            if *name != column.name {
                return wrong(format!(
                    "column name mismatch in header line field {}: got \"{name}\", expected \"{}\"",
                    index + 1,
                    column.name
                ));
            }
        }
        Ok(())
    }
}

impl Rows {
    fn new(columns: Vec<Column>, options: &CopyOptions, table: &str, zone: Tz) -> Self {
        let schema =
            arrow_schema(columns.iter().map(|column| (column.name.as_str(), &column.sql_type, !column.not_null)));
        let csv = options.format == CopyFormat::Csv;
        let columns = columns
            .into_iter()
            .map(|column| CopyColumn {
                force_null: csv && options.force_null.contains(&column.name),
                force_not_null: csv && options.force_not_null.contains(&column.name),
                builder: ColumnBuilder::new(&column.sql_type, zone),
                not_null: column.not_null,
                name: column.name,
            })
            .collect();
        Rows { table: table.to_owned(), columns, schema, count: 0 }
    }

    /// Appends one field of the record `text`.
    fn field(&mut self, column: usize, field: Field<'_>, text: &str, line: u64) -> Result<()> {
        let Some(column) = self.columns.get_mut(column) else {
            let error = Error::new(SqlState::BAD_COPY_FORMAT, "extra data after last expected column");
            return Err(self.at_line(error, line, Some(text)));
        };
        if column.takes_as_null(field) {
            if column.not_null {
                let message = format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name, self.table
                );
                return Err(self.at_line(Error::new(SqlState::NOT_NULL_VIOLATION, message), line, Some(text)));
            }
            column.builder.append_null();
            return Ok(());
        }
        column.builder.append(field.text).map_err(|error| {
            error.with_context(format!(
                "COPY {}, line {line}, column {}: \"{}\"",
                self.table,
                column.name,
                shortened(field.text)
            ))
        })
    }

    fn take(&mut self) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        let arrays = self.columns.iter_mut().map(|column| column.builder.finish()).collect();
        self.count = 0;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }

    fn at_line(&self, error: Error, line: u64, text: Option<&str>) -> Error {
        error.with_context(match text {
            Some(text) => format!("COPY {}, line {line}: \"{}\"", self.table, shortened(text)),
            None => format!("COPY {}, line {line}", self.table),
        })
    }
}

impl CopyColumn {
    fn takes_as_null(&self, field: Field<'_>) -> bool {
        field.is_null_string && if field.quoted { self.force_null } else { !self.force_not_null }
    }
}

/// As much of a text as a CONTEXT line shows.
fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 100;
    match text.char_indices().nth(CHARACTERS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests;
