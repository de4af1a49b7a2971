//! The options of a fleet, and the columns that a source of it may have.

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono_tz::Tz;

use super::table::{FleetColumn, FleetTable};
use crate::catalog::Column;
use crate::error::{Error, Result, SqlState};
use crate::types::parse::{parse_interval, parse_timestamptz};

const NAMES: &str = "interval, rate, rows, seed, start, table, trucks";

/// What `WITH (...)` says of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetOptions {
    /// `table`: `readings` or `diagnostics`.
    pub table: FleetTable,
    /// `trucks`: how many.
    pub trucks: u64,
    /// `rate`: reports per second; 0: as fast as they are taken.
    pub rate: u64,
    /// `interval`: event time between two reports of a truck. By default what the rate makes of it, so that event time
    /// runs as fast as the clock; 10 s without a rate.
    pub interval_us: i64,
    /// `start`: event time of the first report. By default the clock's time when it is opened, each time.
    pub start_us: Option<i64>,
    /// `seed`
    pub seed: u64,
    /// `rows`: the source ends after so many.
    pub rows: Option<u64>,
}

impl FleetOptions {
    pub fn read(options: &BTreeMap<String, String>) -> Result<FleetOptions> {
        if let Some(unknown) = options.keys().find(|name| !NAMES.split(", ").any(|known| known == *name)) {
            return Err(Error::new(
                SqlState::INVALID_PARAMETER,
                format!("unrecognized option \"{unknown}\" of connector fleet"),
            )
            .with_hint(format!("The options are {NAMES}.")));
        }
        let table = match options.get("table") {
            None => FleetTable::Readings,
            Some(name) => FleetTable::from_name(name)
                .ok_or_else(|| wrong("table", name).with_hint("The tables are 'readings' and 'diagnostics'."))?,
        };
        let trucks = number(options, "trucks", 1..=1_000_000)?.unwrap_or(100);
        let rate = number(options, "rate", 0..=100_000_000)?.unwrap_or(trucks);
        let interval_us = match options.get("interval") {
            Some(text) => interval_us(text)?,
            None if rate == 0 => 10_000_000,
            None => ((trucks * 1_000_000) / rate).max(1) as i64,
        };
        let start_us = match options.get("start") {
            None => None,
            Some(text) => Some(start_us(text)?),
        };
        let seed = number(options, "seed", 0..=u64::MAX)?.unwrap_or(1);
        let rows = number(options, "rows", 0..=u64::MAX)?;
        Ok(FleetOptions { table, trucks, rate, interval_us, start_us, seed, rows })
    }
}

fn number(options: &BTreeMap<String, String>, name: &str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>> {
    let Some(text) = options.get(name) else { return Ok(None) };
    match u64::from_str(text.trim()) {
        Ok(value) if range.contains(&value) => Ok(Some(value)),
        _ => Err(wrong(name, text).with_detail(format!(
            "A whole number from {} to {} is expected.",
            range.start(),
            range.end()
        ))),
    }
}

fn interval_us(text: &str) -> Result<i64> {
    const LONGEST_US: i64 = 24 * 3_600_000_000;
    let interval = parse_interval(text).map_err(|error| wrong("interval", text).with_detail(error.message()))?;
    let us = interval.nanoseconds / 1000;
    if interval.months != 0 || interval.days != 0 || !(1..=LONGEST_US).contains(&us) {
        return Err(wrong("interval", text).with_detail("At least a microsecond and at most 24 hours are expected."));
    }
    Ok(us)
}

fn start_us(text: &str) -> Result<i64> {
    let us = parse_timestamptz(text, Tz::UTC).map_err(|error| wrong("start", text).with_detail(error.message()))?;
    // Far enough from the ends of time that no report leaves it.
    const YEARS_10000_US: i64 = 10_000 * 366 * 86_400_000_000;
    if us.abs() > YEARS_10000_US {
        return Err(wrong("start", text).with_detail("The start is too far from now."));
    }
    Ok(us)
}

fn wrong(name: &str, value: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER, format!("invalid value for option \"{name}\": \"{value}\""))
}

/// Errors: 22023 for options, 42703 and 42804 for columns.
pub fn validate(options: &BTreeMap<String, String>, columns: &[Column]) -> Result<()> {
    let options = FleetOptions::read(options)?;
    find_columns(options.table, columns).map(|_| ())
}

pub fn default_columns(options: &BTreeMap<String, String>) -> Result<Vec<Column>> {
    let table = FleetOptions::read(options)?.table;
    let column = |column: &FleetColumn| Column {
        name: column.name.to_owned(),
        sql_type: column.sql_type(),
        not_null: false,
        default: None,
    };
    Ok(table.columns().iter().map(column).collect())
}

/// The fleet's column behind each of the source's, found by name.
pub fn find_columns(table: FleetTable, columns: &[Column]) -> Result<Vec<FleetColumn>> {
    columns.iter().map(|column| find_column(table, column)).collect()
}

fn find_column(table: FleetTable, column: &Column) -> Result<FleetColumn> {
    let Some(found) = table.columns().iter().find(|found| found.name == column.name) else {
        let names: Vec<_> = table.columns().iter().map(|column| column.name).collect();
        return Err(Error::new(
            SqlState::UNDEFINED_COLUMN,
            format!("connector fleet has no column \"{}\" in its table {}", column.name, table.name()),
        )
        .with_hint(format!("Its columns are {}.", names.join(", "))));
    };
    if found.sql_type() != column.sql_type {
        return Err(Error::new(
            SqlState::DATATYPE_MISMATCH,
            format!("column \"{}\" is of type {}", column.name, column.sql_type),
        )
        .with_hint(format!("Connector fleet gives {}.", found.sql_type())));
    }
    Ok(*found)
}
