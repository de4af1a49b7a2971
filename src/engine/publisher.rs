//! What happens to a durable commit, under the publish lock: it becomes the head for tables, and joins the stream of
//! views and sources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::execution::SessionState;
use tokio::sync::mpsc;

use crate::catalog::{CatalogChange, MaterializedView, Relation, Table};
use crate::commit::{Commit, Publish};
use crate::dataflow::{Dataflows, KeepChanges};
use crate::error::Result;
use crate::plan::ViewPlan;
use crate::statement::{LiveViews, start_filling, stored_plan};
use crate::table::{DurableState, Tables};
use crate::types::{CommitNumber, RelationId};

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
                CatalogChange::ReplaceMaterializedView { former, view } => {
                    self.create_view(view, commit.number)?;
                    let retention_us = self.tables.durable().catalog.subscribe_retention_us(view.id);
                    self.keep_changes(view.id, retention_us);
                    self.dataflows.push_replaced(*former);
                }
                CatalogChange::AlterMaterializedView(view) => {
                    // One that cannot be read back could not be made either, so there is nothing to alter.
                    if let Ok(plan) = self.plan_of(view) {
                        self.dataflows.push_alter(view.clone(), plan);
                    }
                }
                CatalogChange::CreateTable(table) if table.source.is_some() => {
                    // Nobody listens only while the server stops.
                    let _ = self.sources.send(SourceChange::Created(table.clone()));
                }
                CatalogChange::Drop(id) => {
                    self.dataflows.push_drop(*id);
                    let _ = self.sources.send(SourceChange::Dropped(*id));
                }
                CatalogChange::AlterTable(table) => {
                    self.dataflows.end_subscriptions_of_altered(table.id);
                    self.dataflows.push_keep(table.id, KeepChanges::Anew { columns: table.user_columns().len() });
                }
                CatalogChange::Resume(view) => self.resume_view(*view, commit.number)?,
                CatalogChange::KeepChanges { relation, retention_us } => self.keep_changes(*relation, *retention_us),
                CatalogChange::CreateTable(_)
                | CatalogChange::CreateView(_)
                | CatalogChange::Retain { .. }
                | CatalogChange::Expire { .. }
                | CatalogChange::ExpireView { .. } => {}
            }
        }
        Ok(())
    }

    /// Puts a view into the stream at `at`, the head, as the durable catalog has it: the commit that creates it may alter it,
    /// or drop it again. One that was filled beside the view that it replaces is there already, and is not filled again.
    fn create_view(&self, view: &MaterializedView, at: CommitNumber) -> Result<()> {
        self.create_view_at(view, &DurableState { commit: at, ..self.tables.durable() })
    }

    /// The same at an earlier commit, of a start, from what was durable then.
    pub fn create_view_at(&self, view: &MaterializedView, then: &DurableState) -> Result<()> {
        let catalog = self.tables.durable().catalog;
        let Some(Relation::MaterializedView(view)) = catalog.get(view.id) else { return Ok(()) };
        let live = start_filling(&self.tables, &self.dataflows, view.clone(), self.plan_of(view), then)?;
        self.live_views.put(view.id, live);
        Ok(())
    }

    /// The view's stored plan. Errors: those of [`stored_plan`].
    pub fn plan_of(&self, view: &MaterializedView) -> Result<ViewPlan> {
        stored_plan(view, &self.registry)
    }

    /// Puts a view that stopped, and those above it, into the stream again; the worker leaves alone those that go on.
    fn resume_view(&self, view: RelationId, at: CommitNumber) -> Result<()> {
        let catalog = self.tables.durable().catalog;
        let mut above = BTreeSet::from([view]);
        // A relation's id is greater than those of what it reads.
        for relation in catalog.relations() {
            if relation.depends_on().iter().any(|id| above.contains(id)) {
                above.insert(relation.id());
            }
        }
        let views = catalog.materialized_views().filter(|view| above.contains(&view.id));
        views.into_iter().try_for_each(|view| self.create_view(view, at))
    }

    /// Has a relation's changes kept from the present place in the stream on.
    pub fn keep_changes(&self, relation: RelationId, retention_us: u64) {
        let columns = self.tables.durable().catalog.table(relation).map(|table| table.user_columns().len());
        self.dataflows.push_keep(relation, KeepChanges::For { retention_us, columns });
    }

    /// Sources of the catalog, with how far each has been read.
    pub fn sources(&self) -> BTreeMap<RelationId, (Arc<Table>, Option<Vec<u8>>)> {
        let durable = self.tables.durable();
        let sources = durable.catalog.tables().filter(|table| table.source.is_some());
        sources.map(|table| (table.id, (table.clone(), durable.positions.get(&table.id).cloned()))).collect()
    }
}
