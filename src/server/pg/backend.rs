//! What the server says, encoded into one buffer per connection.
//!
//! A message is appended whole, so that a statement may be dropped between any two awaits and the stream of messages
//! stays well formed. [`Outbox::flush`] is cancel-safe: it remembers how much has gone out.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::encode::Format;
use crate::error::{Error, Result, SqlState};
use crate::session::SlowClients;
use crate::session::{Notice, OutputColumn, TransactionStatus};

/// Flush when this much is waiting.
const FLUSH_BYTES: usize = 64 << 10;
/// Give memory back after a row larger than this.
const KEEP_BYTES: usize = 1 << 20;

/// How bad an error is for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    /// The connection ends after it.
    Fatal,
}

/// The writing side of a connection.
pub(super) struct Outbox {
    stream: Arc<TcpStream>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that have gone out already.
    sent_bytes: usize,
    slow: Arc<SlowClients>,
}

impl Outbox {
    pub fn new(stream: Arc<TcpStream>, slow: Arc<SlowClients>) -> Self {
        Outbox { stream, buffer: Vec::new(), sent_bytes: 0, slow }
    }

    /// Whether enough waits to be worth a write; callers then await [`Outbox::flush`].
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= FLUSH_BYTES
    }

    /// Sends all that waits. An error means that the client is gone.
    pub async fn flush(&mut self) -> Result<()> {
        while let Some(rest) = self.buffer.get(self.sent_bytes..).filter(|rest| !rest.is_empty()) {
            self.stream.writable().await.map_err(lost)?;
            match self.stream.try_write(rest) {
                Ok(bytes) => self.sent_bytes += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(lost(error)),
            }
        }
        self.buffer.clear();
        self.buffer.shrink_to(KEEP_BYTES);
        self.sent_bytes = 0;
        Ok(())
    }

    /// The same in the middle of a statement's rows, where the client may be ended for not taking them. Errors: 53400 then.
    pub async fn flush_rows(&mut self) -> Result<()> {
        while let Some(rest) = self.buffer.get(self.sent_bytes..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(bytes) => self.sent_bytes += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.slow.wait(self.stream.writable()).await?.map_err(lost)?;
                }
                Err(error) => return Err(lost(error)),
            }
        }
        self.flush().await
    }

    /// A byte outside any message: the answer to SSLRequest.
    pub fn raw(&mut self, byte: u8) {
        self.buffer.push(byte);
    }

    /// One message. `body` must append only. If it fails, nothing of the message stays.
    pub fn message(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[kind, 0, 0, 0, 0]);
        if let Err(error) = body(&mut self.buffer).and_then(|()| patch_length(&mut self.buffer, start + 1, true)) {
            self.buffer.truncate(start);
            return Err(error);
        }
        Ok(())
    }

    /// A message that cannot fail: its body is far below the length field's limit.
    fn plain(&mut self, kind: u8, body: &[u8]) {
        self.buffer.push(kind);
        self.buffer.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        self.buffer.extend_from_slice(body);
    }

    pub fn authentication_ok(&mut self) {
        self.plain(b'R', &0_u32.to_be_bytes());
    }

    pub fn authentication_sasl(&mut self, mechanisms: &[&str]) {
        let mut body = 10_u32.to_be_bytes().to_vec();
        mechanisms.iter().for_each(|name| put_text(&mut body, name));
        body.push(0);
        self.plain(b'R', &body);
    }

    pub fn authentication_sasl_continue(&mut self, data: &str) {
        self.plain(b'R', &[&11_u32.to_be_bytes(), data.as_bytes()].concat());
    }

    pub fn authentication_sasl_final(&mut self, data: &str) {
        self.plain(b'R', &[&12_u32.to_be_bytes(), data.as_bytes()].concat());
    }

    /// What of the start-up packet the server does not speak.
    pub fn negotiate_protocol(&mut self, minor: u32, unknown_options: &[String]) {
        let mut body = minor.to_be_bytes().to_vec();
        body.extend_from_slice(&(unknown_options.len() as u32).to_be_bytes());
        unknown_options.iter().for_each(|name| put_text(&mut body, name));
        self.plain(b'v', &body);
    }

    pub fn parameter_status(&mut self, name: &str, value: &str) {
        let mut body = Vec::new();
        put_text(&mut body, name);
        put_text(&mut body, value);
        self.plain(b'S', &body);
    }

    pub fn backend_key(&mut self, process_id: u32, secret: u32) {
        self.plain(b'K', &[process_id.to_be_bytes(), secret.to_be_bytes()].concat());
    }

    pub fn ready(&mut self, status: TransactionStatus) {
        let status = match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::Open => b'T',
            TransactionStatus::Failed => b'E',
        };
        self.plain(b'Z', &[status]);
    }

    pub fn row_description(&mut self, columns: &[OutputColumn], formats: &[Format]) -> Result<()> {
        let count = u16::try_from(columns.len()).map_err(|_| too_many_columns(columns.len()))?;
        self.message(b'T', |out| {
            out.extend_from_slice(&count.to_be_bytes());
            for (index, column) in columns.iter().enumerate() {
                put_text(out, &column.name);
                // The table and its column's number; drivers use them for updatable results only.
                out.extend_from_slice(&[0; 6]);
                let oid = column.sql_type.oid();
                out.extend_from_slice(&oid.to_be_bytes());
                out.extend_from_slice(&column.sql_type.byte_width().to_be_bytes());
                out.extend_from_slice(&column.sql_type.type_modifier().to_be_bytes());
                let format = formats.get(index).copied().unwrap_or(Format::Text);
                out.extend_from_slice(&format.code().to_be_bytes());
            }
            Ok(())
        })
    }

    pub fn parameter_description(&mut self, oids: &[u32]) {
        let mut body = (oids.len() as u16).to_be_bytes().to_vec();
        oids.iter().for_each(|oid| body.extend_from_slice(&oid.to_be_bytes()));
        self.plain(b't', &body);
    }

    pub fn no_data(&mut self) {
        self.plain(b'n', &[]);
    }

    pub fn parse_complete(&mut self) {
        self.plain(b'1', &[]);
    }

    pub fn bind_complete(&mut self) {
        self.plain(b'2', &[]);
    }

    pub fn close_complete(&mut self) {
        self.plain(b'3', &[]);
    }

    pub fn portal_suspended(&mut self) {
        self.plain(b's', &[]);
    }

    pub fn empty_query(&mut self) {
        self.plain(b'I', &[]);
    }

    pub fn command_complete(&mut self, tag: &str) {
        let mut body = Vec::with_capacity(tag.len() + 1);
        put_text(&mut body, tag);
        self.plain(b'C', &body);
    }

    pub fn copy_in(&mut self, columns: usize) {
        self.copy_response(b'G', columns);
    }

    pub fn copy_out(&mut self, columns: usize) {
        self.copy_response(b'H', columns);
    }

    /// Overall format text (csv is text to the protocol), and the same for each column.
    fn copy_response(&mut self, kind: u8, columns: usize) {
        let columns = u16::try_from(columns).unwrap_or(u16::MAX);
        let mut body = vec![0];
        body.extend_from_slice(&columns.to_be_bytes());
        body.resize(body.len() + usize::from(columns) * 2, 0);
        self.plain(kind, &body);
    }

    pub fn copy_data(&mut self, line: &[u8]) -> Result<()> {
        self.message(b'd', |out| {
            out.extend_from_slice(line);
            Ok(())
        })
    }

    pub fn copy_done(&mut self) {
        self.plain(b'c', &[]);
    }

    pub fn error(&mut self, error: &Error, severity: Severity) {
        let severity = match severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        };
        let position = error.position().map(|position| position.to_string());
        let mut body = Vec::new();
        let fields = [
            (b'S', Some(severity)),
            (b'V', Some(severity)),
            (b'C', Some(error.state().0)),
            (b'M', Some(error.message())),
            (b'D', error.detail()),
            (b'H', error.hint()),
            (b'P', position.as_deref()),
            (b'W', error.context()),
        ];
        put_fields(&mut body, &fields);
        self.plain(b'E', &body);
    }

    pub fn notice(&mut self, notice: &Notice) {
        let mut body = Vec::new();
        let fields = [
            (b'S', Some(notice.severity)),
            (b'V', Some(notice.severity)),
            (b'C', Some(notice.code)),
            (b'M', Some(notice.message.as_str())),
            (b'D', notice.detail.as_deref()),
            (b'H', notice.hint.as_deref()),
        ];
        put_fields(&mut body, &fields);
        self.plain(b'N', &body);
    }
}

/// Writes at `at` how many bytes follow, the length field itself included or not.
pub(super) fn patch_length(out: &mut [u8], at: usize, including_itself: bool) -> Result<()> {
    let behind = if including_itself { at } else { at + 4 };
    let length = i32::try_from(out.len().saturating_sub(behind)).map_err(|_| {
        Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a row is too large for the protocol")
            .with_detail("A message may hold 2147483647 bytes.")
    })?;
    if let Some(field) = out.get_mut(at..at + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn put_fields(body: &mut Vec<u8>, fields: &[(u8, Option<&str>)]) {
    for (code, value) in fields {
        if let Some(value) = value {
            body.push(*code);
            put_text(body, value);
        }
    }
    body.push(0);
}

/// A zero byte inside a string would end it early and shift the rest of the message, so it is left out.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}

fn too_many_columns(columns: usize) -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("a result of {columns} columns is too wide"))
        .with_detail("The protocol carries 65535 columns.")
}

fn lost(error: std::io::Error) -> Error {
    Error::new(SqlState::CONNECTION_FAILURE, "connection to client lost").with_source(error)
}
