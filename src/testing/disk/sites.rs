//! From which line of the code under test a disk call comes.
//!
//! `#[track_caller]` does not reach through `dyn Disk`, so this reads the stack.

use std::backtrace::Backtrace;

/// The seams and the simulation are not who calls.
const NOT_CALLERS: [&str; 3] = ["src/io/", "src/testing/disk", "src/testing/store"];

/// `src/wal/writer.rs:88` of the innermost frame of ours; `unknown` where the build has no line tables.
pub(super) fn caller() -> String {
    let stack = Backtrace::force_capture().to_string();
    stack.lines().filter_map(|line| our_line(line.trim())).next().unwrap_or_else(|| "unknown".to_string())
}

fn our_line(line: &str) -> Option<String> {
    let place = line.strip_prefix("at ")?;
    let place = place.strip_prefix(env!("CARGO_MANIFEST_DIR")).or(place.strip_prefix('.'))?.trim_start_matches('/');
    let ours = place.starts_with("src/") && !NOT_CALLERS.iter().any(|other| place.starts_with(other));
    let (line, _column) = place.rsplit_once(':')?;
    ours.then(|| line.to_string())
}
