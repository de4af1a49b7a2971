use arrow::array::TimestampMicrosecondArray;
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::*;
use crate::catalog::{Column, TableKind, Watermark};
use crate::io::{Clock, SystemClock};
use crate::settings::TableSettings;
use crate::table::restore_backup;
use crate::table::tests::{Database, Media};
use crate::types::{SqlType, WATERMARK};

const MINUTE_US: i64 = 60_000_000;
/// What the clock says.
const NOW_US: i64 = 1_000 * MINUTE_US;

fn table() -> Table {
    let column =
        |name: &str| Column { name: name.into(), sql_type: SqlType::Timestamptz, not_null: false, default: None };
    Table {
        id: RelationId(16384),
        name: "readings".into(),
        columns: vec![column("time"), column(WATERMARK)],
        kind: TableKind::AppendOnly,
        schema_version: 1,
        upsert: false,
        source: None,
        stored: Vec::new(),
        dropped: Vec::new(),
        last_field_id: 0,
        watermark: Some(Watermark { column: "time".into(), delay_us: MINUTE_US, idle_us: None }),
    }
}

/// Rows at these minutes, not marked yet.
fn rows_at(minutes: &[Option<i64>]) -> TableWrite {
    let table = table();
    let times =
        TimestampMicrosecondArray::from_iter(minutes.iter().map(|minute| minute.map(|minute| minute * MINUTE_US)));
    let time: ArrayRef = Arc::new(times.with_timezone("UTC"));
    let rows = RecordBatch::try_new(
        Arc::new(arrow::datatypes::Schema::new(vec![table.schema().field(0).clone()])),
        vec![time],
    );
    TableWrite { table: table.id, schema_version: 1, inserts: Some(rows.unwrap()), deletes: None }
}

/// The marks of rows at these minutes.
fn marks(state: &mut WatermarkState, minutes: &[Option<i64>]) -> Vec<Option<i64>> {
    let (table, mut write) = (table(), rows_at(minutes));
    let before = state.at_us;
    state.mark(&table, &mut write, before, Now { us: NOW_US, monotonic: Duration::ZERO }).unwrap();
    let rows = write.inserts.unwrap();
    let marks = rows.column(1).as_primitive::<TimestampMicrosecondType>();
    marks.iter().map(|mark| mark.map(|mark| mark / MINUTE_US)).collect()
}

#[test]
fn rows_are_marked_with_what_was_before_their_write() {
    let mut state = WatermarkState::default();
    assert_eq!(marks(&mut state, &[Some(10), Some(30), None]), [None, None, None]);
    assert_eq!(state.at_us, Some(29 * MINUTE_US));
    // An older row does not bring it back.
    assert_eq!(marks(&mut state, &[Some(20)]), [Some(29)]);
    assert_eq!(marks(&mut state, &[Some(40)]), [Some(29)]);
    assert_eq!(marks(&mut state, &[None]), [Some(39)]);
    assert_eq!(state.at_us, Some(39 * MINUTE_US));
}

#[test]
fn a_time_from_the_future_does_not_move_it() {
    let mut state = WatermarkState::default();
    marks(&mut state, &[Some(1_002), Some(900)]);
    assert_eq!((state.at_us, state.rows_ahead), (Some(899 * MINUTE_US), 1));
    // A device whose clock is half a minute ahead moves it as far as the clock goes.
    marks(&mut state, &[Some(1_001)]);
    assert_eq!((state.at_us, state.rows_ahead), (Some(999 * MINUTE_US), 1));
}

async fn open(media: &Media) -> Database {
    let spawn = |task| {
        tokio::spawn(task);
    };
    Database::open(media, Arc::new(SystemClock::new()), TableSettings::default(), &spawn).await.unwrap()
}

/// The watermark after a row at this minute.
async fn insert(database: &Database, minute: i64) -> Option<i64> {
    let (tables, sequencer) = (&database.tables, &database.sequencer);
    let write = Write { tables: vec![rows_at(&[Some(minute)])], ..Write::default() };
    let sequence = |write| sequencer.sequence(write, |sequenced| tables.apply_write(sequenced));
    let ((), durable) = tables.sequence_marked(write, sequence).unwrap();
    durable.await.unwrap();
    minute_of(database)
}

fn minute_of(database: &Database) -> Option<i64> {
    database.tables.watermark(table().id).unwrap().at_us.map(|at_us| at_us / MINUTE_US)
}

/// From the log, from a manifest alone, and in a backup: what was too late stays too late.
#[tokio::test]
async fn it_is_where_it_was_after_a_start_and_after_a_restore() {
    let media = Media::new(1);
    let database = open(&media).await;
    database.create(Arc::new(table())).await.unwrap();
    assert_eq!(insert(&database, 30).await, Some(29));
    let database = open(&media).await;
    assert_eq!(minute_of(&database), Some(29), "from the log");
    let flushed = database.tables.flush_all(&database.sequencer).await.unwrap();
    assert_eq!(flushed.rows, 1);
    let database = open(&media).await;
    assert_eq!(
        (minute_of(&database), database.replayed),
        (Some(29), 1),
        "the flush's own commit is all that is replayed"
    );
    assert_eq!(insert(&database, 10).await, Some(29), "an older row does not bring it back");
    let backups: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let backup = database.tables.backup(backups.clone(), &database.sequencer).await.unwrap();
    assert_eq!(insert(&database, 90).await, Some(89), "behind the backup");
    let (other, clock) = (Media::new(2), Arc::new(SystemClock::new()) as Arc<dyn Clock>);
    assert_eq!(restore_backup(backups, other.store.clone(), clock).await.unwrap(), backup);
    let restored = open(&other).await;
    assert_eq!((minute_of(&restored), restored.replayed), (Some(29), 0));
    assert_eq!(insert(&restored, 31).await, Some(30));
}
