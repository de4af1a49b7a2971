//! The write-ahead log, record by record.

use std::fmt::Write;

use super::finding::Finding;
use crate::catalog::CatalogChange;
use crate::commit::{Commit, WatermarkAdvance, read_record};
use crate::error::{Error, Result};
use crate::io::Disk;
use crate::types::CommitNumber;
use crate::wal::{SegmentRole, SurveyedSegment, WalSurvey, survey};

/// Appends the log in words to `out`: every segment, and of it every commit later than `after`. Returns what is wrong.
/// Errors: 58030.
pub fn show_wal(disk: &dyn Disk, after: CommitNumber, out: &mut String) -> Result<Vec<Finding>> {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut unreadable = Vec::new();
    let found = survey(disk, &mut |record| {
        let length = record.payload.len() + crate::wal::FRAME_BYTES;
        let contents = match read_record(&record) {
            Ok(commit) => contents(&commit),
            Err(error) => {
                unreadable.push(undecodable(record.path, record.offset, &error));
                format!("does not decode: {}", error.message())
            }
        };
        if record.commit > after {
            let line = format!("  {:>10} {:>10} {:>10}  {contents}", record.offset, length, record.commit);
            lines.push((record.path.to_string(), line));
        }
        Ok(())
    })?;
    for segment in &found.segments {
        line(out, &describe(segment));
        let mut own = lines.iter().filter(|(path, _)| *path == segment.path).peekable();
        if own.peek().is_some() {
            line(out, "      offset      bytes     commit  contents");
        }
        own.for_each(|(_, text)| line(out, text));
    }
    if found.segments.is_empty() {
        line(out, "no segments");
    }
    Ok(findings(&found).into_iter().chain(unreadable).collect())
}

/// What a survey says is wrong.
pub(super) fn findings(survey: &WalSurvey) -> Vec<Finding> {
    let damage = survey.damage.iter().map(|found| Finding::damage(&found.path, Some(found.offset), &found.what));
    let tail = survey.dropped_tail.iter().map(|tail| {
        let kind = if tail.zero_filled { "zero-filled" } else { "torn" };
        let what =
            format!("a {kind} tail of {} bytes, of a write that was never acknowledged; a start drops it", tail.bytes);
        Finding::note(&tail.path, Some(tail.offset), what)
    });
    damage.chain(tail).collect()
}

pub(super) fn undecodable(path: &str, offset: u64, error: &Error) -> Finding {
    let finding = Finding::error(path, error);
    Finding { offset: Some(offset), ..finding }
}

fn describe(segment: &SurveyedSegment) -> String {
    let mut text = format!("{}  {} bytes", segment.path, segment.bytes);
    if let Some(opened_us) = segment.opened_us {
        let _ = write!(text, ", opened {}", moment(opened_us));
    }
    match (segment.role, segment.last_commit) {
        (SegmentRole::Counts, Some(last)) => {
            let _ = write!(text, ", commits {} to {last} in {} records", segment.first_commit, segment.records);
        }
        (SegmentRole::Counts, None) => text.push_str(", no commits"),
        (SegmentRole::Stale, _) => text.push_str(", does not count: no other segment goes on from it"),
        (SegmentRole::Headless, _) => text.push_str(", does not count: it never got its header"),
        (SegmentRole::Unreadable, _) => text.push_str(", cannot be read"),
    }
    if let Some((before, valid_bytes)) = &segment.predecessor {
        let _ = write!(text, ", goes on from {before} at {valid_bytes}");
    }
    text
}

/// One line: when, and what the commit did.
fn contents(commit: &Commit) -> String {
    let mut parts = vec![moment(commit.timestamp_us)];
    for table in &commit.tables {
        let weights = (0..table.delta.num_rows()).map(|row| table.delta.weight(row));
        let inserted: i64 = weights.clone().filter(|weight| *weight > 0).sum();
        let deleted: i64 = weights.filter(|weight| *weight < 0).map(i64::abs).sum();
        parts.push(format!("table {}: +{inserted} -{deleted}", table.table));
    }
    parts.extend(commit.catalog.iter().map(definition));
    parts.extend(commit.positions.iter().map(|position| format!("position of source {}", position.source)));
    parts.extend(
        commit
            .tier
            .iter()
            .map(|tier| format!("table {} is cold up to {} in manifest {}", tier.table, tier.flushed, tier.manifest)),
    );
    let watermark = |at: &WatermarkAdvance| format!("watermark of table {} at {}", at.table, moment(at.at_us));
    parts.extend(commit.watermarks.iter().map(watermark));
    parts.join(", ")
}

fn definition(change: &CatalogChange) -> String {
    match change {
        CatalogChange::CreateTable(table) => format!("create table {} ({})", table.name, table.id),
        CatalogChange::CreateView(view) => format!("create view {} ({})", view.name, view.id),
        CatalogChange::CreateMaterializedView(view) => {
            format!("create materialized view {} ({})", view.name, view.id)
        }
        CatalogChange::ReplaceMaterializedView { former, view } => {
            format!("replace materialized view {} ({former}) by {}", view.name, view.id)
        }
        CatalogChange::AlterMaterializedView(view) => format!("alter materialized view {} ({})", view.name, view.id),
        CatalogChange::AlterTable(table) => {
            format!("alter table {} ({}) to version {}", table.name, table.id, table.schema_version)
        }
        CatalogChange::KeepChanges { relation, retention_us } => {
            format!("keep changes of {relation} for {retention_us} us")
        }
        CatalogChange::Retain { table, retention: Some(retention) } => {
            format!("keep rows of {table} for {}", retention.text)
        }
        CatalogChange::Retain { table, retention: None } => format!("keep rows of {table} for ever"),
        CatalogChange::Expire { table, before_us, rows } => {
            format!("{} rows of {table} from before {} expire", rows.iter().count(), moment(*before_us))
        }
        CatalogChange::ExpireView { view, cutoff } => {
            format!("rows of view {view} from before {} expire", moment(cutoff.before_us))
        }
        CatalogChange::Resume(id) => format!("resume {id}"),
        CatalogChange::Drop(id) => format!("drop {id}"),
    }
}

/// Microseconds since 1970 as a moment in UTC.
pub(super) fn moment(us: i64) -> String {
    match chrono::DateTime::from_timestamp_micros(us) {
        Some(moment) => moment.format("%Y-%m-%d %H:%M:%S%.6f UTC").to_string(),
        None => format!("{us} us"),
    }
}

pub(super) fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}
