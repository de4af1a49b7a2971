//! What a view shows, kept between steps.
//!
//! ```text
//! ... Aggregate -> Filter/Project*   that cannot fail: the aggregate's own state, read through them when asked
//! rows that only ever come:          a log, the batches as they are
//! anything else:                     a bag, every distinct row with its weight
//! ```
//!
//! What retention has taken is not read from groups, and goes from logs and bags.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;

use super::cutoff::{is_before, leave_out};
use super::errors::ErrorDelta;
use super::expression::{Expressions, batch};
use super::operators::{AggregateScan, filter_rows, project_rows};
use super::state::{Chunk, ColumnType, KeyLayout, KeyedState, Keys, LeftPage, LogState, PageStore, StateRef};
use crate::catalog::Cutoff;
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};

/// A multiset of rows of one schema.
#[derive(Debug, Clone)]
pub struct Bag {
    schema: SchemaRef,
    layout: Arc<KeyLayout>,
    /// By the whole row, its weight.
    state: KeyedState,
    rows: i64,
}

impl Bag {
    pub fn new(schema: SchemaRef) -> Result<Self> {
        let layout = KeyLayout::exact(schema.fields().iter().map(|field| field.data_type().clone()).collect())?;
        let state = KeyedState::new(layout.column_type(), vec![ColumnType::Int64]);
        Ok(Bag { schema, layout: Arc::new(layout), state, rows: 0 })
    }

    pub fn apply(&mut self, deltas: &[DeltaBatch]) -> Result<()> {
        for delta in deltas {
            let keys = self.layout.pack(delta.rows().columns(), delta.num_rows())?;
            let (starts, order) = self.state.rows_by_chunk(&keys);
            let (keys, weights) = (keys.take(&order), delta.weights_array());
            for chunk in (0..self.state.chunk_count()).filter(|chunk| starts[*chunk] < starts[chunk + 1]) {
                let rows = starts[chunk]..starts[chunk + 1];
                let weights = order[rows.clone()].iter().map(|row| weights.value(*row as usize));
                self.state.write(chunk, |chunk| add_rows(chunk, &keys, rows, weights))?;
            }
            self.rows += weights.values().iter().sum::<i64>();
            self.state.rebalance()?;
        }
        Ok(())
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.memory_bytes()
    }

    pub fn states(&mut self) -> [StateRef<'_>; 2] {
        [StateRef::Keyed(&mut self.state), StateRef::Count(&mut self.rows)]
    }

    /// Rows, each as often as it is there.
    pub fn rows(&self) -> u64 {
        self.rows.max(0) as u64
    }

    /// Rows that are before the cutoff go.
    pub fn forget(&mut self, cutoff: Cutoff) -> Result<()> {
        for index in 0..self.state.chunk_count() {
            let chunk = self.state.chunk(index)?;
            let columns = self.layout.unpack((0..chunk.len()).map(|row| chunk.key(row)))?;
            let times = columns.get(cutoff.column).ok_or_else(|| Error::internal("a view without its time"))?;
            let before = is_before(times, cutoff.before_us)?;
            if before.true_count() == 0 {
                continue;
            }
            let weights = chunk.columns()[0].as_int64()?;
            self.rows -= before.values().set_indices().map(|row| weights[row]).sum::<i64>();
            drop(chunk);
            // From the highest on: what moves into a gap is then never one of those that are to go.
            let mut gone: Vec<usize> = before.values().set_indices().collect();
            gone.reverse();
            self.state.write(index, |chunk| {
                gone.into_iter().for_each(|place| chunk.remove(place));
                Ok(())
            })?;
        }
        self.state.rebalance()
    }

    /// Rows `start..` of a chunk of the bag, with their weights, at most `rows_max`; `None` past its end.
    fn read(&self, chunk: &Chunk, start: usize, rows_max: usize) -> Result<Option<DeltaBatch>> {
        if start >= chunk.len() {
            return Ok(None);
        }
        let rows = start..chunk.len().min(start + rows_max);
        let columns = self.layout.unpack(rows.clone().map(|row| chunk.key(row)))?;
        let weights = chunk.columns()[0].as_int64()?[rows.clone()].to_vec();
        Ok(Some(DeltaBatch::new(batch(&self.schema, columns, rows.len())?, weights.into())?))
    }
}

/// Adds weights to the rows of one chunk; rows whose weight comes to zero are gone.
fn add_rows(chunk: &mut Chunk, keys: &Keys, rows: Range<usize>, weights: impl Iterator<Item = i64>) -> Result<()> {
    let mut places = Vec::new();
    chunk.rows_of(keys, rows, &mut places);
    let totals = chunk.columns_mut()[0].int64()?;
    places.iter().zip(weights).for_each(|(place, weight)| totals[*place as usize] += weight);
    places.retain(|place| totals[*place as usize] == 0);
    // From the highest on: what moves into a gap is then never one of those that are to go.
    places.sort_unstable_by(|left, right| right.cmp(left));
    places.dedup();
    places.into_iter().for_each(|place| chunk.remove(place as usize));
    Ok(())
}

/// Linear operators above an aggregate whose state is the view's content.
#[derive(Debug, Clone)]
pub enum Stage {
    Filter(Expressions),
    Project(Expressions, SchemaRef),
    /// Rows that are not before it.
    Since(Cutoff),
}

/// A view's content at one moment.
#[derive(Debug, Clone)]
pub enum Content {
    Bag(Bag),
    Log(LogState),
    Groups {
        scan: AggregateScan,
        above: Arc<Vec<Stage>>,
        /// For each key of the groups, the view's column that shows it.
        keys: Option<Arc<[usize]>>,
    },
}

/// Where a scan of a content is, which reads every so manieth part.
#[derive(Debug, Clone)]
pub struct Place {
    part: usize,
    row: usize,
    stride: usize,
    /// Of this part, so that one that is at rest is read once.
    chunk: Option<Arc<Chunk>>,
}

impl Place {
    /// The parts `first`, `first + stride`, ... of a content.
    pub fn new(first: usize, stride: usize) -> Self {
        Place { part: first, row: 0, stride, chunk: None }
    }

    fn chunk(&mut self, state: &KeyedState) -> Result<Arc<Chunk>> {
        match &self.chunk {
            Some(chunk) => Ok(chunk.clone()),
            None => Ok(self.chunk.insert(state.chunk(self.part)?).clone()),
        }
    }

    fn next_part(&mut self) {
        *self = Place::new(self.part + self.stride, self.stride);
    }
}

impl Content {
    /// Of a reader's: what readers alone keep of it, because the view has changed since.
    pub fn left(&self) -> Vec<LeftPage> {
        match self {
            Content::Bag(bag) => bag.state.left(),
            Content::Log(log) => log.left(),
            Content::Groups { scan, .. } => scan.state().left(),
        }
    }

    /// Of a reader's: lets these leave memory. Errors: the store's.
    pub fn evict_left(&mut self, store: &Arc<dyn PageStore>) -> Result<()> {
        match self {
            Content::Bag(bag) => bag.state.evict_left(store),
            Content::Log(log) => log.evict_left(store),
            Content::Groups { scan, .. } => scan.evict_left(store),
        }
    }

    /// Parts that can be read apart.
    pub fn parts(&self) -> usize {
        match self {
            Content::Bag(bag) => bag.state.chunk_count(),
            Content::Log(log) => log.batch_count(),
            Content::Groups { scan, .. } => scan.chunk_count(),
        }
    }

    /// Rows in all parts, before the stages above them.
    pub fn rows_held(&self) -> u64 {
        match self {
            Content::Bag(bag) => bag.rows(),
            Content::Log(log) => log.rows(),
            Content::Groups { scan, .. } => scan.rows() as u64,
        }
    }

    /// The next rows after `place`, at most about `rows_max`; `None` at the end. Batches may be empty.
    pub fn read(&self, place: &mut Place, rows_max: usize) -> Result<Option<DeltaBatch>> {
        match self {
            Content::Bag(bag) => {
                while place.part < bag.state.chunk_count() {
                    let chunk = place.chunk(&bag.state)?;
                    if let Some(rows) = bag.read(&chunk, place.row, rows_max)? {
                        place.row += rows_max;
                        return Ok(Some(rows));
                    }
                    place.next_part();
                }
                Ok(None)
            }
            Content::Log(log) => {
                let Some(delta) = log.batch(place.part)? else { return Ok(None) };
                let rows = rows_max.min(delta.num_rows() - place.row);
                let read = delta.slice(place.row, rows);
                match place.row + rows < delta.num_rows() {
                    true => place.row += rows,
                    false => place.next_part(),
                }
                Ok(Some(read))
            }
            Content::Groups { scan, above, .. } => {
                while place.part < scan.chunk_count() {
                    let chunk = place.chunk(scan.state())?;
                    if let Some(rows) = scan.read(&chunk, place.row, rows_max)? {
                        place.row += rows_max;
                        return Ok(Some(through(above, rows)?));
                    }
                    place.next_part();
                }
                Ok(None)
            }
        }
    }
}

impl Content {
    /// The rows whose columns have these values, found by key; `None` where that is not possible: the content is not made
    /// of groups, or the values do not make a whole key of the same types.
    pub fn find(&self, values: &[(usize, ScalarValue)]) -> Result<Option<DeltaBatch>> {
        let Content::Groups { scan, above, keys: Some(keys) } = self else { return Ok(None) };
        let mut key = Vec::with_capacity(keys.len());
        for (column, data_type) in keys.iter().zip(scan.key_types()) {
            match values.iter().find(|(of, value)| of == column && value.data_type() == data_type) {
                Some((_, value)) => key.push(value.to_array()?),
                None => return Ok(None),
            }
        }
        if key.is_empty() { Ok(None) } else { Ok(Some(through(above, scan.find(&key)?)?)) }
    }
}

fn through(above: &[Stage], mut rows: DeltaBatch) -> Result<DeltaBatch> {
    let mut errors = ErrorDelta::default();
    for stage in above {
        rows = match stage {
            Stage::Filter(predicate) => filter_rows(predicate, rows, &mut errors)?,
            Stage::Project(expressions, schema) => project_rows(expressions, schema, rows, &mut errors)?,
            Stage::Since(cutoff) => leave_out(*cutoff, rows)?,
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
