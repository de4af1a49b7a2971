//! What operators remember, in columns: the only state there is in the dataflow.
//!
//! * [`KeyedState`]: rows found by key. Hash-partitioned into chunks of about half a megabyte, each with its probe table and
//!   its columns. An aggregate's groups; what a view shows is scanned from it.
//! * [`OrderedState`]: byte strings in order, each with a weight. Arrangements of joins, multisets behind min, max,
//!   first and last, and the content of views that do not end in an aggregate.
//!
//! * [`LogState`]: rows that only ever come. The content of views over APPEND ONLY tables without an aggregate at the top.
//!
//! All are made of pages (chunks, leaves, batches) and copy-on-write: a clone shares all pages, and a page is copied only if
//! it is written while a clone holds it. All count their bytes. A page is written as versioned, checksummed bytes to a
//! [`PageStore`], for a checkpoint or because memory is full, and comes back when it is touched.
//!
//! Does not know: SQL, aggregates, expressions.

mod bytes;
mod chunk;
mod column;
mod key;
mod keyed;
mod log;
mod ordered;
mod page;
mod probe;
mod residence;
mod spine;
mod stored;

pub use bytes::{KIND_CHECKPOINT, Reader, Writer, open_envelope};
pub use chunk::Chunk;
pub use column::{ByteColumn, Column, ColumnType, RareColumn};
pub use key::{KeyLayout, Keys};
pub use keyed::{CHUNK_BYTES, ChunkWriter, KeyedState};
pub use log::LogState;
pub use ordered::{AtRank, OrderedState, OrderedUpdates, in_order};
pub use page::{Home, LeftPage, PageStore, Place};
pub use residence::Residence;
pub use stored::{StateImage, StateReader, StateRef, StateWriter, places};
