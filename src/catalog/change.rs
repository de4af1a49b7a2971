//! The catalog as a value, and its changes as they stand in commit records.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{MaterializedView, Relation, Table, View};
use crate::types::RelationId;

/// One change of the catalog, as a commit carries it. The statement checked it against the catalog it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogChange {
    CreateTable(Arc<Table>),
    CreateView(Arc<View>),
    CreateMaterializedView(Arc<MaterializedView>),
    /// A materialized view with another query. It is filled under an id of its own, and takes the former's name, and for how
    /// long changes are kept.
    ReplaceMaterializedView {
        former: RelationId,
        view: Arc<MaterializedView>,
    },
    /// A materialized view with another name, or over tables that were altered; its rows stay as they are.
    AlterMaterializedView(Arc<MaterializedView>),
    /// The table as it is from this commit on; a later schema version of the same id.
    AlterTable(Arc<Table>),
    /// For how long changes of a table or materialized view are kept; 0: not at all.
    KeepChanges {
        relation: RelationId,
        retention_us: u64,
    },
    /// A materialized view that was suspended or failed is filled again, and so are those that stopped with it.
    Resume(RelationId),
    Drop(RelationId),
}

/// All relations. Cheap to clone where wrapped in an `Arc`; changed only by [`Catalog::apply`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    relations: BTreeMap<RelationId, Relation>,
    /// Highest id ever given, so that a dropped relation's id is never given again.
    last_id: u32,
    /// Of relations whose changes are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    subscribe_retention_us: BTreeMap<RelationId, u64>,
}

impl Catalog {
    pub fn get(&self, id: RelationId) -> Option<&Relation> {
        self.relations.get(&id)
    }

    /// Names are unique over all kinds of relations, as in PostgreSQL. There is one schema, `public`.
    pub fn find(&self, name: &str) -> Option<&Relation> {
        self.relations.values().find(|relation| relation.name() == name)
    }

    pub fn table(&self, id: RelationId) -> Option<&Arc<Table>> {
        match self.get(id) {
            Some(Relation::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// In the order of their creation.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values()
    }

    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.relations().filter_map(|relation| match relation {
            Relation::Table(table) => Some(table),
            _ => None,
        })
    }

    pub fn materialized_views(&self) -> impl Iterator<Item = &Arc<MaterializedView>> {
        self.relations().filter_map(|relation| match relation {
            Relation::MaterializedView(view) => Some(view),
            _ => None,
        })
    }

    /// Relations that read `id` directly.
    pub fn dependents(&self, id: RelationId) -> impl Iterator<Item = &Relation> {
        self.relations().filter(move |relation| relation.depends_on().contains(&id))
    }

    /// For how long each relation's changes are kept, where they are.
    pub fn subscribe_retentions(&self) -> impl Iterator<Item = (RelationId, u64)> {
        self.subscribe_retention_us.iter().map(|(relation, retention_us)| (*relation, *retention_us))
    }

    /// For how long a relation's changes are kept; 0: not at all.
    pub fn subscribe_retention_us(&self, relation: RelationId) -> u64 {
        self.subscribe_retention_us.get(&relation).copied().unwrap_or_default()
    }

    /// The id that the next CREATE takes.
    pub fn next_id(&self) -> RelationId {
        RelationId(self.last_id.max(RelationId::FIRST.0 - 1) + 1)
    }

    pub fn apply(&mut self, change: &CatalogChange) {
        match change {
            CatalogChange::CreateTable(table) | CatalogChange::AlterTable(table) => {
                self.insert(Relation::Table(table.clone()));
            }
            CatalogChange::CreateView(view) => self.insert(Relation::View(view.clone())),
            CatalogChange::CreateMaterializedView(view) | CatalogChange::AlterMaterializedView(view) => {
                self.insert(Relation::MaterializedView(view.clone()));
            }
            CatalogChange::ReplaceMaterializedView { former, view } => {
                self.relations.remove(former);
                self.insert(Relation::MaterializedView(view.clone()));
                if let Some(retention_us) = self.subscribe_retention_us.remove(former) {
                    self.subscribe_retention_us.insert(view.id, retention_us);
                }
            }
            CatalogChange::Resume(_) => {}
            CatalogChange::KeepChanges { relation, retention_us: 0 } => {
                self.subscribe_retention_us.remove(relation);
            }
            CatalogChange::KeepChanges { relation, retention_us } => {
                self.subscribe_retention_us.insert(*relation, *retention_us);
            }
            CatalogChange::Drop(id) => {
                self.relations.remove(id);
                self.subscribe_retention_us.remove(id);
            }
        }
    }

    fn insert(&mut self, relation: Relation) {
        self.last_id = self.last_id.max(relation.id().0);
        self.relations.insert(relation.id(), relation);
    }
}
