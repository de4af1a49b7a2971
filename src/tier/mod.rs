//! Bytes at rest in the object store: Parquet files of rows, tombstone files, and the manifest that says which count.
//!
//! `tier` makes and deletes files; the loops that decide when, and what a commit has to do with it, stand in `table`.
//!
//! ```text
//! manifest/<number>.json            which files are the cold part of each table (manifest.rs)
//! data/<table>/<manifest>-<n>.parquet    rows, sorted (parquet/)
//! data/<table>/<manifest>-deleted.parquet   (row id, commit) of deleted cold rows
//! data/history/<manifest>.parquet   (commit, time, end of row ids) of the commits that can still be read
//! ```

mod checksums;
pub mod identity;
mod manifest;
mod parquet;
mod statistics;
mod store;
mod verified;

pub use checksums::Checksums;
pub use manifest::{CommitMark, DataFile, HistoryFile, MANIFEST_FORMAT, Manifest, TableFiles, TombstoneFile, WriterId};
pub(crate) use parquet::from_stored;
pub use parquet::{ColdRows, EncodedRows, FileSettings, OpenFile, StoredForm, encode_in_order};
pub use statistics::{Bound, ColumnBounds};
pub use store::{LoadedManifest, MANIFESTS_KEPT, Published, Tier};

/// The private URL under which DataFusion finds the tier's object store; nothing else is registered there.
pub const TIER_URL: &str = "tidemark-tier://tier/";
