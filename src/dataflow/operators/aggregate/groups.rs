//! The groups of an aggregate: the layout of its state's columns, and reading output rows from them.
//!
//! ```text
//! state columns: weight of the group (Int64) | columns of the first call | columns of the second | ...
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::Call;
use super::extreme::Multiset;
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::batch;
use crate::dataflow::state::{Chunk, Column, ColumnType, KeyLayout, KeyedState};
use crate::delta::{DeltaBatch, Weights};
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, OperatorId};

#[derive(Debug)]
pub struct Groups {
    operator: OperatorId,
    keys: KeyLayout,
    key_schema: SchemaRef,
    calls: Vec<Call>,
    schema: SchemaRef,
}

impl Groups {
    /// `types` are the inputs' types; those of arguments are changed to what the calls take.
    pub fn new(
        operator: OperatorId,
        types: &mut [DataType],
        group_count: usize,
        calls: &[AggregateCall],
        schema: SchemaRef,
    ) -> Result<Self> {
        let arg_count: usize = calls.iter().map(|call| call.args.len()).sum();
        if types.len() != group_count + arg_count || schema.fields().len() != group_count + calls.len() {
            return Err(Error::internal("an aggregate's expressions do not fit its schema"));
        }
        let (key_types, mut arg_types) = types.split_at_mut(group_count);
        let (mut first_column, mut first_arg) = (1, 0);
        let mut lowered = Vec::with_capacity(calls.len());
        for call in calls {
            let (own_types, rest) = arg_types.split_at_mut(call.args.len());
            let call = Call::new(call, own_types, first_arg, first_column)?;
            first_arg += own_types.len();
            first_column += call.column_types().len();
            lowered.push(call);
            arg_types = rest;
        }
        let key_fields: Vec<Field> =
            key_types.iter().map(|data_type| Field::new("key", data_type.clone(), true)).collect();
        Ok(Groups {
            operator,
            keys: KeyLayout::new(key_types.to_vec())?,
            key_schema: Arc::new(Schema::new(key_fields)),
            calls: lowered,
            schema,
        })
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

    /// Hash of the one group of an aggregate without GROUP BY.
    pub fn global_hash(&self) -> Result<u64> {
        Ok(self.keys.pack(&[], 1)?.hashes.first().copied().unwrap_or_default())
    }

    pub fn empty_state(&self) -> KeyedState {
        let calls = self.calls.iter().flat_map(Call::column_types).copied();
        KeyedState::new(self.keys.column_type(), std::iter::once(ColumnType::Int64).chain(calls).collect())
    }

    /// An ordered multiset for each call that needs one when rows can be deleted.
    pub fn multisets(&self) -> Vec<Multiset> {
        self.calls.iter().filter_map(Call::multiset).collect()
    }

    /// The scratch row of each input row's group, made where it is new.
    pub fn places(&self, scratch: &mut Chunk, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let keys = self.keys.pack(keys, rows)?;
        Ok((0..rows).map(|row| scratch.find_or_insert(keys.hashes[row], keys.get(row)) as u32).collect())
    }

    pub fn accumulate(
        &self,
        columns: &mut [Column],
        places: &[u32],
        args: &[ArrayRef],
        weights: &Weights,
    ) -> Result<()> {
        add_weights(columns[0].int64()?, places, weights);
        self.calls.iter().try_for_each(|call| call.accumulate(columns, places, args, weights))
    }

    /// Adds rows `from_rows` of `from` to rows `places` of `into`.
    pub fn merge(&self, into: &mut [Column], places: &[u32], from: &[Column], from_rows: &[u32]) -> Result<()> {
        let (to, changes) = (into[0].int64()?, from[0].as_int64()?);
        for (place, row) in places.iter().zip(from_rows) {
            to[*place as usize] += changes[*row as usize];
        }
        self.calls.iter().try_for_each(|call| call.merge(into, places, from, from_rows))
    }

    pub fn weights<'a>(&self, chunk: &'a Chunk) -> Result<&'a [i64]> {
        chunk.columns()[0].as_int64()
    }

    /// Output rows of the groups at `places`. Without `columns`, only the errors: groups that have no row.
    pub fn output(&self, chunk: &Chunk, places: &[u32], columns: bool) -> Result<Output> {
        let mut output = Output { places: places.to_vec(), ..Output::default() };
        if columns {
            output.columns = self.key_columns(chunk, places)?;
            for (index, column) in output.columns.iter_mut().enumerate() {
                *column = as_promised(column, &self.schema, index)?;
            }
        }
        for (index, call) in self.calls.iter().enumerate() {
            if !columns && !call.can_fail() {
                continue;
            }
            let (values, errors) = call.finish(chunk.columns(), places)?;
            for (row, error) in errors {
                output.fail(row, error);
            }
            if columns {
                output.columns.push(as_promised(&values, &self.schema, self.group_count() + index)?);
            }
        }
        Ok(output)
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
pub struct Output {
    pub places: Vec<u32>,
    pub columns: Vec<ArrayRef>,
    /// The first error of each group that has one; empty where none has.
    errors: Vec<Option<Error>>,
}

impl Output {
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
    pub fn chunk_count(&self) -> usize {
        self.state.chunk_count()
    }

    /// Rows `start..` of one chunk, at most `rows_max` of them; `None` past its end.
    pub fn read(&self, chunk: usize, start: usize, rows_max: usize) -> Result<Option<DeltaBatch>> {
        let chunk = self.state.chunk(chunk)?;
        if start >= chunk.len() {
            return Ok(None);
        }
        let places: Vec<u32> = (start as u32..chunk.len().min(start + rows_max) as u32).collect();
        let (columns, rows) = self.groups.output(&chunk, &places, true)?.into_columns()?;
        Ok(Some(DeltaBatch::inserts(batch(self.groups.schema(), columns, rows)?)))
    }
}
