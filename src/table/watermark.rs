//! Watermarks of tables: where rows begin to come too late.
//!
//! ```text
//! write n:    rows marked with the watermark as the writes before n left it | at_us = max(newest time - delay)
//! write n+1:  rows marked with at_us | ...
//! ```
//!
//! Whether a row is late is decided by what it is marked with, so that it stays decided: for views that are made later, after a
//! restart, and for whoever verifies. A time from the future tells nothing about how far the rows have come, and moves no
//! watermark; neither does one from before the present watermark.
//!
//! Does not know: windows, views, the log.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};

use super::cell::TableCell;
use super::tables::Tables;
use crate::catalog::{CatalogChange, Table};
use crate::commit::{TableWrite, WatermarkAdvance, Write};
use crate::error::{Error, Result};
use crate::types::RelationId;

/// Devices' clocks may be so far ahead of ours, in microseconds.
const AHEAD_US: i64 = 60_000_000;

/// One table's watermark in sequenced state.
#[derive(Debug, Clone, Default)]
pub(super) struct WatermarkState {
    /// Microseconds since 1970.
    at_us: Option<i64>,
    /// Time of the newest row that was not from the future.
    newest_us: Option<i64>,
    /// Rows that came since the start and were from the future.
    rows_ahead: u64,
    /// Monotonic time of the last row; of the first look, where none came.
    last_row: Option<Duration>,
}

/// For `tidemark.watermarks`: what a watermark is, and what it waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatermarkStats {
    /// Microseconds since 1970, as `newest_us`.
    pub at_us: Option<i64>,
    /// Time of the newest row since the start that was not from the future.
    pub newest_us: Option<i64>,
    /// Rows that came since the start and were from the future.
    pub rows_ahead: u64,
}

impl WatermarkState {
    /// It never falls.
    pub fn raise(&mut self, at_us: i64) {
        self.at_us = self.at_us.max(Some(at_us));
    }

    /// Marks a write's rows, and takes note of their times.
    fn mark(&mut self, table: &Table, write: &mut TableWrite, before: Option<i64>, now: Now) -> Result<()> {
        let (Some(watermark), Some(position)) = (&table.watermark, table.watermark_column()) else { return Ok(()) };
        let Some(rows) = write.inserts.take() else { return Ok(()) };
        let times = rows.column(position).as_primitive_opt::<TimestampMicrosecondType>();
        let times = times.ok_or_else(|| Error::internal("a watermark of a column that has no times"))?;
        let (limit_us, mut newest_us, mut ahead) = (now.us.saturating_add(AHEAD_US), None, 0);
        for time in times.iter().flatten() {
            match time <= limit_us {
                true => newest_us = newest_us.max(Some(time)),
                false => ahead += 1,
            }
        }
        self.newest_us = self.newest_us.max(newest_us);
        self.rows_ahead += ahead;
        self.last_row = Some(now.monotonic);
        if let Some(newest_us) = newest_us {
            self.raise(newest_us.min(now.us).saturating_sub(watermark.delay_us));
        }
        write.inserts = Some(marked(table, &rows, before)?);
        Ok(())
    }
}

/// What the clock says.
#[derive(Clone, Copy)]
struct Now {
    us: i64,
    monotonic: Duration,
}

/// The rows with the watermark that was before them as their last column.
fn marked(table: &Table, rows: &RecordBatch, before: Option<i64>) -> Result<RecordBatch> {
    let schema = table.schema();
    let zone = match schema.fields().last().map(|field| field.data_type()) {
        Some(DataType::Timestamp(TimeUnit::Microsecond, zone)) => zone.clone(),
        _ => return Err(Error::internal("a table with a watermark and without its column")),
    };
    let marks = PrimitiveArray::<TimestampMicrosecondType>::from_iter(std::iter::repeat_n(before, rows.num_rows()));
    let mut columns: Vec<ArrayRef> = rows.columns().iter().take(table.user_columns().len()).cloned().collect();
    columns.push(Arc::new(marks.with_timezone_opt(zone)));
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn with_watermark(change: &CatalogChange) -> Option<Arc<Table>> {
    match change {
        CatalogChange::CreateTable(table) if table.watermark.is_some() => Some(table.clone()),
        _ => None,
    }
}

impl Tables {
    /// Marks the rows of a write, adds to it how the watermarks move, and has it sequenced. Nobody else's rows for the same tables
    /// take their place meanwhile. If it is refused, the watermarks stay where they were.
    pub fn sequence_marked<R>(&self, mut write: Write, sequence: impl FnOnce(Write) -> Result<R>) -> Result<R> {
        let mut ids: Vec<RelationId> =
            write.tables.iter().filter(|table| table.inserts.is_some()).map(|table| table.table).collect();
        // One order for everybody, so that no two wait for each other.
        ids.sort_unstable();
        ids.dedup();
        let created: Vec<Arc<Table>> = write.catalog.iter().filter_map(with_watermark).collect();
        let cells: Vec<Arc<TableCell>> =
            ids.into_iter().filter_map(|id| self.cell(id).ok()).filter(|cell| cell.table.watermark.is_some()).collect();
        if cells.is_empty() && created.is_empty() {
            return sequence(write);
        }
        let now = Now { us: self.clock.now_us(), monotonic: self.clock.monotonic() };
        let mut held = Vec::with_capacity(cells.len());
        for cell in &cells {
            let guard = cell.watermark.lock();
            let mut next = guard.clone();
            for table in write.tables.iter_mut().filter(|table| table.table == cell.table.id) {
                // Of another version: it is about to be refused.
                if table.schema_version == cell.table.schema_version {
                    next.mark(&cell.table, table, guard.at_us, now)?;
                }
            }
            if let Some(at_us) = next.at_us.filter(|_| next.at_us != guard.at_us) {
                write.watermarks.push(WatermarkAdvance { table: cell.table.id, at_us });
            }
            held.push((guard, next));
        }
        let mut first = Vec::with_capacity(created.len());
        for table in created {
            let mut next = WatermarkState::default();
            for rows in write.tables.iter_mut().filter(|rows| rows.table == table.id) {
                next.mark(&table, rows, None, now)?;
            }
            write.watermarks.extend(next.at_us.map(|at_us| WatermarkAdvance { table: table.id, at_us }));
            first.push((table.id, next));
        }
        let sequenced = sequence(write)?;
        for (id, next) in first {
            if let Ok(cell) = self.cell(id) {
                *cell.watermark.lock() = next;
            }
        }
        held.into_iter().for_each(|(mut guard, next)| *guard = next);
        Ok(sequenced)
    }

    /// Has the watermarks of wanted tables move that had no row for as long as they say: they follow the clock, each by a write of its own.
    pub fn sequence_idle<R>(
        &self,
        wanted: &dyn Fn(RelationId) -> bool,
        sequence: impl Fn(Write) -> Result<R>,
    ) -> Result<Vec<R>> {
        let cells: Vec<Arc<TableCell>> = self.cells.read().values().cloned().collect();
        let (now_us, monotonic) = (self.clock.now_us(), self.clock.monotonic());
        let mut sequenced = Vec::new();
        for cell in cells {
            let Some(watermark) = cell.table.watermark.as_ref().filter(|_| wanted(cell.table.id)) else { continue };
            let Some(idle_us) = watermark.idle_us else { continue };
            let mut state = cell.watermark.lock();
            let since = *state.last_row.get_or_insert(monotonic);
            let at_us = now_us.saturating_sub(watermark.delay_us);
            let waited_us = monotonic.saturating_sub(since).as_micros();
            if waited_us >= idle_us.unsigned_abs().into() && state.at_us.is_some_and(|before| before < at_us) {
                let advance = WatermarkAdvance { table: cell.table.id, at_us };
                sequenced.push(sequence(Write { watermarks: vec![advance], ..Write::default() })?);
                state.raise(at_us);
            }
        }
        Ok(sequenced)
    }

    /// `None` for a table without one.
    pub fn watermark(&self, id: RelationId) -> Option<WatermarkStats> {
        let cell = self.cell(id).ok().filter(|cell| cell.table.watermark.is_some())?;
        let state = cell.watermark.lock();
        Some(WatermarkStats { at_us: state.at_us, newest_us: state.newest_us, rows_ahead: state.rows_ahead })
    }
}

#[cfg(test)]
mod tests;
