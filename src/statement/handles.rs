//! The handles that statements need, and nothing that decides.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::slow_clients::SlowClients;
use crate::catalog::Catalog;
use crate::commit::Sequencer;
use crate::dataflow::Dataflows;
use crate::dataflow::checkpoint::Checkpointer;
use crate::dataflow::state::Residence;
use crate::error::Result;
use crate::io::Clock;
use crate::query::QueryEngine;
use crate::settings::Settings;
use crate::system::SourceStats;
use crate::table::Tables;
use crate::types::RelationId;

/// One per server, shared by all its sessions.
pub struct Handles {
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
    pub sequencer: Arc<Sequencer>,
    pub tables: Arc<Tables>,
    pub dataflows: Dataflows,
    pub checkpointer: Arc<Checkpointer>,
    pub query: QueryEngine,
    pub sources: Arc<SourceBoard>,
    pub started_us: i64,
    pub live_views: Arc<LiveViews>,
    /// Memory of views' state.
    pub residence: Arc<Residence>,
    /// Clients that do not take what is there for them.
    pub slow: Arc<SlowClients>,
    /// What everything together may hold, if there is a limit.
    pub memory_limit: Option<u64>,
    /// Held from the check of a definition until its commit is published, so that two sessions cannot take one name.
    pub definitions: Arc<tokio::sync::Mutex<()>>,
}

impl Handles {
    /// The catalog at the durable head.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.tables.durable().catalog
    }
}

/// What each source's task says of itself.
#[derive(Default)]
pub struct SourceBoard(Mutex<HashMap<RelationId, SourceStats>>);

impl SourceBoard {
    pub fn update(&self, source: RelationId, change: impl FnOnce(&mut SourceStats)) {
        change(self.0.lock().entry(source).or_default());
    }

    pub fn remove(&self, source: RelationId) {
        self.0.lock().remove(&source);
    }

    pub fn all(&self) -> HashMap<RelationId, SourceStats> {
        self.0.lock().clone()
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
