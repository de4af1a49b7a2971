//! The program `tidemark`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
