//! A data directory and its object store, as offline readers open them: nothing is made, nothing is changed.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result, SqlState};
use crate::io::{Disk, OsDisk, open_existing_store};
use crate::tier::Tier;

pub struct Directory {
    pub disk: Arc<dyn Disk>,
    /// `None` where there is no object store yet.
    pub tier: Option<Arc<Tier>>,
    /// Whether a server runs over it. If not, none can start while this is open.
    pub in_use: bool,
}

impl Directory {
    /// `object_store`: a URL; empty: the directory's own. Errors: 58030 if there is no such directory, 22023, 0A000.
    pub fn open(data_dir: &Path, object_store: &str) -> Result<Directory> {
        let (disk, in_use) = OsDisk::look(data_dir)?;
        let tier = open_existing_store(object_store, &data_dir.join("tier"))?.map(Tier::new);
        Ok(Directory { disk: Arc::new(disk), tier, in_use })
    }

    /// For what must not meet a server's writes half way. Errors: 55006.
    pub fn require_unused(&self) -> Result<()> {
        if self.in_use {
            return Err(Error::new(SqlState::OBJECT_IN_USE, "the data directory is in use")
                .with_detail("A running server holds its lock file, and changes its files at any moment.")
                .with_hint("Stop the server first. \"tidemark inspect\" reads a directory in use, too."));
        }
        Ok(())
    }
}
