//! A golden file: its opening comment, which says what is proved and how it may be run, and its records.

use std::fmt;
use std::path::{Path, PathBuf};

use sqllogictest::{DefaultColumnType, Record};

/// The longest golden; one behaviour fits.
const LINES_MAX: usize = 150;

/// The circumstances under which a file must give the same answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Batch,
    View,
    Restart,
    Tier,
    Drip,
    Wire,
}

impl Mode {
    pub const ALL: [Mode; 6] = [Mode::Batch, Mode::View, Mode::Restart, Mode::Tier, Mode::Drip, Mode::Wire];

    pub fn name(self) -> &'static str {
        match self {
            Mode::Batch => "batch",
            Mode::View => "view",
            Mode::Restart => "restart",
            Mode::Tier => "tier",
            Mode::Drip => "drip",
            Mode::Wire => "wire",
        }
    }

    /// Whether SELECTs are made materialized views too.
    pub fn makes_views(self) -> bool {
        matches!(self, Mode::View | Mode::Drip)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One file.
pub struct Golden {
    /// Path below sql-tests/.
    pub name: String,
    pub path: PathBuf,
    pub records: Vec<Record<DefaultColumnType>>,
    /// The whole file.
    pub text: String,
    /// `# view: required`: a SELECT that is refused as a materialized view is a failure, not a count.
    pub view_required: bool,
    /// `# history: kept`: the server can read what was.
    pub keeps_history: bool,
    opt_outs: Vec<(Mode, String)>,
}

impl Golden {
    pub fn load(path: &Path, name: &str) -> Result<Golden, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let header = opening_comment(&text);
        if header.len() < 2 {
            return Err(format!("{name}: the first two lines must be comments that say what is proved"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            return Err(format!("{name}: {lines} lines; split the file by behaviour ({LINES_MAX} at most)"));
        }
        let mut opt_outs = Vec::new();
        let (mut view_required, mut keeps_history) = (false, false);
        for line in header {
            if let Some(rest) = line.strip_prefix("skip-mode:") {
                opt_outs.push(parse_opt_out(rest).map_err(|message| format!("{name}: {message}"))?);
            } else if line == "view: required" {
                view_required = true;
            } else if line == "history: kept" {
                keeps_history = true;
            }
        }
        let records = sqllogictest::parse_with_name(&text, name).map_err(|error| error.to_string())?;
        Ok(Golden {
            name: name.to_owned(),
            path: path.to_owned(),
            records,
            text,
            view_required,
            keeps_history,
            opt_outs,
        })
    }

    /// Why the file is not run in this mode. Who cannot have views beside it cannot in `drip` either.
    pub fn opt_out(&self, mode: Mode) -> Option<&str> {
        let leaves = |left: Mode| left == mode || (left == Mode::View && mode.makes_views());
        self.opt_outs.iter().find(|(left, _)| leaves(*left)).map(|(_, reason)| reason.as_str())
    }
}

/// Every golden below `root`, in the order of their names.
pub fn find(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "slt") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn opening_comment(text: &str) -> Vec<&str> {
    text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim).collect()
}

/// `restart the reason`: a reason is not optional.
fn parse_opt_out(rest: &str) -> Result<(Mode, String), String> {
    let (name, reason) = rest.trim().split_once(' ').ok_or("skip-mode: needs a mode and a reason")?;
    let mode = Mode::ALL.into_iter().find(|mode| mode.name() == name).ok_or(format!("skip-mode: no mode {name}"))?;
    Ok((mode, reason.trim().to_owned()))
}
