//! A crash at every I/O call of a scripted history.
//!
//! The history runs once undisturbed to learn its calls. Then it runs again for each of them, on a fresh disk, and the
//! machine dies in that call: once before its effect and once after it. What the scenario was promised is compared with
//! what it finds after the restart. Nothing here knows what is stored; a scenario for tables or views is another `impl`.

use std::collections::BTreeSet;
use std::fmt;

use super::{DiskFault, FaultEffect, SimDisk};

/// A history and what must hold of it. Deterministic: the same disk and seed give the same calls.
pub trait CrashScenario {
    /// What a life of the process knows when it ends: what it asked for, and what it was promised.
    type Witness;

    /// Opens what is on the disk and runs the history, until its end or until `disk.is_crashed()`. Panics only for
    /// defects; errors of a crashed disk are part of life.
    fn live(&self, disk: &SimDisk, seed: u64) -> Self::Witness;

    /// The machine is back: opens what is on the disk, compares, and goes on writing for a while to see that it can.
    /// Panics if a promise was broken.
    fn check(&self, disk: &SimDisk, seed: u64, witness: Self::Witness);
}

/// What was covered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrashReport {
    pub calls_seen: u64,
    /// Calls in which the machine died, before and after their effect.
    pub calls_crashed: u64,
    /// Lines of code that call the disk; each of them is among the calls that crashed.
    pub sites: BTreeSet<String>,
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seen, crashed, sites) = (self.calls_seen, self.calls_crashed, self.sites.len());
        write!(f, "calls seen: {seen}, calls crashed: {crashed}, distinct call sites: {sites}")?;
        self.sites.iter().try_for_each(|site| write!(f, "\n  {site}"))
    }
}

/// Runs the scenario once without a crash, then once per call and effect. Panics, naming the call, where it breaks.
pub fn crash_everywhere(scenario: &impl CrashScenario, seed: u64) -> CrashReport {
    let disk = SimDisk::new(seed);
    disk.trace_sites(true);
    let witness = scenario.live(&disk, seed);
    disk.trace_sites(false);
    let seen = disk.calls();
    disk.restart();
    scenario.check(&disk, seed, witness);
    let mut calls_crashed = 0;
    for call in 0..seen.calls {
        let before = crash_at(scenario, seed, call, FaultEffect::Before);
        let after = crash_at(scenario, seed, call, FaultEffect::After);
        calls_crashed += u64::from(before && after);
    }
    CrashReport { calls_seen: seen.calls, calls_crashed, sites: seen.sites }
}

/// False if the history never made that call.
fn crash_at(scenario: &impl CrashScenario, seed: u64, call: u64, effect: FaultEffect) -> bool {
    // Another seed for what survives; the history's own stays, so that its calls do.
    let survival = seed ^ (call << 1 | u64::from(effect == FaultEffect::After)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let disk = SimDisk::new(survival);
    disk.fault_at(call, DiskFault::Crash(effect));
    let scope = Scope { seed, call, effect };
    let witness = scenario.live(&disk, seed);
    let crashed = disk.is_crashed();
    disk.restart();
    scenario.check(&disk, seed, witness);
    drop(scope);
    crashed
}

/// Names the call when a check panics, so that the run can be repeated.
struct Scope {
    seed: u64,
    call: u64,
    effect: FaultEffect,
}

impl Drop for Scope {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "in the run with seed {}, crashed at call {} ({:?} its effect)",
                self.seed, self.call, self.effect
            );
        }
    }
}
