//! What happens to a durable commit, under the publish lock: it becomes the head for tables, and joins the stream of
//! views and sources.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::HashMap;
use datafusion::execution::SessionState;
use tokio::sync::mpsc;

use crate::catalog::{CatalogChange, MaterializedView, Table, TableKind};
use crate::commit::{Commit, Publish};
use crate::dataflow::{Backfill, Dataflows};
use crate::error::Result;
use crate::plan::ViewPlan;
use crate::statement::LiveViews;
use crate::table::Tables;
use crate::types::{CommitNumber, RelationId};

/// Rows of a batch while a view is backfilled.
const BACKFILL_BATCH_ROWS: usize = 65_536;

/// Takes durable commits from the log writer.
pub struct Publisher {
    pub tables: Arc<Tables>,
    pub dataflows: Dataflows,
    pub live_views: Arc<LiveViews>,
    pub sources: mpsc::UnboundedSender<SourceChange>,
    /// Functions and types that stored plans refer to.
    pub registry: SessionState,
}

/// A source came or went.
pub enum SourceChange {
    Created(Arc<Table>),
    Dropped(RelationId),
}

impl Publish for Publisher {
    fn publish(&self, commit: &Arc<Commit>) {
        // A durable commit that cannot be published is a defect of ours. The log writer's thread ends here, and every
        // writer from now on is refused; readers go on at the last head.
        if let Err(error) = self.publish_commit(commit) {
            panic!("publishing commit {}: {error:?}", commit.number);
        }
    }
}

impl Publisher {
    fn publish_commit(&self, commit: &Arc<Commit>) -> Result<()> {
        self.tables.publish(commit)?;
        // The commit's own rows are part of a new view's backfill, so the view comes after them.
        self.dataflows.push_commit(commit.clone());
        for change in &commit.catalog {
            match change {
                CatalogChange::CreateMaterializedView(view) => self.create_view(view, commit.number)?,
                CatalogChange::CreateTable(table) if table.source.is_some() => {
                    // Nobody listens only while the server stops.
                    let _ = self.sources.send(SourceChange::Created(table.clone()));
                }
                CatalogChange::Drop(id) => {
                    self.dataflows.push_drop(*id);
                    let _ = self.sources.send(SourceChange::Dropped(*id));
                }
                CatalogChange::AlterTable(table) => self.dataflows.end_subscriptions_of_altered(table.id),
                CatalogChange::CreateTable(_) | CatalogChange::CreateView(_) => {}
            }
        }
        Ok(())
    }

    /// Puts a view into the stream at `at`, the head.
    pub fn create_view(&self, view: &Arc<MaterializedView>, at: CommitNumber) -> Result<()> {
        let plan = ViewPlan::from_bytes(&view.plan, &self.registry)?;
        let catalog = self.tables.durable().catalog;
        let mut backfill = HashMap::new();
        for id in plan.sources() {
            if let Some(table) = catalog.table(id) {
                let snapshot = self.tables.snapshot(id, at)?;
                let columns = (0..table.columns.len()).collect();
                let rows = snapshot.stream(Some(columns), BACKFILL_BATCH_ROWS);
                backfill.insert(id, Backfill { rows, append_only: table.kind == TableKind::AppendOnly });
            }
        }
        self.live_views.put(view.id, self.dataflows.push_create(view.clone(), plan, backfill));
        Ok(())
    }

    /// Sources of the catalog, with how far each has been read.
    pub fn sources(&self) -> BTreeMap<RelationId, (Arc<Table>, Option<Vec<u8>>)> {
        let durable = self.tables.durable();
        let sources = durable.catalog.tables().filter(|table| table.source.is_some());
        sources.map(|table| (table.id, (table.clone(), durable.positions.get(&table.id).cloned()))).collect()
    }
}
