//! Writing checkpoints and finding them again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::DIRECTORY;
use super::files::StateFile;
use super::index::{SavedCheckpoint, SavedView};
use super::pages::PageFiles;
use crate::catalog::Cutoff;
use crate::dataflow::state::{Home, PageStore, StateImage, StateWriter, places};
use crate::error::{Error, Result, SqlState};
use crate::io::{Disk, disk_error};
use crate::types::{CommitNumber, RelationId};

/// So many checkpoints stay, the newest among them.
const CHECKPOINTS_KEPT: usize = 2;

/// All views at one commit.
#[derive(Debug)]
pub struct CheckpointImage {
    pub commit: CommitNumber,
    pub views: Vec<ViewImage>,
}

/// A view's state at one moment, sharing its pages.
#[derive(Debug)]
pub struct ViewImage {
    pub view: RelationId,
    pub plan: u128,
    pub append_only: Vec<RelationId>,
    pub cutoff: Option<Cutoff>,
    pub states: Vec<StateImage>,
}

/// What a checkpoint cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    pub number: u64,
    pub commit: CommitNumber,
    pub views: usize,
    /// Pages that it names, and the bytes of those that were written for it.
    pub pages: usize,
    pub bytes: u64,
}

/// The checkpoints of one data directory.
pub struct Checkpoints {
    disk: Arc<dyn Disk>,
    pages: Arc<PageFiles>,
    /// Oldest first.
    kept: Mutex<VecDeque<Kept>>,
    next: Mutex<u64>,
}

struct Kept {
    number: u64,
    commit: CommitNumber,
    /// What keeps its pages from going away.
    _homes: Vec<Arc<Home>>,
}

/// What a start found.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest that can be read.
    pub checkpoint: Option<SavedCheckpoint>,
    /// What could not be read, newest first.
    pub damaged: Vec<Error>,
}

impl Checkpoints {
    /// Reads the indexes, and removes what no index that can be read names. Errors: the disk's.
    pub fn open(disk: Arc<dyn Disk>) -> Result<(Checkpoints, Found)> {
        let names = disk.list(DIRECTORY).map_err(|error| disk_error("list", DIRECTORY, error))?;
        let files: Vec<StateFile> = names.iter().filter_map(|name| StateFile::parse(name)).collect();
        let segments: Vec<u64> =
            files.iter().filter(|file| matches!(file, StateFile::Pages(_))).map(|file| file.number()).collect();
        let pages = PageFiles::new(disk.clone(), &segments)?;
        let mut checkpoints = Checkpoints { disk, pages, kept: Mutex::default(), next: Mutex::new(1) };
        let mut found = Found::default();
        for file in files.iter().rev() {
            match file {
                StateFile::Pages(_) => {}
                StateFile::Unfinished(_) => checkpoints.remove(*file)?,
                StateFile::Checkpoint(number) => {
                    let next = checkpoints.next.get_mut();
                    *next = (*next).max(number + 1);
                    match checkpoints.read(*number) {
                        Ok((saved, kept)) => {
                            checkpoints.kept.get_mut().push_front(kept);
                            found.checkpoint.get_or_insert(saved);
                        }
                        Err(error) if error.state() == SqlState::DATA_CORRUPTED => {
                            if found.checkpoint.is_none() {
                                found.damaged.push(error.with_context(format!("\"{}\"", file.path())));
                            }
                            checkpoints.remove(*file)?;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        checkpoints.pages.remove_unheld();
        Ok((checkpoints, found))
    }

    /// Where pages rest.
    pub fn pages(&self) -> &Arc<PageFiles> {
        &self.pages
    }

    fn store(&self) -> Arc<dyn PageStore> {
        self.pages.clone()
    }

    fn read(&self, number: u64) -> Result<(SavedCheckpoint, Kept)> {
        let path = StateFile::Checkpoint(number).path();
        let bytes = self.disk.read(&path).map_err(|error| disk_error("read", &path, error))?;
        let saved = SavedCheckpoint::from_bytes(&bytes)?;
        let mut homes = Vec::new();
        for view in &saved.views {
            for place in places(&view.states)? {
                homes.push(Home::found(&self.store(), place)?);
            }
        }
        let kept = Kept { number, commit: saved.commit, _homes: homes };
        Ok((saved, kept))
    }

    /// Commits that the log must still have for the older of the kept checkpoints: those after this one.
    pub fn replay_after(&self) -> Option<CommitNumber> {
        self.kept.lock().front().map(|kept| kept.commit)
    }

    /// The newest checkpoint's commit.
    pub fn newest(&self) -> Option<CommitNumber> {
        self.kept.lock().back().map(|kept| kept.commit)
    }

    /// Forgets all checkpoints, so that the log need not be kept for them. Errors: the disk's.
    pub fn forget(&self) -> Result<()> {
        let forgotten = std::mem::take(&mut *self.kept.lock());
        for kept in forgotten {
            self.remove(StateFile::Checkpoint(kept.number))?;
        }
        self.pages.remove_unheld();
        Ok(())
    }

    /// Makes a checkpoint durable: it counts once its index is renamed into place. Errors: 53100, 58030; the former
    /// checkpoints then still count.
    pub fn write(&self, image: CheckpointImage) -> Result<Written> {
        let mut next = self.next.lock();
        let number = *next;
        let bytes_before = self.pages.bytes_written();
        let mut homes = Vec::new();
        let mut views = Vec::with_capacity(image.views.len());
        for mut view in image.views {
            let mut writer = StateWriter::new(self.store());
            // One by one: what is written need not be held any longer.
            for state in std::mem::take(&mut view.states) {
                state.settle(&mut writer)?;
            }
            let (states, held) = writer.finish();
            homes.extend(held);
            views.push(SavedView::of(&view, states));
        }
        self.pages.sync()?;
        // What a start would rely on is read once before it counts.
        homes.iter().try_for_each(|home| home.read_back())?;
        let saved = SavedCheckpoint { commit: image.commit, views };
        // A number is used once, whatever came of it.
        *next += 1;
        self.put_index(number, &saved.to_bytes())?;
        let written = Written {
            number,
            commit: image.commit,
            views: saved.views.len(),
            pages: homes.len(),
            bytes: self.pages.bytes_written() - bytes_before,
        };
        let surplus: Vec<Kept> = {
            let mut kept = self.kept.lock();
            kept.push_back(Kept { number, commit: image.commit, _homes: homes });
            let surplus = kept.len().saturating_sub(CHECKPOINTS_KEPT);
            kept.drain(..surplus).collect()
        };
        for old in surplus {
            if let Err(error) = self.remove(StateFile::Checkpoint(old.number)) {
                tracing::warn!(%error, "could not remove an old checkpoint");
            }
        }
        self.pages.remove_unheld();
        Ok(written)
    }

    fn put_index(&self, number: u64, bytes: &[u8]) -> Result<()> {
        let (unfinished, path) = (StateFile::Unfinished(number).path(), StateFile::Checkpoint(number).path());
        let put = || -> io::Result<()> {
            let mut file = self.disk.create(&unfinished)?;
            file.append(bytes)?;
            file.sync()?;
            self.disk.rename(&unfinished, &path)?;
            self.disk.sync_dir(DIRECTORY)
        };
        put().map_err(|error| disk_error("write", &path, error))
    }

    fn remove(&self, file: StateFile) -> Result<()> {
        let path = file.path();
        match self.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk_error("remove", &path, error)),
            _ => Ok(()),
        }
    }
}
