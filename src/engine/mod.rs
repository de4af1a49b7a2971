//! Wiring: puts the floors together, starts their threads, and stops them in order. Nobody imports it.
//!
//! ```text
//! thread "log"       commit::LogWriter     the only thread that syncs the log
//! thread "views"     dataflow::Worker      steps every view
//! thread "flush"     table::run_flusher    Parquet and manifests
//! thread "checkpoint" dataflow::checkpoint  the state of views at rest
//! thread "memory"    engine::memory        who may hold how much
//! runtime "query"    query::QueryEngine    ad hoc SQL, threads of its own
//! caller's runtime   server, sessions, sources
//! ```

mod core;
mod healing;
mod memory;
mod password;
mod publisher;
mod rebuild;
mod recovery;
mod retention;
mod server;
mod sources;
mod threads;
mod ticker;

pub use memory::GiveBack;
pub use recovery::{Rebuilt, Recovered};
pub use server::{Server, ServerStats};

#[cfg(test)]
mod tests;
