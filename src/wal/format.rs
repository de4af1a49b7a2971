//! The bytes of a segment. All numbers little endian.
//!
//! ```text
//! header, 128 bytes                              record
//!   0  magic "TIDEWAL\n"                           0  length of the payload   u64
//!   8  format version            u16               8  crc                     u32
//!  10  first commit              u64              12  commit                  u64
//!  18  opened at, us since 1970  i64              20  kind                    u8
//!  26  predecessor's valid bytes u64              21  payload
//!  34  predecessor's name        u8 length, <= 64 bytes
//!  99  zeros
//! 124  crc of the bytes before   u32
//! ```
//!
//! A record's crc starts from its segment's header crc and covers the record's offset, so that bytes of another segment,
//! or of a log that a user stored as data, are never taken for a record of this one.

use super::name::SegmentName;
use crate::types::CommitNumber;

pub const FORMAT_VERSION: u16 = 1;
pub const HEADER_BYTES: usize = 128;
pub const FRAME_BYTES: usize = 21;

const MAGIC: &[u8; 8] = b"TIDEWAL\n";
const NAME_BYTES_MAX: usize = 64;
const CRC_OFFSET: usize = HEADER_BYTES - 4;

/// What a segment says of itself and of the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub first_commit: CommitNumber,
    pub opened_us: i64,
    pub predecessor: Option<Predecessor>,
}

/// The segment that this one continues, and where it ends whatever bytes follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Predecessor {
    pub name: SegmentName,
    pub valid_bytes: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Too short, or its crc does not match.
    Unreadable,
    /// Intact, of a later format.
    Version(u16),
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[10..18].copy_from_slice(&self.first_commit.0.to_le_bytes());
        bytes[18..26].copy_from_slice(&self.opened_us.to_le_bytes());
        if let Some(predecessor) = &self.predecessor {
            bytes[26..34].copy_from_slice(&predecessor.valid_bytes.to_le_bytes());
            let name = predecessor.name.to_string();
            assert!(name.len() <= NAME_BYTES_MAX, "segment names are at most 35 bytes");
            bytes[34] = name.len() as u8;
            bytes[35..35 + name.len()].copy_from_slice(name.as_bytes());
        }
        let crc = crc32fast::hash(&bytes[..CRC_OFFSET]);
        bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(file: &[u8]) -> Result<Header, BadHeader> {
        let bytes = file.get(..HEADER_BYTES).ok_or(BadHeader::Unreadable)?;
        if &bytes[..8] != MAGIC || crc32fast::hash(&bytes[..CRC_OFFSET]) != header_crc(bytes) {
            return Err(BadHeader::Unreadable);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != FORMAT_VERSION {
            return Err(BadHeader::Version(version));
        }
        let name_bytes = bytes[34] as usize;
        let predecessor = match name_bytes {
            0 => None,
            1..=NAME_BYTES_MAX => {
                let name = std::str::from_utf8(&bytes[35..35 + name_bytes]).ok().and_then(SegmentName::parse);
                Some(Predecessor { name: name.ok_or(BadHeader::Unreadable)?, valid_bytes: read_u64(bytes, 26) })
            }
            _ => return Err(BadHeader::Unreadable),
        };
        let opened_us = read_u64(bytes, 18) as i64;
        Ok(Header { first_commit: CommitNumber(read_u64(bytes, 10)), opened_us, predecessor })
    }
}

/// The crc that an intact header ends with; records' checksums start from it.
pub(super) fn header_crc(header: &[u8]) -> u32 {
    u32::from_le_bytes([header[CRC_OFFSET], header[CRC_OFFSET + 1], header[CRC_OFFSET + 2], header[CRC_OFFSET + 3]])
}

/// Where an intact record stands in its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub commit: CommitNumber,
    pub kind: u8,
    /// Bytes of the payload from here ...
    pub payload_offset: usize,
    /// ... to here.
    pub end: usize,
}

/// What stands before a payload.
pub(super) fn encode_frame(
    seed: u32,
    offset: u64,
    commit: CommitNumber,
    kind: u8,
    payload: &[u8],
) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[..8].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    frame[8..12].copy_from_slice(&record_crc(seed, offset, commit, kind, payload).to_le_bytes());
    frame[12..20].copy_from_slice(&commit.0.to_le_bytes());
    frame[20] = kind;
    frame
}

/// The record at `offset`, if it is whole and its checksum holds.
pub(super) fn decode_record(seed: u32, file: &[u8], offset: usize) -> Option<Frame> {
    let (commit, payload_offset, end) = peek_record(file, offset)?;
    let kind = file[payload_offset - 1];
    let stored = u32::from_le_bytes(file[offset + 8..offset + 12].try_into().ok()?);
    let crc = record_crc(seed, offset as u64, commit, kind, &file[payload_offset..end]);
    (crc == stored).then_some(Frame { commit, kind, payload_offset, end })
}

/// Commit, payload's start and end, as the frame at `offset` claims them; `None` if it would end beyond the file.
pub(super) fn peek_record(file: &[u8], offset: usize) -> Option<(CommitNumber, usize, usize)> {
    let payload_offset = offset.checked_add(FRAME_BYTES)?;
    let frame = file.get(offset..payload_offset)?;
    let length = usize::try_from(read_u64(frame, 0)).ok()?;
    let end = payload_offset.checked_add(length)?;
    (end <= file.len()).then(|| (CommitNumber(read_u64(frame, 12)), payload_offset, end))
}

fn record_crc(seed: u32, offset: u64, commit: CommitNumber, kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&(payload.len() as u64).to_le_bytes());
    hasher.update(&commit.0.to_le_bytes());
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.finalize()
}

fn read_u64(bytes: &[u8], offset: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(value)
}
