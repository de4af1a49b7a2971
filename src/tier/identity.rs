//! Who a data directory is: a number drawn when it is first used. Manifests carry it, so that a log is never taken to
//! go on behind another log's manifest.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::WriterId;
use crate::error::{Error, Result};
use crate::io::{Disk, Rng, disk_error, replace_file};

/// In the data directory.
pub const FILE: &str = "identity.json";
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    id: String,
    /// Of `id`.
    crc32: u32,
}

/// The directory's number, drawn where it has none yet, and a new life over it.
///
/// Errors: XX001 for a damaged file, 58030.
pub fn load_or_create(disk: &Arc<dyn Disk>, rng: &dyn Rng) -> Result<WriterId> {
    let life = format!("{:016x}", rng.next_u64());
    let listed = disk.list("").map_err(|error| disk_error("list", "the data directory", error))?;
    if listed.iter().any(|name| name == FILE) {
        return Ok(WriterId { directory: read(&**disk)?, life });
    }
    let id = format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64());
    write_id(&**disk, &id)?;
    Ok(WriterId { directory: id, life })
}

/// Says which directory this is, durably. Errors: 58030, 53100.
pub fn write_id(disk: &dyn Disk, id: &str) -> Result<()> {
    let stored = Stored { format: FORMAT, id: id.to_string(), crc32: crc32fast::hash(id.as_bytes()) };
    let bytes = serde_json::to_vec(&stored).map_err(Error::internal)?;
    replace_file(disk, FILE, &bytes)
}

/// What is stored. Errors: XX001, 58030.
pub fn read(disk: &dyn Disk) -> Result<String> {
    let bytes = disk.read(FILE).map_err(|error| disk_error("read", FILE, error))?;
    let stored: Option<Stored> = serde_json::from_slice(&bytes).ok();
    let whole =
        stored.filter(|stored| stored.format == FORMAT && stored.crc32 == crc32fast::hash(stored.id.as_bytes()));
    whole.map(|stored| stored.id).ok_or_else(|| {
        Error::corrupted(format!("\"{FILE}\" is damaged"))
            .with_detail("It says which data directory this is.")
            .with_hint("Restore it from a copy. \"tidemark repair\" writes it again from the newest manifest.")
    })
}
