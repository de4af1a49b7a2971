//! The gate: cuts a socket's bytes into frames, and admits none that its type or the login's state forbids.
//!
//! A frame's type and claimed length are judged before its body is buffered, and the buffer grows with what has arrived,
//! not with what was claimed: nobody makes the server hold a gigabyte with five bytes. Reading is cancel-safe: bytes read
//! stay in the buffer.
//!
//! Does not know: what a frame's body means.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::error::{Error, Result, SqlState};

/// Largest packet of a client that has not logged in, and of the small messages afterwards; PostgreSQL's own limit.
pub(super) const SMALL_BYTES_MAX: usize = 10_000;

/// How much room the buffer gets ahead of the bytes that arrive.
const READ_BYTES: usize = 16 << 10;
const READ_LARGE_BYTES: usize = 1 << 20;

/// A message's type and body, whole.
#[derive(Debug)]
pub(super) struct Frame {
    pub kind: u8,
    pub body: Bytes,
}

/// How far a client has come, which says what it may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Only the messages of the authentication exchange, small.
    Login,
    /// Everything, up to this many bytes.
    Ready { message_bytes_max: usize },
}

/// Bytes a frame of this type may claim; `None` if it may not come at all.
fn frame_bytes_max(kind: u8, phase: Phase) -> Option<usize> {
    match (phase, kind) {
        (Phase::Login, b'p') => Some(SMALL_BYTES_MAX),
        (Phase::Login, _) => None,
        (Phase::Ready { message_bytes_max }, b'Q' | b'P' | b'B' | b'd' | b'F') => Some(message_bytes_max),
        (Phase::Ready { .. }, b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f') => Some(SMALL_BYTES_MAX),
        (Phase::Ready { .. }, _) => None,
    }
}

/// The reading side of a connection.
///
/// `Ok(None)` means that the client is gone; `Err` is its fault, always 08P01 or 54000, and fatal, because the place of
/// the next frame is not known.
pub(super) struct FrameReader {
    stream: Arc<TcpStream>,
    buffer: BytesMut,
}

impl FrameReader {
    pub fn new(stream: Arc<TcpStream>) -> Self {
        FrameReader { stream, buffer: BytesMut::new() }
    }

    /// Whether bytes lie here that nobody has asked for yet.
    pub fn has_buffered(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The body of a packet before login: a length, no type.
    pub async fn startup_packet(&mut self) -> Result<Option<Bytes>> {
        if !self.fill_to(4).await {
            return Ok(None);
        }
        let claimed = self.buffer.as_ref().get_u32() as usize;
        if !(8..=SMALL_BYTES_MAX).contains(&claimed) {
            return Err(violation(format_args!("invalid length of startup packet: {claimed}")));
        }
        if !self.fill_to(claimed).await {
            return Ok(None);
        }
        let mut packet = self.buffer.split_to(claimed).freeze();
        packet.advance(4);
        Ok(Some(packet))
    }

    pub async fn frame(&mut self, phase: Phase) -> Result<Option<Frame>> {
        let Some((kind, whole_bytes)) = self.header(0, phase).await? else { return Ok(None) };
        if !self.fill_to(whole_bytes).await {
            return Ok(None);
        }
        let mut body = self.buffer.split_to(whole_bytes).freeze();
        body.advance(5);
        Ok(Some(Frame { kind, body }))
    }

    /// Whether the next message is Sync, looking past Close messages. Waits until it can tell; a client that sent an
    /// Execute owes one more message before it may expect an answer. A frame that the gate refuses is not Sync; whoever
    /// reads it next is told why.
    pub async fn sync_is_next(&mut self, phase: Phase) -> bool {
        let mut offset = 0;
        loop {
            match self.header(offset, phase).await {
                Ok(Some((b'C', bytes))) => offset += bytes,
                Ok(Some((kind, _))) => return kind == b'S',
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// Reads and forgets until the client closes.
    pub async fn discard(&mut self) {
        loop {
            self.buffer.clear();
            if !self.fill_to(1).await {
                return;
            }
        }
    }

    /// Type and whole length of the frame at `offset` of the buffer.
    async fn header(&mut self, offset: usize, phase: Phase) -> Result<Option<(u8, usize)>> {
        if !self.fill_to(offset + 1).await {
            return Ok(None);
        }
        let kind = self.buffer.get(offset).copied().unwrap_or_default();
        let Some(bytes_max) = frame_bytes_max(kind, phase) else {
            return Err(match phase {
                Phase::Login => violation(format_args!("expected a password response, got message type {kind}")),
                Phase::Ready { .. } => violation(format_args!("invalid frontend message type {kind}")),
            });
        };
        if !self.fill_to(offset + 5).await {
            return Ok(None);
        }
        let claimed = self.buffer.get(offset + 1..offset + 5).map_or(0, |mut length| length.get_u32() as usize);
        if claimed < 4 {
            return Err(violation(format_args!("invalid message length: {claimed}")));
        }
        if claimed > bytes_max {
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "message is too large")
                .with_detail(format!(
                    "The client sent a message of type {:?} and {claimed} bytes; the limit is {bytes_max}.",
                    char::from(kind)
                ))
                .with_hint("Send less at a time, or raise server.message_bytes_max."));
        }
        Ok(Some((kind, claimed + 1)))
    }

    /// Reads until the buffer holds `bytes`. False: the client is gone.
    async fn fill_to(&mut self, bytes: usize) -> bool {
        while self.buffer.len() < bytes {
            let missing = bytes - self.buffer.len();
            self.buffer.reserve(missing.clamp(READ_BYTES, READ_LARGE_BYTES));
            if self.stream.readable().await.is_err() {
                return false;
            }
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        true
    }
}

/// Ends when the client hangs up; never while bytes of it wait to be read, since then it is still there.
pub(super) async fn hangup(stream: &TcpStream) {
    let mut byte = [0];
    match stream.peek(&mut byte).await {
        Ok(0) | Err(_) => {}
        Ok(_) => std::future::pending().await,
    }
}

/// How often a client whose bytes wait to be read is asked whether it is still there.
const CLOSED_POLL: Duration = Duration::from_millis(250);

/// Ends when the client hangs up, bytes of it that wait to be read or not: most say goodbye before they close.
pub(super) async fn closed(stream: &TcpStream) {
    let mut byte = [0];
    while !matches!(stream.peek(&mut byte).await, Ok(0) | Err(_)) {
        // Readable all the time, so that nothing but looking tells.
        match stream.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => tokio::time::sleep(CLOSED_POLL).await,
            _ => return,
        }
    }
}

pub(super) fn violation(what: impl std::fmt::Display) -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, what.to_string())
}
