//! From a table's rows to those of the same table with other columns.

use arrow::array::{ArrayRef, RecordBatch};

use crate::error::Result;
use crate::tier::StoredForm;

/// For each new column the old one's position; `None`: it is new, and old rows have its value for them.
#[derive(Debug)]
pub(super) struct ColumnChange {
    columns: Vec<Option<usize>>,
}

impl ColumnChange {
    /// Columns are the same by field id, whatever their names.
    pub fn between(old: &StoredForm, new: &StoredForm) -> ColumnChange {
        let old = old.field_ids();
        let position = |field_id: u32| old.iter().position(|other| *other == field_id);
        ColumnChange { columns: new.field_ids().into_iter().map(position).collect() }
    }

    /// Rows, `_row_id` last.
    pub fn convert(&self, rows: &RecordBatch, form: &StoredForm) -> Result<RecordBatch> {
        let column = |(new, old): (usize, &Option<usize>)| match old {
            Some(old) => Ok(rows.column(*old).clone()),
            None => form.missing(new, rows.num_rows()),
        };
        let mut columns = self.columns.iter().enumerate().map(column).collect::<Result<Vec<ArrayRef>>>()?;
        columns.extend(rows.columns().last().cloned());
        Ok(RecordBatch::try_new(form.table_schema().clone(), columns)?)
    }
}
