//! Where a fleet's reader stands, as the bytes that are committed with its rows.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The version that is written; another one is refused.
const VERSION: u32 = 1;

/// The next report, and the line from ticks to event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    version: u32,
    /// The round that is under way.
    pub tick: i64,
    /// The truck of that round whose turn it is.
    pub truck: u64,
    /// Rows given out so far.
    pub rows: u64,
    /// Event time of `base_tick`'s start, microseconds.
    pub base_us: i64,
    pub base_tick: i64,
}

impl Position {
    pub fn at_start(start_us: i64) -> Position {
        Position { version: VERSION, tick: 0, truck: 0, rows: 0, base_us: start_us, base_tick: 0 }
    }

    pub fn to_bytes(self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self).map_err(Error::internal)
    }

    /// Errors: XX001.
    pub fn from_bytes(bytes: &[u8]) -> Result<Position> {
        match serde_json::from_slice::<Position>(bytes) {
            Ok(position) if position.version == VERSION => Ok(position),
            Ok(position) => Err(Error::corrupted("position of connector fleet")
                .with_detail(format!("It is of version {}, not {VERSION}.", position.version))),
            Err(error) => Err(Error::corrupted("position of connector fleet").with_detail(error.to_string())),
        }
    }
}
