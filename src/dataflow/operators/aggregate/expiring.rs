//! Groups that nothing is shown of any more, because a column of the view that follows from their keys is before a cutoff.
//!
//! Does not know: the view, why rows expire.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;

use crate::catalog::Cutoff;
use crate::dataflow::cutoff::is_before;
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};

/// What a column of the view is for a group.
#[derive(Debug)]
pub struct Expiring {
    /// Position among the view's columns.
    pub column: usize,
    /// One expression over the group's keys.
    pub value: Expressions,
    /// Of the keys.
    pub keys: SchemaRef,
}

/// For one or more columns of the view, and the cutoff that there is of one of them.
#[derive(Debug, Default)]
pub struct Expiry {
    columns: Vec<Expiring>,
    cutoff: Option<Cutoff>,
}

impl Expiry {
    pub fn by(columns: Vec<Expiring>) -> Expiry {
        Expiry { columns, cutoff: None }
    }

    /// Whether there is anything to forget by it.
    pub fn begin_at(&mut self, cutoff: Option<Cutoff>) -> bool {
        self.cutoff = cutoff.filter(|cutoff| self.columns.iter().any(|of| of.column == cutoff.column));
        self.cutoff.is_some()
    }

    /// Which of the groups with these keys are before the cutoff; `None` where none is. Where the column cannot be computed for
    /// one of them, all stay: what the view shows does not depend on it.
    pub fn expired(&self, keys: &[ArrayRef], rows: usize) -> Result<Option<BooleanArray>> {
        let Some(cutoff) = self.cutoff else { return Ok(None) };
        let Some(of) = self.columns.iter().find(|of| of.column == cutoff.column) else { return Ok(None) };
        let promised =
            of.keys.fields().iter().zip(keys).map(|(field, key)| match key.data_type() == field.data_type() {
                true => Ok(key.clone()),
                false => Ok(cast(key, field.data_type())?),
            });
        let keys = DeltaBatch::inserts(batch(&of.keys, promised.collect::<Result<_>>()?, rows)?);
        let (computed, values) = of.value.evaluate(keys, &mut ErrorDelta::default())?;
        let [times] = values.as_slice() else { return Err(Error::internal("a group without its time")) };
        if computed.num_rows() < rows {
            return Ok(None);
        }
        let before = is_before(times, cutoff.before_us)?;
        Ok((before.true_count() > 0).then_some(before))
    }
}
