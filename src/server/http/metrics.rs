//! The server's metrics, and all metrics in Prometheus' text format (exposition format 0.0.4). Those of tables, views and
//! sources are declared in [`crate::system::measures`].

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::commit::CommitCounters;
use crate::system::SystemStats;
use crate::system::measures::{Measure, MeasureKind, SOURCE, TABLE, VIEW};
use crate::types::RelationId;

/// The server's numbers at one moment.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub system: SystemStats,
    pub commits: CommitCounters,
    /// Of the relations in `system`.
    pub names: BTreeMap<RelationId, String>,
    pub query_memory_bytes: u64,
    pub kept_plan_runs: u64,
}

/// A number with a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: String,
    pub kind: MeasureKind,
    /// For the HELP line and the reference page.
    pub sentence: &'static str,
    /// Name of the label, where there is one number for each table, view or source.
    pub label: Option<&'static str>,
}

/// A number of the server as a whole.
struct ServerMeasure {
    name: &'static str,
    kind: MeasureKind,
    sentence: &'static str,
    read: fn(&Metrics) -> u64,
}

macro_rules! server_measures {
    ($($name:literal, $kind:ident, $sentence:literal, $read:expr;)*) => {
        const SERVER: &[ServerMeasure] = &[$(ServerMeasure {
            name: $name, kind: MeasureKind::$kind, sentence: $sentence, read: $read,
        }),*];
    };
}

server_measures! {
    "commits", Counter, "Durable commits; each is one group of writers.", |server| server.commits.commits;
    "writes", Counter, "Writes in durable commits.", |server| server.commits.writes;
    "log_syncs", Counter, "Syncs of the write-ahead log, failed ones included.", |server| server.commits.syncs;
    "log_bytes", Counter, "Bytes of durable records in the write-ahead log.", |server| server.commits.bytes;
    "log_retries", Counter, "Log writes that failed and were repeated in a new segment.",
        |server| server.commits.retries;
    "durable_commit", Gauge, "Number of the last durable commit.", |server| server.system.durable_commit.0;
    "query_memory_bytes", Gauge, "Memory that ad hoc queries hold.", |server| server.query_memory_bytes;
    "kept_plan_runs", Counter, "Queries that ran by the plan of an earlier execution.",
        |server| server.kept_plan_runs;
}

/// Every metric, in the order of the page.
pub fn all() -> Vec<Metric> {
    let server = SERVER.iter().map(|measure| metric(None, measure.name, measure.kind, measure.sentence));
    server.chain(of_kind("table", TABLE)).chain(of_kind("view", VIEW)).chain(of_kind("source", SOURCE)).collect()
}

fn of_kind<T>(kind: &'static str, measures: &'static [Measure<T>]) -> impl Iterator<Item = Metric> {
    measures.iter().map(move |measure| metric(Some(kind), measure.name, measure.kind, measure.sentence))
}

fn metric(label: Option<&'static str>, name: &str, kind: MeasureKind, sentence: &'static str) -> Metric {
    let kind_name = label.map(|label| format!("{label}_")).unwrap_or_default();
    let total = if kind == MeasureKind::Counter { "_total" } else { "" };
    Metric { name: format!("tidemark_{kind_name}{name}{total}"), kind, sentence, label }
}

impl Metrics {
    /// Prometheus' text.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for measure in SERVER {
            let metric = metric(None, measure.name, measure.kind, measure.sentence);
            write_metric(&metric, [("", (measure.read)(self))], &mut text);
        }
        self.write_kind("table", TABLE, |id| self.system.tables.get(&id), &mut text);
        self.write_kind("view", VIEW, |id| self.system.views.get(&id), &mut text);
        self.write_kind("source", SOURCE, |id| self.system.sources.get(&id), &mut text);
        text
    }

    /// In the order of ids, so that two pages compare line by line.
    fn write_kind<'a, T: 'static>(
        &'a self,
        kind: &'static str,
        measures: &'static [Measure<T>],
        facts: impl Fn(RelationId) -> Option<&'a T>,
        text: &mut String,
    ) {
        let known: Vec<(&str, &T)> =
            self.names.iter().filter_map(|(id, name)| Some((name.as_str(), facts(*id)?))).collect();
        for measure in measures {
            let samples = known.iter().map(|(name, facts)| (*name, (measure.read)(facts)));
            write_metric(&metric(Some(kind), measure.name, measure.kind, measure.sentence), samples, text);
        }
    }
}

/// All samples of a metric stand together, under its HELP and TYPE; nothing where there are none. A sample's name is its
/// table's, view's or source's.
fn write_metric<'a>(metric: &Metric, samples: impl IntoIterator<Item = (&'a str, u64)>, text: &mut String) {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return;
    }
    let kind = match metric.kind {
        MeasureKind::Counter => "counter",
        MeasureKind::Gauge => "gauge",
    };
    // Writing into a String cannot fail.
    let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.sentence, metric.name);
    for (name, value) in samples {
        let _ = match metric.label {
            None => writeln!(text, "{} {value}", metric.name),
            Some(label) => writeln!(text, "{}{{{label}=\"{}\"}} {value}", metric.name, escaped(name)),
        };
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
