//! What can be done about damage without a copy, and what it costs.
//!
//! Nothing is ever thrown away: what is cut or taken out of the way is kept under `set-aside/`. What loses no acknowledged
//! commit is done when asked for a repair; what does needs a request of its own.

use std::fmt;

use super::check::check;
use super::finding::{Finding, Severity};
use crate::error::{Error, Result};
use crate::io::{Disk, disk_error};
use crate::tier::{Tier, identity};
use crate::wal::{self, DroppedTail, SegmentRole, SurveyedSegment, WalSurvey};

/// Where everything goes that is in the way.
const SET_ASIDE: &str = "set-aside";

/// What the user allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepairOptions {
    /// The log may be cut where its damage begins: later commits are lost.
    pub cut_log_at_damage: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// Keep the first `bytes` of a segment; the whole file is set aside.
    Cut {
        path: String,
        bytes: u64,
        why: String,
    },
    SetAside {
        path: String,
        why: String,
    },
    WriteIdentity {
        id: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Cut { path, bytes, why } => write!(f, "cut {path} to {bytes} bytes: {why}"),
            Action::SetAside { path, why } => write!(f, "set aside {path}: {why}"),
            Action::WriteIdentity { id } => write!(f, "write {} again: the newest manifest says {id}", identity::FILE),
        }
    }
}

/// What would be done, and what cannot be.
#[derive(Debug, Default)]
pub struct Repair {
    actions: Vec<Action>,
    /// Damage that only a copy heals, or only with the user's permission, each with what would.
    pub left: Vec<String>,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for action in &self.actions {
            writeln!(f, "{action}")?;
        }
        for left in &self.left {
            writeln!(f, "not repaired: {left}")?;
        }
        if self.actions.is_empty() && self.left.is_empty() {
            writeln!(f, "nothing to repair")?;
        }
        Ok(())
    }
}

/// What a repair would do. Changes nothing. Errors: those of a disk or a store that do not answer.
pub async fn plan_repair(disk: &dyn Disk, tier: Option<&Tier>, options: RepairOptions) -> Result<Repair> {
    let report = check(disk, tier).await?;
    let survey = wal::survey(disk, &mut |_| Ok(()))?;
    let manifest = match tier {
        Some(tier) => tier.load().await.ok().map(|loaded| loaded.manifest),
        None => None,
    };
    let mut repair = Repair::default();
    let cold = manifest.as_ref().map(|manifest| manifest.replay_after());
    for segment in survey.segments.iter().filter(|segment| segment.role == SegmentRole::Headless) {
        repair.set_aside(&segment.path, "it never got its header");
    }
    match survey.damage.first() {
        None => {
            if let Some(tail) = &survey.dropped_tail {
                repair.cut_tail(tail, &survey);
            }
        }
        Some(damage) => {
            let segment = survey.segments.iter().position(|segment| segment.path == damage.path);
            let is_cold = |segment: &SurveyedSegment, next: Option<&SurveyedSegment>| {
                let end = next.map(|next| next.first_commit);
                segment.role != SegmentRole::Headless && end.zip(cold).is_some_and(|(end, cold)| end <= cold.next())
            };
            match segment {
                Some(at) if is_cold(&survey.segments[at], survey.segments.get(at + 1)) => {
                    for segment in &survey.segments[..=at] {
                        repair.set_aside(&segment.path, "it is damaged or older, and all of its commits are in cold files");
                    }
                }
                Some(at) if options.cut_log_at_damage => repair.cut_log(&survey, at, damage.offset),
                _ => repair.left.push(format!(
                    "{}, offset {}: {}. Restore the file from a copy, or lose every commit from there on with --cut-log-at-damage.",
                    damage.path, damage.offset, damage.what
                )),
            }
        }
    }
    for finding in report.findings.iter().filter(|finding| finding.severity == Severity::Damage) {
        match &manifest {
            Some(manifest) if finding.file == identity::FILE && !manifest.writer.directory.is_empty() => {
                repair.actions.push(Action::WriteIdentity { id: manifest.writer.directory.clone() });
            }
            _ if finding.file.starts_with(wal::DIRECTORY) => {}
            _ => repair.left.push(unrepairable(finding)),
        }
    }
    for finding in report.findings.iter().filter(|finding| finding.file.ends_with(".new")) {
        repair.set_aside(&finding.file, &finding.what);
    }
    Ok(repair)
}

fn unrepairable(finding: &Finding) -> String {
    let place = finding.offset.map_or(String::new(), |offset| format!(", offset {offset}"));
    format!("{}{place}: {}. Restore the file from a copy.", finding.file, finding.what)
}

impl Repair {
    /// Nothing to do and nothing left.
    pub fn is_needless(&self) -> bool {
        self.actions.is_empty() && self.left.is_empty()
    }

    fn set_aside(&mut self, path: &str, why: &str) {
        self.actions.push(Action::SetAside { path: path.to_string(), why: why.to_string() });
    }

    fn cut_tail(&mut self, tail: &DroppedTail, survey: &WalSurvey) {
        let has_header = survey.segments.iter().any(|s| s.path == tail.path && s.role == SegmentRole::Counts);
        if has_header {
            let why = format!("{} bytes behind it are of a write that was never acknowledged", tail.bytes);
            self.actions.push(Action::Cut { path: tail.path.clone(), bytes: tail.offset, why });
        }
    }

    /// Everything from the damage on, with the segments behind it.
    fn cut_log(&mut self, survey: &WalSurvey, at: usize, offset: u64) {
        let Some((damaged, later)) = survey.segments.split_at(at).1.split_first() else { return };
        let lost = survey.last_commit().map_or(String::new(), |last| format!("; commits up to {last} are lost"));
        if damaged.role == SegmentRole::Counts && offset > 0 {
            let why = format!("the log is damaged from there on{lost}");
            self.actions.push(Action::Cut { path: damaged.path.clone(), bytes: damaged.valid_bytes, why });
        } else {
            self.set_aside(&damaged.path, &format!("it is damaged{lost}"));
        }
        for segment in later {
            self.set_aside(&segment.path, "it goes on behind damage");
        }
    }

    /// Does it. Newer segments go first, so that a crash on the way leaves a log that can be repaired again.
    /// Errors: the disk's.
    pub fn carry_out(&self, disk: &dyn Disk) -> Result<()> {
        disk.create_dir(SET_ASIDE).map_err(|error| disk_error("create directory", SET_ASIDE, error))?;
        for action in self.actions.iter().rev() {
            match action {
                Action::SetAside { path, .. } => {
                    let kept = kept_name(disk, path)?;
                    disk.rename(path, &kept).map_err(|error| disk_error("rename", path, error))?;
                    sync_dirs(disk, path)?;
                }
                Action::Cut { path, bytes, .. } => cut(disk, path, *bytes)?,
                Action::WriteIdentity { id } => identity::write_id(disk, id)?,
            }
        }
        Ok(())
    }
}

/// A name under `set-aside/` that is free.
fn kept_name(disk: &dyn Disk, path: &str) -> Result<String> {
    let taken = disk.list(SET_ASIDE).map_err(|error| disk_error("list", SET_ASIDE, error))?;
    let name = path.rsplit('/').next().unwrap_or(path);
    let free = (0..=taken.len()).map(|attempt| format!("{name}.{attempt}")).find(|name| !taken.contains(name));
    let free = free.ok_or_else(|| Error::internal("no free name under set-aside/"))?;
    Ok(format!("{SET_ASIDE}/{free}"))
}

/// The shorter file is durable beside the old one before it takes its place.
fn cut(disk: &dyn Disk, path: &str, bytes: u64) -> Result<()> {
    let failed = |doing: &'static str| move |error| disk_error(doing, path, error);
    let whole = disk.read(path).map_err(failed("read"))?;
    let kept = whole.get(..bytes as usize).ok_or_else(|| Error::internal("a cut behind a file's end"))?;
    let aside = kept_name(disk, path)?;
    let write = |name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let mut file = disk.create(name)?;
        file.append(bytes)?;
        file.sync()
    };
    write(&aside, &whole).map_err(failed("write a copy of"))?;
    let shorter = format!("{path}.cut");
    write(&shorter, kept).map_err(failed("write"))?;
    disk.rename(&shorter, path).map_err(failed("rename"))?;
    sync_dirs(disk, path)
}

fn sync_dirs(disk: &dyn Disk, path: &str) -> Result<()> {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    for directory in [SET_ASIDE, parent] {
        disk.sync_dir(directory).map_err(|error| disk_error("sync", directory, error))?;
    }
    Ok(())
}
