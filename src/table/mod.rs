//! Tables: hot rows in memory, cold rows in files, one scan over both at one commit.
//!
//! ```text
//! apply (sequencing lock) -> segment (hot rows), tombstone (deletions), keyed (live rows by PRIMARY KEY)
//! cold_keys               =  the same of rows that are in files alone
//! flush (durable rows)    -> tier: files and manifest -> swap under the publish lock
//! compact                 -> the same of cold rows: fewer files, without rows that were deleted
//! backup                  =  a manifest that holds everything, with its files, elsewhere
//! history                 =  commits before the head that can be read: no deletion by a later one is folded in
//! garbage                 =  files that no manifest needs and nobody reads
//! snapshot at b           =  files - tombstones(<= b)  +  prefix(<= b) of hot rows - tombstones(<= b)
//! scan                    =  a snapshot as DataFusion reads it
//! ```
//!
//! Invariants:
//!   * sequenced state: everything applied; durable state: its prefix up to the durable head
//!   * flushed <= durable head; a snapshot's commit >= flushed, but for one of the past, which knows up to which row id
//!   * what a snapshot reads is immutable: a flush or a merge makes new parts, and leaves the old ones to who holds them

mod backup;
mod cell;
mod cold_keys;
mod columns;
mod compact;
mod flush;
mod garbage;
mod history;
mod key_form;
mod keyed;
mod left;
mod pins;
mod projection;
mod restore;
mod scan;
mod segment;
mod snapshot;
mod tables;
mod tombstone;
mod version;
mod watermark;

pub use backup::{BackedUpTable, Backup, restore_backup};
pub use flush::{EMPTY_COMMITS_MAX, FlushReport};
pub use scan::SnapshotTable;
pub use snapshot::TableSnapshot;
pub use tables::{DurableState, TableStats, Tables};
pub use watermark::WatermarkStats;

#[cfg(test)]
mod tests;
