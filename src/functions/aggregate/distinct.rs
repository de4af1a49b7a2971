//! DISTINCT of one argument in front of another fold: the set of values, fed once each at the end.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::{DataFusionError, Result, internal_err};

use super::fold::{Fold, Rows};
use crate::error::Error;

#[derive(Debug)]
pub struct Distinct<F: Fold> {
    inner: F,
    /// Values as comparable bytes.
    converter: RowConverter,
}

impl<F: Fold> Distinct<F> {
    pub fn new(input: &DataType, inner: F) -> Result<Self> {
        Ok(Distinct { inner, converter: RowConverter::new(vec![SortField::new(input.clone())])? })
    }

    fn values(&self, state: &BTreeSet<Vec<u8>>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(state.iter().map(|row| parser.parse(row)))?)
    }
}

impl<F: Fold> Fold for Distinct<F> {
    type State = BTreeSet<Vec<u8>>;

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn update(&self, values: &[ArrayRef], rows: &Rows<'_>, states: &mut [Self::State], _: i64) -> Result<()> {
        let Some(column) = values.first() else { return internal_err!("no argument") };
        let converted = self.converter.convert_columns(&values[..1])?;
        rows.try_for_each(column, |row, group| {
            let value = converted.row(row);
            if !states[group].contains(value.as_ref()) {
                states[group].insert(value.as_ref().to_vec());
            }
            Ok(())
        })
    }

    fn merge(&self, into: &mut Self::State, from: Self::State) {
        into.extend(from);
    }

    /// Each value as its length (4 bytes, little-endian) and its bytes.
    fn save(&self, states: &[Self::State]) -> Result<Vec<ArrayRef>> {
        let save = |state: &Self::State| {
            let mut bytes = Vec::new();
            for value in state {
                bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
                bytes.extend_from_slice(value);
            }
            bytes
        };
        Ok(vec![Arc::new(BinaryArray::from_iter_values(states.iter().map(save)))])
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>> {
        let [saved] = columns else { return internal_err!("{} columns of a set", columns.len()) };
        saved.as_binary::<i32>().iter().map(|bytes| read_set(bytes.unwrap_or_default())).collect()
    }

    fn finish(&self, states: &[Self::State]) -> Result<ArrayRef> {
        let mut finished = vec![F::State::default(); states.len()];
        for (state, inner) in states.iter().zip(&mut finished) {
            if !state.is_empty() {
                let values = self.values(state)?;
                self.inner.update(&values, &Rows::one_group(state.len()), std::slice::from_mut(inner), 1)?;
            }
        }
        self.inner.finish(&finished)
    }

    fn heap_bytes(state: &Self::State) -> usize {
        state.iter().map(|value| value.len() + 48).sum()
    }
}

fn read_set(mut bytes: &[u8]) -> Result<BTreeSet<Vec<u8>>> {
    let mut set = BTreeSet::new();
    while !bytes.is_empty() {
        let value = bytes
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        let Some((value, rest)) = value else {
            return Err(DataFusionError::External(Box::new(Error::internal("a set of values ends early"))));
        };
        set.insert(value.to_vec());
        bytes = rest;
    }
    Ok(set)
}
