//! Connector `fleet`: generated trucks, in the manner of the Time Series Benchmark Suite's IoT use case.
//!
//! ```sql
//! CREATE SOURCE readings WITH (connector = 'fleet', table = 'readings', trucks = 40, rate = 400);
//! ```
//!
//! Each truck reports in turn; one round of all trucks is a *tick*. What a truck reports is a pure function of seed, truck
//! and event time, so that a position is a few numbers and the same options give the same rows. The rows have the dirt of
//! real ones: some come late, some are missing, some twice, some lack a value. Some trucks stand still for a while, and
//! every truck runs low on fuel now and then.

mod motion;
mod options;
mod position;
mod reader;
mod table;

pub use options::{default_columns, validate};
pub use reader::Fleet;
