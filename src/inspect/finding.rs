//! What an offline reader has to say of a file.

use std::fmt;

use crate::error::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A start deals with it by itself.
    Note,
    /// What was written does not read back, and is made again from what does: it costs time.
    MadeAgain,
    /// Something that was acknowledged cannot be read.
    Damage,
}

/// File, place, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// Below the data directory or the object store.
    pub file: String,
    pub offset: Option<u64>,
    pub what: String,
}

impl Finding {
    pub fn damage(file: impl Into<String>, offset: Option<u64>, what: impl Into<String>) -> Finding {
        Finding { severity: Severity::Damage, file: file.into(), offset, what: what.into() }
    }

    pub fn note(file: impl Into<String>, offset: Option<u64>, what: impl Into<String>) -> Finding {
        Finding { severity: Severity::Note, file: file.into(), offset, what: what.into() }
    }

    pub fn made_again(file: impl Into<String>, offset: Option<u64>, what: impl Into<String>) -> Finding {
        Finding { severity: Severity::MadeAgain, file: file.into(), offset, what: what.into() }
    }

    /// An error about `file`, in one line.
    pub fn error(file: impl Into<String>, error: &Error) -> Finding {
        let what = match error.detail() {
            Some(detail) => format!("{}: {detail}", error.message()),
            None => error.message().to_string(),
        };
        Finding::damage(file, None, what)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Damage => "damage",
            Severity::Note => "note",
            Severity::MadeAgain => "damage that heals",
        };
        write!(f, "{severity}: {}", self.file)?;
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}
