//! Where in the order of commits the views begin after a start: at the checkpoint; without one, at the commit at which the
//! changelogs end, so that stepping from there makes the changes that a crash took; else at the head.
//!
//! ```text
//! log        ... flushed | . . . . | . . . . | head
//! changelogs ......................|           the views are built here, and step over the commits behind it
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::CatalogChange;
use crate::commit::{Commit, replay};
use crate::dataflow::Changelogs;
use crate::error::Result;
use crate::io::Disk;
use crate::settings::Settings;
use crate::table::Tables;
use crate::types::CommitNumber;

/// The views at one commit, and what they step over up to the head.
#[derive(Default)]
pub(super) struct StartOfViews {
    pub at: CommitNumber,
    /// Commits later than that.
    pub behind: Vec<Arc<Commit>>,
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
        behind: Vec<Arc<Commit>>,
        head: CommitNumber,
    ) -> Result<(StartOfViews, Changelogs)> {
        let kept: BTreeSet<_> = tables.durable().catalog.subscribe_retentions().map(|(relation, _)| relation).collect();
        let changelogs = Changelogs::open(disk.clone(), &settings.dataflow, &kept, head)?;
        let readable_from = tables.readable_from();
        if let Some(at) = checkpoint {
            let builds_there = !kept.is_empty() && at >= readable_from;
            return Ok((StartOfViews { at, behind, builds_there }, changelogs));
        }
        let mut start = StartOfViews { at: head, behind: Vec::new(), builds_there: true };
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
            self.behind.push(commit);
        }
    }
}
