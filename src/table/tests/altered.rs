//! Altered tables: rows from before an ALTER, in memory, in the log and in files, whatever was flushed in between.

use arrow::array::StringArray;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use futures::FutureExt;

use super::*;
use crate::catalog::StoredColumn;

/// `readings` without `device`, with `temperature` as `celsius`, and with `note text DEFAULT 'old'`.
fn altered() -> Arc<Table> {
    let schema = Arc::new(Schema::new(vec![Field::new("", DataType::Utf8, true)]));
    let value: ArrayRef = Arc::new(StringArray::from(vec!["old"]));
    let mut missing = Vec::new();
    let mut writer = StreamWriter::try_new(&mut missing, &schema).unwrap();
    writer.write(&RecordBatch::try_new(schema.clone(), vec![value]).unwrap()).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let stored = |field_id: u32, name: &str, missing: Option<Vec<u8>>| StoredColumn {
        field_id,
        name: name.to_string(),
        missing,
        widened: false,
    };
    let columns = vec![
        column("time", SqlType::Timestamp),
        column("celsius", SqlType::Float8),
        column("pause", SqlType::Interval),
        column("note", SqlType::Text),
    ];
    Arc::new(Table {
        columns,
        schema_version: 2,
        stored: vec![
            stored(2, "time", None),
            stored(3, "temperature", None),
            stored(4, "pause", None),
            stored(5, "note", Some(missing)),
        ],
        dropped: vec!["device".to_string()],
        last_field_id: 5,
        ..readings().as_ref().clone()
    })
}

async fn alter(database: &Database, table: Arc<Table>) {
    let tables = database.tables.clone();
    let write = Write { catalog: vec![CatalogChange::AlterTable(table.clone())], ..Write::default() };
    let begin = |_: &crate::commit::SequencedWrite<'_>| {
        tables.begin_alter(table.id);
        Ok(())
    };
    let ((), durable) = database.sequencer.sequence(write, begin).unwrap();
    let stale = database.insert(READINGS, reading_rows(&[99])).await.unwrap_err();
    assert_eq!(stale.state(), crate::error::SqlState::SERIALIZATION_FAILURE);
    durable.await.unwrap();
    let stale = database.insert(READINGS, reading_rows(&[99])).await.unwrap_err();
    assert_eq!(stale.state(), crate::error::SqlState::SERIALIZATION_FAILURE);
}

/// Rows of the altered table.
fn new_rows(values: &[i64], note: &str) -> RecordBatch {
    let old = reading_rows(values);
    let mut columns = old.columns()[1..].to_vec();
    columns.push(Arc::new(StringArray::from(vec![note; values.len()])));
    RecordBatch::try_new(altered().schema(), columns).unwrap()
}

/// (value, note), through the stream, with the columns in another order.
async fn notes(database: &Database) -> Vec<(i64, String)> {
    let snapshot = database.at_head(READINGS);
    let rows = collect(&snapshot, Some(vec![3, 1])).await;
    let (notes, values) = (rows.column(0).as_string::<i32>(), rows.column(1).as_primitive::<Float64Type>());
    let mut found: Vec<(i64, String)> =
        (0..rows.num_rows()).map(|row| (values.value(row) as i64, notes.value(row).to_string())).collect();
    found.sort();
    found
}

/// Each bit of `circumstances` is one: flushes at three places, of one table or of the other, and a restart.
async fn check(simulation: Simulation, circumstances: u32) {
    let happens = |bit: u32| circumstances >> bit & 1 == 1;
    let mut database = simulation.open().await;
    database.create(readings()).await.unwrap();
    database.create(trucks()).await.unwrap();
    let first = database.sequencer.next_row_id();
    database.insert(READINGS, reading_rows(&[0, 1, 2, 3, 4])).await.unwrap();
    if happens(0) {
        database.tables.flush(READINGS, &database.sequencer).await.unwrap();
    }
    let gone = database.rows_of(READINGS, &BTreeSet::from([first + 2])).await;
    database.change(READINGS, Some(reading_rows(&[5, 6])), Some(gone)).await.unwrap();
    let before = database.at_head(READINGS);
    alter(&database, altered()).await;
    database.insert(TRUCKS, truck_rows(&[(1, 1)])).await.unwrap();
    if happens(1) {
        // The manifest has the new catalog, and the log may forget: the rows from before must not be left behind.
        database.tables.flush(TRUCKS, &database.sequencer).await.unwrap();
    }
    let write = TableWrite {
        table: READINGS,
        schema_version: 2,
        inserts: Some(new_rows(&[7], "new")),
        deletes: Some(database.rows_of(READINGS, &BTreeSet::from([first])).await),
    };
    database.write(Write { tables: vec![write], ..Write::default() }).await.unwrap();
    assert_eq!(collect(&before, None).await.num_rows(), 6, "a snapshot from before stays as it was");
    drop(before);
    if happens(2) {
        database.tables.flush(READINGS, &database.sequencer).await.unwrap();
    }
    if happens(3) {
        database.sequencer.shutdown().await;
        database = simulation.open().await;
    }
    let expected = [(1, "old"), (3, "old"), (4, "old"), (5, "old"), (6, "old"), (7, "new")];
    let expected: Vec<(i64, String)> = expected.iter().map(|(value, note)| (*value, note.to_string())).collect();
    assert_eq!(notes(&database).await, expected, "{circumstances:04b}");
    assert_eq!(database.at_head(READINGS).row_count(), 6);
}

#[test]
fn rows_from_before_an_alter_have_its_columns_wherever_they_are() {
    for circumstances in 0..16 {
        simulate(u64::from(circumstances) + 1, move |simulation| check(simulation, circumstances).boxed());
    }
}
