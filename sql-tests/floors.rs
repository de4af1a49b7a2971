//! The house has floors, and the compiler does not know of them: this test reads the sources and does.
//!
//! * A module uses floors below its own, and earlier modules of its own floor: the order of `pub mod` in `lib.rs`.
//! * Nobody imports `engine` but the binary.
//! * What runs under the simulated executor takes time, tasks and files from its seams.
//! * Operators keep state through `dataflow/state` alone: no scalar values, maps or vectors of rows.
//! * `unsafe` is allowed in the modules listed here: the one that talks to the allocator.
//!
//! Files named `tests.rs`, folders named `tests`, comments and string literals are not looked at.

#![allow(clippy::disallowed_methods, reason = "a test that reads the sources")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that may say `allow(unsafe_code)`.
const UNSAFE_ALLOWED: [&str; 1] = ["cli/allocator.rs"];

/// The command line: a module of `main.rs`, not of the library, and so above every floor.
const BINARY: &str = "cli";

/// They run under a seeded executor as well as under tokio.
const CORE: [&str; 5] = ["commit", "wal", "tier", "table", "dataflow"];
const NOT_IN_CORE: [&str; 11] = [
    "tokio::spawn",
    "tokio::task",
    "tokio::time",
    "tokio::fs",
    "tokio::runtime",
    "spawn_blocking",
    "std::thread",
    "std::fs",
    "SystemTime",
    "Instant::now",
    "rand::",
];

const NOT_IN_OPERATORS: [&str; 12] = [
    "ScalarValue",
    "HashMap",
    "BTreeMap",
    "HashSet",
    "BTreeSet",
    "IndexMap",
    "HashTable",
    "Vec<Vec<",
    "Vec<OwnedRow",
    "Vec<Row<",
    "Vec<Option<Vec<",
    "VecDeque<",
];

/// A source file: its path below src/, its module path, and its text without comments and strings.
struct Source {
    path: String,
    module: Vec<String>,
    code: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root(), &mut Vec::new(), &mut found);
    assert!(found.len() > 20, "only {} sources under {}", found.len(), root().display());
    found
}

fn collect(folder: &Path, module: &mut Vec<String>, found: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            module.push(stem);
            collect(&path, module, found);
            module.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let mut module = module.clone();
            if !["mod", "lib", "main"].contains(&stem.as_str()) {
                module.push(stem);
            }
            let shown = path.strip_prefix(root()).unwrap().display().to_string();
            found.push(Source { path: shown, module, code: code_of(&fs::read_to_string(&path).unwrap()) });
        }
    }
}

/// The text with comments, string literals and character literals blanked; line breaks stay.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => at + text[at..].find('\n').unwrap_or(text.len() - at),
            [b'/', b'*', ..] => block_comment_end(text, at),
            [b'r', b'"' | b'#', ..] if at == 0 || !is_word(bytes[at - 1]) => raw_string_end(text, at),
            [b'"', ..] => string_end(bytes, at),
            [b'\'', b'\\', ..] => at + 2 + text[at + 2..].find('\'').unwrap_or(0) + 1,
            [b'\'', _, b'\'', ..] => at + 3,
            _ => at,
        };
        if end > at {
            code.extend(text[at..end.min(text.len())].chars().filter(|c| *c == '\n'));
            code.push(' ');
            at = end;
        } else {
            let next = text[at..].chars().next().unwrap();
            code.push(next);
            at += next.len_utf8();
        }
    }
    code
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn block_comment_end(text: &str, at: usize) -> usize {
    let (mut depth, mut end) = (0, at);
    loop {
        match &text.as_bytes()[end..] {
            [b'/', b'*', ..] => (depth, end) = (depth + 1, end + 2),
            [b'*', b'/', ..] => (depth, end) = (depth - 1, end + 2),
            [] => return end,
            _ => end += 1,
        }
        if depth == 0 {
            return end;
        }
    }
}

/// `r"..."` and `r#"..."#`; `at` itself where it is a raw identifier.
fn raw_string_end(text: &str, at: usize) -> usize {
    let hashes = text[at + 1..].bytes().take_while(|byte| *byte == b'#').count();
    let open = at + 1 + hashes;
    if text.as_bytes().get(open) != Some(&b'"') {
        return at;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    text[open + 1..].find(&close).map_or(text.len(), |length| open + 1 + length + close.len())
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 2,
            b'"' => return end + 1,
            _ => end += 1,
        }
    }
    end
}

/// Top modules in the order of `lib.rs`: who comes later is higher.
fn floors() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(root().join("lib.rs")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.enumerate().map(|(floor, name)| (name.to_string(), floor)).collect()
}

/// Top modules that the code names by `crate::` or by enough `super::`, braces opened.
fn used_modules(source: &Source) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in source.code.match_indices("crate::") {
        if at == 0 || !is_word(source.code.as_bytes()[at - 1]) {
            first_names(&source.code[at + "crate::".len()..], &mut used);
        }
    }
    let climb = "super::".repeat(source.module.len());
    if !climb.is_empty() {
        for (at, _) in source.code.match_indices(&climb) {
            if !source.code[..at].ends_with("super::") {
                first_names(&source.code[at + climb.len()..], &mut used);
            }
        }
    }
    used
}

/// `a::b` gives a; `{a::b, c::{d, e}}` gives a and c.
fn first_names(path: &str, names: &mut Vec<String>) {
    let Some(group) = path.strip_prefix('{') else {
        let length = path.bytes().take_while(|byte| is_word(*byte)).count();
        names.push(path[..length].to_string());
        return;
    };
    let mut depth = 0;
    let mut start = 0;
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b',' | b'}' if depth == 0 => {
                first_names(group[start..at].trim_start(), names);
                start = at + 1;
                if byte == b'}' {
                    return;
                }
            }
            b'}' => depth -= 1,
            _ => {}
        }
    }
}

fn line_of(code: &str, needle: &str) -> usize {
    code.find(needle).map_or(0, |at| code[..at].matches('\n').count() + 1)
}

fn report(what: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{what}:\n  {}", broken.join("\n  "));
}

#[test]
fn no_module_uses_a_floor_above_it() {
    let floors = floors();
    let mut broken = Vec::new();
    let mut paths = 0;
    for source in sources() {
        let Some(own) = source.module.first().filter(|own| *own != BINARY) else { continue };
        let floor = *floors.get(own).unwrap_or_else(|| panic!("{} is not in lib.rs", source.path));
        for used in used_modules(&source) {
            paths += 1;
            match floors.get(&used) {
                Some(other) if *other > floor => broken.push(format!("{} uses {used}", source.path)),
                _ if used == "engine" && own != "engine" => broken.push(format!("{} uses engine", source.path)),
                _ => {}
            }
        }
    }
    println!("{paths} paths between {} modules", floors.len());
    assert!(paths > 40, "the reader of paths found only {paths}");
    report("upward paths", broken);
}

#[test]
fn the_core_takes_time_tasks_and_files_from_its_seams() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.module.first().is_some_and(|top| CORE.contains(&&**top))) {
        for word in NOT_IN_CORE.iter().filter(|word| names(&source.code, word)) {
            broken.push(format!("{}:{} {word}", source.path, line_of(&source.code, word)));
        }
        for (at, _) in source.code.match_indices("select!") {
            if !source.code[at..].split_once('{').is_some_and(|(_, body)| body.trim_start().starts_with("biased;")) {
                broken.push(format!("{}: select! without biased", source.path));
            }
        }
    }
    report("a run would not follow from its seed", broken);
}

#[test]
fn operators_keep_state_in_columns() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("dataflow/operators")) {
        for word in NOT_IN_OPERATORS.iter().filter(|word| names(&source.code, word)) {
            broken.push(format!("{}:{} {word}", source.path, line_of(&source.code, word)));
        }
    }
    report("rows outside of dataflow/state", broken);
}

#[test]
fn unsafe_code_stands_where_it_is_listed() {
    let mut broken = Vec::new();
    for source in sources() {
        let allows = source.code.contains("unsafe_code") && !["lib.rs", "main.rs"].contains(&source.path.as_str());
        if allows && !UNSAFE_ALLOWED.contains(&source.path.as_str()) {
            broken.push(source.path);
        }
    }
    report("modules that allow unsafe code", broken);
}

/// The word as a word: `rand::` does not stand in `operand::`.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| at == 0 || !is_word(code.as_bytes()[at - 1]))
}

#[test]
fn the_reader_of_paths_reads_paths() {
    let source = |module: &[&str], code: &str| Source {
        path: String::new(),
        module: module.iter().map(|name| name.to_string()).collect(),
        code: code_of(code),
    };
    let used = |module: &[&str], code: &str| used_modules(&source(module, code));
    assert_eq!(used(&["wal"], "use crate::{a::b, c::{d, e}, f};"), ["a", "c", "f"]);
    assert_eq!(used(&["wal", "name"], "use super::super::commit::X; use super::y;"), ["commit"]);
    assert_eq!(used(&["wal"], "use super::commit::X;"), ["commit"]);
    assert_eq!(used(&["wal"], "// crate::engine\n\"crate::engine\" /* crate::engine */ 'a' crate::io::Disk"), ["io"]);
    assert_eq!(used(&["wal"], "r#\"crate::engine\"# b'\"' crate::io '\\'' crate::error"), ["io", "error"]);
    assert_eq!(used(&["wal"], "mycrate::engine fn f<'a>(x: &'a str) { crate::delta::x() }"), ["delta"]);
}
