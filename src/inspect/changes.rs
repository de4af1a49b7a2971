//! Changes that are kept for subscribers.

use super::finding::Finding;
use crate::dataflow::changes::SurveyedChanges;
use crate::types::CommitNumber;

/// What a survey says is wrong. `log_from`: the first commit that the log has.
pub(super) fn findings(files: &[SurveyedChanges], log_from: Option<CommitNumber>) -> Vec<Finding> {
    files.iter().filter_map(|file| finding(file, log_from)).collect()
}

fn finding(file: &SurveyedChanges, log_from: Option<CommitNumber>) -> Option<Finding> {
    let (offset, what) = file.damage.as_ref()?;
    // A file's end, and what a crash left of it, is made again from the log.
    if file.is_last && log_from.is_some_and(|first| first <= file.end.next()) {
        let what = format!("{what}; the next start makes the changes after commit {} again from the log", file.end);
        return Some(Finding::note(&file.path, Some(*offset), what));
    }
    let what = format!("{what}; who resumes from a commit up to {} is told to begin with the snapshot", file.end);
    Some(Finding::made_again(&file.path, Some(*offset), what))
}
