//! Simulation: one seeded executor, clock, disk and chance, and a harness that crashes at every I/O call.
//!
//! Same seed, same run: which task goes next, what time it is, and what a crash leaves of unsynced bytes follow from the
//! seed alone. And the naive oracle, which says what a query means by loops.

mod clock;
mod crash;
mod disk;
mod executor;
pub mod oracle;
mod rng;
mod store;
pub mod values;

pub use clock::SimClock;
pub use crash::{CrashReport, CrashScenario, crash_everywhere};
pub use disk::{CrashPoint, DiskFault, FaultEffect, SimDisk, SimDiskCalls};
pub use executor::{SimExecutor, SimSpawner};
pub use rng::SimRng;
pub use store::{SimStore, StoreTrouble};
