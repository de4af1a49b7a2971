//! The handles that statements need, and nothing that decides.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::catalog::Catalog;
use crate::commit::Sequencer;
use crate::dataflow::Dataflows;
use crate::error::Result;
use crate::io::Clock;
use crate::query::QueryEngine;
use crate::settings::Settings;
use crate::table::Tables;
use crate::types::RelationId;

/// One per server, shared by all its sessions.
pub struct Handles {
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
    pub sequencer: Arc<Sequencer>,
    pub tables: Arc<Tables>,
    pub dataflows: Dataflows,
    pub query: QueryEngine,
    pub catalog: Arc<PublishedCatalog>,
    pub live_views: Arc<LiveViews>,
    /// Held from the check of a definition until its commit is published, so that two sessions cannot take one name.
    pub definitions: Arc<tokio::sync::Mutex<()>>,
}

/// The catalog at the durable head. Replaced as a whole, under the publish lock.
#[derive(Default)]
pub struct PublishedCatalog(RwLock<Arc<Catalog>>);

impl PublishedCatalog {
    pub fn get(&self) -> Arc<Catalog> {
        self.0.read().clone()
    }

    pub fn set(&self, catalog: Arc<Catalog>) {
        *self.0.write() = catalog;
    }
}

/// Views that are being backfilled: the publisher leaves here what CREATE MATERIALIZED VIEW waits for.
#[derive(Default)]
pub struct LiveViews(Mutex<HashMap<RelationId, oneshot::Receiver<Result<()>>>>);

impl LiveViews {
    pub fn put(&self, view: RelationId, live: oneshot::Receiver<Result<()>>) {
        self.0.lock().insert(view, live);
    }

    pub fn take(&self, view: RelationId) -> Option<oneshot::Receiver<Result<()>>> {
        self.0.lock().remove(&view)
    }
}
