//! The same options give the same rows, from any position; the dirt is there; options and columns are checked.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use futures::future::BoxFuture;

use super::*;
use crate::error::SqlState;
use crate::ingest::fleet::{default_columns, validate};
use crate::types::SqlType;

const NOW_US: i64 = 1_700_000_000_000_000;

/// A clock that stands until somebody sleeps.
#[derive(Default)]
struct FakeClock(AtomicU64);

impl Clock for FakeClock {
    fn now_us(&self) -> i64 {
        NOW_US + self.0.load(Ordering::Relaxed) as i64
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.fetch_add(duration.as_micros() as u64, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn open(options: &BTreeMap<String, String>, position: Option<&[u8]>) -> Fleet {
    let columns = default_columns(options).unwrap();
    Fleet::open(options, &columns, position, Arc::new(FakeClock::default())).unwrap()
}

async fn read_all(fleet: &mut Fleet) -> RecordBatch {
    let mut batches = Vec::new();
    while let Some(batch) = fleet.next().await.unwrap() {
        batches.push(batch.rows);
    }
    concat_batches(&fleet.schema, &batches).unwrap()
}

const FIXED: &[(&str, &str)] =
    &[("trucks", "20"), ("rate", "0"), ("start", "2024-01-01"), ("seed", "7"), ("rows", "50000")];

#[tokio::test]
async fn same_seed_same_rows_and_another_seed_others() {
    let first = read_all(&mut open(&options(FIXED), None)).await;
    let again = read_all(&mut open(&options(FIXED), None)).await;
    assert_eq!(first.num_rows(), 50_000);
    assert_eq!(first, again);
    let mut other = options(FIXED);
    other.insert("seed".to_owned(), "8".to_owned());
    assert_ne!(first, read_all(&mut open(&other, None)).await);
}

#[tokio::test]
async fn a_position_reads_on_where_its_rows_end() {
    let whole = read_all(&mut open(&options(FIXED), None)).await;
    let batch = open(&options(FIXED), None).next().await.unwrap().unwrap();
    let rest = read_all(&mut open(&options(FIXED), Some(&batch.position))).await;
    assert_eq!(concat_batches(&whole.schema(), [&batch.rows, &rest]).unwrap(), whole);
}

#[tokio::test]
async fn rows_are_late_missing_repeated_and_incomplete() {
    let rows = read_all(&mut open(&options(FIXED), None)).await;
    let times = rows.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let late = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
    let repeated = times.windows(2).filter(|pair| pair[1] == pair[0]).count();
    let ticks = (times.iter().max().unwrap() - times.iter().min().unwrap()) / 10_000_000 + 1;
    let expected_rows = ticks * 20;
    assert!((300..800).contains(&late), "{late} late");
    assert!((100..400).contains(&repeated), "{repeated} repeated");
    assert!(rows.column(8).null_count() > 100);
    assert!(expected_rows > 50_000, "some are missing: {expected_rows}");
}

#[tokio::test]
async fn some_trucks_stand_and_some_run_low() {
    let readings = read_all(&mut open(&options(FIXED), None)).await;
    let velocities = readings.column(5).as_primitive::<Float64Type>().values();
    let standing = velocities.iter().filter(|velocity| **velocity < 1.0).count();
    assert!((2_000..15_000).contains(&standing), "{standing} standing");
    let mut with_table = options(FIXED);
    with_table.insert("table".to_owned(), "diagnostics".to_owned());
    let diagnostics = read_all(&mut open(&with_table, None)).await;
    let fuel = diagnostics.column(2).as_primitive::<Float64Type>().values();
    let low = fuel.iter().filter(|fuel| **fuel < 0.1).count();
    assert!((2_000..10_000).contains(&low), "{low} low");
    assert!(fuel.iter().all(|fuel| (0.0..=1.0).contains(fuel)));
}

#[tokio::test]
async fn rate_paces_by_the_clock_and_event_time_follows_it() {
    let options = options(&[("trucks", "10"), ("rate", "1000")]);
    let clock = Arc::new(FakeClock::default());
    let columns = default_columns(&options).unwrap();
    let mut fleet = Fleet::open(&options, &columns, None, clock.clone()).unwrap();
    let mut rows = 0;
    while clock.monotonic() < Duration::from_secs(10) {
        let batch = fleet.next().await.unwrap().unwrap();
        rows += batch.rows.num_rows();
        let times = batch.rows.column(0).as_primitive::<TimestampMicrosecondType>().values();
        assert!(times.iter().all(|time| (time - clock.now_us()).abs() < 1_000_000));
    }
    assert!((9_900..10_100).contains(&rows), "{rows}");
}

#[test]
fn wrong_options_and_columns_are_named() {
    let refused = |pairs: &[(&str, &str)]| validate(&options(pairs), &[]).unwrap_err();
    let error = refused(&[("truck", "5")]);
    assert_eq!(error.state(), SqlState::INVALID_PARAMETER);
    assert_eq!(error.message(), "unrecognized option \"truck\" of connector fleet");
    assert_eq!(error.hint(), Some("The options are interval, rate, rows, seed, start, table, trucks."));
    for pair in [("trucks", "0"), ("rate", "-1"), ("interval", "1 month"), ("start", "soon"), ("table", "tires")] {
        assert_eq!(refused(&[pair]).state(), SqlState::INVALID_PARAMETER, "{pair:?}");
    }
    let column = |name: &str, sql_type| Column { name: name.to_owned(), sql_type, not_null: false, default: None };
    let error = validate(&options(&[]), &[column("speed", SqlType::Float8)]).unwrap_err();
    assert_eq!(error.state(), SqlState::UNDEFINED_COLUMN);
    let error = validate(&options(&[]), &[column("velocity", SqlType::Text)]).unwrap_err();
    assert_eq!(error.state(), SqlState::DATATYPE_MISMATCH);
    validate(&options(&[]), &[column("velocity", SqlType::Float8), column("time", SqlType::Timestamptz)]).unwrap();
}

#[test]
fn damaged_positions_are_refused() {
    let clock = Arc::new(FakeClock::default());
    let error = Fleet::open(&options(&[]), &[], Some(b"nonsense"), clock).err().unwrap();
    assert_eq!(error.state(), SqlState::DATA_CORRUPTED);
}
