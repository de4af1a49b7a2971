use super::*;
use crate::catalog::{Column, TableKind, Watermark};
use crate::types::{SqlType, WATERMARK};
use arrow::array::TimestampMicrosecondArray;

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

/// The marks of rows at these minutes.
fn marks(state: &mut WatermarkState, minutes: &[Option<i64>]) -> Vec<Option<i64>> {
    let table = table();
    let times =
        TimestampMicrosecondArray::from_iter(minutes.iter().map(|minute| minute.map(|minute| minute * MINUTE_US)));
    let time: ArrayRef = Arc::new(times.with_timezone("UTC"));
    let rows = RecordBatch::try_new(
        Arc::new(arrow::datatypes::Schema::new(vec![table.schema().field(0).clone()])),
        vec![time],
    );
    let mut write = TableWrite { table: table.id, schema_version: 1, inserts: Some(rows.unwrap()), deletes: None };
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
