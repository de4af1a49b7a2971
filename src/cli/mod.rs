//! The command line: what a user types, and what is printed back.
//!
//! ```text
//! tidemark start   a server, until Ctrl-C or SIGTERM
//! tidemark demo    the same, fed with the demo's SQL, and a table of what happens
//! tidemark inspect what stands in a data directory, without a server
//! tidemark check   whether all of it can be read
//! tidemark repair  what can be done where not
//! tidemark restore a database from a backup
//! ```
//!
//! Settings come from `tidemark.toml`, then `TIDEMARK__SECTION__KEY`, then flags ([`config`]).

mod allocator;
mod config;
mod demo;
mod inspect;
mod restore;
mod signals;
mod start;
mod status;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tidemark::error::{Error, Result};
use tidemark::inspect::RepairOptions;
use tracing_subscriber::EnvFilter;

/// A SQL-first streaming database: continuous views over device data, hot and cold.
#[derive(Debug, Parser)]
#[command(name = "tidemark", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until Ctrl-C or SIGTERM
    ///
    /// The user and the database are called tidemark. TIDEMARK_PASSWORD gives the user's password at the first start.
    Start(Flags),
    /// Run a server with a generated fleet of trucks and views over it
    Demo {
        /// Print the demo's SQL and exit
        #[arg(long)]
        print_sql: bool,
        #[command(flatten)]
        flags: Flags,
    },
    /// Show what stands in the files of a data directory, damaged ones too; a server may run
    #[command(subcommand)]
    Inspect(inspect::Inspect),
    /// Read every file of a data directory, and say what is wrong; exits with 2 if anything is
    Check(inspect::Place),
    /// Make a data directory from what BACKUP TO left, and compare digests
    Restore(restore::Restore),
    /// Repair what can be repaired without losing anything acknowledged
    Repair {
        #[command(flatten)]
        place: inspect::Place,
        /// Say what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Cut a damaged log where its damage begins; the commits from there on are lost
        #[arg(long)]
        cut_log_at_damage: bool,
    },
}

/// What both commands take. A flag wins over the environment and the file.
#[derive(Debug, Clone, Default, Args)]
struct Flags {
    /// Settings file; ./tidemark.toml is read if it exists
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the log and, without an object store, of the cold files
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where cold files go: a directory or file:// URL
    #[arg(long, value_name = "URL")]
    object_store: Option<String>,
    /// Address for PostgreSQL's protocol [default: 127.0.0.1:5480]
    #[arg(long, value_name = "ADDR")]
    listen_sql: Option<SocketAddr>,
    /// Address for health and metrics [default: 127.0.0.1:5481]
    #[arg(long, value_name = "ADDR")]
    listen_http: Option<SocketAddr>,
    /// Address for Arrow Flight SQL [default: 127.0.0.1:5482]
    #[arg(long, value_name = "ADDR")]
    listen_flight: Option<SocketAddr>,
    /// Let clients of this machine in without a password
    #[arg(long)]
    trust_loopback: bool,
}

/// Does what the command line says. The exit code is 0, 1 after an error, 130 if a second Ctrl-C cut the shutdown short.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("TIDEMARK_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match execute(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", error_text(&error));
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Start(flags) => {
            let settings = config::load(&flags, config::Defaults::start())?;
            runtime()?.block_on(start::run(settings))
        }
        Command::Demo { print_sql: true, .. } => {
            print!("{}", demo::SQL);
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo { flags, .. } => {
            let settings = config::load(&flags, config::Defaults::demo())?;
            runtime()?.block_on(demo::run(settings, &flags))
        }
        Command::Inspect(what) => runtime()?.block_on(inspect::inspect(what)),
        Command::Restore(what) => runtime()?.block_on(restore::run(what)),
        Command::Check(place) => runtime()?.block_on(inspect::run_check(place)),
        Command::Repair { place, dry_run, cut_log_at_damage } => {
            runtime()?.block_on(inspect::run_repair(place, dry_run, RepairOptions { cut_log_at_damage }))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("the async runtime does not start").with_source(error))
}

/// As psql shows an error.
fn error_text(error: &Error) -> String {
    let mut text = format!("error: {}", error.message());
    for (name, value) in [("detail", error.detail()), ("hint", error.hint()), ("context", error.context())] {
        if let Some(value) = value {
            text.push_str(&format!("\n{name}: {value}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
