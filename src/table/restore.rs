//! Tables from the manifest, before the log is replayed over them.

use std::sync::Arc;

use futures::TryStreamExt;
use rustc_hash::FxHashSet;

use super::cell::TableCell;
use super::segment::Memtable;
use super::snapshot::TableSnapshot;
use super::tables::{DurableState, Tables};
use super::tombstone::{Run, Tombstones};
use super::version::Version;
use crate::catalog::Table;
use crate::error::Result;
use crate::tier::{Manifest, TableFiles};
use crate::types::CommitNumber;

/// Rows of a batch while live rows are read back by key.
const RESTORE_BATCH_ROWS: usize = 1 << 14;

impl Tables {
    /// Takes over a manifest: its catalog, positions and tables, and tombstones read from its files. Live rows by key are read, of
    /// the smallest tables first, until they hold `keyed_restore_bytes`; so what a start reads does not grow with the tables.
    /// Before the first replayed commit.
    pub async fn restore(&self, manifest: &Manifest) -> Result<()> {
        let mut tables: Vec<(Arc<Table>, TableFiles)> = manifest
            .catalog
            .tables()
            .map(|table| (table.clone(), manifest.tables.get(&table.id).cloned().unwrap_or_default()))
            .collect();
        tables.sort_by_key(|(_, files)| files.bytes());
        let mut room = usize::try_from(self.settings.keyed_restore_bytes).unwrap_or(usize::MAX);
        for (table, files) in tables {
            let cell = self.restore_table(table.clone(), files).await?;
            if table.key().is_some() {
                self.restore_keys(&cell, room).await?;
                room = room.saturating_sub(cell.keyed_bytes());
            }
            if let Some(at_us) = manifest.watermarks.get(&table.id) {
                cell.watermark.lock().raise(*at_us);
            }
            self.cells.write().insert(table.id, cell);
        }
        self.restore_history(manifest).await?;
        *self.durable.lock() = DurableState::of(manifest);
        *self.manifest.lock().await = manifest.clone();
        Ok(())
    }

    /// Goes on behind a manifest with the same content under another number: the one that claims the object store. After
    /// the last replayed commit, which is checked against what was read.
    pub async fn adopt(&self, claimed: Manifest) {
        *self.manifest.lock().await = claimed;
    }

    async fn restore_table(&self, table: Arc<Table>, files: TableFiles) -> Result<Arc<TableCell>> {
        let mut tombstones = Tombstones::default();
        for file in &files.tombstone_files {
            if let Some(run) = Run::new(self.tier.read_tombstones(file).await?) {
                tombstones.push(run);
            }
        }
        let version = Version { hot: Memtable::default(), tombstones, cold: Arc::new(files) };
        Ok(Arc::new(TableCell::new(table, version)?))
    }

    /// Reads live rows by key until they hold as much as there is room for.
    async fn restore_keys(&self, cell: &Arc<TableCell>, room: usize) -> Result<()> {
        let snapshot = TableSnapshot::new(cell.clone(), self.tier.clone(), CommitNumber::MAX)?;
        let mut rows = snapshot.stream(None, RESTORE_BATCH_ROWS);
        while let Some(rows) = rows.try_next().await? {
            let mut state = cell.state.write();
            let Some(keyed) = &mut state.keyed else { break };
            if keyed.memory_bytes() >= room {
                keyed.set_incomplete();
                break;
            }
            let checked = keyed.check(rows, &FxHashSet::default(), &cell.table.name)?;
            keyed.insert(checked)?;
        }
        Ok(())
    }
}

impl Manifest {
    /// Commits later than this must be replayed: everything up to it is cold for every table.
    pub fn replay_after(&self) -> CommitNumber {
        self.tables.values().map(|table| table.flushed).min().map_or(self.commit, |flushed| flushed.min(self.commit))
    }
}
