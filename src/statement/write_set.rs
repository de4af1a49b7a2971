//! What a transaction has written and not committed.
//!
//! Its own rows carry provisional, negative row ids, so that later statements of the transaction can address them; the
//! sequencer numbers them at commit. Rows of others that it deletes are kept whole, because the commit carries them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::Int64Type;
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::catalog::{CatalogChange, Table};
use crate::commit::{TableWrite, Write};
use crate::error::{Error, Result};
use crate::table::TableSnapshot;
use crate::types::{RelationId, RowId};

/// All writes of one transaction. Cheap to clone: a savepoint is a clone, and what is written later copies the tables that
/// it touches.
#[derive(Clone, Default)]
pub struct WriteSet {
    tables: BTreeMap<RelationId, Arc<TableWrites>>,
    pub catalog: Vec<CatalogChange>,
    rows_inserted: i64,
}

/// One table's part.
#[derive(Clone)]
pub struct TableWrites {
    pub table: Arc<Table>,
    /// The table's columns and provisional row ids.
    inserts: Vec<RecordBatch>,
    /// Committed rows, whole.
    deletes: Vec<RecordBatch>,
    deleted: HashSet<RowId>,
    keys: Option<OwnKeys>,
}

/// Keys of the transaction's own rows in a PRIMARY KEY table.
#[derive(Clone)]
struct OwnKeys {
    converter: Arc<RowConverter>,
    rows: HashMap<OwnedRow, RowId>,
}

impl WriteSet {
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.catalog.is_empty()
    }

    /// Rows that the tables do not have yet.
    pub fn has_new_rows(&self) -> bool {
        self.tables().any(|writes| writes.inserts.iter().any(|rows| rows.num_rows() > 0))
    }

    pub fn tables(&self) -> impl Iterator<Item = &TableWrites> {
        self.tables.values().map(Arc::as_ref)
    }

    pub fn table(&self, id: RelationId) -> Option<&TableWrites> {
        self.tables.get(&id).map(Arc::as_ref)
    }

    /// Adds rows; answers them with their provisional row ids.
    pub fn insert(&mut self, table: &Arc<Table>, rows: &RecordBatch) -> Result<RecordBatch> {
        let first = -1 - self.rows_inserted;
        self.rows_inserted += rows.num_rows() as i64;
        let ids: Int64Array = (0..rows.num_rows() as i64).map(|row| first - row).collect();
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(ids));
        let rows = RecordBatch::try_new(table.schema_with_row_id(), columns)?;
        self.entry(table)?.insert(rows.clone())?;
        Ok(rows)
    }

    /// Removes rows, given whole with their row ids, be they committed or the transaction's own.
    pub fn delete(&mut self, table: &Arc<Table>, rows: &RecordBatch) -> Result<()> {
        self.entry(table)?.delete(rows)
    }

    /// Forgets a table that the transaction drops.
    pub fn forget(&mut self, table: RelationId) {
        self.tables.remove(&table);
    }

    /// What the transaction sees of a table: the snapshot under its own writes.
    pub fn over(&self, id: RelationId, snapshot: TableSnapshot) -> TableSnapshot {
        match self.tables.get(&id) {
            Some(writes) => {
                let mut deleted: Vec<RowId> = writes.deleted.iter().copied().collect();
                deleted.sort_unstable();
                snapshot.with_overlay(writes.inserts.clone(), Arc::new(deleted))
            }
            None => snapshot,
        }
    }

    /// The commit that it asks for.
    pub fn into_write(self) -> Result<Write> {
        let mut tables = Vec::new();
        for writes in self.tables.into_values() {
            let schema = writes.table.schema_with_row_id();
            let columns: Vec<usize> = (0..writes.table.columns.len()).collect();
            let inserts = concat_batches(&schema, &writes.inserts)?.project(&columns)?;
            let deletes = concat_batches(&schema, &writes.deletes)?;
            if inserts.num_rows() + deletes.num_rows() > 0 {
                tables.push(TableWrite {
                    table: writes.table.id,
                    schema_version: writes.table.schema_version,
                    inserts: (inserts.num_rows() > 0).then_some(inserts),
                    deletes: (deletes.num_rows() > 0).then_some(deletes),
                });
            }
        }
        Ok(Write { tables, catalog: self.catalog, ..Write::default() })
    }

    fn entry(&mut self, table: &Arc<Table>) -> Result<&mut TableWrites> {
        let alters =
            |change: &CatalogChange| matches!(change, CatalogChange::AlterTable(altered) if altered.id == table.id);
        if self.catalog.iter().any(alters) {
            return Err(Error::not_built("changing rows of a table in the transaction that alters it")
                .with_hint("COMMIT first."));
        }
        use std::collections::btree_map::Entry;
        match self.tables.entry(table.id) {
            Entry::Occupied(entry) => Ok(Arc::make_mut(entry.into_mut())),
            Entry::Vacant(entry) => Ok(Arc::make_mut(entry.insert(Arc::new(TableWrites::new(table.clone())?)))),
        }
    }
}

impl TableWrites {
    fn new(table: Arc<Table>) -> Result<Self> {
        let keys = match table.key() {
            Some(key) => {
                let fields = key.iter().map(|column| SortField::new(table.columns[*column].sql_type.arrow())).collect();
                Some(OwnKeys { converter: Arc::new(RowConverter::new(fields)?), rows: HashMap::new() })
            }
            None => None,
        };
        Ok(TableWrites { table, inserts: Vec::new(), deletes: Vec::new(), deleted: HashSet::new(), keys })
    }

    /// Row ids of committed rows that the transaction deletes.
    pub fn deleted(&self) -> &HashSet<RowId> {
        &self.deleted
    }

    /// The transaction's own rows, with their provisional row ids.
    pub fn inserts(&self) -> &[RecordBatch] {
        &self.inserts
    }

    /// For each row of `keys` (the key's columns), the transaction's own row that has this key.
    pub fn own_rows(&self, keys: &[ArrayRef]) -> Result<Vec<Option<RowId>>> {
        let Some(own) = &self.keys else { return Err(Error::internal("the table has no key")) };
        let rows = own.converter.convert_columns(keys)?;
        Ok(rows.iter().map(|row| own.rows.get(&row.owned()).copied()).collect())
    }

    /// One of the transaction's own rows, whole.
    pub fn own_row(&self, id: RowId) -> Option<RecordBatch> {
        self.inserts.iter().find_map(|batch| {
            let index = row_ids(batch).values().iter().position(|row| *row == id)?;
            Some(batch.slice(index, 1))
        })
    }

    fn insert(&mut self, rows: RecordBatch) -> Result<()> {
        if let (Some(own), Some(key)) = (&mut self.keys, self.table.key()) {
            let keys: Vec<ArrayRef> = key.iter().map(|column| rows.column(*column).clone()).collect();
            let keys = own.converter.convert_columns(&keys)?;
            own.rows.extend(keys.iter().map(|row| row.owned()).zip(row_ids(&rows).values().iter().copied()));
        }
        self.inserts.push(rows);
        Ok(())
    }

    fn delete(&mut self, rows: &RecordBatch) -> Result<()> {
        let ids = row_ids(rows);
        let committed: BooleanArray = ids.values().iter().map(|id| Some(*id >= 0)).collect();
        if committed.true_count() > 0 {
            let committed = filter_record_batch(rows, &committed)?;
            self.deleted.extend(row_ids(&committed).values());
            self.deletes.push(committed);
        }
        let own: HashSet<RowId> = ids.values().iter().copied().filter(|id| *id < 0).collect();
        if own.is_empty() {
            return Ok(());
        }
        if let Some(keys) = &mut self.keys {
            keys.rows.retain(|_, id| !own.contains(id));
        }
        for batch in &mut self.inserts {
            let keep: BooleanArray = row_ids(batch).values().iter().map(|id| Some(!own.contains(id))).collect();
            if keep.false_count() > 0 {
                *batch = filter_record_batch(batch, &keep)?;
            }
        }
        self.inserts.retain(|batch| batch.num_rows() > 0);
        Ok(())
    }
}

/// The row ids of whole rows: their last column.
pub fn row_ids(rows: &RecordBatch) -> &Int64Array {
    rows.column(rows.num_columns() - 1).as_primitive::<Int64Type>()
}
