//! The reader of a fleet: whose turn it is, which reports get lost, late or doubled, and when they are due.
//!
//! A *slot* is one truck's turn in one tick; the rate counts slots. Most give one row; a lost one gives none, a doubled
//! one two. A late report leaves its slot and comes in the same truck's slot some ticks later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::motion::{Channel, Truck};
use super::options::{FleetOptions, find_columns};
use super::position::Position;
use super::table::{FleetColumn, Report};
use crate::catalog::{Column, arrow_schema};
use crate::error::Result;
use crate::ingest::source::{SourceBatch, SourceReader};
use crate::io::Clock;

/// Slots of one batch.
const BATCH_SLOTS: u64 = 16_384;
/// Shortest wait for more slots: batches of a few rows cost as much as larger ones.
const WAIT_LEAST: Duration = Duration::from_millis(20);

const MISSING_ONE_IN: u64 = 200;
const REPEATED_ONE_IN: u64 = 250;
const LATE_ONE_IN: u64 = 100;
const LATE_TICKS_MAX: u64 = 20;

/// An open fleet.
pub struct Fleet {
    options: FleetOptions,
    columns: Vec<(FleetColumn, bool)>,
    schema: SchemaRef,
    clock: Arc<dyn Clock>,
    position: Position,
    opened: Duration,
    /// Slots since it was opened.
    slots: u64,
}

impl Fleet {
    pub fn open(
        options: &BTreeMap<String, String>,
        columns: &[Column],
        position: Option<&[u8]>,
        clock: Arc<dyn Clock>,
    ) -> Result<Fleet> {
        let options = FleetOptions::read(options)?;
        let found = find_columns(options.table, columns)?;
        let schema =
            arrow_schema(columns.iter().map(|column| (column.name.as_str(), &column.sql_type, !column.not_null)));
        let columns = found.into_iter().zip(columns.iter().map(|column| !column.not_null)).collect();
        let position = match position {
            None => Position::at_start(options.start_us.unwrap_or_else(|| clock.now_us())),
            Some(bytes) => resume(Position::from_bytes(bytes)?, &options, clock.now_us()),
        };
        let opened = clock.monotonic();
        Ok(Fleet { options, columns, schema, clock, position, opened, slots: 0 })
    }

    /// Slots that may be given out now.
    fn due(&self) -> u64 {
        if self.options.rate == 0 {
            return BATCH_SLOTS;
        }
        let elapsed_us = (self.clock.monotonic() - self.opened).as_micros();
        let slots = elapsed_us * u128::from(self.options.rate) / 1_000_000;
        u64::try_from(slots).unwrap_or(u64::MAX).saturating_sub(self.slots).min(BATCH_SLOTS)
    }

    fn is_at_end(&self) -> bool {
        self.options.rows.is_some_and(|limit| self.position.rows >= limit)
    }

    /// The reports of the next `slots` slots; fewer where the limit is reached.
    fn take_reports(&mut self, slots: u64) -> Vec<Report> {
        let mut reports = Vec::with_capacity(slots as usize);
        for _ in 0..slots {
            if self.is_at_end() {
                break;
            }
            let before = reports.len();
            self.slot(&mut reports);
            if let Some(limit) = self.options.rows {
                let room = limit - self.position.rows;
                reports.truncate(before + usize::try_from(room).unwrap_or(usize::MAX));
            }
            self.position.rows += (reports.len() - before) as u64;
            self.slots += 1;
            self.position.truck += 1;
            if self.position.truck >= self.options.trucks {
                self.position.truck = 0;
                self.position.tick += 1;
            }
        }
        reports
    }

    fn slot(&self, reports: &mut Vec<Report>) {
        let Position { tick, truck, .. } = self.position;
        let truck = Truck { seed: self.options.seed, number: truck };
        let late_by = 1 + (truck.random(Channel::LateBy, 0) % LATE_TICKS_MAX) as i64;
        for (tick, is_late) in [(tick - late_by, true), (tick, false)] {
            if tick < 0 || truck.chance(Channel::Late, tick, LATE_ONE_IN) != is_late {
                continue;
            }
            if truck.chance(Channel::Missing, tick, MISSING_ONE_IN) {
                continue;
            }
            let report = Report { truck, tick, time_us: self.time_us(truck.number, tick) };
            reports.push(report);
            if truck.chance(Channel::Repeated, tick, REPEATED_ONE_IN) {
                reports.push(report);
            }
        }
    }

    /// Trucks report one after the other within a tick.
    fn time_us(&self, truck: u64, tick: i64) -> i64 {
        let interval_us = self.options.interval_us;
        let within_us = i128::from(interval_us) * i128::from(truck) / i128::from(self.options.trucks);
        let ticks = tick.saturating_sub(self.position.base_tick);
        self.position.base_us.saturating_add(ticks.saturating_mul(interval_us)).saturating_add(within_us as i64)
    }

    fn batch(&self, reports: &[Report]) -> Result<SourceBatch> {
        let arrays = self.columns.iter().map(|(column, nullable)| column.array(reports, *nullable)).collect();
        let rows = RecordBatch::try_new(self.schema.clone(), arrays)?;
        Ok(SourceBatch { rows, position: self.position.to_bytes()? })
    }

    fn wait(&self) -> Duration {
        let next_slot_us = u128::from(self.slots + 1) * 1_000_000 / u128::from(self.options.rate.max(1));
        let next_slot = Duration::from_micros(u64::try_from(next_slot_us).unwrap_or(u64::MAX));
        next_slot.saturating_sub(self.clock.monotonic() - self.opened).max(WAIT_LEAST)
    }
}

/// Without a `start`, event time follows the clock: what passed while nobody read is left out.
fn resume(mut position: Position, options: &FleetOptions, now_us: i64) -> Position {
    if options.start_us.is_none() {
        let ticks = position.tick.saturating_sub(position.base_tick);
        let reached_us = position.base_us.saturating_add(ticks.saturating_mul(options.interval_us));
        position.base_us = reached_us.max(now_us);
        position.base_tick = position.tick;
    }
    position
}

#[async_trait]
impl SourceReader for Fleet {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        loop {
            if self.is_at_end() {
                return Ok(None);
            }
            let due = self.due();
            if due > 0 {
                let reports = self.take_reports(due);
                if !reports.is_empty() {
                    return self.batch(&reports).map(Some);
                }
                continue;
            }
            self.clock.sleep(self.wait()).await;
        }
    }
}

#[cfg(test)]
mod tests;
