//! The manifest: which files make up the cold part of every table, and up to which commit.
//!
//! ```text
//! manifest/00000000000000000007.json =
//!   {"format":1,"crc32":"89abcdef","manifest":{...}}      the crc covers the bytes of the inner object
//! ```
//!
//! Each is whole; a new one is put under the next number, only if that is absent. The newest valid one counts. So the
//! numbers are what fences: a server that starts takes the next one, and who had it in mind finds another's there.
//!
//! Invariants:
//!   * a table's rows of commits <= `flushed` are in its files, those of later commits are not
//!   * `flushed` <= `commit` for every table
//!   * what `commit` and everything before it did to the catalog and to source positions is in the manifest
//!
//! Does not know: how files are written, what is in memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checksums::Checksums;
use super::statistics::ColumnBounds;
use crate::catalog::Catalog;
use crate::error::{Error, Result, SqlState};
use crate::types::{CommitNumber, RelationId, RowId};

/// Version of the manifest's form.
pub const MANIFEST_FORMAT: u32 = 1;

/// What is cold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1, 2, 3, ...; 0 stands for "none was ever written".
    pub number: u64,
    #[serde(default)]
    pub writer: WriterId,
    /// Catalog, positions, watermarks, next row id and timestamp are as of this commit.
    pub commit: CommitNumber,
    pub last_timestamp_us: i64,
    /// Above every row id of the files.
    pub next_row_id: RowId,
    pub catalog: Catalog,
    pub positions: BTreeMap<RelationId, Vec<u8>>,
    /// Microseconds since 1970, of tables that have one that was ever set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub watermarks: BTreeMap<RelationId, i64>,
    pub tables: BTreeMap<RelationId, TableFiles>,
    /// Which commits up to `commit` can still be read, oldest first; none where no history is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryFile>,
}

/// Who put a manifest there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterId {
    /// Of the data directory whose log goes on behind the manifest; empty in manifests from before there were any.
    pub directory: String,
    /// Of one life of a server over it.
    pub life: String,
}

/// The cold part of one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableFiles {
    pub flushed: CommitNumber,
    /// Above the row id of every row of commits <= `flushed`, whether it is still in a file or was deleted before.
    pub row_id_end: RowId,
    pub files: Vec<DataFile>,
    /// Deletions of rows in `files`, by commits <= `flushed`.
    pub tombstone_files: Vec<TombstoneFile>,
    /// Rows that were deleted by commits <= this one may be in no file any more: earlier commits cannot be read.
    #[serde(default)]
    pub readable_from: CommitNumber,
}

impl TableFiles {
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Of rows and of deletions.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let deletions = self.tombstone_files.iter().map(|file| file.path.as_str());
        self.files.iter().map(|file| file.path.as_str()).chain(deletions)
    }
}

/// A Parquet file of rows. Immutable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFile {
    /// In the object store.
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    pub row_id_min: RowId,
    pub row_id_max: RowId,
    pub commit_min: CommitNumber,
    pub commit_max: CommitNumber,
    /// Of the file's columns, in order.
    pub columns: Vec<ColumnBounds>,
    /// Of the same columns; empty in files of tables that had never been altered: 1, 2, 3, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub field_ids: Vec<u32>,
    /// `None` in files from before there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksums: Option<Checksums>,
}

impl DataFile {
    /// Where a column stands in the file.
    pub fn position_of(&self, field_id: u32) -> Option<usize> {
        if self.field_ids.is_empty() {
            let position = (field_id as usize).checked_sub(1)?;
            return (position < self.columns.len()).then_some(position);
        }
        self.field_ids.iter().position(|other| *other == field_id)
    }

    /// Where `_row_id` stands: behind all columns.
    pub fn row_id_position(&self) -> usize {
        self.columns.len()
    }
}

/// A Parquet file of (row id, commit).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TombstoneFile {
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    /// `None` in files from before there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksums: Option<Checksums>,
}

/// One commit of the past. Row ids are given in the order of commits, so that they tell what was there by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitMark {
    pub commit: CommitNumber,
    /// Microseconds since 1970.
    pub timestamp_us: i64,
    /// Above the id of every row that this commit and earlier ones inserted, and of none that a later one did.
    pub row_id_end: RowId,
}

/// A Parquet file of [`CommitMark`]s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryFile {
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    pub commit_max: CommitNumber,
    pub checksums: Checksums,
}

impl Manifest {
    pub fn path(number: u64) -> String {
        format!("manifest/{number:020}.json")
    }

    /// The number in a manifest's path.
    pub fn number_of(path: &str) -> Option<u64> {
        let digits = path.strip_prefix("manifest/")?.strip_suffix(".json")?;
        (digits.len() == 20).then(|| digits.parse().ok())?
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let body = serde_json::to_vec(self).map_err(|error| Error::internal(format!("manifest: {error}")))?;
        let mut bytes = head(crc32fast::hash(&body)).into_bytes();
        bytes.extend(body);
        bytes.push(b'}');
        Ok(bytes)
    }

    /// Errors: XX001 for damaged bytes, 0A000 for a format from the future. `path` is for the message.
    pub fn from_bytes(path: &str, bytes: &[u8]) -> Result<Manifest> {
        let format = format_of(bytes).ok_or_else(|| damaged(path, "it does not begin as a manifest does"))?;
        if format > MANIFEST_FORMAT {
            return Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("manifest \"{path}\" has format {format}, and this version reads up to {MANIFEST_FORMAT}"),
            )
            .with_hint("Start the version of Tidemark that wrote it, or a later one."));
        }
        let body = bytes
            .get(head(0).len()..bytes.len().saturating_sub(1))
            .filter(|_| bytes.last() == Some(&b'}'))
            .ok_or_else(|| damaged(path, "it is cut short"))?;
        if !bytes.starts_with(head(crc32fast::hash(body)).as_bytes()) {
            return Err(damaged(path, "its checksum does not fit its bytes"));
        }
        let manifest: Manifest = serde_json::from_slice(body).map_err(|error| damaged(path, &error.to_string()))?;
        match Manifest::number_of(path) {
            Some(number) if number != manifest.number => {
                Err(damaged(path, &format!("it says that its number is {}", manifest.number)))
            }
            _ => Ok(manifest),
        }
    }

    /// Every file that the manifest names.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let history = self.history.iter().map(|file| file.path.as_str());
        self.tables.values().flat_map(TableFiles::paths).chain(history)
    }
}

fn head(crc: u32) -> String {
    format!("{{\"format\":{MANIFEST_FORMAT},\"crc32\":\"{crc:08x}\",\"manifest\":")
}

/// The number behind `{"format":`, read before anything else because the rest may have changed since.
fn format_of(bytes: &[u8]) -> Option<u32> {
    let rest = bytes.strip_prefix(b"{\"format\":")?;
    let digits = rest.get(..rest.iter().position(|byte| !byte.is_ascii_digit())?)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn damaged(path: &str, why: &str) -> Error {
    Error::corrupted(format!("manifest \"{path}\" is damaged")).with_detail(format!("The file cannot be used: {why}."))
}

#[cfg(test)]
mod tests;
