//! The text format, and that declarations keep Prometheus' rules.

use super::*;
use crate::system::ViewStats;
use crate::types::CommitNumber;

#[test]
fn numbers_stand_under_their_metric() {
    let mut metrics = Metrics::default();
    metrics.commits.commits = 12;
    metrics.system.durable_commit = CommitNumber(15);
    for (id, name) in [(RelationId(7), "latest \"x\""), (RelationId(8), "b")] {
        metrics.names.insert(id, name.to_owned());
        let view = ViewStats { lag_commits: 2, state_bytes: u64::from(id.0), ..ViewStats::default() };
        metrics.system.views.insert(id, view);
    }
    let text = metrics.to_text();
    for part in [
        "# HELP tidemark_commits_total Durable commits; each is one group of writers.\n\
         # TYPE tidemark_commits_total counter\n\
         tidemark_commits_total 12\n",
        "# TYPE tidemark_view_state_bytes gauge\n\
         tidemark_view_state_bytes{view=\"latest \\\"x\\\"\"} 7\n\
         tidemark_view_state_bytes{view=\"b\"} 8\n",
        "tidemark_view_lag_commits{view=\"b\"} 2\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
}

#[test]
fn names_follow_the_rules() {
    let all = all();
    for (index, metric) in all.iter().enumerate() {
        assert!(metric.name.starts_with("tidemark_"));
        assert_eq!(metric.name.ends_with("_total"), metric.kind == MeasureKind::Counter, "{}", metric.name);
        assert!(metric.sentence.ends_with('.'));
        assert!(all[..index].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
    }
}
