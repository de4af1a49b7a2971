//! Keys that exist: which new rows of a PRIMARY KEY table meet a row with the same key, as the transaction sees it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::row::{RowConverter, SortField};

use super::handles::Handles;
use super::transaction::Transaction;
use super::write_set::row_ids;
use crate::catalog::Table;
use crate::error::Result;

/// For each new row, the row whose key it has.
pub struct Conflicts {
    rows: Vec<Option<Existing>>,
}

/// A row that has the key of a new one.
#[derive(Debug, Clone)]
pub enum Existing {
    /// In the table, or written earlier by this transaction; whole.
    Stored(RecordBatch),
    /// Row number of an earlier one among the new rows themselves.
    New(usize),
}

impl Conflicts {
    /// `new` are rows of the table, without row ids.
    pub async fn find(
        handles: &Handles,
        transaction: &Transaction,
        table: &Arc<Table>,
        new: &RecordBatch,
    ) -> Result<Self> {
        let key = table.key().unwrap_or_default();
        let keys: Vec<ArrayRef> = key.iter().map(|column| new.column(*column).clone()).collect();
        let created_here =
            transaction.catalog(handles).table(table.id).is_some() && handles.catalog().table(table.id).is_none();
        let mut rows: Vec<Option<Existing>> = vec![None; new.num_rows()];
        let writes = transaction.writes.table(table.id);
        if !created_here {
            let (live, found) = handles.tables.lookup_keys(table.id, &keys).await?;
            let ids = row_ids(&live);
            for (row, found) in rows.iter_mut().zip(found) {
                let Some(found) = found else { continue };
                let is_deleted = writes.is_some_and(|writes| writes.deleted().contains(&ids.value(found as usize)));
                if !is_deleted {
                    *row = Some(Existing::Stored(live.slice(found as usize, 1)));
                }
            }
        }
        if let Some(writes) = writes {
            for (row, own) in rows.iter_mut().zip(writes.own_rows(&keys)?) {
                if let Some(own) = own.and_then(|id| writes.own_row(id)) {
                    *row = Some(Existing::Stored(own));
                }
            }
        }
        let fields = keys.iter().map(|array| SortField::new(array.data_type().clone())).collect();
        let encoded = RowConverter::new(fields)?.convert_columns(&keys)?;
        let mut first_rows = HashMap::new();
        for (index, key) in encoded.iter().enumerate() {
            let first = *first_rows.entry(key.owned()).or_insert(index);
            if first != index && rows[index].is_none() {
                rows[index] = Some(Existing::New(first));
            }
        }
        Ok(Conflicts { rows })
    }

    /// Number of the first new row that has a conflict.
    pub fn first_row(&self) -> Option<usize> {
        self.rows.iter().position(Option::is_some)
    }

    /// Per new row.
    pub fn rows(&self) -> &[Option<Existing>] {
        &self.rows
    }
}
