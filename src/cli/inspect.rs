//! `tidemark inspect`, `check` and `repair`: a data directory without a server.
//!
//! The exit code is 0 where everything is sound, 2 where something is damaged, 1 where it could not be read at all.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tidemark::error::{Error, Result, SqlState};
use tidemark::inspect::{
    Directory, Finding, RepairOptions, Severity, check, plan_repair, show_catalog, show_checkpoints, show_manifest,
    show_wal,
};
use tidemark::tier::Tier;
use tidemark::types::CommitNumber;

const DAMAGED: u8 = 2;

#[derive(Debug, Subcommand)]
pub enum Inspect {
    /// Segments of the write-ahead log, and every commit in them
    Wal {
        #[command(flatten)]
        place: Place,
        /// Show commits later than this one alone
        #[arg(long, value_name = "COMMIT", default_value_t = 0)]
        after: u64,
    },
    /// Manifests of the object store, and the files of the one that counts
    Manifest {
        #[command(flatten)]
        place: Place,
    },
    /// Checkpoints of materialized views' state; every page that they name is read
    Checkpoint {
        #[command(flatten)]
        place: Place,
    },
    /// Tables, views and materialized views as of the last durable commit
    Catalog {
        #[command(flatten)]
        place: Place,
    },
}

/// Where a database stands.
#[derive(Debug, Args)]
pub struct Place {
    /// Data directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Its object store, if that is not in the data directory
    #[arg(long, value_name = "URL", default_value = "")]
    object_store: String,
}

impl Place {
    fn open(&self) -> Result<Directory> {
        Directory::open(&self.directory, &self.object_store)
    }
}

pub async fn inspect(what: Inspect) -> Result<ExitCode> {
    let (Inspect::Wal { place, .. }
    | Inspect::Manifest { place }
    | Inspect::Checkpoint { place }
    | Inspect::Catalog { place }) = &what;
    let directory = place.open()?;
    let mut out = String::new();
    if directory.in_use {
        out.push_str("a running server uses this directory; what it is writing just now may look unfinished\n");
    }
    let tier = directory.tier.as_deref();
    let findings = match what {
        Inspect::Wal { after, .. } => show_wal(&*directory.disk, CommitNumber(after), &mut out)?,
        Inspect::Manifest { .. } => show_manifest(required(tier)?, &mut out).await?,
        Inspect::Checkpoint { .. } => show_checkpoints(&*directory.disk, &mut out)?,
        Inspect::Catalog { .. } => show_catalog(&*directory.disk, tier, &mut out).await?,
    };
    print!("{out}");
    findings.iter().for_each(|finding| println!("{finding}"));
    Ok(exit_code(&findings))
}

pub async fn run_check(place: Place) -> Result<ExitCode> {
    let directory = place.open()?;
    directory.require_unused()?;
    let report = check(&*directory.disk, directory.tier.as_deref()).await?;
    println!("{report}");
    Ok(exit_code(&report.findings))
}

pub async fn run_repair(place: Place, dry_run: bool, options: RepairOptions) -> Result<ExitCode> {
    let directory = place.open()?;
    directory.require_unused()?;
    let repair = plan_repair(&*directory.disk, directory.tier.as_deref(), options).await?;
    print!("{repair}");
    if dry_run {
        println!("nothing was changed");
    } else if !repair.is_needless() {
        repair.carry_out(&*directory.disk)?;
        println!("done; what was taken out of the way is in set-aside/");
    }
    Ok(if repair.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}

fn required(tier: Option<&Tier>) -> Result<&Tier> {
    tier.ok_or_else(|| {
        Error::new(SqlState::IO_ERROR, "there is no object store")
            .with_detail("Neither has the data directory one of its own, nor is one named.")
            .with_hint("Name it with --object-store, as the server was started with.")
    })
}

fn exit_code(findings: &[Finding]) -> ExitCode {
    let damaged = findings.iter().any(|finding| finding.severity > Severity::Note);
    if damaged { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS }
}
