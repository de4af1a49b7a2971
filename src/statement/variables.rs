//! What a session may SET: each variable declared once, with its default, its check and a sentence.
//!
//! PostgreSQL's variables that clients set or read at connect are here with PostgreSQL's names; those whose value
//! Tidemark cannot honour refuse any other than the one it lives by.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono_tz::Tz;

use super::transaction::ReadMode;
use crate::error::{Error, Result, SqlState};
use crate::types::parse::parse_time_zone;
use crate::types::text::EncodeSettings;

/// A variable that SET, SHOW and `pg_settings` know.
pub struct Variable {
    pub name: &'static str,
    pub default: &'static str,
    pub sentence: &'static str,
    /// Told to the client by ParameterStatus when it changes.
    pub is_reported: bool,
    check: fn(&str) -> Result<String, ()>,
}

macro_rules! variables {
    ($($name:literal = $default:literal, $reported:literal, $check:expr, $sentence:literal;)*) => {
        /// All of them, by name.
        pub const VARIABLES: &[Variable] = &[$(Variable {
            name: $name, default: $default, sentence: $sentence, is_reported: $reported, check: $check,
        }),*];
    };
}

variables! {
    "application_name" = "", true, any, "What the client calls itself.";
    "bytea_output" = "hex", false, |value| one_of(value, &["hex", "escape"]), "Text form of bytea.";
    "client_encoding" = "UTF8", true, encoding, "Always UTF8.";
    "client_min_messages" = "notice", false, any_word, "Accepted; every notice is sent.";
    "datestyle" = "ISO, MDY", true, date_style, "Always ISO.";
    "default_table_access_method" = "heap", false, |value| only(value, "heap"), "Always heap.";
    "default_transaction_isolation" = "serializable", false, isolation, "Every level is served by snapshots.";
    "default_transaction_read_only" = "off", true, boolean, "New transactions refuse writes.";
    "extra_float_digits" = "1", false, digits, "Floats are printed shortest-exact for 1 and above.";
    "in_hot_standby" = "off", true, |value| only(value, "off"), "Always off.";
    "integer_datetimes" = "on", true, |value| only(value, "on"), "Always on.";
    "intervalstyle" = "postgres", true, |value| only(value, "postgres"), "Always postgres.";
    "is_superuser" = "on", true, |value| only(value, "on"), "Always on.";
    "lock_timeout" = "0", false, duration, "Accepted; locks are held for the length of a statement.";
    "idle_in_transaction_session_timeout" = "0", false, |value| only(value, "0"), "Not enforced; only 0.";
    "max_identifier_length" = "63", false, |value| only(value, "63"), "As in PostgreSQL.";
    "read_mode" = "strict", false, |value| one_of(value, &["strict", "snapshot"]), "strict: reads see every acknowledged commit, and wait for the views they name; snapshot: they see the newest commit that those views have applied.";
    "search_path" = "\"$user\", public", false, any, "Schemas in which unqualified names are looked up.";
    "server_encoding" = "UTF8", true, |value| only(value, "UTF8"), "Always UTF8.";
    "server_version" = "15.0", true, |value| only(value, "15.0"), "The PostgreSQL version that clients are told.";
    "server_version_num" = "150000", false, |value| only(value, "150000"), "The same as a number.";
    "session_authorization" = "tidemark", true, |value| only(value, "tidemark"), "The one user.";
    "standard_conforming_strings" = "on", true, |value| only_boolean(value, "on"), "Always on.";
    "statement_timeout" = "0", false, duration, "A statement that runs longer is canceled; 0: never.";
    "synchronous_commit" = "on", false, |value| only_boolean(value, "on"), "Always on: acknowledged is on disk.";
    "timezone" = "UTC", true, time_zone, "Zone of timestamptz in text.";
    "transaction_isolation" = "serializable", false, isolation, "Every level is served by snapshots.";
    "transaction_read_only" = "off", false, boolean, "The transaction refuses writes.";
}

/// Names as the client is told them, where they differ in case.
const REPORTED_NAMES: &[(&str, &str)] =
    &[("timezone", "TimeZone"), ("datestyle", "DateStyle"), ("intervalstyle", "IntervalStyle")];

/// One session's values.
#[derive(Debug, Clone)]
pub struct Variables {
    values: BTreeMap<&'static str, String>,
    /// What RESET goes back to: set at connect.
    initial: BTreeMap<&'static str, String>,
    transaction: Option<InTransaction>,
    unreported: Vec<&'static str>,
}

type Values = BTreeMap<&'static str, String>;

/// While a transaction block is open.
#[derive(Debug, Clone)]
struct InTransaction {
    /// What ROLLBACK goes back to.
    before: Values,
    /// What COMMIT leaves: SET counts, SET LOCAL does not.
    after: Values,
}

impl Default for Variables {
    fn default() -> Self {
        let values: BTreeMap<_, _> =
            VARIABLES.iter().map(|variable| (variable.name, variable.default.to_owned())).collect();
        let unreported =
            VARIABLES.iter().filter(|variable| variable.is_reported).map(|variable| variable.name).collect();
        Variables { initial: values.clone(), values, transaction: None, unreported }
    }
}

impl Variables {
    /// What the client asked for at connect; RESET goes back to it.
    pub fn with_startup(startup: &BTreeMap<String, String>, application_name: &str) -> Result<Self> {
        let mut variables = Variables::default();
        variables.set("application_name", Some(application_name))?;
        for (name, value) in startup {
            variables.set(name, Some(value))?;
        }
        variables.initial = variables.values.clone();
        Ok(variables)
    }

    pub fn get(&self, name: &str) -> Result<&str> {
        let variable = find(name)?;
        Ok(self.values.get(variable.name).map_or(variable.default, String::as_str))
    }

    /// `None` goes back to the value at connect.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let (variable, value) = self.checked(name, value)?;
        if let Some(transaction) = &mut self.transaction {
            transaction.after.insert(variable.name, value.clone());
        }
        self.put(variable, value);
        Ok(())
    }

    /// Until the transaction block ends. False, and nothing, outside of one.
    pub fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<bool> {
        let (variable, value) = self.checked(name, value)?;
        if self.transaction.is_some() {
            self.put(variable, value);
        }
        Ok(self.transaction.is_some())
    }

    /// A transaction block begins.
    pub fn begin(&mut self) {
        if self.transaction.is_none() {
            self.transaction = Some(InTransaction { before: self.values.clone(), after: self.values.clone() });
        }
    }

    /// It was committed: what SET LOCAL said ends.
    pub fn commit(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.put_all(&transaction.after);
        }
    }

    /// It was rolled back: what SET said in it ends too.
    pub fn rollback(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.put_all(&transaction.before);
        }
    }

    /// It was rolled back to a savepoint, at which the variables were these.
    pub fn rollback_to(&mut self, then: &Variables) {
        self.put_all(&then.values);
        self.transaction = then.transaction.clone();
    }

    fn put_all(&mut self, values: &Values) {
        for variable in VARIABLES {
            if let Some(value) = values.get(variable.name) {
                self.put(variable, value.clone());
            }
        }
    }

    fn checked(&self, name: &str, value: Option<&str>) -> Result<(&'static Variable, String)> {
        let variable = find(name)?;
        let value = match value {
            Some(value) => (variable.check)(value).map_err(|()| {
                Error::new(
                    SqlState::INVALID_PARAMETER,
                    format!("invalid value for parameter \"{}\": \"{value}\"", shown_name(variable.name)),
                )
                .with_hint(variable.sentence)
            })?,
            None => self.initial.get(variable.name).cloned().unwrap_or_default(),
        };
        Ok((variable, value))
    }

    fn put(&mut self, variable: &'static Variable, value: String) {
        if self.values.get(variable.name) != Some(&value) {
            self.values.insert(variable.name, value);
            if variable.is_reported && !self.unreported.contains(&variable.name) {
                self.unreported.push(variable.name);
            }
        }
    }

    pub fn reset_all(&mut self) -> Result<()> {
        VARIABLES.iter().try_for_each(|variable| self.set(variable.name, None))
    }

    /// Reported variables that changed since the last call.
    pub fn take_changes(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.unreported)
            .into_iter()
            .map(|name| (shown_name(name).to_owned(), self.values.get(name).cloned().unwrap_or_default()))
            .collect()
    }

    /// (name, value, sentence) of every variable.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
        VARIABLES.iter().map(|variable| {
            let value = self.values.get(variable.name).map_or(variable.default, String::as_str);
            (shown_name(variable.name), value, variable.sentence)
        })
    }

    pub fn statement_timeout(&self) -> Option<Duration> {
        let value = self.get("statement_timeout").ok()?;
        parse_duration(value).filter(|timeout| !timeout.is_zero())
    }

    pub fn read_mode(&self) -> ReadMode {
        match self.get("read_mode") {
            Ok("snapshot") => ReadMode::Snapshot,
            _ => ReadMode::Strict,
        }
    }

    pub fn time_zone(&self) -> Tz {
        self.get("timezone").ok().and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC)
    }

    pub fn is_read_only_by_default(&self) -> bool {
        self.get("default_transaction_read_only").is_ok_and(|value| value == "on")
    }

    pub fn encode_settings(&self) -> EncodeSettings {
        EncodeSettings {
            time_zone: self.time_zone(),
            bytea_hex: self.get("bytea_output").map_or(true, |value| value == "hex"),
            ..EncodeSettings::default()
        }
    }

    pub fn search_path(&self) -> Vec<String> {
        let path = self.get("search_path").unwrap_or("public");
        path.split(',')
            .map(|schema| schema.trim().trim_matches('"').to_owned())
            .filter(|schema| !schema.is_empty() && schema != "$user")
            .collect()
    }
}

fn find(name: &str) -> Result<&'static Variable> {
    let lower = name.to_ascii_lowercase();
    let lower = match lower.as_str() {
        "transaction isolation level" => "transaction_isolation",
        "session characteristics as transaction isolation level" => "default_transaction_isolation",
        "time zone" => "timezone",
        other => other,
    };
    VARIABLES.iter().find(|variable| variable.name == lower).ok_or_else(|| {
        Error::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
            .with_hint("SHOW ALL lists the parameters that exist.")
    })
}

fn shown_name(name: &'static str) -> &'static str {
    REPORTED_NAMES.iter().find(|(lower, _)| *lower == name).map_or(name, |(_, shown)| shown)
}

fn any(value: &str) -> Result<String, ()> {
    Ok(value.to_owned())
}

fn any_word(value: &str) -> Result<String, ()> {
    one_of(value, &["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"])
}

fn only(value: &str, the_one: &str) -> Result<String, ()> {
    one_of(value, &[the_one])
}

fn one_of(value: &str, choices: &[&str]) -> Result<String, ()> {
    choices.iter().find(|choice| choice.eq_ignore_ascii_case(value)).map(|choice| (*choice).to_owned()).ok_or(())
}

fn boolean(value: &str) -> Result<String, ()> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Ok("on".to_owned()),
        "off" | "false" | "no" | "0" | "f" | "n" => Ok("off".to_owned()),
        _ => Err(()),
    }
}

fn only_boolean(value: &str, the_one: &str) -> Result<String, ()> {
    boolean(value).and_then(|value| only(&value, the_one))
}

fn encoding(value: &str) -> Result<String, ()> {
    one_of(&value.replace(['-', '_', '\''], ""), &["UTF8", "UNICODE"]).map(|_| "UTF8".to_owned())
}

fn date_style(value: &str) -> Result<String, ()> {
    let known = value
        .split(',')
        .all(|word| one_of(word.trim(), &["ISO", "MDY", "DMY", "YMD", "US", "European", "NonEuropean"]).is_ok());
    if known { Ok("ISO, MDY".to_owned()) } else { Err(()) }
}

fn isolation(value: &str) -> Result<String, ()> {
    one_of(value, &["serializable", "repeatable read", "read committed", "read uncommitted"])
}

fn digits(value: &str) -> Result<String, ()> {
    value.parse::<i32>().ok().filter(|digits| (-15..=3).contains(digits)).map(|digits| digits.to_string()).ok_or(())
}

fn time_zone(value: &str) -> Result<String, ()> {
    let name = value.trim().trim_matches('\'');
    if name.eq_ignore_ascii_case("utc") || name.eq_ignore_ascii_case("z") || name == "0" {
        return Ok("UTC".to_owned());
    }
    parse_time_zone(name).map(|zone| zone.name().to_owned()).ok_or(())
}

fn duration(value: &str) -> Result<String, ()> {
    parse_duration(value).map(|_| value.to_owned()).ok_or(())
}

/// `250`, `250ms`, `5s`, `2min`, `1h`; without a unit milliseconds.
fn parse_duration(value: &str) -> Option<Duration> {
    let value = value.trim();
    let unit_start = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let count: u64 = value[..unit_start].parse().ok()?;
    let unit_ms = match value[unit_start..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.checked_mul(unit_ms)?))
}

#[cfg(test)]
mod tests;
