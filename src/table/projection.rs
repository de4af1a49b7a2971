//! Some of a table's columns, as one of its files has them.
//!
//! A file may have a column elsewhere, in a narrower type, or not at all (`tier::StoredForm`).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::tier::{DataFile, StoredForm};

/// What to read of a file, and how it becomes rows of the table.
pub(super) struct Projection {
    /// Positions in the file, ascending: `_row_id`, where it is read, is the last.
    pub positions: Vec<usize>,
    /// What is read, in the table's types.
    pub read_schema: SchemaRef,
    /// The table's columns that stand at `positions`.
    columns: Vec<usize>,
    /// The table's columns that are wanted, in any order.
    wanted: Vec<usize>,
    schema: SchemaRef,
}

impl Projection {
    /// `wanted`: positions in the table's schema with `_row_id`. `with_row_id`: it is read, wanted or not.
    pub fn new(form: &StoredForm, file: &DataFile, wanted: Vec<usize>, with_row_id: bool) -> Result<Projection> {
        let row_id = form.table_schema().fields().len() - 1;
        let all = wanted.iter().copied().chain(with_row_id.then_some(row_id));
        let mut read: Vec<(usize, usize)> =
            all.filter_map(|column| Some((form.position_in(file, column)?, column))).collect();
        read.sort_unstable();
        read.dedup();
        let (positions, columns): (Vec<usize>, Vec<usize>) = read.into_iter().unzip();
        Ok(Projection {
            read_schema: Arc::new(form.table_schema().project(&columns)?),
            schema: Arc::new(form.table_schema().project(&wanted)?),
            positions,
            columns,
            wanted,
        })
    }

    /// What was read as the columns that are wanted.
    pub fn apply(&self, form: &StoredForm, read: &RecordBatch) -> Result<RecordBatch> {
        let column = |column: &usize| match self.columns.iter().position(|read| read == column) {
            Some(position) => Ok(read.column(position).clone()),
            None => form.missing(*column, read.num_rows()),
        };
        let columns = self.wanted.iter().map(column).collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(read.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}
