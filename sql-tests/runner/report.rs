//! What a run says at its end: mode by files, who left a mode and why, and how many queries ran as views.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::golden::Mode;

#[derive(Default)]
pub struct Report(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    modes: BTreeMap<Mode, ModeCounts>,
    queries_as_views: usize,
    /// Rows that came one by one, and how many of them were undone and done again.
    dripped: (usize, usize),
    /// Message of the refusal, and how many queries it met.
    refused_as_views: BTreeMap<String, usize>,
}

#[derive(Default)]
struct ModeCounts {
    takes_part: usize,
    passed: usize,
    failed: usize,
    opted_out: Vec<(String, String)>,
}

impl Report {
    /// No golden was found.
    pub fn is_empty(&self) -> bool {
        self.lock().modes.is_empty()
    }

    pub fn takes_part(&self, mode: Mode) {
        self.lock().modes.entry(mode).or_default().takes_part += 1;
    }

    pub fn opted_out(&self, mode: Mode, file: &str, reason: &str) {
        self.lock().modes.entry(mode).or_default().opted_out.push((file.to_owned(), reason.to_owned()));
    }

    pub fn ended(&self, mode: Mode, passed: bool) {
        let mut counts = self.lock();
        let mode = counts.modes.entry(mode).or_default();
        if passed {
            mode.passed += 1;
        } else {
            mode.failed += 1;
        }
    }

    pub fn query_as_view(&self) {
        self.lock().queries_as_views += 1;
    }

    pub fn dripped(&self, rows: usize, undone: usize) {
        let mut counts = self.lock();
        counts.dripped = (counts.dripped.0 + rows, counts.dripped.1 + undone);
    }

    pub fn refused_as_view(&self, message: &str) {
        let first_line = message.lines().next().unwrap_or_default().to_owned();
        *self.lock().refused_as_views.entry(first_line).or_default() += 1;
    }

    /// The modes that more than `percent` of the files leave.
    pub fn modes_with_opt_outs_over(&self, percent: usize) -> Vec<Mode> {
        let counts = self.lock();
        let crowded =
            |mode: &ModeCounts| mode.opted_out.len() * 100 > percent * (mode.takes_part + mode.opted_out.len());
        counts.modes.iter().filter(|(_, mode)| crowded(mode)).map(|(name, _)| *name).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.lock();
        writeln!(f, "mode      files  passed  failed  opted out")?;
        for (name, mode) in &counts.modes {
            let files = mode.takes_part + mode.opted_out.len();
            writeln!(f, "{name:<8} {files:>6} {:>7} {:>7} {:>10}", mode.passed, mode.failed, mode.opted_out.len())?;
        }
        for (name, mode) in &counts.modes {
            for (file, reason) in &mode.opted_out {
                writeln!(f, "opted out of {name}: {file}: {reason}")?;
            }
        }
        let (rows, undone) = counts.dripped;
        if rows > 0 {
            writeln!(f, "dripped: {rows} rows, {undone} of them undone and done again, seed {}", crate::drip::seed())?;
        }
        let refused: usize = counts.refused_as_views.values().sum();
        if counts.queries_as_views + refused > 0 {
            writeln!(f, "queries as views: {} compared, {refused} refused by name:", counts.queries_as_views)?;
        }
        for (message, times) in &counts.refused_as_views {
            writeln!(f, "{times:>6}  {message}")?;
        }
        Ok(())
    }
}
