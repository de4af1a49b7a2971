//! The program `tidemark`.

mod cli;

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Gives freed memory back to the machine, which the limit of memory depends on.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    cli::run()
}
