//! `places`: a table that is altered again and again, and takes rows of the columns that it has by then. No view reads it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::StreamWriter;

use super::history::{batch_of, id_of};
use super::ledger::State;
use crate::catalog::{Catalog, CatalogChange, Column, StoredColumn, Table};
use crate::commit::{TableWrite, Write};
use crate::testing::SimRng;
use crate::testing::oracle::{Row, Value};
use crate::testing::values::column_of;
use crate::types::SqlType;

/// ADD, DROP, RENAME or widen a COLUMN; the first column stays. A name may come back that an earlier column had.
pub(super) fn alter_places(catalog: &Catalog, rng: &SimRng) -> Option<CatalogChange> {
    let table = catalog.table(catalog.find("places")?.id())?;
    let mut next = Table {
        stored: table.stored_columns(),
        last_field_id: table.last_field_id.max(table.columns.len() as u32),
        schema_version: table.schema_version + 1,
        ..Table::clone(table)
    };
    let any = 1 + rng.below(table.columns.len() as u64 - 1) as usize;
    let narrow =
        table.columns.iter().skip(1).position(|column| column.sql_type == SqlType::Int4).map(|place| place + 1);
    match rng.below(4) {
        0 if table.columns.len() > 2 => {
            next.columns.remove(any);
            next.dropped.push(next.stored.remove(any).name);
        }
        1 => next.columns[any].name = format!("renamed_{}", next.schema_version),
        2 if let Some(narrow) = narrow => {
            next.columns[narrow].sql_type = SqlType::Int8;
            next.stored[narrow].widened = true;
        }
        _ => add_column(&mut next, rng),
    }
    Some(CatalogChange::AlterTable(Arc::new(next)))
}

fn add_column(table: &mut Table, rng: &SimRng) {
    let field_id = table.last_field_id + 1;
    let names = ["value", "note", "extra"];
    let free = names.into_iter().find(|name| table.columns.iter().all(|column| column.name != *name));
    let name = free.map_or(format!("added_{field_id}"), str::to_owned);
    let taken = table.stored.iter().map(|stored| &stored.name).chain(&table.dropped).any(|stored| *stored == name);
    let sql_type = if rng.one_in(2) { SqlType::Int4 } else { SqlType::Text };
    let value = if sql_type == SqlType::Int4 { Value::Integer(7) } else { Value::Text("as it was".to_string()) };
    let missing = rng.one_in(2).then(|| {
        let field = Field::new("", sql_type.arrow(), true);
        let schema = Arc::new(Schema::new(vec![field]));
        let column = column_of(&sql_type.arrow(), std::iter::once(&value));
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &schema).unwrap();
        writer.write(&RecordBatch::try_new(schema.clone(), vec![column]).unwrap()).unwrap();
        writer.finish().unwrap();
        drop(writer);
        bytes
    });
    let stored = if taken { format!("{name}#{field_id}") } else { name.clone() };
    table.columns.push(Column { name, sql_type, not_null: false, default: None });
    table.stored.push(StoredColumn { field_id, name: stored, missing, widened: false });
    table.last_field_id = field_id;
}

/// A row of as many columns as `places` has now.
pub(super) fn insert_place(state: &State, rng: &SimRng, operation: i64) -> Option<TableWrite> {
    let id = id_of(state, "places")?;
    let table = state.catalog.table(id)?;
    let value = |column: &Column| match column.sql_type {
        _ if !column.not_null && rng.one_in(4) => Value::Null,
        SqlType::Text => Value::Text(format!("place {}", rng.below(5))),
        _ => Value::Integer(operation + rng.below(7) as i64),
    };
    let row: Row = table.columns.iter().map(value).collect();
    let rows = batch_of(table, &[(0, row)]);
    let columns: Vec<usize> = (0..table.columns.len()).collect();
    let inserts = Some(rows.project(&columns).unwrap());
    Some(TableWrite { table: id, schema_version: table.schema_version, inserts, deletes: None })
}

/// A row of the columns before the last ALTER: nothing of it must be kept.
pub(super) fn stale_place(state: &State, rng: &SimRng, operation: i64) -> Option<Write> {
    let mut write = insert_place(state, rng, operation)?;
    write.schema_version = write.schema_version.checked_sub(1).filter(|version| *version > 0)?;
    Some(Write { tables: vec![write], ..Write::default() })
}
