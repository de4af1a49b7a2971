//! The catalog as a value, and its changes as they stand in commit records.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Cutoff, Expired, MaterializedView, Relation, Retention, Table, View};
use crate::types::{RelationId, RowId};

/// One change of the catalog, as a commit carries it. The statement checked it against the catalog it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogChange {
    CreateTable(Arc<Table>),
    CreateView(Arc<View>),
    CreateMaterializedView(Arc<MaterializedView>),
    /// A materialized view with another query. It is filled under an id of its own, and takes the former's name, for how long
    /// changes and rows are kept, and what has expired.
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
    /// For how long rows of a table or materialized view stay; `None`: for ever.
    Retain {
        table: RelationId,
        retention: Option<Retention>,
    },
    /// Rows of a table are gone because of their age: not for the views that saw them.
    Expire {
        table: RelationId,
        before_us: i64,
        rows: RowRuns,
    },
    /// A materialized view shows no older rows from this commit on; not for those that saw them.
    ExpireView {
        view: RelationId,
        cutoff: Cutoff,
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
    /// Of tables and materialized views whose rows do not stay for ever.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    retention: BTreeMap<RelationId, Retention>,
    /// Of tables and materialized views that rows have expired of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    expired: BTreeMap<RelationId, Expired>,
}

/// Ids of rows, ascending, as runs of ids that follow one another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRuns(Vec<(RowId, u32)>);

impl RowRuns {
    /// Of ids in any order, each once.
    pub fn new(mut row_ids: Vec<RowId>) -> RowRuns {
        row_ids.sort_unstable();
        let mut runs: Vec<(RowId, u32)> = Vec::new();
        for row_id in row_ids {
            match runs.last_mut() {
                Some((first, rows)) if *first + RowId::from(*rows) == row_id && *rows < u32::MAX => *rows += 1,
                _ => runs.push((row_id, 1)),
            }
        }
        RowRuns(runs)
    }

    pub fn iter(&self) -> impl Iterator<Item = RowId> + '_ {
        self.0.iter().flat_map(|(first, rows)| *first..*first + RowId::from(*rows))
    }
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

    /// How long rows of a table or materialized view stay; `None`: for ever.
    pub fn retention(&self, relation: RelationId) -> Option<&Retention> {
        self.retention.get(&relation)
    }

    /// What retention has taken from a table or materialized view.
    pub fn expired(&self, relation: RelationId) -> Option<&Expired> {
        self.expired.get(&relation)
    }

    /// What a materialized view does not show any more.
    pub fn cutoff(&self, view: RelationId) -> Option<Cutoff> {
        let Expired { before_us, column, .. } = *self.expired.get(&view)?;
        Some(Cutoff { column: column?, before_us })
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
                let expired = self.expired.remove(former);
                // Who says that rows stay for ever from here on gets all of them.
                if let Some(retention) = self.retention.remove(former) {
                    self.retention.insert(view.id, retention);
                    expired.and_then(|expired| self.expired.insert(view.id, expired));
                }
            }
            CatalogChange::Resume(_) => {}
            CatalogChange::KeepChanges { relation, retention_us: 0 } => {
                self.subscribe_retention_us.remove(relation);
            }
            CatalogChange::KeepChanges { relation, retention_us } => {
                self.subscribe_retention_us.insert(*relation, *retention_us);
            }
            CatalogChange::Retain { table, retention: Some(retention) } => {
                self.retention.insert(*table, retention.clone());
                // Where a view was replaced, the column may stand elsewhere.
                if let Some(expired) = self.expired.get_mut(table).filter(|expired| expired.column.is_some()) {
                    expired.column = Some(retention.view_column());
                }
            }
            CatalogChange::Retain { table, retention: None } => {
                self.retention.remove(table);
            }
            CatalogChange::Expire { table, before_us, .. } => {
                self.expire(*table, *before_us, None);
            }
            CatalogChange::ExpireView { view, cutoff } => self.expire(*view, cutoff.before_us, Some(cutoff.column)),
            CatalogChange::Drop(id) => {
                self.relations.remove(id);
                self.retention.remove(id);
                self.expired.remove(id);
                self.subscribe_retention_us.remove(id);
            }
        }
    }

    fn expire(&mut self, relation: RelationId, before_us: i64, column: Option<usize>) {
        let before_us = self.expired.get(&relation).map_or(before_us, |expired| expired.before_us.max(before_us));
        self.expired.insert(relation, Expired { before_us, unseen_from: self.next_id(), column });
    }

    fn insert(&mut self, relation: Relation) {
        self.last_id = self.last_id.max(relation.id().0);
        self.relations.insert(relation.id(), relation);
    }
}
