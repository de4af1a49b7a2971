//! Reads every changelog's file without a server, and says how far each is intact.

use std::collections::BTreeMap;

use super::segment::{DIRECTORY, SegmentName, read_content};
use crate::error::{Result, SqlState};
use crate::io::{Disk, disk_error};
use crate::types::{CommitNumber, RelationId};

/// One file of a changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedChanges {
    pub path: String,
    pub relation: RelationId,
    /// Its changes are of later commits, up to `end`.
    pub base: CommitNumber,
    pub end: CommitNumber,
    pub records: u64,
    /// What is wrong, and from which byte on.
    pub damage: Option<(u64, String)>,
    /// No other file of its relation comes behind it.
    pub is_last: bool,
}

/// All of them, by relation and commit. Errors: 58030.
pub fn survey(disk: &dyn Disk) -> Result<Vec<SurveyedChanges>> {
    let mut listed = disk.list(DIRECTORY).map_err(|error| disk_error("list", DIRECTORY, error))?;
    listed.sort();
    let mut found: BTreeMap<SegmentName, SurveyedChanges> = BTreeMap::new();
    for name in listed.iter().filter_map(|name| SegmentName::parse(name)) {
        let path = format!("{DIRECTORY}/{name}");
        let content = disk.read(&path).map_err(|error| disk_error("read", &path, error))?;
        found.insert(name, read(path, name, &content)?);
    }
    let mut files: Vec<SurveyedChanges> = found.into_values().collect();
    for at in 0..files.len() {
        files[at].is_last = files.get(at + 1).is_none_or(|next| next.relation != files[at].relation);
    }
    Ok(files)
}

fn read(path: String, name: SegmentName, content: &[u8]) -> Result<SurveyedChanges> {
    let mut records = 0;
    let mut undecoded = None;
    let read = read_content(name, content, &mut |record, change| {
        records += 1;
        if let Err(error) = change() {
            undecoded.get_or_insert((record.commit, error));
        }
        Ok(())
    });
    let (end, damage) = match (read, undecoded) {
        (Err(error), _) if error.state() == SqlState::FEATURE_NOT_SUPPORTED => {
            (name.base, Some((0, error.message().to_owned())))
        }
        (Err(error), _) => return Err(error),
        (Ok(read), Some((commit, error))) => {
            (read.end, Some((read.bytes, format!("the change of commit {commit}: {}", error.message()))))
        }
        (Ok(read), None) if read.header.is_none() => (name.base, Some((0, "its header does not read back".to_owned()))),
        (Ok(read), None) if read.bytes < content.len() as u64 => {
            (read.end, Some((read.bytes, "no record reads back from there on".to_owned())))
        }
        (Ok(read), None) => (read.end, None),
    };
    Ok(SurveyedChanges { path, relation: name.relation, base: name.base, end, records, damage, is_last: true })
}
