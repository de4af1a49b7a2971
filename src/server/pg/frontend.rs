//! What a client may say, decoded from whole frames.
//!
//! Our own decoder rather than pgwire's, which panics on short bodies and replaces invalid UTF-8: here every field is
//! checked, text that is not UTF-8 is 22021, and a body with bytes missing or left over is 08P01.

use bytes::{Buf, Bytes};

use super::gate::{Frame, violation};
use crate::error::{Error, Result, SqlState};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Query(String),
    Parse { name: String, sql: String, parameter_oids: Vec<u32> },
    Bind(Bind),
    Describe(Target),
    Execute { portal: String, rows_max: usize },
    Close(Target),
    Flush,
    Sync,
    Terminate,
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
    FunctionCall,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub portal: String,
    pub statement: String,
    pub parameter_formats: Vec<i16>,
    pub parameters: Vec<Option<Bytes>>,
    pub result_formats: Vec<i16>,
}

/// What Describe and Close name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Statement(String),
    Portal(String),
}

impl Message {
    pub fn decode(frame: Frame) -> Result<Message> {
        let mut fields = Fields(frame.body);
        let message = match frame.kind {
            b'Q' => Message::Query(fields.text()?),
            b'P' => Message::Parse { name: fields.text()?, sql: fields.text()?, parameter_oids: fields.oids()? },
            b'B' => Message::Bind(fields.bind()?),
            b'D' => Message::Describe(fields.target()?),
            b'E' => Message::Execute { portal: fields.text()?, rows_max: fields.rows_max()? },
            b'C' => Message::Close(fields.target()?),
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => Message::Terminate,
            b'd' => Message::CopyData(fields.take_rest()),
            b'c' => Message::CopyDone,
            b'f' => Message::CopyFail(fields.text()?),
            b'F' => {
                fields.take_rest();
                Message::FunctionCall
            }
            kind => return Err(violation(format_args!("invalid frontend message type {kind}"))),
        };
        fields.finish()?;
        Ok(message)
    }
}

/// A body that is read from the front, never past its end.
pub(super) struct Fields(pub Bytes);

impl Fields {
    pub fn need(&self, bytes: usize) -> Result<()> {
        if self.0.len() < bytes { Err(violation("insufficient data left in message")) } else { Ok(()) }
    }

    pub fn u8(&mut self) -> Result<u8> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    pub fn i16(&mut self) -> Result<i16> {
        self.need(2)?;
        Ok(self.0.get_i16())
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.need(4)?;
        Ok(self.0.get_i32())
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.need(4)?;
        Ok(self.0.get_u32())
    }

    pub fn bytes(&mut self, bytes: usize) -> Result<Bytes> {
        self.need(bytes)?;
        Ok(self.0.split_to(bytes))
    }

    /// Up to the next zero byte.
    pub fn text(&mut self) -> Result<String> {
        let Some(end) = self.0.iter().position(|byte| *byte == 0) else {
            return Err(violation("invalid string in message"));
        };
        let text = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(text.into()).map_err(|error| invalid_utf8(error.as_bytes()))
    }

    pub fn take_rest(&mut self) -> Bytes {
        self.0.split_to(self.0.len())
    }

    pub fn finish(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(violation("invalid message format")) }
    }

    /// An unsigned 16-bit count; each item takes at least `item_bytes`, so a false count is found out before memory is
    /// taken for it.
    fn count(&mut self, item_bytes: usize) -> Result<usize> {
        let count = usize::from(self.i16()? as u16);
        self.need(count * item_bytes)?;
        Ok(count)
    }

    fn oids(&mut self) -> Result<Vec<u32>> {
        let count = self.count(4)?;
        (0..count).map(|_| self.u32()).collect()
    }

    fn formats(&mut self) -> Result<Vec<i16>> {
        let count = self.count(2)?;
        (0..count).map(|_| self.i16()).collect()
    }

    fn parameter(&mut self) -> Result<Option<Bytes>> {
        match self.i32()? {
            -1 => Ok(None),
            bytes => match usize::try_from(bytes) {
                Ok(bytes) => self.bytes(bytes).map(Some),
                Err(_) => Err(violation(format_args!("invalid parameter length {bytes}"))),
            },
        }
    }

    fn bind(&mut self) -> Result<Bind> {
        let portal = self.text()?;
        let statement = self.text()?;
        let parameter_formats = self.formats()?;
        let count = self.count(4)?;
        let parameters = (0..count).map(|_| self.parameter()).collect::<Result<_>>()?;
        Ok(Bind { portal, statement, parameter_formats, parameters, result_formats: self.formats()? })
    }

    /// 0 and below: all of them.
    fn rows_max(&mut self) -> Result<usize> {
        Ok(match self.i32()? {
            limit if limit > 0 => limit as usize,
            _ => usize::MAX,
        })
    }

    fn target(&mut self) -> Result<Target> {
        match self.u8()? {
            b'S' => Ok(Target::Statement(self.text()?)),
            b'P' => Ok(Target::Portal(self.text()?)),
            kind => Err(violation(format_args!("invalid Describe or Close target {kind}"))),
        }
    }
}

fn invalid_utf8(bytes: &[u8]) -> Error {
    let start = std::str::from_utf8(bytes).err().map_or(0, |error| error.valid_up_to());
    let shown: Vec<String> = bytes.iter().skip(start).take(4).map(|byte| format!("0x{byte:02x}")).collect();
    Error::new(SqlState::INVALID_ENCODING, format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")))
}

#[cfg(test)]
mod tests;
