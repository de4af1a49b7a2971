//! Statements: one file per kind, each a function that names what it needs.

mod change;
mod conflict;
pub mod copy;
pub mod define;
pub mod definitions;
pub mod explain;
pub mod flush;
mod handles;
mod insert;
mod response;
mod returning;
mod rows;
pub mod scope;
mod select;
mod session_facts;
mod show;
mod transaction;
mod variables;
pub mod verify;
mod write_set;

pub use change::{delete, update};
pub use handles::{Handles, LiveViews, SourceBoard};
pub use insert::{insert, insert_new, source_query, upsert};
pub use response::{CopyChunk, CopyFormat, CopyInSink, Notice, OutputColumn, Response, RowStream};
pub use returning::returning_query;
pub use rows::into_table;
pub use scope::Environment;
pub use select::{output_columns, select};
pub use session_facts::{SessionView, system_stats};
pub use show::show;
pub use transaction::{Transaction, sequence};
pub use variables::{VARIABLES, Variable, Variables};
pub use write_set::WriteSet;
