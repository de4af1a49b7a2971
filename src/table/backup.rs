//! A copy of the whole database at one commit, made while writes go on; and the way back.
//!
//! ```text
//! <url>/data/...         every file of the manifest, copied through its checksums
//! <url>/manifest/<n>     the manifest, in nobody's name
//! <url>/backup.json      {"format":1,"crc32":"89abcdef","backup":{...}}: commit, tables, rows, digests. Last: without it
//!                        there is no backup
//! ```
//!
//! A backup flushes everything, so that one manifest holds all tables up to one commit and needs no log. Digests are taken of
//! the tables' snapshots at that commit, hot rows and cold, and not of the files that were copied: a restore compares what it
//! reads from the copies with what was read from the tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use super::flush::Published;
use super::snapshot::TableSnapshot;
use super::tables::Tables;
use crate::commit::Sequencer;
use crate::delta::{DeltaBatch, Digest, digest_batch};
use crate::error::{Error, Result, SqlState};
use crate::io::Clock;
use crate::settings::TableSettings;
use crate::tier::{Manifest, Tier, WriterId};
use crate::types::{CommitNumber, RelationId};

const FILE: &str = "backup.json";
const FORMAT: u32 = 1;
const BATCH_ROWS: usize = 1 << 16;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    pub commit: CommitNumber,
    pub timestamp_us: i64,
    pub manifest: u64,
    pub tables: BTreeMap<RelationId, BackedUpTable>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUpTable {
    pub name: String,
    pub rows: u64,
    /// Of all columns and row ids.
    pub digest: String,
}

impl Backup {
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|table| table.rows).sum()
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let body = serde_json::to_vec(self).map_err(Error::internal)?;
        let mut bytes = head(crc32fast::hash(&body)).into_bytes();
        bytes.extend(body);
        bytes.push(b'}');
        Ok(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Backup> {
        let damaged = || Error::corrupted(format!("\"{FILE}\" is damaged")).with_hint("Restore another backup.");
        let body = bytes.get(head(0).len()..bytes.len().saturating_sub(1)).ok_or_else(damaged)?;
        if !bytes.starts_with(head(crc32fast::hash(body)).as_bytes()) || bytes.last() != Some(&b'}') {
            return Err(damaged());
        }
        serde_json::from_slice(body).map_err(|_| damaged())
    }
}

fn head(crc: u32) -> String {
    format!("{{\"format\":{FORMAT},\"crc32\":\"{crc:08x}\",\"backup\":")
}

impl Tables {
    /// Copies everything durable at one commit to an empty store. Errors: 55006 where the store is not empty; the stores'.
    pub async fn backup(&self, target: Arc<dyn ObjectStore>, sequencer: &Sequencer) -> Result<Backup> {
        require_empty(&*target, "the place of the backup").await?;
        // Holds what it reads: neither a compaction nor the garbage's collection takes a file away from under it.
        let Published { manifest, snapshots, held: _held, .. } = self.publish_all(sequencer).await?;
        let manifest = Manifest { writer: WriterId::default(), ..manifest };
        copy_files(&self.tier, &manifest, &*target).await?;
        let mut tables = BTreeMap::new();
        for snapshot in snapshots {
            let (rows, digest) = digest_of(&snapshot).await?;
            let name = snapshot.table().name.clone();
            tables.insert(snapshot.table().id, BackedUpTable { name, rows, digest: digest.to_string() });
        }
        let backup = Backup {
            commit: manifest.commit,
            timestamp_us: manifest.last_timestamp_us,
            manifest: manifest.number,
            tables,
        };
        put(&*target, &Manifest::path(manifest.number), manifest.to_bytes()?).await?;
        put(&*target, FILE, backup.to_bytes()?).await?;
        Ok(backup)
    }
}

/// Copies a backup to an empty store, reads it back, and compares.
///
/// Errors: 22023 where there is no backup, 55006 where the target is not empty, XX001 where the backup is damaged or what
/// arrived is not what was backed up.
pub async fn restore_backup(
    source: Arc<dyn ObjectStore>,
    target: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
) -> Result<Backup> {
    let backup = match source.get(&Path::from(FILE)).await {
        Ok(found) => Backup::from_bytes(&found.bytes().await?)?,
        Err(object_store::Error::NotFound { .. }) => {
            return Err(Error::new(SqlState::INVALID_PARAMETER, "there is no backup in this place")
                .with_detail(format!("A backup that was finished has a file \"{FILE}\"."))
                .with_hint("Name the place that BACKUP TO was given."));
        }
        Err(error) => return Err(error.into()),
    };
    require_empty(&*target, "the object store to restore to").await?;
    let from = Tier::new(source);
    let loaded = from.load().await?;
    if loaded.manifest.number != backup.manifest {
        let found = loaded.damaged.first().map_or("another manifest is there".to_string(), ToString::to_string);
        return Err(
            Error::corrupted(format!("manifest {} of the backup cannot be read", backup.manifest)).with_detail(found)
        );
    }
    copy_files(&from, &loaded.manifest, &*target).await?;
    put(&*target, &Manifest::path(backup.manifest), loaded.manifest.to_bytes()?).await?;
    compare(&backup, target, clock).await?;
    Ok(backup)
}

/// Reads every table of the copy.
async fn compare(backup: &Backup, target: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Result<()> {
    let tier = Tier::new(target);
    let loaded = tier.load().await?;
    let tables = Tables::new(tier, TableSettings::default(), clock);
    tables.restore(&loaded.manifest).await?;
    for table in loaded.manifest.catalog.tables() {
        let (rows, digest) = digest_of(&tables.snapshot(table.id, CommitNumber::MAX)?).await?;
        let found = BackedUpTable { name: table.name.clone(), rows, digest: digest.to_string() };
        let expected = backup.tables.get(&table.id);
        if expected != Some(&found) {
            return Err(Error::corrupted(format!("table \"{}\" is not what was backed up", table.name)).with_detail(
                format!(
                    "It has {rows} rows with digest {}; {} were backed up with digest {}.",
                    found.digest,
                    expected.map_or(0, |table| table.rows),
                    expected.map_or("none", |table| &table.digest)
                ),
            ));
        }
    }
    Ok(())
}

async fn digest_of(snapshot: &TableSnapshot) -> Result<(u64, Digest)> {
    let (mut rows, mut digest) = (0, Digest::default());
    let mut batches = snapshot.stream(None, BATCH_ROWS);
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows() as u64;
        digest.add(digest_batch(&DeltaBatch::inserts(batch))?);
    }
    Ok((rows, digest))
}

/// One after the other, each read through the tier, which checks it.
async fn copy_files(from: &Tier, manifest: &Manifest, to: &dyn ObjectStore) -> Result<()> {
    let store = from.object_store();
    for path in manifest.paths() {
        let bytes = store.get(&Path::from(path)).await?.bytes().await?;
        put(to, path, bytes.to_vec()).await?;
    }
    Ok(())
}

async fn put(store: &dyn ObjectStore, path: &str, bytes: Vec<u8>) -> Result<()> {
    let put = store.put(&Path::from(path), PutPayload::from(bytes)).await;
    put.map(|_| ()).map_err(|error| Error::from(error).with_context(format!("putting \"{path}\"")))
}

async fn require_empty(store: &dyn ObjectStore, what: &str) -> Result<()> {
    match store.list(None).try_next().await? {
        None => Ok(()),
        Some(found) => Err(Error::new(SqlState::OBJECT_IN_USE, format!("{what} is not empty"))
            .with_detail(format!("\"{}\" is there.", found.location))
            .with_hint("Name an empty directory, or one that does not exist yet.")),
    }
}

#[cfg(test)]
mod tests;
