//! Numbers that name things: commits, relations, rows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Position in the one order of commits. 0 is "before the first commit".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct CommitNumber(pub u64);

impl CommitNumber {
    /// Later than any commit: reads at it see everything sequenced, durable or not.
    pub const MAX: CommitNumber = CommitNumber(u64::MAX);

    pub fn next(self) -> CommitNumber {
        CommitNumber(self.0 + 1)
    }
}

impl fmt::Display for CommitNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A table, source, view or materialized view; also its OID in pg_catalog. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelationId(pub u32);

impl RelationId {
    /// PostgreSQL's first OID for user objects.
    pub const FIRST: RelationId = RelationId(16384);
}

impl fmt::Display for RelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The hidden `_row_id` of a table's row. Signed because Iceberg has no unsigned types; never negative in a table.
pub type RowId = i64;
