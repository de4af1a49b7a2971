//! Settings: defaults < `tidemark.toml` < `TIDEMARK__SECTION__KEY` < flags.

use std::path::Path;

use tidemark::error::{Error, Result, SqlState};
use tidemark::settings::Settings;
use toml::{Table, Value};

use super::Flags;

const FILE: &str = "tidemark.toml";
const PREFIX: &str = "TIDEMARK__";

/// The settings that a command begins with.
pub struct Defaults(Settings);

impl Defaults {
    pub fn start() -> Defaults {
        Defaults(Settings::default())
    }

    /// The demo is to be tried without a password, in a directory of its own.
    pub fn demo() -> Defaults {
        Defaults(Settings { data_dir: "./tidemark-demo".into(), trust_loopback: true, ..Settings::default() })
    }
}

/// Errors: 22023 for unknown or wrong settings, 58030 for a file that cannot be read.
pub fn load(flags: &Flags, defaults: Defaults) -> Result<Settings> {
    let file = read_file(flags.config.as_deref())?;
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        name.starts_with(PREFIX).then(|| (name, value.to_string_lossy().into_owned()))
    });
    let mut settings = merge(defaults, file, environment)?;
    apply_flags(&mut settings, flags);
    Ok(settings)
}

/// The named file must be there; the usual one may be missing.
#[expect(clippy::disallowed_methods, reason = "the program reads its own configuration before any seam exists")]
fn read_file(named: Option<&Path>) -> Result<Table> {
    let path = named.unwrap_or(Path::new(FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(Table::new()),
        Err(error) => {
            return Err(Error::new(SqlState::IO_ERROR, format!("cannot read \"{}\"", path.display()))
                .with_detail(error.to_string()));
        }
    };
    text.parse().map_err(|error: toml::de::Error| {
        Error::new(SqlState::INVALID_PARAMETER, format!("\"{}\" is not valid TOML", path.display()))
            .with_detail(error.to_string())
    })
}

fn merge(
    Defaults(defaults): Defaults,
    file: Table,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings> {
    let mut table = Table::try_from(&defaults).map_err(Error::internal)?;
    overlay(&mut table, file);
    for (name, value) in environment {
        let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
        set(&mut table, &path, &value).ok_or_else(|| {
            Error::new(SqlState::INVALID_PARAMETER, format!("{name} names no setting"))
                .with_hint("Write TIDEMARK__SECTION__KEY, for example TIDEMARK__TABLE__FLUSH_BYTES.")
        })?;
    }
    table.try_into().map_err(|error: toml::de::Error| {
        Error::new(SqlState::INVALID_PARAMETER, "wrong settings").with_detail(error.to_string().trim_end().to_owned())
    })
}

/// Tables are merged key by key, everything else replaced.
fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// The text takes the type that the setting has. `None`: the path leads through or to something that is no table.
fn set(table: &mut Table, path: &[String], text: &str) -> Option<()> {
    match path {
        [] => None,
        [key] => {
            let value = match table.get(key) {
                Some(Value::Table(_)) => return None,
                Some(Value::String(_)) => Value::String(text.to_owned()),
                _ => typed(text),
            };
            table.insert(key.clone(), value);
            Some(())
        }
        [section, rest @ ..] => set(table.get_mut(section)?.as_table_mut()?, rest, text),
    }
}

/// As TOML reads it; what it cannot read is a string, and is refused later where a number is needed.
fn typed(text: &str) -> Value {
    let read = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    read.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn apply_flags(settings: &mut Settings, flags: &Flags) {
    if let Some(data_dir) = &flags.data_dir {
        settings.data_dir.clone_from(data_dir);
    }
    if let Some(object_store) = &flags.object_store {
        settings.object_store.clone_from(object_store);
    }
    if let Some(address) = flags.listen_sql {
        settings.listen_sql = address;
    }
    if let Some(address) = flags.listen_http {
        settings.listen_http = address;
    }
    if let Some(address) = flags.listen_flight {
        settings.listen_flight = address;
    }
    settings.trust_loopback |= flags.trust_loopback;
}

#[cfg(test)]
mod tests;
