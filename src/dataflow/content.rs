//! What a view shows, kept between steps.
//!
//! ```text
//! ... Aggregate -> Filter/Project*   that cannot fail: the aggregate's own state, read through them when asked
//! rows that only ever come:          a log, the batches as they are
//! anything else:                     a bag, every distinct row with its weight
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};

use super::errors::ErrorDelta;
use super::expression::{Expressions, batch};
use super::operators::{AggregateScan, filter_rows, project_rows};
use super::state::{LogState, OrderedState, OrderedUpdates};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};

/// A multiset of rows of one schema.
#[derive(Debug, Clone)]
pub struct Bag {
    schema: SchemaRef,
    converter: Arc<RowConverter>,
    state: OrderedState,
    rows: i64,
}

impl Bag {
    pub fn new(schema: SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Bag { schema, converter: Arc::new(RowConverter::new(fields)?), state: OrderedState::default(), rows: 0 })
    }

    pub fn apply(&mut self, deltas: &[DeltaBatch]) -> Result<()> {
        let mut updates = OrderedUpdates::default();
        for delta in deltas {
            let rows = self.converter.convert_columns(delta.rows().columns())?;
            for row in 0..delta.num_rows() {
                updates.push(&[rows.row(row).data()], delta.weight(row));
                self.rows += delta.weight(row);
            }
        }
        self.state.apply(&updates);
        Ok(())
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
    }

    /// Rows, each as often as it is there.
    pub fn rows(&self) -> u64 {
        self.rows.max(0) as u64
    }

    /// The rows of the n-th part of the bag, with their weights; `None` past the last.
    pub fn read(&self, part: usize) -> Result<Option<DeltaBatch>> {
        let Some(entries) = self.state.leaf_entries(part) else { return Ok(None) };
        let parser = self.converter.parser();
        let (keys, weights): (Vec<&[u8]>, Vec<i64>) = entries.unzip();
        let columns = self.converter.convert_rows(keys.iter().map(|key| parser.parse(key)))?;
        Ok(Some(DeltaBatch::new(batch(&self.schema, columns, keys.len())?, weights.into())?))
    }
}

/// Linear operators above an aggregate whose state is the view's content.
#[derive(Debug, Clone)]
pub enum Stage {
    Filter(Expressions),
    Project(Expressions, SchemaRef),
}

/// A view's content at one moment.
#[derive(Debug, Clone)]
pub enum Content {
    Bag(Bag),
    Log(LogState),
    Groups { scan: AggregateScan, above: Arc<Vec<Stage>> },
}

/// Where a scan of a content is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    part: usize,
    row: usize,
}

impl Content {
    /// The next rows after `place`, at most about `rows_max`; `None` at the end. Batches may be empty.
    pub fn read(&self, place: &mut Place, rows_max: usize) -> Result<Option<DeltaBatch>> {
        match self {
            Content::Bag(bag) => {
                place.part += 1;
                bag.read(place.part - 1)
            }
            Content::Log(log) => {
                let Some(delta) = log.batch(place.part) else { return Ok(None) };
                let rows = rows_max.min(delta.num_rows() - place.row);
                let read = delta.slice(place.row, rows);
                *place = match place.row + rows < delta.num_rows() {
                    true => Place { row: place.row + rows, ..*place },
                    false => Place { part: place.part + 1, row: 0 },
                };
                Ok(Some(read))
            }
            Content::Groups { scan, above } => {
                while place.part < scan.chunk_count() {
                    if let Some(rows) = scan.read(place.part, place.row, rows_max)? {
                        place.row += rows_max;
                        return Ok(Some(through(above, rows)?));
                    }
                    *place = Place { part: place.part + 1, row: 0 };
                }
                Ok(None)
            }
        }
    }
}

fn through(above: &[Stage], mut rows: DeltaBatch) -> Result<DeltaBatch> {
    let mut errors = ErrorDelta::default();
    for stage in above {
        rows = match stage {
            Stage::Filter(predicate) => filter_rows(predicate, rows, &mut errors)?,
            Stage::Project(expressions, schema) => project_rows(expressions, schema, rows, &mut errors)?,
        };
    }
    if errors.is_empty() {
        Ok(rows)
    } else {
        Err(Error::internal("an expression that cannot fail failed while a view was read"))
    }
}

/// The same rows in the view's schema: its column names, and types where the plan's differ.
pub fn in_schema(delta: &DeltaBatch, schema: &SchemaRef) -> Result<DeltaBatch> {
    let columns = delta.rows().columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(column.clone()),
        false => Ok(cast(column, field.data_type())?),
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    delta.with_rows(batch(schema, columns, delta.num_rows())?)
}
