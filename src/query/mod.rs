//! Ad hoc queries: DataFusion, locked down, on threads and memory of its own.
//!
//! ```text
//! sqlparser AST -> rewrite (what PostgreSQL's clients write and DataFusion does not take)
//!   -> context (names by search path) -> logical plan -> engine (optimise, run) -> RowStream
//! ```
//!
//! Owns the query threads, their memory pool and the spill directory. Does not know: catalogs, sessions, commits. Whoever
//! asks has already chosen the snapshots that the names stand for.

mod all_rows;
mod any_of;
mod array_literals;
mod context;
mod decorrelate;
mod engine;
mod filters_by_name;
mod forget_constants;
mod gathering;
mod held;
mod leave_out;
mod output;
mod pass_through;
mod prepared;
pub mod rewrite;
mod rows;
mod running;
mod store;
mod yielding;

pub use any_of::array_parameters;
pub use context::{ContextInput, QueryContext, Relations, SystemNames};
pub use engine::{ExplainOptions, QueryEngine, QueryResult};
pub use held::HeldQuery;
pub use leave_out::leave_out_errors;
pub use output::{present, result_type};
pub use prepared::PreparedQuery;
pub use rows::{Deadline, RowStream};
pub use running::QueryMemory;
