//! Reads everything below [`DIRECTORY`] that counts, for those who look at it without a server.

use std::collections::BTreeSet;

use super::files::StateFile;
use super::index::SavedCheckpoint;
use super::pages::{self, MAGIC};
use super::{DIRECTORY, SavedView};
use crate::dataflow::state::{Place, open_envelope, places};
use crate::error::{Error, Result, SqlState};
use crate::io::{Disk, disk_error};
use crate::types::{CommitNumber, RelationId};

/// What stands in the directory.
#[derive(Debug, Default)]
pub struct StateSurvey {
    /// Newest first, those alone that can be read.
    pub checkpoints: Vec<SurveyedCheckpoint>,
    /// Files of pages that a checkpoint names, and the different pages in them.
    pub segments: usize,
    pub pages: usize,
    pub damage: Vec<StateDamage>,
}

/// A checkpoint's index in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedCheckpoint {
    pub path: String,
    pub bytes: u64,
    pub commit: CommitNumber,
    pub views: Vec<SurveyedView>,
}

/// A view's part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedView {
    pub view: RelationId,
    pub pages: usize,
    pub bytes: u64,
}

/// What does not read back. Its views are made again from their tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDamage {
    pub path: String,
    pub offset: Option<u64>,
    pub what: String,
}

/// Reads every index, and every page that one of them names, once. Errors: 58030; never for damage.
pub fn survey(disk: &dyn Disk) -> Result<StateSurvey> {
    let names = disk.list(DIRECTORY).map_err(|error| disk_error("list", DIRECTORY, error))?;
    let mut files: Vec<StateFile> = names.iter().filter_map(|name| StateFile::parse(name)).collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.number()));
    let (mut survey, mut named) = (StateSurvey::default(), BTreeSet::new());
    for file in files.into_iter().filter(|file| matches!(file, StateFile::Checkpoint(_))) {
        let path = file.path();
        let bytes = disk.read(&path).map_err(|error| disk_error("read", &path, error))?;
        match checkpoint(&path, &bytes, &mut named) {
            Ok(checkpoint) => survey.checkpoints.push(checkpoint),
            Err(error) => survey.add_damage(&path, None, &error),
        }
    }
    survey.pages = named.len();
    let mut segment = None;
    for place in named {
        let path = StateFile::Pages(place.segment).path();
        if segment.replace(place.segment) != Some(place.segment) {
            survey.segments += 1;
            if let Err(error) = header(disk, &path) {
                survey.add_damage(&path, Some(0), &readable(error)?);
            }
        }
        if let Err(error) = pages::read(disk, place).and_then(|bytes| open_envelope(&bytes).map(drop)) {
            survey.add_damage(&path, Some(place.offset), &readable(error)?);
        }
    }
    Ok(survey)
}

fn checkpoint(path: &str, bytes: &[u8], named: &mut BTreeSet<Place>) -> Result<SurveyedCheckpoint> {
    let saved = SavedCheckpoint::from_bytes(bytes)?;
    let view = |view: &SavedView| {
        let places = places(&view.states)?;
        named.extend(&places);
        let bytes = places.iter().map(|place| u64::from(place.length)).sum();
        Ok(SurveyedView { view: view.view, pages: places.len(), bytes })
    };
    let views = saved.views.iter().map(view).collect::<Result<_>>()?;
    Ok(SurveyedCheckpoint { path: path.to_owned(), bytes: bytes.len() as u64, commit: saved.commit, views })
}

fn header(disk: &dyn Disk, path: &str) -> Result<()> {
    match pages::read_at(disk, path, 0, MAGIC.len())? {
        bytes if bytes == MAGIC => Ok(()),
        _ => Err(Error::corrupted("its header does not read back")),
    }
}

/// Damage; other errors are those of a disk that does not answer.
fn readable(error: Error) -> Result<Error> {
    if error.state() == SqlState::DATA_CORRUPTED { Ok(error) } else { Err(error) }
}

impl StateSurvey {
    fn add_damage(&mut self, path: &str, offset: Option<u64>, error: &Error) {
        let what = error.message().to_string();
        self.damage.push(StateDamage { path: path.to_owned(), offset, what });
    }
}
