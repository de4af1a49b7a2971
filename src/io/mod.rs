//! The seams to the world outside: time, chance, threads, the disk, the object store.
//!
//! Everything that commits, stores or computes takes these as values, so that `testing` can put simulated ones in their
//! place. `clippy.toml` bans the alternatives elsewhere.

mod clock;
mod disk;
pub mod machine;
pub mod parallel;
mod rng;
mod store;

pub use clock::{Clock, SystemClock};
pub use disk::{AppendFile, Disk, OsDisk, disk_error, replace_file};
pub use parallel::{Inline, Parallel, ScopedThreads};
pub use rng::{Rng, SystemRng};
pub use store::{DurableLocalStore, open_existing_store, open_store};
