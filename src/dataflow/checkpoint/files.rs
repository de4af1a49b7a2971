//! Names of the files below [`DIRECTORY`].

use super::DIRECTORY;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFile {
    /// Pages one after the other.
    Pages(u64),
    /// A checkpoint's index.
    Checkpoint(u64),
    /// An index that was not finished.
    Unfinished(u64),
}

impl StateFile {
    /// From a name in the directory.
    pub fn parse(name: &str) -> Option<StateFile> {
        let (number, kind) = name.split_once('.')?;
        let number = (number.len() == 20).then(|| number.parse().ok())??;
        match kind {
            "pages" => Some(StateFile::Pages(number)),
            "checkpoint" => Some(StateFile::Checkpoint(number)),
            "checkpoint.tmp" => Some(StateFile::Unfinished(number)),
            _ => None,
        }
    }

    pub fn path(self) -> String {
        match self {
            StateFile::Pages(number) => format!("{DIRECTORY}/{number:020}.pages"),
            StateFile::Checkpoint(number) => format!("{DIRECTORY}/{number:020}.checkpoint"),
            StateFile::Unfinished(number) => format!("{DIRECTORY}/{number:020}.checkpoint.tmp"),
        }
    }

    pub fn number(self) -> u64 {
        match self {
            StateFile::Pages(number) | StateFile::Checkpoint(number) | StateFile::Unfinished(number) => number,
        }
    }
}
