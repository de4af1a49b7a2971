//! What the system tables tell, as plain data gathered by whoever runs the statement.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use crate::catalog::{Catalog, Relation};
use crate::dataflow::OperatorStats;
use crate::error::Result;
use crate::table::WatermarkStats;
use crate::types::{CommitNumber, RelationId};

/// One moment of the server, as one session sees it.
pub struct Facts {
    pub catalog: Arc<Catalog>,
    pub stats: SystemStats,
    pub session: SessionFacts,
}

/// Facts that are gathered when the first system table or function of a statement asks for them: most ask for none.
pub struct LazyFacts(LazyLock<Facts, Box<dyn FnOnce() -> Facts + Send>>);

impl LazyFacts {
    pub fn new(gather: impl FnOnce() -> Facts + Send + 'static) -> Self {
        LazyFacts(LazyLock::new(Box::new(gather)))
    }
}

impl Deref for LazyFacts {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

#[derive(Debug, Clone, Default)]
pub struct SystemStats {
    pub durable_commit: CommitNumber,
    pub commits: CommitFacts,
    /// Microseconds since 1970.
    pub started_us: i64,
    pub tables: HashMap<RelationId, RelationStats>,
    pub views: HashMap<RelationId, ViewStats>,
    pub sources: HashMap<RelationId, SourceStats>,
    pub left_out: LeftOut,
    pub watermarks: HashMap<RelationId, WatermarkStats>,
    pub memory: Vec<MemoryFact>,
}

/// What views leave out, at a statement's commit.
#[derive(Debug, Clone, Default)]
pub struct LeftOut {
    pub errors: Vec<ViewErrorFact>,
    /// Rows that came too late; `message` is their window.
    pub late: Vec<ViewErrorFact>,
}

/// The order of commits, and its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitFacts {
    /// Of the last commit, microseconds since 1970.
    pub last_us: i64,
    /// By so much the time of commits is ahead of the wall clock.
    pub ahead_us: i64,
    /// The oldest commit that can be read, and its time.
    pub readable_from: CommitNumber,
    pub readable_from_us: i64,
}

/// What holds memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryFact {
    /// `server`, `table`, `view`, `state`, `queries`, `query`, `loads`, `history`.
    pub component: &'static str,
    /// The beginning of a query.
    pub query: Option<String>,
    /// Of a table or a view.
    pub relation: Option<RelationId>,
    pub bytes: u64,
    pub limit_bytes: Option<u64>,
    /// Left for disk, and came back, since the start.
    pub evicted_bytes: Option<u64>,
    pub reloaded_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelationStats {
    pub rows_hot: u64,
    pub rows_cold: u64,
    pub bytes_hot: u64,
    pub bytes_cold: u64,
    pub files: u64,
    pub tombstones: u64,
    pub flushed_commit: CommitNumber,
    pub readable_from: CommitNumber,
}

impl RelationStats {
    /// Live rows: each deleted one has a tombstone.
    pub fn rows(&self) -> u64 {
        (self.rows_hot + self.rows_cold).saturating_sub(self.tombstones)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViewStats {
    /// `creating`, `live`, `failed` or `suspended`.
    pub status: &'static str,
    /// Why, where it is neither.
    pub failure: Option<String>,
    pub applied_commit: CommitNumber,
    pub lag_commits: u64,
    pub rows: u64,
    pub state_bytes: u64,
    pub errors: u64,
    pub accepted_rows: u64,
    pub late_rows: u64,
    pub rows_read: u64,
    pub rows_emitted: u64,
    /// In preorder.
    pub operators: Vec<OperatorStats>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceStats {
    pub rows: u64,
    /// What stopped it, if something did.
    pub error: Option<String>,
}

/// A row that a view left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViewErrorFact {
    pub view: String,
    /// As EXPLAIN MATERIALIZED VIEW numbers and prints it.
    pub operator: u32,
    pub operation: Option<String>,
    pub sqlstate: String,
    pub message: String,
    /// The row or group, as text.
    pub input: String,
    pub digest: String,
    pub rows: i64,
}

/// `set_config(name, value, is_local)`: the new value.
pub type SetSetting = dyn Fn(&str, &str, bool) -> Result<String> + Send + Sync;

pub struct SessionFacts {
    pub user: String,
    pub database: String,
    pub process_id: i32,
    pub application_name: String,
    /// All that SHOW and SET know, in the order of their names.
    pub settings: Vec<SettingFact>,
    pub search_path: Vec<String>,
    pub cursors: Vec<CursorFact>,
    pub set_setting: Arc<SetSetting>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingFact {
    pub name: String,
    pub value: String,
    pub default: String,
    pub description: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CursorFact {
    pub name: String,
    /// The text that declared it.
    pub declaration: String,
}

/// The oid of the one user and owner.
pub const OWNER: i64 = 10;
pub const DATABASE: i64 = 5;
pub const PG_CATALOG: i64 = 11;
pub const PUBLIC: i64 = 2200;
pub const INFORMATION_SCHEMA: i64 = 13000;
pub const TIDEMARK: i64 = 13001;

/// The schemas and their oids.
pub const SCHEMAS: [(&str, i64); 4] = [
    ("pg_catalog", PG_CATALOG),
    ("public", PUBLIC),
    ("information_schema", INFORMATION_SCHEMA),
    ("tidemark", TIDEMARK),
];

/// A primary key's index and constraint have oids of their own, far above those of relations.
const INDEX_OIDS: i64 = 1_000_000_000;
const CONSTRAINT_OIDS: i64 = 1_500_000_000;

pub fn schema_oid(name: &str) -> Option<i64> {
    SCHEMAS.iter().find(|(schema, _)| *schema == name).map(|(_, oid)| *oid)
}

pub fn schema_name(oid: i64) -> Option<&'static str> {
    SCHEMAS.iter().find(|(_, schema)| *schema == oid).map(|(name, _)| *name)
}

pub fn oid(id: RelationId) -> i64 {
    i64::from(id.0)
}

pub fn index_oid(table: RelationId) -> i64 {
    INDEX_OIDS + oid(table)
}

pub fn constraint_oid(table: RelationId) -> i64 {
    CONSTRAINT_OIDS + oid(table)
}

/// The table whose primary key's index or constraint this is.
pub fn table_of_key(oid: i64) -> Option<RelationId> {
    let id = if oid >= CONSTRAINT_OIDS { oid - CONSTRAINT_OIDS } else { oid - INDEX_OIDS };
    u32::try_from(id).ok().map(RelationId)
}

impl Facts {
    pub fn relation(&self, oid: i64) -> Option<&Relation> {
        self.catalog.get(RelationId(u32::try_from(oid).ok()?))
    }

    /// Rows, hot and cold; `None` for what holds none of its own.
    pub fn rows(&self, id: RelationId) -> Option<u64> {
        match self.stats.views.get(&id) {
            Some(view) => Some(view.rows),
            None => self.stats.tables.get(&id).map(|table| table.rows()),
        }
    }

    pub fn bytes(&self, id: RelationId) -> Option<u64> {
        match self.stats.views.get(&id) {
            Some(view) => Some(view.state_bytes),
            None => self.stats.tables.get(&id).map(|table| table.bytes_hot + table.bytes_cold),
        }
    }

    pub fn setting(&self, name: &str) -> Option<&SettingFact> {
        self.session.settings.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
    }
}
