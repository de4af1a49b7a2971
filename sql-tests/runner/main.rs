//! The golden tests: every `sql-tests/**/*.slt` against a real server, in several modes.
//!
//! Each file and mode is one trial, with a server of its own in this process, in an empty directory, reached over
//! loopback. The modes ask for the same answers under different circumstances:
//!
//! ```text
//! batch    the statements as they stand
//! view     every SELECT also as a materialized view, compared where it stands and again at the end of the file
//! restart  the server killed without any flush, now and then right after a checkpoint, and started again, between statements
//! tier     everything flushed to cold files before each statement that reads or changes rows
//! drip     as view, with INSERTs as single-row commits in another order, some undone and done again, and random steps
//! wire     a bare socket: simple protocol, extended protocol, text and binary results, compared with each other
//! ```
//!
//! Beside them `docs::` runs the SQL of the documentation, and compares the pages that are printed from the code.
//!
//! A file leaves a mode by a line `# skip-mode: restart because ...` in its opening comment; the run fails if more than
//! a tenth of the files leave one mode. How to write a golden stands in `docs/internals/testing.md`.
//!
//! ```sh
//! cargo test --test sql                       # everything
//! cargo test --test sql -- views/             # by path
//! cargo test --test sql -- restart::          # by mode
//! TIDEMARK_SQL_TESTS_SEED=7 cargo test --test sql -- drip::   # another order, other cuts
//! TIDEMARK_REWRITE=1 cargo test --test sql    # put the answers of batch mode into the files
//! TIDEMARK_SQL_TESTS_SERVER='host=127.0.0.1 user=me' cargo test --test sql   # against PostgreSQL, batch mode
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test program on the outside of the house: it needs the real file system, clock and network"
)]

mod answer;
mod binary;
mod client;
mod drip;
mod golden;
mod host;
mod pages;
mod random;
mod reference;
mod report;
mod script;
mod views;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use golden::{Golden, Mode};
use report::Report;

/// A trial that takes longer hangs; the slowest file takes a tenth of this.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(180);

/// The largest share of files that may leave a mode.
const OPT_OUT_PERCENT_MAX: usize = 10;

fn main() {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests");
    let report = Arc::new(Report::default());
    let mut trials = Vec::new();
    // The longest first.
    if host::external().is_none() && !rewrites() {
        trials.push(Trial::test("random::views", || bounded(random::run(), random::timeout()).map_err(Failed::from)));
        trials.push(Trial::test("random::draws", || random::draw().map_err(Failed::from)));
    }
    for path in golden::find(&root) {
        let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        match Golden::load(&path, &name) {
            Ok(golden) => trials.extend(trials_of(Arc::new(golden), &report)),
            Err(message) => trials.push(Trial::test(format!("shape::{name}"), move || Err(Failed::from(message)))),
        }
    }
    trials.extend(trials_of_docs());
    if report.is_empty() {
        trials.push(Trial::test("shape::sql-tests", || Err(Failed::from("no .slt file was found"))));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if arguments.list {
        return;
    }
    print!("{report}");
    let crowded = report.modes_with_opt_outs_over(OPT_OUT_PERCENT_MAX);
    for mode in &crowded {
        println!("FAILED: more than {OPT_OUT_PERCENT_MAX} % of the files leave mode {mode}");
    }
    if conclusion.has_failed() || !crowded.is_empty() {
        std::process::exit(101);
    }
}

fn trials_of(golden: Arc<Golden>, report: &Arc<Report>) -> Vec<Trial> {
    let modes: &[Mode] = if host::external().is_some() || rewrites() { &[Mode::Batch] } else { &Mode::ALL };
    let mut trials = Vec::new();
    for &mode in modes {
        if let Some(reason) = golden.opt_out(mode) {
            report.opted_out(mode, &golden.name, reason);
            continue;
        }
        report.takes_part(mode);
        let (golden, report) = (golden.clone(), report.clone());
        let name = format!("{mode}::{}", golden.name);
        trials.push(Trial::test(name, move || run_trial(&golden, mode, &report).map_err(Failed::from)));
    }
    trials
}

/// The SQL of the documentation's pages, and the pages that are printed from the code.
fn trials_of_docs() -> Vec<Trial> {
    let mut trials = Vec::new();
    if host::external().is_some() {
        return trials;
    }
    for page in reference::PAGES {
        let name = format!("docs::reference/{}", page.name);
        trials.push(Trial::test(name, move || page.run().map_err(Failed::from)));
    }
    if rewrites() {
        return trials;
    }
    for (name, path) in pages::find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")) {
        trials.push(Trial::test(format!("docs::{name}"), move || within_time(pages::run(&path)).map_err(Failed::from)));
    }
    trials
}

/// On a runtime of its own, which is gone afterwards.
fn within_time<T>(trial: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    bounded(trial, TRIAL_TIMEOUT)
}

fn bounded<T>(trial: impl Future<Output = Result<T, String>>, limit: Duration) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(async {
        match tokio::time::timeout(limit, trial).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    outcome
}

fn run_trial(golden: &Golden, mode: Mode, report: &Report) -> Result<(), String> {
    let outcome = within_time(script::run(golden, mode, report));
    report.ended(mode, outcome.is_ok());
    match outcome {
        Ok(Some(rewritten)) => write_back(&golden.path, &rewritten),
        Ok(None) => Ok(()),
        Err(message) => Err(message),
    }
}

fn write_back(path: &PathBuf, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether answers are put into the files instead of being compared.
fn rewrites() -> bool {
    std::env::var("TIDEMARK_REWRITE").is_ok_and(|value| value == "1")
}
