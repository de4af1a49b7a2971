//! The envelope of state written as bytes, and reading numbers from it without trusting a length.
//!
//! ```text
//! magic (4) | version (1) | kind (1) | payload | crc32 of all before (4)
//! ```

use arrow::buffer::Buffer;
use arrow::datatypes::{ArrowNativeType, ToByteSlice};

use crate::error::{Error, Result};

// Numbers are written as they stand in memory.
const _: () = assert!(cfg!(target_endian = "little"));

const MAGIC: &[u8; 4] = b"TMST";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 6;
/// With a few lengths.
const ENVELOPE_BYTES: usize = 256;

/// Kinds of payload.
pub const KIND_CHUNK: u8 = 1;
pub const KIND_LEAF: u8 = 2;
pub const KIND_BATCH: u8 = 3;
pub const KIND_CHECKPOINT: u8 = 4;

pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// `expected`: about how many bytes there will be, so that they are not moved while they grow.
    pub fn new(kind: u8, expected: usize) -> Self {
        let mut bytes = Vec::with_capacity(expected + expected / 16 + ENVELOPE_BYTES);
        bytes.extend(MAGIC);
        bytes.push(VERSION);
        bytes.push(kind);
        Writer { bytes }
    }

    pub fn number(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    /// Length, then the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// Length, then what `write` appends.
    pub fn appended(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let at = self.bytes.len();
        self.number(0);
        write(&mut self.bytes)?;
        let length = (self.bytes.len() - at - size_of::<u64>()) as u64;
        self.bytes[at..at + size_of::<u64>()].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// Their number of bytes, then the numbers.
    pub fn numbers<T: ArrowNativeType>(&mut self, numbers: &[T]) {
        self.bytes(numbers.to_byte_slice());
    }

    pub fn finish(mut self) -> Vec<u8> {
        let crc = crc32fast::hash(&self.bytes);
        self.bytes.extend(crc.to_le_bytes());
        self.bytes
    }
}

#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// Kind and payload of an envelope whose checksum holds. Errors: XX001.
pub fn open_envelope(bytes: &[u8]) -> Result<(u8, &[u8])> {
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    if body.len() < HEADER_BYTES || crc32fast::hash(body) != u32::from_le_bytes(*crc) || &body[..4] != MAGIC {
        return Err(damaged());
    }
    if body[4] != VERSION {
        return Err(Error::corrupted(format!("operator state of format {}; this version reads {VERSION}", body[4])));
    }
    Ok((body[5], &body[HEADER_BYTES..]))
}

impl<'a> Reader<'a> {
    /// Checks the envelope. Errors: XX001.
    pub fn new(bytes: &'a [u8], kind: u8) -> Result<Self> {
        let (found, rest) = open_envelope(bytes)?;
        if found == kind { Ok(Reader { rest }) } else { Err(damaged()) }
    }

    /// Of bytes that stand within an envelope that was checked.
    pub fn within(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn number(&mut self) -> Result<u64> {
        let (number, rest) = self.rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*number))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.number()?).map_err(|_| damaged())?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Errors: XX001 where there are not exactly `count` of them.
    pub fn numbers<T: ArrowNativeType>(&mut self, count: usize) -> Result<Vec<T>> {
        let bytes = self.bytes()?;
        if count.checked_mul(size_of::<T>()) != Some(bytes.len()) {
            return Err(damaged());
        }
        // Copied to where numbers of the type may stand.
        Ok(Buffer::from_slice_ref(bytes).typed_data::<T>().to_vec())
    }

    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(damaged()) }
    }
}

pub fn damaged() -> Error {
    Error::corrupted("operator state does not read back")
}
