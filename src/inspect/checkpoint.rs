//! Checkpoints of views' state, and the pages that they name.

use super::finding::Finding;
use super::wal::line;
use crate::dataflow::checkpoint::{DIRECTORY, StateDamage, StateSurvey, SurveyedCheckpoint, survey};
use crate::error::Result;
use crate::io::Disk;

/// Appends the checkpoints in words to `out`, newest first. Every page that one of them names is read. Returns what is
/// wrong. Errors: 58030.
pub fn show_checkpoints(disk: &dyn Disk, out: &mut String) -> Result<Vec<Finding>> {
    let found = survey(disk)?;
    found.checkpoints.iter().for_each(|checkpoint| describe(checkpoint, out));
    if found.checkpoints.is_empty() {
        line(out, &format!("no checkpoint in {DIRECTORY}/ that can be read"));
    } else {
        line(out, &format!("{} pages in {} files", found.pages, found.segments));
    }
    Ok(findings(&found))
}

fn describe(checkpoint: &SurveyedCheckpoint, out: &mut String) {
    let SurveyedCheckpoint { path, bytes, commit, views } = checkpoint;
    line(out, &format!("{path}  {bytes} bytes, {} views at commit {commit}", views.len()));
    for view in views {
        line(out, &format!("  view {}: {} pages, {} bytes", view.view, view.pages, view.bytes));
    }
}

/// What a survey says is wrong.
pub(super) fn findings(survey: &StateSurvey) -> Vec<Finding> {
    let finding = |damage: &StateDamage| {
        let what = format!("{}; the views are made again from their tables", damage.what);
        Finding::made_again(&damage.path, damage.offset, what)
    };
    survey.damage.iter().map(finding).collect()
}
