//! From a table's rows to those of the same table with other columns.

use arrow::array::{ArrayRef, RecordBatch};

use crate::error::{Error, Result};
use crate::tier::StoredForm;
use crate::types::widened;

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

    /// Rows, `_row_id` last. Columns that were widened get their present type.
    pub fn convert(&self, rows: &RecordBatch, form: &StoredForm) -> Result<RecordBatch> {
        let column = |(new, old): (usize, &Option<usize>)| match old {
            Some(old) => {
                let wanted = form.table_schema().field(new).data_type();
                let wide = widened(rows.column(*old), wanted);
                Ok(wide.ok_or_else(|| Error::internal(format!("a column that does not widen to {wanted}")))??)
            }
            None => form.missing(new, rows.num_rows()),
        };
        let mut columns = self.columns.iter().enumerate().map(column).collect::<Result<Vec<ArrayRef>>>()?;
        columns.extend(rows.columns().last().cloned());
        Ok(RecordBatch::try_new(form.table_schema().clone(), columns)?)
    }
}
