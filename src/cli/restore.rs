//! `tidemark restore`: a database from what `BACKUP TO` left.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tidemark::error::{Error, Result, SqlState};
use tidemark::io::{OsDisk, SystemClock, open_existing_store, open_store};
use tidemark::table::restore_backup;

#[derive(Debug, Args)]
pub struct Restore {
    /// Place of the backup: a path or file:// URL
    #[arg(value_name = "URL")]
    backup: String,
    /// Data directory to make; it must not hold a database
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where cold files shall go, if not into the data directory; it must be empty
    #[arg(long, value_name = "URL", default_value = "")]
    object_store: String,
}

pub async fn run(restore: Restore) -> Result<ExitCode> {
    let Restore { backup, data_dir, object_store } = restore;
    let missing = || {
        Error::new(SqlState::INVALID_PARAMETER, "there is no backup in this place")
            .with_hint("Name the place that BACKUP TO was given.")
    };
    let source = open_existing_store(&backup, backup.as_ref())?.ok_or_else(missing)?;
    // Its lock is held until everything is compared.
    let disk = OsDisk::open(&data_dir)?;
    let others: Vec<String> =
        tidemark::io::Disk::list(&disk, "wal").map_err(|error| tidemark::io::disk_error("list", "wal", error))?;
    if !others.is_empty() {
        return Err(Error::new(SqlState::OBJECT_IN_USE, format!("\"{}\" holds a database", data_dir.display()))
            .with_hint("Name a directory that does not exist yet."));
    }
    let target = open_store(&object_store, &data_dir.join("tier"))?;
    let restored = restore_backup(source, target, Arc::new(SystemClock::new())).await?;
    println!(
        "restored {} tables with {} rows at commit {}; every digest equals the one that was backed up",
        restored.tables.len(),
        restored.rows(),
        restored.commit
    );
    println!("start it with: tidemark start --data-dir {}", data_dir.display());
    println!("passwords are not part of a backup: TIDEMARK_PASSWORD sets one at the first start");
    Ok(ExitCode::SUCCESS)
}
