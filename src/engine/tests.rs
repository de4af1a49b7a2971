//! The core as the engine wires it, under one seeded executor: commit, wal, tier, table and dataflow together.
//!
//! ```text
//! history   a script of operations from a seed, by several writers, a definer and a flusher, over three lives
//! ledger    what was sequenced, in order: the oracle for tables
//! views     the views of the script, and what each means by loops: the oracle for views
//! places    a table that is altered while it is written
//! pulses    a table of times, a view that follows time, and one of which rows expire
//! expiry    rows of tables and views that expire
//! past      tables as of an earlier commit, and a view's kept changes since then
//! crash     the history once, the machine as a crash in each of its I/O calls leaves it, and a recovery of each
//! trouble   disks that are full or fail, stores that do not answer, and two servers over one store
//! ```

mod crash;
mod expiry;
mod history;
mod ledger;
mod past;
mod places;
mod pulses;
mod trouble;
mod views;
