//! Manifests: what each says, and which one counts.

use super::finding::Finding;
use super::wal::{line, moment};
use crate::error::Result;
use crate::tier::{Manifest, Tier};

/// Appends all manifests in a line each, and the one that counts in full. Returns what is wrong. Errors: the store's.
pub async fn show_manifest(tier: &Tier, out: &mut String) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut counts = None;
    for number in tier.manifest_numbers().await? {
        match tier.read_manifest(number).await {
            Ok(manifest) => {
                let files = manifest.paths().count();
                let text = format!(
                    "{}  commit {} of {}, {files} files",
                    Manifest::path(number),
                    manifest.commit,
                    moment(manifest.last_timestamp_us)
                );
                line(out, &text);
                counts = Some(manifest);
            }
            Err(error) => {
                line(out, &format!("{}  cannot be read", Manifest::path(number)));
                findings.push(Finding::error(Manifest::path(number), &error));
            }
        }
    }
    match counts {
        Some(manifest) => show(&manifest, out),
        None => line(out, "no manifest: nothing was flushed yet"),
    }
    Ok(findings)
}

fn show(manifest: &Manifest, out: &mut String) {
    line(out, &format!("\nmanifest {} counts", manifest.number));
    line(out, &format!("  commit          {}", manifest.commit));
    line(out, &format!("  replay after    {}", manifest.replay_after()));
    line(out, &format!("  next row id     {}", manifest.next_row_id));
    line(out, &format!("  data directory  {}", named(&manifest.writer.directory)));
    line(out, &format!("  written by      {}", named(&manifest.writer.life)));
    for (source, position) in &manifest.positions {
        line(out, &format!("  source {source}    position of {} bytes", position.len()));
    }
    for file in &manifest.history {
        let text = format!("  history         {}  {} commits up to {}", file.path, file.rows, file.commit_max);
        line(out, &text);
    }
    for (id, table) in &manifest.tables {
        let name = manifest.catalog.get(*id).map_or("(dropped)", |relation| relation.name());
        let text = format!(
            "\n  table {id} {name}: cold up to commit {}, {} rows in {} files, {} bytes",
            table.flushed,
            table.rows(),
            table.files.len(),
            table.bytes()
        );
        line(out, &text);
        for file in &table.files {
            let text = format!(
                "    {}  {} rows, {} bytes, row ids {} to {}, commits {} to {}{}",
                file.path,
                file.rows,
                file.bytes,
                file.row_id_min,
                file.row_id_max,
                file.commit_min,
                file.commit_max,
                if file.checksums.is_none() { ", without checksums" } else { "" }
            );
            line(out, &text);
        }
        for file in &table.tombstone_files {
            line(out, &format!("    {}  {} deleted rows, {} bytes", file.path, file.rows, file.bytes));
        }
    }
}

fn named(id: &str) -> &str {
    if id.is_empty() { "unknown" } else { id }
}
