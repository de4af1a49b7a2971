//! The demo's status: rates, rows hot and cold, and how far views are behind.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use tidemark::engine::ServerStats;

/// The numbers of one moment that are shown.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    at: Duration,
    commits: u64,
    tables: BTreeMap<String, TableNumbers>,
    views: BTreeMap<String, ViewNumbers>,
}

#[derive(Debug, Clone, Copy, Default)]
struct TableNumbers {
    rows_hot: u64,
    rows_cold: u64,
    files: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct ViewNumbers {
    rows: u64,
    lag_commits: u64,
    state_bytes: u64,
    errors: u64,
}

impl Snapshot {
    /// `at` is monotonic time.
    pub fn take(stats: &ServerStats, at: Duration) -> Snapshot {
        let durable = stats.system.durable_commit.0;
        let mut snapshot = Snapshot { at, commits: stats.commits.commits, ..Snapshot::default() };
        for (id, name) in &stats.names {
            if let Some(table) = stats.system.tables.get(id) {
                let numbers =
                    TableNumbers { rows_hot: table.rows_hot, rows_cold: table.rows_cold, files: table.files };
                snapshot.tables.insert(name.clone(), numbers);
            }
            if let Some(view) = stats.system.views.get(id) {
                let numbers = ViewNumbers {
                    rows: view.rows,
                    lag_commits: durable.saturating_sub(view.applied_commit.0),
                    state_bytes: view.state_bytes,
                    errors: view.errors,
                };
                snapshot.views.insert(name.clone(), numbers);
            }
        }
        snapshot
    }

    fn rows(&self, table: &str) -> u64 {
        self.tables.get(table).map_or(0, |table| table.rows_hot + table.rows_cold)
    }

    fn rows_hot(&self) -> u64 {
        self.tables.values().map(|table| table.rows_hot).sum()
    }

    fn rows_cold(&self) -> u64 {
        self.tables.values().map(|table| table.rows_cold).sum()
    }
}

/// So many per second; a count that went back counts as standing.
fn rate(before: u64, now: u64, elapsed: Duration) -> u64 {
    let seconds = elapsed.as_secs_f64().max(0.001);
    (now.saturating_sub(before) as f64 / seconds).round() as u64
}

/// The table that a terminal shows; every line ends with a line break.
pub fn status_table(before: &Snapshot, now: &Snapshot) -> String {
    let elapsed = now.at.saturating_sub(before.at);
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{:<18}{:>12}{:>14}{:>14}{:>8}", "table", "rows/s", "rows hot", "rows cold", "files");
    for (name, table) in &now.tables {
        let rate = rate(before.rows(name), now.rows(name), elapsed);
        let _ = writeln!(
            text,
            "{name:<18}{:>12}{:>14}{:>14}{:>8}",
            grouped(rate),
            grouped(table.rows_hot),
            grouped(table.rows_cold),
            grouped(table.files),
        );
    }
    let _ = writeln!(text, "\n{:<18}{:>12}{:>14}{:>14}{:>8}", "view", "rows", "lag (commits)", "state", "errors");
    for (name, view) in &now.views {
        let _ = writeln!(
            text,
            "{name:<18}{:>12}{:>14}{:>14}{:>8}",
            grouped(view.rows),
            grouped(view.lag_commits),
            bytes(view.state_bytes),
            grouped(view.errors),
        );
    }
    let _ = writeln!(
        text,
        "\n{} commits, {} per second",
        grouped(now.commits),
        grouped(rate(before.commits, now.commits, elapsed)),
    );
    text
}

/// The same in short, for a log.
pub fn status_line(before: &Snapshot, now: &Snapshot) -> String {
    let elapsed = now.at.saturating_sub(before.at);
    let (rows_before, rows_now) =
        (before.rows_hot() + before.rows_cold(), now.rows_hot() + now.rows_cold());
    let slowest = now.views.iter().max_by_key(|(_, view)| view.lag_commits);
    let lag = slowest.map_or_else(String::new, |(name, view)| {
        format!(", views at most {} commits behind ({name})", grouped(view.lag_commits))
    });
    format!(
        "{} rows/s, {} rows hot, {} rows cold, {} commits/s{lag}",
        grouped(rate(rows_before, rows_now, elapsed)),
        grouped(now.rows_hot()),
        grouped(now.rows_cold()),
        grouped(rate(before.commits, now.commits, elapsed)),
    )
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests;
