//! Every metric, declared once with its sentence, and Prometheus' text format (exposition format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::commit::CommitCounters;
use crate::system::SystemStats;
use crate::types::RelationId;

/// The server's numbers at one moment.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub system: SystemStats,
    pub commits: CommitCounters,
    /// Of the relations in `system`.
    pub names: BTreeMap<RelationId, String>,
    pub query_memory_bytes: u64,
}

/// Whether a number only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
}

/// A number with a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    /// For the HELP line and the reference page.
    pub sentence: &'static str,
    /// Name of the label, where there is one number for each table, view or source.
    pub label: Option<&'static str>,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident $(by $label:literal)?, $sentence:literal;)*) => {
        $(pub const $constant: Metric = Metric {
            name: $name,
            kind: MetricKind::$kind,
            sentence: $sentence,
            label: metrics!(@label $($label)?),
        };)*
        /// In the order of the page.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
    (@label) => { None };
    (@label $label:literal) => { Some($label) };
}

metrics! {
    COMMITS = "tidemark_commits_total", Counter, "Durable commits; each is one group of writers.";
    WRITES = "tidemark_writes_total", Counter, "Writes in durable commits.";
    SYNCS = "tidemark_log_syncs_total", Counter, "Syncs of the write-ahead log, failed ones included.";
    LOG_BYTES = "tidemark_log_bytes_total", Counter, "Bytes of durable records in the write-ahead log.";
    LOG_RETRIES = "tidemark_log_retries_total", Counter, "Log writes that failed and were repeated in a new segment.";
    DURABLE_COMMIT = "tidemark_durable_commit", Gauge, "Number of the last durable commit.";
    QUERY_MEMORY = "tidemark_query_memory_bytes", Gauge, "Memory that ad hoc queries hold.";
    TABLE_ROWS_HOT = "tidemark_table_rows_hot", Gauge by "table", "Rows of a table in memory.";
    TABLE_ROWS_COLD = "tidemark_table_rows_cold", Gauge by "table", "Rows of a table in Parquet files.";
    TABLE_BYTES_HOT = "tidemark_table_bytes_hot", Gauge by "table", "Memory of a table's hot rows.";
    TABLE_BYTES_COLD = "tidemark_table_bytes_cold", Gauge by "table", "Bytes of a table's Parquet files.";
    TABLE_FILES = "tidemark_table_files", Gauge by "table", "Parquet files of a table.";
    TABLE_TOMBSTONES = "tidemark_table_tombstones", Gauge by "table", "Deleted rows that Parquet files still hold.";
    VIEW_LAG = "tidemark_view_lag_commits", Gauge by "view", "Commits that a view has not applied yet.";
    VIEW_STATE_BYTES = "tidemark_view_state_bytes", Gauge by "view", "Memory of a view's state.";
    VIEW_ERRORS = "tidemark_view_errors", Gauge by "view", "Rows that a view leaves out because of an error.";
    VIEW_ROWS_READ = "tidemark_view_rows_read_total", Counter by "view", "State rows that a view's operators touched.";
    VIEW_ROWS_EMITTED = "tidemark_view_rows_emitted_total", Counter by "view", "Changes that a view's operators gave.";
    SOURCE_ROWS = "tidemark_source_rows_total", Counter by "source", "Rows that a source has committed since the start.";
    SOURCE_FAILED = "tidemark_source_failed", Gauge by "source", "1 while a source is stopped by an error.";
}

/// A metric's number. `label` is the table's, view's or source's name, empty where the metric has no label.
struct Sample<'a> {
    metric: &'static Metric,
    label: &'a str,
    value: u64,
}

impl Metrics {
    /// Prometheus' text.
    pub fn to_text(&self) -> String {
        render(&self.samples())
    }

    fn samples(&self) -> Vec<Sample<'_>> {
        let plain = |metric, value| Sample { metric, label: "", value };
        let mut samples = vec![
            plain(&COMMITS, self.commits.commits),
            plain(&WRITES, self.commits.writes),
            plain(&SYNCS, self.commits.syncs),
            plain(&LOG_BYTES, self.commits.bytes),
            plain(&LOG_RETRIES, self.commits.retries),
            plain(&DURABLE_COMMIT, self.system.durable_commit.0),
            plain(&QUERY_MEMORY, self.query_memory_bytes),
        ];
        // In the order of ids, so that two pages compare line by line.
        for (id, name) in &self.names {
            let mut push = |metric, value| samples.push(Sample { metric, label: name, value });
            if let Some(table) = self.system.tables.get(id) {
                push(&TABLE_ROWS_HOT, table.rows_hot);
                push(&TABLE_ROWS_COLD, table.rows_cold);
                push(&TABLE_BYTES_HOT, table.bytes_hot);
                push(&TABLE_BYTES_COLD, table.bytes_cold);
                push(&TABLE_FILES, table.files);
                push(&TABLE_TOMBSTONES, table.tombstones);
            }
            if let Some(view) = self.system.views.get(id) {
                push(&VIEW_LAG, self.system.durable_commit.0.saturating_sub(view.applied_commit.0));
                push(&VIEW_STATE_BYTES, view.state_bytes);
                push(&VIEW_ERRORS, view.errors);
                push(&VIEW_ROWS_READ, view.rows_read);
                push(&VIEW_ROWS_EMITTED, view.rows_emitted);
            }
            if let Some(source) = self.system.sources.get(id) {
                push(&SOURCE_ROWS, source.rows);
                push(&SOURCE_FAILED, u64::from(source.error.is_some()));
            }
        }
        samples
    }
}

/// All samples of a metric stand together, under its HELP and TYPE.
fn render(samples: &[Sample<'_>]) -> String {
    let mut text = String::new();
    for metric in ALL {
        let mut of_metric = samples.iter().filter(|sample| sample.metric.name == metric.name).peekable();
        if of_metric.peek().is_none() {
            continue;
        }
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.sentence, metric.name);
        for sample in of_metric {
            let _ = match metric.label {
                None => writeln!(text, "{} {}", metric.name, sample.value),
                Some(label) => {
                    writeln!(text, "{}{{{label}=\"{}\"}} {}", metric.name, escaped(sample.label), sample.value)
                }
            };
        }
    }
    text
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
