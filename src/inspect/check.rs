//! Reads everything and says what is wrong: the log, manifests, every file of the manifest that counts, checkpoints of views
//! and every page that they name, the changes that are kept for subscribers, stored plans, and whether they fit together.

use std::fmt;

use super::catalog::{bad_plans, catalog_at_head};
use super::finding::{Finding, Severity};
use super::wal::{findings, undecodable};
use crate::commit::read_record;
use crate::dataflow::{changes, checkpoint};
use crate::error::{Result, SqlState};
use crate::io::{Disk, disk_error};
use crate::tier::{LoadedManifest, Manifest, Tier, identity};
use crate::types::CommitNumber;
use crate::wal::{self, SegmentRole, WalSurvey, survey};

/// What was read, and what was found.
#[derive(Debug, Default)]
pub struct CheckReport {
    pub segments: usize,
    pub commits: u64,
    pub manifests: usize,
    pub files: usize,
    pub rows: u64,
    pub checkpoints: usize,
    pub pages: usize,
    /// Changes that are kept for subscribers, of single commits.
    pub changes: u64,
    pub relations: usize,
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Nothing that was acknowledged is missing.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Damage)
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        write!(
            f,
            "checked {} segments with {} commits, {} manifests, {} files with {} rows, {} checkpoints with {} pages, {} kept changes, {} relations: ",
            self.segments,
            self.commits,
            self.manifests,
            self.files,
            self.rows,
            self.checkpoints,
            self.pages,
            self.changes,
            self.relations
        )?;
        match self.findings.iter().filter(|finding| finding.severity > Severity::Note).count() {
            0 => write!(f, "sound"),
            1 => write!(f, "1 damage"),
            damage => write!(f, "{damage} damages"),
        }
    }
}

/// Reads all of it. Errors: those of a disk or a store that do not answer; never for damage.
pub async fn check(disk: &dyn Disk, tier: Option<&Tier>) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    check_small_files(disk, &mut report)?;
    let manifest = match tier {
        Some(tier) => check_tier(tier, &mut report).await?,
        None => Manifest::default(),
    };
    let (survey, named) = check_log(disk, &mut report)?;
    check_fit(disk, &manifest, &survey, named, &mut report)?;
    let state = checkpoint::survey(disk)?;
    (report.checkpoints, report.pages) = (state.checkpoints.len(), state.pages);
    report.findings.extend(super::checkpoint::findings(&state));
    let kept = changes::survey(disk)?;
    report.changes = kept.iter().map(|file| file.records).sum();
    report.findings.extend(super::changes::findings(&kept, survey.first_commit()));
    let catalog = catalog_at_head(disk, &manifest)?;
    report.relations = catalog.relations().count();
    report.findings.extend(bad_plans(&catalog));
    Ok(report)
}

/// The password's verifier and the directory's identity; leftovers of their writing.
fn check_small_files(disk: &dyn Disk, report: &mut CheckReport) -> Result<()> {
    for name in disk.list("").map_err(|error| disk_error("list", "the data directory", error))? {
        match name.as_str() {
            identity::FILE => {
                if let Err(error) = identity::read(disk) {
                    report.findings.push(Finding::error(name, &error));
                }
            }
            "password.json" => {
                let bytes = disk.read(&name).map_err(|error| disk_error("read", &name, error))?;
                let stored: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
                if stored.is_none_or(|stored| stored.get("stored_key").is_none()) {
                    let what = "it does not read back; remove it and set TIDEMARK_PASSWORD to choose a new password";
                    report.findings.push(Finding::damage(name, None, what));
                }
            }
            "LOCK" => {}
            other if other.ends_with(".new") => {
                report.findings.push(Finding::note(other, None, "a write that a crash interrupted left it"));
            }
            other => report.findings.push(Finding::note(other, None, "not a file of ours")),
        }
    }
    Ok(())
}

/// The log, and the highest manifest that it names, with who names it.
fn check_log(disk: &dyn Disk, report: &mut CheckReport) -> Result<(WalSurvey, Option<(u64, CommitNumber)>)> {
    let mut undecoded = Vec::new();
    let mut named = None;
    let survey = survey(disk, &mut |record| {
        match read_record(&record) {
            Ok(commit) => {
                let highest = commit.tier.iter().map(|change| change.manifest).max();
                named = named.max(highest.map(|manifest| (manifest, commit.number)));
            }
            Err(error) => undecoded.push(undecodable(record.path, record.offset, &error)),
        }
        Ok(())
    })?;
    report.segments = survey.segments.len();
    report.commits = survey.segments.iter().map(|segment| segment.records).sum();
    report.findings.extend(findings(&survey));
    report.findings.extend(undecoded);
    for segment in survey.segments.iter().filter(|segment| segment.role == SegmentRole::Stale) {
        report.findings.push(Finding::note(&segment.path, None, "does not count: no other segment goes on from it"));
    }
    Ok((survey, named))
}

/// Every manifest, and every file of the one that counts.
async fn check_tier(tier: &Tier, report: &mut CheckReport) -> Result<Manifest> {
    for number in tier.manifest_numbers().await? {
        report.manifests += 1;
        if let Err(error) = tier.read_manifest(number).await {
            report.findings.push(Finding::error(Manifest::path(number), &error));
        }
    }
    let loaded = match tier.load().await {
        Ok(loaded) => loaded,
        // Said above of each.
        Err(error) if is_damage(error.state()) => LoadedManifest::default(),
        Err(error) => return Err(error),
    };
    let manifest = loaded.manifest;
    for table in manifest.tables.values() {
        let data = table.files.iter().map(|file| (&file.path, file.bytes, file.rows));
        let deleted = table.tombstone_files.iter().map(|file| (&file.path, file.bytes, file.rows));
        for (path, bytes, rows) in data.chain(deleted) {
            check_file(tier, path, bytes, rows, report).await?;
        }
    }
    for file in &manifest.history {
        check_file(tier, &file.path, file.bytes, file.rows, report).await?;
    }
    if loaded.damaged.is_empty() {
        for (path, bytes) in tier.orphans(&manifest).await? {
            let what = format!("{bytes} bytes that no manifest names; the next start removes them");
            report.findings.push(Finding::note(path, None, what));
        }
    }
    Ok(manifest)
}

async fn check_file(tier: &Tier, path: &str, bytes: u64, rows: u64, report: &mut CheckReport) -> Result<()> {
    report.files += 1;
    match tier.check_file(path, bytes, rows).await {
        Ok(()) => report.rows += rows,
        Err(error) if is_damage(error.state()) => report.findings.push(Finding::error(path, &error)),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn is_damage(state: SqlState) -> bool {
    matches!(state, SqlState::DATA_CORRUPTED | SqlState::FEATURE_NOT_SUPPORTED)
}

/// Log and manifest are of one database, without a gap between them.
fn check_fit(
    disk: &dyn Disk,
    manifest: &Manifest,
    survey: &WalSurvey,
    named: Option<(u64, CommitNumber)>,
    report: &mut CheckReport,
) -> Result<()> {
    let path = Manifest::path(manifest.number);
    if let Some((number, commit)) = named.filter(|(number, _)| *number > manifest.number) {
        let what = format!("it is missing or damaged, and commit {commit} of the log names it");
        report.findings.push(Finding::damage(Manifest::path(number), None, what));
    }
    let after = manifest.replay_after();
    if let Some(first) = survey.first_commit().filter(|first| *first > after.next()) {
        let what = format!("commits {} to {} are neither in the log nor in this manifest", after.next(), first.0 - 1);
        report.findings.push(Finding::damage(path.clone(), None, what));
    }
    if survey.segments.is_empty() && manifest.commit > CommitNumber(0) {
        let what = format!("no segment is here; if anything was committed after {}, it is lost", manifest.commit);
        report.findings.push(Finding::note(wal::DIRECTORY, None, what));
    }
    let theirs = &manifest.writer.directory;
    let listed = disk.list("").map_err(|error| disk_error("list", "the data directory", error))?;
    if theirs.is_empty() || survey.segments.is_empty() {
        return Ok(());
    }
    if !listed.iter().any(|name| name == identity::FILE) {
        let what =
            "it is missing, so that this directory is not known to be the one whose log goes on behind the manifest";
        report.findings.push(Finding::damage(identity::FILE, None, what));
    } else if identity::read(disk).is_ok_and(|ours| ours != *theirs) {
        let what = "it was written from another data directory, which has taken over the object store";
        report.findings.push(Finding::damage(path, None, what));
    }
    Ok(())
}
