//! Files that no manifest needs and nobody reads any more.
//!
//! The rule, in this order:
//!   * a file that the newest manifest names stays
//!   * so does one that any of the manifests named which are kept for need: the newest may be damaged one day
//!   * so does one that a reader holds: a query, a transaction, a backfill, a backup, a promised result. Whoever reads a
//!     version of a table holds its `TableFiles`, and every file of a version stays until it and all earlier ones are let go
//!   * everything else that this server replaced is removed with a later publication
//!
//! The last version of a dropped table is replaced by nothing, with the first manifest that does not name the table.
//!
//! What a server never knew of (files of flushes that came to no manifest, of its former life) goes at the next start, when
//! nobody reads (`Tier::remove_orphans`).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::tables::Tables;
use crate::tier::{HistoryFile, MANIFESTS_KEPT, TableFiles};
use crate::types::RelationId;

/// Stands for no table.
const HISTORY: RelationId = RelationId(0);

#[derive(Debug, Default)]
pub(super) struct Garbage {
    /// Versions that were replaced, oldest first, by table.
    replaced: Mutex<BTreeMap<RelationId, VecDeque<Replaced>>>,
    /// The last versions of dropped tables that the newest manifest may still name.
    dropped: Mutex<BTreeMap<RelationId, Arc<TableFiles>>>,
}

#[derive(Debug)]
struct Replaced {
    /// Gone once nobody reads the version.
    version: Weak<TableFiles>,
    /// Named by it, and not by the one that took its place. Often none: but who reads it keeps what later versions had as well.
    paths: Vec<String>,
    /// The first manifest that does not name them.
    manifest: u64,
}

impl Garbage {
    /// `new` took the place of `old` with manifest `manifest`.
    pub fn replaced(&self, table: RelationId, old: &Arc<TableFiles>, new: &TableFiles, manifest: u64) {
        let kept: HashSet<&str> = new.paths().collect();
        let paths = old.paths().filter(|path| !kept.contains(path)).map(str::to_string).collect();
        let replaced = Replaced { version: Arc::downgrade(old), paths, manifest };
        self.push(table, replaced);
    }

    fn push(&self, table: RelationId, replaced: Replaced) {
        self.replaced.lock().entry(table).or_default().push_back(replaced);
    }

    /// The table is gone, or was when a flush put its last version in place.
    pub fn dropped(&self, table: RelationId, last: Arc<TableFiles>) {
        self.dropped.lock().insert(table, last);
    }

    /// Manifest `manifest` was published, and names these tables.
    pub fn published(&self, manifest: u64, named: &BTreeMap<RelationId, TableFiles>) {
        let mut dropped = self.dropped.lock();
        dropped.retain(|table, last| {
            if !named.contains_key(table) {
                self.replaced(*table, last, &TableFiles::default(), manifest);
            }
            named.contains_key(table)
        });
    }

    /// Files that go once there were some more manifests.
    pub fn waits(&self) -> bool {
        let names_files = |queue: &VecDeque<Replaced>| queue.iter().any(|replaced| !replaced.paths.is_empty());
        !self.dropped.lock().is_empty() || self.replaced.lock().values().any(names_files)
    }

    /// Files of the history that are not named any more. Only a start reads them.
    pub fn unnamed(&self, old: &[HistoryFile], new: &[HistoryFile], manifest: u64) {
        let gone = old.iter().filter(|file| !new.contains(file)).map(|file| file.path.clone());
        let replaced = Replaced { version: Weak::new(), paths: gone.collect(), manifest };
        self.push(HISTORY, replaced);
    }

    /// What may go now that `manifest` is the newest. An earlier version that is still read keeps what all later ones had.
    fn take(&self, manifest: u64) -> Vec<String> {
        let mut paths = Vec::new();
        let mut tables = self.replaced.lock();
        for queue in tables.values_mut() {
            let is_read = |replaced: &Replaced| replaced.version.strong_count() > 0;
            queue.retain(|replaced| !replaced.paths.is_empty() || is_read(replaced));
            let is_needed = |replaced: &Replaced| {
                let kept_for_need = manifest < replaced.manifest + MANIFESTS_KEPT as u64;
                kept_for_need || is_read(replaced)
            };
            let free = queue.iter().position(is_needed).unwrap_or(queue.len());
            paths.extend(queue.drain(..free).flat_map(|replaced| replaced.paths));
        }
        tables.retain(|_, queue| !queue.is_empty());
        paths
    }
}

impl Tables {
    /// A failure costs space alone: the next start removes what is left.
    pub(super) async fn collect_garbage(&self, manifest: u64) {
        for path in self.garbage.take(manifest) {
            if let Err(error) = self.tier.remove_file(&path).await {
                tracing::warn!(%error, "could not remove a file that nobody needs");
            }
        }
    }
}
