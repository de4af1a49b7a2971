//! A database of tables alone, on a simulated disk and an object store in memory; and tables against a model of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, IntervalMonthDayNanoArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, IntervalMonthDayNano};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::*;
use crate::catalog::{CatalogChange, Column, Table, TableKind};
use crate::commit::{Commit, Publish, Sequencer, SequencerStart, TableWrite, Write, replay};
use crate::error::{Result, SqlState};
use crate::io::{Clock, Disk, Rng};
use crate::settings::{TableSettings, WalSettings};
use crate::testing::{SimDisk, SimExecutor, SimRng};
use crate::tier::Tier;
use crate::types::{CommitNumber, RelationId, RowId, SqlType};

mod altered;
mod concurrent;
mod past;

pub(super) const READINGS: RelationId = RelationId(16384);
pub(super) const TRUCKS: RelationId = RelationId(16385);

fn column(name: &str, sql_type: SqlType) -> Column {
    Column { name: name.to_string(), sql_type, not_null: false, default: None }
}

fn table(id: RelationId, name: &str, columns: Vec<Column>, kind: TableKind) -> Arc<Table> {
    Arc::new(Table {
        id,
        name: name.to_string(),
        columns,
        kind,
        schema_version: 1,
        upsert: false,
        source: None,
        stored: Vec::new(),
        dropped: Vec::new(),
        last_field_id: 0,
        watermark: None,
    })
}

/// `readings (device text, time timestamp, temperature double precision, pause interval)`
pub(super) fn readings() -> Arc<Table> {
    let columns = vec![
        column("device", SqlType::Text),
        column("time", SqlType::Timestamp),
        column("temperature", SqlType::Float8),
        column("pause", SqlType::Interval),
    ];
    table(READINGS, "readings", columns, TableKind::Plain)
}

/// `trucks (id bigint primary key, load bigint)`
pub(super) fn trucks() -> Arc<Table> {
    let columns = vec![column("id", SqlType::Int8), column("load", SqlType::Int8)];
    table(TRUCKS, "trucks", columns, TableKind::PrimaryKey { columns: vec![0] })
}

/// A reading per value: the value is its temperature, and its minute.
pub(super) fn reading_rows(values: &[i64]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(values.iter().map(|value| format!("device-{}", value % 7)))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(values.iter().map(|value| value * 60_000_000))),
        Arc::new(Float64Array::from_iter_values(values.iter().map(|value| *value as f64))),
        Arc::new(IntervalMonthDayNanoArray::from_iter_values(
            values.iter().map(|value| IntervalMonthDayNano::new(*value as i32 % 12, -1, *value)),
        )),
    ];
    RecordBatch::try_new(readings().schema(), columns).unwrap()
}

pub(super) fn truck_rows(rows: &[(i64, i64)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
    ];
    RecordBatch::try_new(trucks().schema(), columns).unwrap()
}

struct Publisher(Arc<Tables>);

impl Publish for Publisher {
    fn publish(&self, commit: &Arc<Commit>) {
        self.0.publish(commit).unwrap();
    }
}

/// What outlives a server.
#[derive(Clone)]
pub(super) struct Media {
    pub store: Arc<dyn ObjectStore>,
    pub disk: SimDisk,
}

impl Media {
    pub fn new(seed: u64) -> Media {
        Media { store: Arc::new(InMemory::new()), disk: SimDisk::new(seed) }
    }
}

/// A running server's tables.
#[derive(Clone)]
pub(super) struct Database {
    pub tables: Arc<Tables>,
    pub sequencer: Arc<Sequencer>,
    /// Commits that the start replayed.
    pub replayed: u64,
}

pub(super) type Spawn<'a> = &'a (dyn Fn(BoxFuture<'static, ()>) + Send + Sync);

impl Database {
    pub async fn open(media: &Media, clock: Arc<dyn Clock>, settings: TableSettings, spawn: Spawn<'_>) -> Result<Self> {
        let tier = Tier::new(media.store.clone());
        let loaded = tier.load().await?;
        let manifest = loaded.manifest;
        tier.remove_orphans(&manifest).await?;
        let tables = Tables::new(tier, settings, clock.clone());
        tables.restore(&manifest).await?;
        let disk: Arc<dyn Disk> = Arc::new(media.disk.clone());
        let after = manifest.replay_after();
        let replayed = replay(&disk, after, after, &mut |commit| tables.apply_commit(&commit))?;
        let start = replayed.start(SequencerStart {
            next_commit: manifest.commit.next(),
            next_row_id: manifest.next_row_id.max(1),
            last_timestamp_us: manifest.last_timestamp_us,
        });
        let publisher = Arc::new(Publisher(tables.clone()));
        let settings = WalSettings { segment_bytes_max: 4096, ..WalSettings::default() };
        let (sequencer, writer) = Sequencer::new(settings, clock, start, publisher, disk, replayed.tail);
        spawn(Box::pin(async move {
            writer.run().await.unwrap();
        }));
        Ok(Database { tables, sequencer, replayed: replayed.records })
    }

    pub async fn write(&self, write: Write) -> Result<CommitNumber> {
        let tables = self.tables.clone();
        let apply = |sequenced: &crate::commit::SequencedWrite<'_>| tables.apply_write(sequenced);
        let ((), durable) = self.sequencer.sequence(write, apply)?;
        durable.await
    }

    pub async fn create(&self, table: Arc<Table>) -> Result<CommitNumber> {
        self.define(CatalogChange::CreateTable(table)).await
    }

    pub async fn define(&self, change: CatalogChange) -> Result<CommitNumber> {
        let tables = self.tables.clone();
        let apply = |sequenced: &crate::commit::SequencedWrite<'_>| tables.apply_with_definitions(sequenced);
        let write = Write { catalog: vec![change], ..Write::default() };
        let ((), durable) = self.sequencer.sequence(write, apply)?;
        durable.await
    }

    pub async fn change(
        &self,
        table: RelationId,
        inserts: Option<RecordBatch>,
        deletes: Option<RecordBatch>,
    ) -> Result<CommitNumber> {
        self.write(Write {
            tables: vec![TableWrite { table, schema_version: 1, inserts, deletes }],
            ..Write::default()
        })
        .await
    }

    pub async fn insert(&self, table: RelationId, rows: RecordBatch) -> Result<CommitNumber> {
        self.change(table, Some(rows), None).await
    }

    pub fn at_head(&self, table: RelationId) -> TableSnapshot {
        self.sequencer.at_head(|head| self.tables.snapshot(table, head)).unwrap()
    }

    /// Whole rows of the sequenced state, by row id.
    pub async fn rows_of(&self, table: RelationId, row_ids: &BTreeSet<RowId>) -> RecordBatch {
        let snapshot = self.tables.snapshot(table, CommitNumber::MAX).unwrap();
        let all = collect(&snapshot, None).await;
        let keep = segment::row_ids(&all).unwrap().iter().map(|row_id| row_id.map(|row_id| row_ids.contains(&row_id)));
        arrow::compute::filter_record_batch(&all, &keep.collect()).unwrap()
    }
}

pub(super) async fn collect(snapshot: &TableSnapshot, projection: Option<Vec<usize>>) -> RecordBatch {
    let schema = snapshot.schema_with_row_id();
    let schema = match &projection {
        Some(columns) => Arc::new(schema.project(columns).unwrap()),
        None => schema,
    };
    let batches: Vec<RecordBatch> = snapshot.stream(projection, 3).try_collect().await.unwrap();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

/// (row id, temperature, interval's nanoseconds) of readings.
async fn readings_of(snapshot: &TableSnapshot) -> BTreeMap<RowId, i64> {
    let rows = collect(snapshot, Some(vec![4, 3, 2])).await;
    let row_ids = rows.column(0).as_primitive::<Int64Type>();
    let pauses = rows.column(1).as_primitive::<arrow::datatypes::IntervalMonthDayNanoType>();
    let temperatures = rows.column(2).as_primitive::<Float64Type>();
    let found: BTreeMap<RowId, i64> = (0..rows.num_rows())
        .map(|row| {
            assert_eq!(temperatures.value(row), pauses.value(row).nanoseconds as f64);
            (row_ids.value(row), temperatures.value(row) as i64)
        })
        .collect();
    assert_eq!(found.len(), rows.num_rows(), "a row twice");
    found
}

async fn trucks_of(snapshot: &TableSnapshot) -> BTreeMap<i64, i64> {
    let rows = collect(snapshot, Some(vec![0, 1])).await;
    let (ids, loads) = (rows.column(0).as_primitive::<Int64Type>(), rows.column(1).as_primitive::<Int64Type>());
    let found: BTreeMap<i64, i64> = ids.values().iter().copied().zip(loads.values().iter().copied()).collect();
    assert_eq!(found.len(), rows.num_rows(), "a key twice");
    found
}

/// Runs a test on the simulated executor.
pub(super) fn simulate<T: Send + 'static>(seed: u64, test: impl FnOnce(Simulation) -> BoxFuture<'static, T>) -> T {
    let mut executor = SimExecutor::new(seed);
    let spawner = executor.spawner();
    let simulation = Simulation {
        media: Media::new(seed),
        clock: Arc::new(executor.clock()),
        spawn: Arc::new(move |task| {
            spawner.spawn(task);
        }),
    };
    executor.block_on(test(simulation))
}

#[derive(Clone)]
pub(super) struct Simulation {
    media: Media,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>,
}

impl Simulation {
    pub async fn open(&self) -> Database {
        self.open_keeping(0).await
    }

    /// As a start does that reads no rows by key.
    async fn open_without_keys(&self) -> Database {
        self.open_with(TableSettings { keyed_restore_bytes: 0, ..TableSettings::default() }).await
    }

    /// With so many milliseconds of history.
    async fn open_keeping(&self, history_retention_ms: u64) -> Database {
        self.open_with(TableSettings { history_retention_ms, ..TableSettings::default() }).await
    }

    async fn open_with(&self, settings: TableSettings) -> Database {
        let settings = TableSettings { row_group_rows: 4, file_rows_max: 16, compact_files_min: 2, ..settings };
        Database::open(&self.media, self.clock.clone(), settings, &*self.spawn).await.unwrap()
    }
}

/// What the tables must hold.
#[derive(Clone, Default)]
struct Model {
    readings: BTreeMap<RowId, i64>,
    trucks: BTreeMap<i64, i64>,
}

/// A snapshot with what it must show for ever.
struct Kept {
    readings: TableSnapshot,
    trucks: TableSnapshot,
    model: Model,
}

impl Kept {
    fn take(database: &Database, model: &Model) -> Kept {
        let [readings, trucks] = database
            .sequencer
            .at_head(|head| [READINGS, TRUCKS].map(|table| database.tables.snapshot(table, head).unwrap()));
        Kept { readings, trucks, model: model.clone() }
    }

    async fn check(&self) {
        assert_eq!(readings_of(&self.readings).await, self.model.readings);
        assert_eq!(self.readings.row_count(), self.model.readings.len());
        assert_eq!(trucks_of(&self.trucks).await, self.model.trucks);
        assert_eq!(self.trucks.row_count(), self.model.trucks.len());
    }
}

async fn random_readings(database: &Database, model: &mut Model, rng: &SimRng) {
    let values: Vec<i64> = (0..rng.below(12)).map(|_| rng.below(1000) as i64).collect();
    let gone: BTreeSet<RowId> = model.readings.keys().copied().filter(|_| rng.one_in(9)).collect();
    let deletes = database.rows_of(READINGS, &gone).await;
    assert_eq!(deletes.num_rows(), gone.len());
    let first = database.sequencer.next_row_id();
    database.change(READINGS, Some(reading_rows(&values)), Some(deletes)).await.unwrap();
    model.readings.retain(|row_id, _| !gone.contains(row_id));
    model.readings.extend((first..).zip(values));
}

/// An upsert of several keys, through the keyed rows.
async fn random_trucks(database: &Database, model: &mut Model, rng: &SimRng) {
    let _lock = database.tables.write_lock(TRUCKS).await.unwrap();
    let rows: BTreeMap<i64, i64> = (0..rng.below(5)).map(|_| (rng.below(20) as i64, rng.below(100) as i64)).collect();
    let rows: Vec<(i64, i64)> = rows.into_iter().collect();
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let (old, found) = database.tables.lookup_keys(TRUCKS, &[keys]).await.unwrap();
    for ((key, _), found) in rows.iter().zip(&found) {
        let load = found.map(|row| old.column(1).as_primitive::<Int64Type>().value(row as usize));
        assert_eq!(load, model.trucks.get(key).copied());
    }
    let inserts = if rng.one_in(4) { Vec::new() } else { rows.clone() };
    database.change(TRUCKS, Some(truck_rows(&inserts)), Some(old)).await.unwrap();
    rows.iter().for_each(|(key, _)| {
        model.trucks.remove(key);
    });
    model.trucks.extend(inserts);
}

async fn history(simulation: Simulation) {
    let rng = SimRng::new(simulation.media.disk.calls().calls + simulation.clock.now_us() as u64);
    let rng = SimRng::new(rng.next_u64());
    let mut database = simulation.open().await;
    database.create(readings()).await.unwrap();
    database.create(trucks()).await.unwrap();
    let mut model = Model::default();
    let mut kept = Vec::new();
    for _ in 0..120 {
        match rng.below(14) {
            12 => database.tables.keep_keyed_within(0),
            13 => drop(database.tables.compact(TRUCKS, &database.sequencer).await.unwrap()),
            0..=4 => random_readings(&database, &mut model, &rng).await,
            5..=8 => random_trucks(&database, &mut model, &rng).await,
            9 => drop(database.tables.flush_all(&database.sequencer).await.unwrap()),
            10 => drop(database.tables.flush(READINGS, &database.sequencer).await.unwrap()),
            _ => {
                kept.iter().for_each(|kept: &Kept| assert!(kept.readings.at() <= database.sequencer.durable_head()));
                for kept in kept.drain(..) {
                    Kept::check(&kept).await;
                }
                if rng.one_in(2) {
                    database.sequencer.shutdown().await;
                    let with_keys = rng.one_in(2);
                    database = if with_keys { simulation.open().await } else { simulation.open_without_keys().await };
                }
            }
        }
        kept.push(Kept::take(&database, &model));
        kept.last().unwrap().check().await;
    }
    for kept in kept {
        kept.check().await;
    }
}

#[test]
fn tables_are_their_model_at_every_commit_across_flushes_and_restarts() {
    for seed in 0..6 {
        simulate(seed, |mut simulation| {
            simulation.media.disk = SimDisk::new(seed);
            Box::pin(async move {
                // A different history for each seed.
                simulation.clock.sleep(std::time::Duration::from_micros(seed * 7919)).await;
                history(simulation).await;
            })
        });
    }
}

#[test]
fn a_restart_replays_only_what_is_not_cold() {
    simulate(1, |simulation| {
        Box::pin(async move {
            let database = simulation.open().await;
            database.create(readings()).await.unwrap();
            database.insert(READINGS, reading_rows(&[1, 2, 3])).await.unwrap();
            database.tables.flush_all(&database.sequencer).await.unwrap();
            database.insert(READINGS, reading_rows(&[4])).await.unwrap();
            database.sequencer.shutdown().await;
            let database = simulation.open().await;
            // The boundary's own commit and the insert.
            assert_eq!(database.replayed, 2);
            assert_eq!(database.at_head(READINGS).row_count(), 4);
            let stats = database.tables.stats(READINGS).unwrap();
            assert_eq!((stats.rows_cold, stats.rows_hot, stats.files), (3, 1, 1));
        })
    });
}

#[test]
fn an_empty_table_does_not_hold_the_log_back() {
    simulate(1, |simulation| {
        Box::pin(async move {
            let database = simulation.open().await;
            database.create(trucks()).await.unwrap();
            database.create(readings()).await.unwrap();
            for value in 0..50 {
                database.insert(READINGS, reading_rows(&[value; 20])).await.unwrap();
            }
            database.tables.flush(READINGS, &database.sequencer).await.unwrap();
            database.insert(READINGS, reading_rows(&[1])).await.unwrap();
            database.sequencer.shutdown().await;
            let segments = simulation.media.disk.list("wal").unwrap();
            assert_eq!(segments.len(), 1, "{segments:?}");
        })
    });
}

#[test]
fn a_deleted_row_cannot_be_deleted_again_even_when_a_flush_folded_it() {
    simulate(1, |simulation| {
        Box::pin(async move {
            let database = simulation.open().await;
            database.create(readings()).await.unwrap();
            database.insert(READINGS, reading_rows(&[1, 2, 3])).await.unwrap();
            let before = database.at_head(READINGS);
            let victim = *readings_of(&before).await.keys().next().unwrap();
            let rows = database.rows_of(READINGS, &BTreeSet::from([victim])).await;
            database.change(READINGS, None, Some(rows.clone())).await.unwrap();
            for _ in 0..2 {
                let tables = &database.tables;
                assert!(tables.any_deleted_since(READINGS, &[victim], before.at()).unwrap());
                assert!(!tables.any_deleted_since(READINGS, &[victim + 1], before.at()).unwrap());
                let error = database.change(READINGS, None, Some(rows.clone())).await.unwrap_err();
                assert_eq!(error.state(), SqlState::SERIALIZATION_FAILURE);
                tables.flush_all(&database.sequencer).await.unwrap();
            }
            assert_eq!(readings_of(&before).await.len(), 3);
            assert_eq!(database.at_head(READINGS).row_count(), 2);
            assert_eq!(database.tables.stats(READINGS).unwrap().tombstones, 0);
        })
    });
}

#[test]
fn a_refused_write_to_several_tables_leaves_nothing() {
    simulate(1, |simulation| {
        Box::pin(async move {
            let database = simulation.open().await;
            database.create(readings()).await.unwrap();
            database.create(trucks()).await.unwrap();
            database.insert(TRUCKS, truck_rows(&[(1, 10)])).await.unwrap();
            let write = |table, inserts| TableWrite { table, schema_version: 1, inserts: Some(inserts), deletes: None };
            let tables = vec![
                write(READINGS, reading_rows(&[1])),
                write(TRUCKS, truck_rows(&[(2, 0)])),
                write(TRUCKS, truck_rows(&[(1, 11)])),
            ];
            let error = database.write(Write { tables, ..Write::default() }).await.unwrap_err();
            assert_eq!(error.state(), SqlState::UNIQUE_VIOLATION);
            assert_eq!(error.message(), "duplicate key value violates unique constraint \"trucks_pkey\"");
            assert_eq!(error.detail(), Some("Key (id)=(1) already exists."));
            assert_eq!(database.at_head(READINGS).row_count(), 0);
            let sequenced = database.tables.snapshot(TRUCKS, CommitNumber::MAX).unwrap();
            assert_eq!(trucks_of(&sequenced).await, BTreeMap::from([(1, 10)]));
        })
    });
}

#[test]
fn dropped_tables_refuse_writes_and_lose_their_files_at_the_next_start() {
    simulate(1, |simulation| {
        Box::pin(async move {
            let database = simulation.open().await;
            database.create(readings()).await.unwrap();
            database.insert(READINGS, reading_rows(&[1])).await.unwrap();
            database.tables.flush_all(&database.sequencer).await.unwrap();
            let snapshot = database.at_head(READINGS);
            database.tables.drop_table(READINGS);
            let error = database.insert(READINGS, reading_rows(&[2])).await.unwrap_err();
            assert_eq!(error.state(), SqlState::UNDEFINED_TABLE);
            database.write(Write { catalog: vec![CatalogChange::Drop(READINGS)], ..Write::default() }).await.unwrap();
            assert!(database.tables.snapshot(READINGS, CommitNumber::MAX).is_err());
            assert_eq!(readings_of(&snapshot).await.len(), 1);
            database.tables.flush_all(&database.sequencer).await.unwrap();
            database.sequencer.shutdown().await;
            simulation.open().await;
            let files: Vec<_> = simulation.media.store.list(Some(&"data".into())).try_collect().await.unwrap();
            assert!(files.is_empty(), "{files:?}");
        })
    });
}

#[test]
fn a_transactions_own_writes_lie_on_top() {
    simulate(1, |simulation| {
        Box::pin(async move {
            let database = simulation.open().await;
            database.create(trucks()).await.unwrap();
            database.insert(TRUCKS, truck_rows(&[(1, 10), (2, 20)])).await.unwrap();
            database.tables.flush_all(&database.sequencer).await.unwrap();
            database.insert(TRUCKS, truck_rows(&[(3, 30)])).await.unwrap();
            let snapshot = database.at_head(TRUCKS);
            let all = collect(&snapshot, None).await;
            let deleted: Vec<RowId> = segment::row_ids(&all).unwrap().values()[1..].to_vec();
            let own: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(vec![8, 9])),
                Arc::new(Int64Array::from(vec![80, 90])),
                Arc::new(Int64Array::from(vec![-1, -2])),
            ];
            let own = RecordBatch::try_new(snapshot.schema_with_row_id(), own).unwrap();
            let deleted = deleted.into_iter().chain([-1]).collect();
            let overlaid = snapshot.with_overlay(vec![own], Arc::new(deleted));
            assert_eq!(trucks_of(&overlaid).await, BTreeMap::from([(1, 10), (9, 90)]));
            assert_eq!(overlaid.row_count(), 2);
            assert_eq!(snapshot.row_count(), 3);
        })
    });
}

#[test]
fn the_flusher_flushes_by_age_and_ends() {
    simulate(1, |simulation| {
        Box::pin(async move {
            let database = simulation.open().await;
            database.create(readings()).await.unwrap();
            database.insert(READINGS, reading_rows(&[1])).await.unwrap();
            let (stop, stopped) = tokio::sync::watch::channel(false);
            let flusher = database.tables.clone().run_flusher(database.sequencer.clone(), stopped);
            let (ended, end) = tokio::sync::oneshot::channel();
            (simulation.spawn)(Box::pin(async move {
                let _ = ended.send(flusher.await);
            }));
            simulation.clock.sleep(std::time::Duration::from_secs(59)).await;
            assert_eq!(database.tables.stats(READINGS).unwrap().rows_cold, 0);
            simulation.clock.sleep(std::time::Duration::from_secs(3)).await;
            assert_eq!(database.tables.stats(READINGS).unwrap().rows_cold, 1);
            assert_eq!(database.tables.stats(READINGS).unwrap().rows_hot, 0);
            stop.send(true).unwrap();
            end.await.unwrap().unwrap();
        })
    });
}
