//! The files of changelogs. All numbers little endian.
//!
//! ```text
//! changes/<relation>-<base, 20 digits>.log
//!
//! header, 34 bytes                               record
//!   0  magic "TIDECHG\n"                           0  length of the payload   u64
//!   8  format version            u16               8  crc                     u32
//!  10  relation                  u32              12  commit                  u64
//!  14  base                      u64              20  its time, us            i64
//!  22  base of the segment that                   28  payload: an Arrow IPC stream of rows with their weights as the
//!      it continues, or all ones u64                  last column; empty: nothing happened up to this commit
//!  30  crc of the bytes before   u32
//! ```
//!
//! A record's crc starts from its segment's header crc and covers the record's offset.

use std::fmt;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::delta::DeltaBatch;
use crate::error::{Error, Result, SqlState};
use crate::io::{Disk, disk_error};
use crate::types::{CommitNumber, RelationId};

/// Where the segments stand.
pub(super) const DIRECTORY: &str = "changes";
const MAGIC: &[u8; 8] = b"TIDECHG\n";
const FORMAT_VERSION: u16 = 1;
const HEADER_BYTES: usize = 34;
const FRAME_BYTES: usize = 28;
const NO_PREDECESSOR: u64 = u64::MAX;
const WEIGHT: &str = "_weight";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    pub relation: RelationId,
    /// Its changes are of later commits.
    pub base: CommitNumber,
    /// More than 0 where the name was taken.
    pub attempt: u32,
}

impl SegmentName {
    pub fn parse(name: &str) -> Option<SegmentName> {
        let mut parts = name.strip_suffix(".log")?.split('-');
        let parsed = SegmentName {
            relation: RelationId(parts.next()?.parse().ok()?),
            base: CommitNumber(parts.next()?.parse().ok()?),
            attempt: parts.next().map_or(Some(0), |attempt| attempt.parse().ok())?,
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:020}", self.relation.0, self.base.0)?;
        match self.attempt {
            0 => f.write_str(".log"),
            attempt => write!(f, "-{attempt}.log"),
        }
    }
}

/// A file that goes when it is doomed and nobody reads it any more.
pub(super) struct SegmentFile {
    disk: Arc<dyn Disk>,
    name: SegmentName,
    header_crc: u32,
    is_doomed: AtomicBool,
}

impl fmt::Debug for SegmentFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

impl SegmentFile {
    pub fn new(disk: Arc<dyn Disk>, name: SegmentName) -> SegmentFile {
        SegmentFile { disk, name, header_crc: 0, is_doomed: AtomicBool::new(false) }
    }

    /// The same for a file with this header.
    pub fn with_header(mut self, header: &[u8; HEADER_BYTES]) -> SegmentFile {
        self.header_crc = header_crc(header);
        self
    }

    pub fn path(&self) -> String {
        format!("{DIRECTORY}/{}", self.name)
    }

    pub fn doom(&self) {
        self.is_doomed.store(true, Ordering::Release);
    }

    pub fn sync_name(&self) -> io::Result<()> {
        self.disk.sync_dir(DIRECTORY)
    }

    /// A record that begins at `offset`.
    pub fn encode(&self, offset: u64, record: RecordMeta, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAME_BYTES + payload.len());
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend(record_crc(self.header_crc, offset, record, payload).to_le_bytes());
        bytes.extend(record.commit.0.to_le_bytes());
        bytes.extend(record.timestamp_us.to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        if *self.is_doomed.get_mut()
            && let Err(error) = self.disk.remove(&self.path())
        {
            tracing::warn!(%error, file = %self.name, "could not remove a changelog; the next start does");
        }
    }
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub relation: RelationId,
    pub base: CommitNumber,
    /// Base of the segment before it, where nothing is missing between them.
    pub continues: Option<CommitNumber>,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[10..14].copy_from_slice(&self.relation.0.to_le_bytes());
        bytes[14..22].copy_from_slice(&self.base.0.to_le_bytes());
        let continues = self.continues.map_or(NO_PREDECESSOR, |commit| commit.0);
        bytes[22..30].copy_from_slice(&continues.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..30]);
        bytes[30..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None`: it was never written whole. Errors: 0A000 for a later format.
    fn decode(file: &[u8], name: SegmentName) -> Result<Option<SegmentHeader>> {
        let Some(bytes) = file.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        if &bytes[..8] != MAGIC || crc32fast::hash(&bytes[..30]) != header_crc(bytes) {
            return Ok(None);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != FORMAT_VERSION {
            let message = format!("\"{DIRECTORY}/{name}\" has format {version}");
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                .with_detail(format!("This version of Tidemark reads format {FORMAT_VERSION}."))
                .with_hint("Start the version of Tidemark that wrote it, or a later one."));
        }
        let relation = RelationId(u32::from_le_bytes([bytes[10], bytes[11], bytes[12], bytes[13]]));
        let base = CommitNumber(read_u64(bytes, 14));
        let continues = Some(read_u64(bytes, 22)).filter(|base| *base != NO_PREDECESSOR).map(CommitNumber);
        let is_its_own = (relation, base) == (name.relation, name.base);
        Ok(is_its_own.then_some(SegmentHeader { relation, base, continues }))
    }
}

/// Of one record.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordMeta {
    pub commit: CommitNumber,
    pub timestamp_us: i64,
}

/// What a segment's file holds.
pub(super) struct SegmentRead {
    pub header: Option<SegmentHeader>,
    /// Bytes of its intact beginning.
    pub bytes: u64,
    /// The last commit that it speaks of.
    pub end: CommitNumber,
    /// Everything that was asked for is intact.
    pub is_whole: bool,
}

/// Decodes a record's change where it is wanted.
pub(super) type Decode<'a> = dyn Fn() -> Result<Option<DeltaBatch>> + 'a;

/// Reads a segment up to its first bytes that are no record, or to `bytes`.
pub(super) fn read_segment(
    file: &SegmentFile,
    bytes: Option<u64>,
    each: &mut dyn FnMut(RecordMeta, &Decode<'_>) -> Result<()>,
) -> Result<SegmentRead> {
    let path = file.path();
    let content = file.disk.read(&path).map_err(|error| disk_error("read", &path, error))?;
    let end = bytes.map_or(content.len(), |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let is_there = end <= content.len();
    let read = read_content(file.name, &content[..end.min(content.len())], each)?;
    Ok(SegmentRead { is_whole: read.is_whole && is_there, ..read })
}

/// The same of a file's content.
pub(super) fn read_content(
    name: SegmentName,
    content: &[u8],
    each: &mut dyn FnMut(RecordMeta, &Decode<'_>) -> Result<()>,
) -> Result<SegmentRead> {
    let mut read = SegmentRead { header: None, bytes: 0, end: name.base, is_whole: false };
    let Some(header) = SegmentHeader::decode(content, name)? else { return Ok(read) };
    read.header = Some(header);
    let seed = header_crc(content);
    let mut offset = HEADER_BYTES;
    while let Some((record, payload)) = record_at(seed, content, offset) {
        // A file may not go back: such bytes are of another life.
        if record.commit < read.end {
            break;
        }
        each(record, &|| decode_change(payload))?;
        read.end = record.commit;
        offset += FRAME_BYTES + payload.len();
    }
    read.bytes = offset as u64;
    read.is_whole = offset == content.len();
    Ok(read)
}

fn record_at(seed: u32, file: &[u8], offset: usize) -> Option<(RecordMeta, &[u8])> {
    let frame = file.get(offset..offset.checked_add(FRAME_BYTES)?)?;
    let length = usize::try_from(read_u64(frame, 0)).ok()?;
    let payload = file.get(offset + FRAME_BYTES..(offset + FRAME_BYTES).checked_add(length)?)?;
    let record = RecordMeta { commit: CommitNumber(read_u64(frame, 12)), timestamp_us: read_u64(frame, 20) as i64 };
    let crc = u32::from_le_bytes(frame[8..12].try_into().ok()?);
    (crc == record_crc(seed, offset as u64, record, payload)).then_some((record, payload))
}

/// One commit's deltas; of each row the first `columns` columns.
pub(super) fn encode_change(deltas: &[DeltaBatch], columns: Option<usize>) -> Result<Vec<u8>> {
    let Some(first) = deltas.first() else { return Ok(Vec::new()) };
    let schema = first.schema();
    let all = DeltaBatch::concat(&schema, deltas)?;
    let columns = columns.unwrap_or(schema.fields().len()).min(schema.fields().len());
    let mut fields: Vec<_> = schema.fields()[..columns].to_vec();
    fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
    let schema = Arc::new(Schema::new(fields));
    let mut arrays = all.rows().columns()[..columns].to_vec();
    arrays.push(Arc::new(all.weights_array()) as ArrayRef);
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &schema)?;
    writer.write(&RecordBatch::try_new(schema.clone(), arrays)?)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

fn decode_change(payload: &[u8]) -> Result<Option<DeltaBatch>> {
    if payload.is_empty() {
        return Ok(None);
    }
    let malformed = |what: &dyn fmt::Display| {
        Error::corrupted("a changelog's record does not decode").with_detail(format!("{what}."))
    };
    let reader = StreamReader::try_new(Cursor::new(payload), None).map_err(|error| malformed(&error))?;
    let schema = reader.schema();
    let batches = reader.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| malformed(&error))?;
    let all = concat_batches(&schema, &batches)?;
    let (last, columns) = all.columns().split_last().ok_or_else(|| malformed(&"it has no columns"))?;
    let weights = last.as_primitive_opt::<Int64Type>().ok_or_else(|| malformed(&"it has no weights"))?;
    let schema = Arc::new(Schema::new(schema.fields()[..columns.len()].to_vec()));
    let options = RecordBatchOptions::new().with_row_count(Some(all.num_rows()));
    let rows = RecordBatch::try_new_with_options(schema, columns.to_vec(), &options)?;
    DeltaBatch::new(rows, weights.clone()).map(Some)
}

fn header_crc(header: &[u8]) -> u32 {
    u32::from_le_bytes([header[30], header[31], header[32], header[33]])
}

fn record_crc(seed: u32, offset: u64, record: RecordMeta, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&(payload.len() as u64).to_le_bytes());
    hasher.update(&record.commit.0.to_le_bytes());
    hasher.update(&record.timestamp_us.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn read_u64(bytes: &[u8], offset: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(value)
}
