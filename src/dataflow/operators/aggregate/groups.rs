//! The groups of an aggregate: the layout of its state's columns, and reading output rows from them.
//!
//! ```text
//! state columns: weight of the group (Int64) | columns of the first accumulator | columns of the second | ...
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::accumulator::{Accumulator, Layout, Placed};
use super::call::{Call, WEIGHT_COLUMN};
use super::extreme::Multiset;
use super::gathered::Values;
use super::sets::Sets;
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::batch;
use crate::dataflow::state::{Chunk, Column, ColumnType, KeyLayout, KeyedState, Keys, PageStore};
use crate::delta::{DeltaBatch, Weights};
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, OperatorId};

#[derive(Debug)]
pub struct Groups {
    operator: OperatorId,
    keys: KeyLayout,
    key_schema: SchemaRef,
    accumulators: Vec<Placed>,
    calls: Vec<Call>,
    schema: SchemaRef,
}

impl Groups {
    /// `key_types`: the group expressions'. `calls`: with the places of their arguments among the inputs, whose types
    /// are `input_types`. Also gives the arguments: for each the input, and the type that it is to be cast to.
    ///
    /// Errors: 0A000 for types that cannot be grouped by or aggregated.
    pub fn new(
        operator: OperatorId,
        key_types: &[DataType],
        calls: &[(&AggregateCall, Vec<usize>)],
        input_types: &[DataType],
        schema: SchemaRef,
    ) -> Result<(Self, Vec<(usize, DataType)>)> {
        if schema.fields().len() != key_types.len() + calls.len() {
            return Err(Error::internal("an aggregate's expressions do not fit its schema"));
        }
        let mut layout = Layout::behind(WEIGHT_COLUMN + 1);
        let lower = |(call, inputs): &(&AggregateCall, Vec<usize>)| {
            let inputs: Vec<_> = inputs.iter().map(|input| (*input, input_types[*input].clone())).collect();
            Call::new(call, &inputs, &mut layout)
        };
        let calls = calls.iter().map(lower).collect::<Result<_>>()?;
        let key_names = schema.fields().iter().map(|field| field.name());
        let key_fields: Vec<Field> = key_types
            .iter()
            .zip(key_names)
            .map(|(data_type, name)| Field::new(name, data_type.clone(), true))
            .collect();
        let Layout { arguments, accumulators, .. } = layout;
        let groups = Groups {
            operator,
            keys: KeyLayout::new(key_types.to_vec())?,
            key_schema: Arc::new(Schema::new(key_fields)),
            accumulators,
            calls,
            schema,
        };
        Ok((groups, arguments))
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn group_count(&self) -> usize {
        self.key_schema.fields().len()
    }

    pub fn is_global(&self) -> bool {
        self.group_count() == 0
    }

    pub fn empty_state(&self) -> KeyedState {
        let columns = self.accumulators.iter().flat_map(|placed| placed.accumulator.column_types());
        KeyedState::new(self.keys.column_type(), std::iter::once(ColumnType::Int64).chain(columns).collect())
    }

    /// An ordered multiset for each extreme, for inputs from which rows can be deleted.
    pub fn multisets(&self) -> Vec<Multiset> {
        let multiset = |placed: &Placed| match &placed.accumulator {
            Accumulator::Extreme(extreme) => {
                Some(Multiset::new(extreme.clone(), placed.columns.start, placed.args.clone()))
            }
            _ => None,
        };
        self.accumulators.iter().filter_map(multiset).collect()
    }

    /// The entries of each call that puts values together.
    pub fn gathered(&self) -> Vec<Values> {
        let values = |placed: &Placed| match &placed.accumulator {
            Accumulator::Gathered(it) => Some(Values::new(it.clone(), placed.columns.start, placed.args.clone())),
            _ => None,
        };
        self.accumulators.iter().filter_map(values).collect()
    }

    /// The values of calls that look at them in order.
    pub fn sets(&self) -> Vec<Sets> {
        Sets::of(&self.accumulators)
    }

    pub fn pack(&self, keys: &[ArrayRef], rows: usize) -> Result<Keys> {
        self.keys.pack(keys, rows)
    }

    /// The rows of a chunk from `from` on are new.
    pub fn start(&self, chunk: &mut Chunk, from: usize) -> Result<()> {
        self.accumulators.iter().try_for_each(|placed| placed.start(chunk.columns_mut(), from))
    }

    /// Adds input rows to the groups at `places`.
    pub fn accumulate(
        &self,
        columns: &mut [Column],
        places: &[u32],
        args: &[ArrayRef],
        weights: &Weights,
    ) -> Result<()> {
        add_weights(columns[WEIGHT_COLUMN].int64()?, places, weights);
        self.accumulators.iter().try_for_each(|placed| placed.accumulate(columns, places, args, weights))
    }

    pub fn weights<'a>(&self, chunk: &'a Chunk) -> Result<&'a [i64]> {
        chunk.columns()[WEIGHT_COLUMN].as_int64()
    }

    /// Output rows of the groups at `places`, behind their `keys`. Without `keys`, only the errors: groups that have no
    /// row.
    pub fn output(&self, chunk: &Chunk, places: Vec<u32>, keys: Option<Vec<ArrayRef>>) -> Result<GroupRows> {
        let has_columns = keys.is_some();
        let mut output = GroupRows { places, columns: keys.unwrap_or_default(), ..GroupRows::default() };
        for (index, call) in self.calls.iter().enumerate() {
            let errors = if has_columns {
                let (values, errors) = call.finish(chunk.columns(), &output.places)?;
                output.columns.push(as_promised(&values, &self.schema, self.group_count() + index)?);
                errors
            } else {
                call.failures(chunk.columns(), &output.places)?
            };
            errors.into_iter().for_each(|(row, error)| output.fail(row, error));
        }
        Ok(output)
    }

    /// The first columns of the output rows of the groups at `places`.
    pub fn group_columns(&self, chunk: &Chunk, places: &[u32]) -> Result<Vec<ArrayRef>> {
        let keys = self.key_columns(chunk, places)?;
        keys.iter().enumerate().map(|(index, key)| as_promised(key, &self.schema, index)).collect()
    }

    /// All output rows of the groups at `places`.
    pub fn rows(&self, chunk: &Chunk, places: Vec<u32>) -> Result<DeltaBatch> {
        let keys = self.group_columns(chunk, &places)?;
        let (columns, rows) = self.output(chunk, places, Some(keys))?.into_columns()?;
        Ok(DeltaBatch::inserts(batch(&self.schema, columns, rows)?))
    }

    fn key_columns(&self, chunk: &Chunk, places: &[u32]) -> Result<Vec<ArrayRef>> {
        self.keys.unpack(places.iter().map(|place| chunk.key(*place as usize)))
    }
}

fn as_promised(column: &ArrayRef, schema: &SchemaRef, index: usize) -> Result<ArrayRef> {
    let promised = schema.field(index).data_type();
    if column.data_type() == promised { Ok(column.clone()) } else { Ok(cast(column, promised)?) }
}

fn add_weights(totals: &mut [i64], places: &[u32], weights: &Weights) {
    match weights {
        Weights::AllOne => places.iter().for_each(|place| totals[*place as usize] += 1),
        Weights::Each(weights) => {
            for (place, weight) in places.iter().zip(weights.values()) {
                totals[*place as usize] += weight;
            }
        }
    }
}

/// Rows of some groups of one chunk.
#[derive(Debug, Default)]
pub struct GroupRows {
    pub places: Vec<u32>,
    pub columns: Vec<ArrayRef>,
    /// The first error of each group that has one; empty where none has.
    errors: Vec<Option<Error>>,
}

impl GroupRows {
    fn fail(&mut self, row: usize, error: Error) {
        self.errors.resize(self.places.len(), None);
        self.errors[row].get_or_insert(error);
    }

    pub fn errs(&self, row: usize) -> bool {
        self.errors.get(row).is_some_and(Option::is_some)
    }

    /// For each place up to the highest one its row here, or `u32::MAX`.
    pub fn row_of_place(&self) -> Vec<u32> {
        let mut rows = vec![u32::MAX; self.places.iter().max().map_or(0, |highest| *highest as usize + 1)];
        for (row, place) in self.places.iter().enumerate() {
            rows[*place as usize] = row as u32;
        }
        rows
    }

    pub fn tell_errors(&self, groups: &Groups, chunk: &Chunk, weight: i64, errors: &mut ErrorDelta) -> Result<()> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let keys = groups.key_columns(chunk, &self.places)?;
        let keys = DeltaBatch::inserts(batch(&groups.key_schema, keys, self.places.len())?);
        for (row, error) in self.errors.iter().enumerate() {
            if let Some(error) = error {
                errors.push(groups.operator, error, &keys, row, weight)?;
            }
        }
        Ok(())
    }

    /// The rows without errors.
    fn into_columns(self) -> Result<(Vec<ArrayRef>, usize)> {
        if self.errors.is_empty() {
            return Ok((self.columns, self.places.len()));
        }
        let kept: UInt32Array = (0..self.places.len()).filter(|row| !self.errs(*row)).map(|row| row as u32).collect();
        let columns = self.columns.iter().map(|column| Ok(take(column, &kept, None)?)).collect::<Result<_>>()?;
        Ok((columns, kept.len()))
    }
}

/// An aggregate's groups at one moment, read as columns.
#[derive(Debug, Clone)]
pub struct AggregateScan {
    pub(super) groups: Arc<Groups>,
    pub(super) state: KeyedState,
}

impl AggregateScan {
    /// Groups.
    pub fn rows(&self) -> usize {
        self.state.rows()
    }

    pub fn chunk_count(&self) -> usize {
        self.state.chunk_count()
    }

    /// The row of the group with this key, a row of one value per group expression; empty where there is no such group.
    pub fn find(&self, key: &[ArrayRef]) -> Result<DeltaBatch> {
        let keys = self.groups.pack(key, 1)?;
        let chunk = match keys.hashes.first() {
            Some(hash) => self.state.chunk(self.state.chunk_of(*hash))?,
            None => return Err(Error::internal("a key without values")),
        };
        let places: Vec<u32> = chunk.find(keys.get(0)).into_iter().map(|place| place as u32).collect();
        self.groups.rows(&chunk, places)
    }

    /// Types of the group expressions.
    pub fn key_types(&self) -> Vec<DataType> {
        self.groups.key_schema.fields().iter().map(|field| field.data_type().clone()).collect()
    }

    pub fn state(&self) -> &KeyedState {
        &self.state
    }

    /// Lets go what has left the aggregate's state. Errors: the store's.
    pub fn evict_left(&mut self, store: &Arc<dyn PageStore>) -> Result<()> {
        self.state.evict_left(store)
    }

    /// Rows `start..` of one of its chunks, at most `rows_max` of them; `None` past its end.
    pub fn read(&self, chunk: &Chunk, start: usize, rows_max: usize) -> Result<Option<DeltaBatch>> {
        if start >= chunk.len() {
            return Ok(None);
        }
        let places: Vec<u32> = (start as u32..chunk.len().min(start + rows_max) as u32).collect();
        self.groups.rows(chunk, places).map(Some)
    }
}
