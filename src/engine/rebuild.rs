//! Where in the order of commits the views begin after a start: at the checkpoint; without one, at the commit at which the
//! changelogs end, so that stepping from there makes the changes that a crash took; else at the head.
//!
//! ```text
//! log        ... flushed | . . . . | . . . . | head
//! changelogs ......................|           the views are built here, and step over the commits behind it
//! ```

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::catalog::CatalogChange;
use crate::commit::{Commit, replay, reread};
use crate::dataflow::{Changelogs, bytes_of};
use crate::error::Result;
use crate::io::Disk;
use crate::settings::Settings;
use crate::table::Tables;
use crate::types::CommitNumber;

/// Commits that the log holds behind a place: the first ones, as many as memory is for, and where the others begin.
#[derive(Default)]
pub(super) struct Behind {
    pub commits: Vec<Arc<Commit>>,
    bytes: u64,
    bytes_max: u64,
    /// The log goes on with more of them after this one.
    pub goes_on_after: Option<CommitNumber>,
}

impl Behind {
    pub fn new(bytes_max: u64) -> Behind {
        Behind { bytes_max, ..Behind::default() }
    }

    /// Takes the next commit, at least one of them; says whether there is no room for more.
    pub fn push(&mut self, commit: Arc<Commit>) -> ControlFlow<()> {
        if self.goes_on_after.is_some() {
            return ControlFlow::Break(());
        }
        match self.commits.last() {
            Some(last) if self.bytes >= self.bytes_max => {
                self.goes_on_after = Some(last.number);
                ControlFlow::Break(())
            }
            _ => {
                self.bytes += bytes_of(&commit);
                self.commits.push(commit);
                ControlFlow::Continue(())
            }
        }
    }

    /// Reads on in the log, after this commit.
    pub fn read_on(&self, disk: &Arc<dyn Disk>, after: CommitNumber) -> Result<Behind> {
        let mut next = Behind::new(self.bytes_max);
        reread(disk, after, &mut |commit| next.push(commit))?;
        Ok(next)
    }

    fn clear(&mut self) {
        *self = Behind::new(self.bytes_max);
    }
}

/// The views at one commit, and what they step over up to the head.
#[derive(Default)]
pub(super) struct StartOfViews {
    pub at: CommitNumber,
    /// Commits later than that.
    pub behind: Behind,
    /// Views that no checkpoint has are built there too, and not at the head: changes that they make behind it are kept.
    pub builds_there: bool,
}

impl StartOfViews {
    /// `behind`: the commits behind the checkpoint.
    pub fn prepare(
        disk: &Arc<dyn Disk>,
        settings: &Settings,
        tables: &Tables,
        checkpoint: Option<CommitNumber>,
        mut behind: Behind,
        head: CommitNumber,
    ) -> Result<(StartOfViews, Changelogs)> {
        let kept: BTreeSet<_> = tables.durable().catalog.subscribe_retentions().map(|(relation, _)| relation).collect();
        let changelogs = Changelogs::open(disk.clone(), &settings.dataflow, &kept, head)?;
        let readable_from = tables.readable_from();
        if let Some(at) = checkpoint {
            let builds_there = !kept.is_empty() && at >= readable_from;
            return Ok((StartOfViews { at, behind, builds_there }, changelogs));
        }
        behind.clear();
        let mut start = StartOfViews { at: head, behind, builds_there: true };
        if let Some(at) = changelogs.resumes_from(readable_from).filter(|at| *at < head) {
            start.at = at;
            replay(disk, at, at, &mut |commit| {
                start.add(commit);
                Ok(())
            })?;
        }
        Ok((start, changelogs))
    }

    fn add(&mut self, commit: Arc<Commit>) {
        if commit.catalog.iter().any(|change| matches!(change, CatalogChange::AlterTable(_))) {
            // Earlier commits have rows with other columns than the tables have now.
            self.at = commit.number;
            self.behind.clear();
        } else {
            // Where there is no room for more, the log is read on later.
            let _ = self.behind.push(commit);
        }
    }
}
