//! Where in the order of commits the views begin after a start.
//!
//! ```text
//! log        ... manifest | . . . . | . . . . | head
//! changelogs .......................|           without a checkpoint: the views are built here, and step over what is behind
//! checkpoint ...|                               those that it has step from here; the others are built at the manifest's commit
//! ```
//!
//! Where no changes are kept, views that no checkpoint has are built at the head. Stepping from where the changelogs end makes the
//! changes again that a crash took; a changelog ends at the newest manifest's commit or later, because a flush syncs it first. A view
//! that was made behind that is built where it was made: of what expired before, it never heard.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::commit::{Commit, reread};
use crate::dataflow::{Changelogs, bytes_of};
use crate::error::Result;
use crate::io::Disk;
use crate::settings::Settings;
use crate::table::{DurableState, Tables};
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
}

/// What a later commit's database says, as the log tells it.
fn moved_to(mut state: DurableState, disk: &Arc<dyn Disk>, commit: CommitNumber) -> Result<DurableState> {
    reread(disk, state.commit, &mut |next| {
        if next.number > commit {
            return ControlFlow::Break(());
        }
        state.advance(&next);
        ControlFlow::Continue(())
    })?;
    Ok(state)
}

/// The views at one commit, and what they step over up to the head.
#[derive(Default)]
pub(super) struct StartOfViews {
    pub at: CommitNumber,
    /// Commits later than that.
    pub behind: Behind,
    /// What is known as of the commit where views that no checkpoint has are built, if they were there by then: not before `at`.
    pub builds: DurableState,
}

impl StartOfViews {
    /// `behind`: the commits behind the checkpoint. `cold`: what the newest manifest says.
    pub fn prepare(
        disk: &Arc<dyn Disk>,
        settings: &Settings,
        tables: &Tables,
        cold: DurableState,
        checkpoint: Option<CommitNumber>,
        behind: Behind,
    ) -> Result<(StartOfViews, Changelogs)> {
        let durable = tables.durable();
        let head = durable.commit;
        let kept: BTreeSet<_> = durable.catalog.subscribe_retentions().map(|(relation, _)| relation).collect();
        let changelogs = Changelogs::open(disk.clone(), &settings.dataflow, &kept, head)?;
        // Before it tables cannot be read as they were, and watermarks are not known.
        let earliest = tables.readable_from().max(cold.commit);
        let builds_at = match checkpoint {
            Some(_) if kept.is_empty() => head,
            Some(at) => at.max(earliest),
            None => changelogs.resumes_from(earliest).unwrap_or(head),
        };
        let builds = match builds_at < head {
            true => moved_to(cold, disk, builds_at)?,
            false => durable,
        };
        let (at, behind) = match checkpoint {
            Some(at) => (at, behind),
            None => (builds_at, Behind::new(settings.checkpoint.log_bytes).read_on(disk, builds_at)?),
        };
        Ok((StartOfViews { at, behind, builds }, changelogs))
    }
}
