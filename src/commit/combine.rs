//! From a group's writes to the one [`Commit`] that everyone downstream receives. Live commits and replayed ones are both
//! made here, from the same writes, so that they cannot differ.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef};

use super::record::{SequencedPart, first_row_ids};
use super::write::{Commit, TableDelta, TableWrite};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::types::{CommitNumber, ROW_ID, RelationId, RowId};

/// Tables in the order of their ids; within a table first what was deleted, then what was inserted, each in the order of
/// the writers.
pub(super) fn combine(number: CommitNumber, timestamp_us: i64, parts: Vec<SequencedPart>) -> Result<Commit> {
    let mut commit = Commit {
        number,
        timestamp_us,
        tables: vec![],
        catalog: vec![],
        positions: vec![],
        tier: vec![],
        watermarks: vec![],
    };
    let mut changes: BTreeMap<RelationId, TableChange> = BTreeMap::new();
    for part in parts {
        let (firsts, _) = first_row_ids(&part.write, part.first_row_id);
        for (table, first_row_id) in part.write.tables.into_iter().zip(firsts) {
            let change = changes.entry(table.table).or_insert_with(|| TableChange::new(&table, first_row_id));
            change.add(table, first_row_id)?;
        }
        commit.catalog.extend(part.write.catalog);
        commit.positions.extend(part.write.positions);
        commit.tier.extend(part.write.tier);
        commit.watermarks.extend(part.write.watermarks);
    }
    for (table, change) in changes {
        commit.tables.extend(change.finish(table)?);
    }
    Ok(commit)
}

/// Everything that one commit does to one table.
struct TableChange {
    schema_version: u32,
    /// Rows with ids from here on are this commit's own.
    first_row_id: RowId,
    inserts: Vec<RecordBatch>,
    deletes: Vec<RecordBatch>,
}

impl TableChange {
    fn new(table: &TableWrite, first_row_id: RowId) -> Self {
        TableChange { schema_version: table.schema_version, first_row_id, inserts: vec![], deletes: vec![] }
    }

    fn add(&mut self, table: TableWrite, first_row_id: RowId) -> Result<()> {
        if table.schema_version != self.schema_version {
            return Err(Error::internal(format!("two schema versions of table {} in one commit", table.table)));
        }
        self.inserts.extend(table.inserts.map(|rows| with_row_ids(&rows, first_row_id)).transpose()?);
        self.deletes.extend(table.deletes);
        Ok(())
    }

    /// `None` if nothing is left: all that was inserted was deleted again.
    fn finish(mut self, table: RelationId) -> Result<Option<TableDelta>> {
        self.cancel()?;
        let Some(schema) = common_schema(self.deletes.iter().chain(&self.inserts)) else { return Ok(None) };
        let deletes = self.deletes.iter().map(|rows| conform(rows, &schema).map(DeltaBatch::deletes));
        let inserts = self.inserts.iter().map(|rows| conform(rows, &schema).map(DeltaBatch::inserts));
        let batches: Vec<DeltaBatch> = deletes.chain(inserts).collect::<Result<_>>()?;
        let delta = DeltaBatch::concat(&schema, &batches)?;
        if delta.is_empty() {
            return Ok(None);
        }
        Ok(Some(TableDelta { table, schema_version: self.schema_version, delta: Arc::new(delta) }))
    }

    /// Takes out rows that the same commit inserts and deletes.
    fn cancel(&mut self) -> Result<()> {
        let mut cancelled: HashSet<RowId> = HashSet::new();
        for rows in &self.deletes {
            cancelled.extend(row_ids(rows)?.values().iter().filter(|id| **id >= self.first_row_id));
        }
        if cancelled.is_empty() {
            return Ok(());
        }
        for rows in self.inserts.iter_mut().chain(self.deletes.iter_mut()) {
            let keep: BooleanArray = row_ids(rows)?.values().iter().map(|id| Some(!cancelled.contains(id))).collect();
            *rows = filter_record_batch(rows, &keep)?;
        }
        Ok(())
    }
}

fn row_ids(rows: &RecordBatch) -> Result<&Int64Array> {
    rows.columns()
        .last()
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
        .ok_or_else(|| Error::internal("rows without row ids"))
}

fn with_row_ids(rows: &RecordBatch, first_row_id: RowId) -> Result<RecordBatch> {
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ROW_ID, DataType::Int64, false)));
    let ids = Int64Array::from_iter_values(first_row_id..first_row_id + rows.num_rows() as i64);
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(ids) as ArrayRef);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The first batch's columns, each nullable if it is so in any batch: what queries made may differ in that.
fn common_schema<'a>(mut batches: impl Iterator<Item = &'a RecordBatch>) -> Option<SchemaRef> {
    let first = batches.next()?.schema();
    let mut nullable: Vec<bool> = first.fields().iter().map(|field| field.is_nullable()).collect();
    for rows in batches {
        for (nullable, field) in nullable.iter_mut().zip(rows.schema_ref().fields()) {
            *nullable |= field.is_nullable();
        }
    }
    let with = |field: &FieldRef, nullable| match field.is_nullable() == nullable {
        true => field.clone(),
        false => Arc::new(Field::clone(field).with_nullable(nullable)),
    };
    let fields: Vec<FieldRef> =
        first.fields().iter().zip(nullable).map(|(field, nullable)| with(field, nullable)).collect();
    Some(Arc::new(Schema::new(fields)))
}

/// The same columns under the common schema.
fn conform(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), rows.columns().to_vec(), &options)?)
}
