//! The script: what several writers, one definer and a flusher ask of the core, drawn from a seed.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::execution::SessionState;
use futures::future::join_all;
use parking_lot::Mutex;

use super::expiry::expire;
use super::ledger::{Ledger, State};
use super::past::KEPT;
use super::places::{alter_places, insert_place, stale_place};
use super::pulses::change_pulses;
use super::views::{VIEWS, define};
use crate::catalog::{Catalog, CatalogChange, Column, Relation, Table, TableKind};
use crate::commit::{Durable, SourcePosition, TableWrite, Write};
use crate::engine::core::Core;
use crate::error::{Result, SqlState};
use crate::io::Clock;
use crate::testing::oracle::{Row, Value};
use crate::testing::values::column_of;
use crate::testing::{DiskFault, FaultEffect, SimClock, SimDisk, SimRng, SimSpawner};
use crate::types::{CommitNumber, RelationId, RowId, SqlType};

const WRITERS: usize = 4;
const HOUR_US: u64 = 3_600_000_000;
/// Of ten operations, so many are definitions and flushes, and, where there are any, checkpoints.
const DEFINITIONS: usize = 1;
const FLUSHES: usize = 1;
pub(super) const CHECKPOINTS: usize = 1;
/// Operations whose next call may fail in a life with a saboteur.
const FALLIBLE: [&str; 8] = ["append", "sync", "create", "sync_dir", "rename", "remove", "put", "delete"];

/// A client of the core.
#[derive(Clone)]
pub struct Client {
    pub core: Arc<Core>,
    pub ledger: Arc<Mutex<Ledger>>,
    pub registry: SessionState,
    /// On which a millisecond goes by with each write.
    pub clock: Option<SimClock>,
    /// Of ten operations.
    pub checkpoints: usize,
}

/// `operations` of them, a tenth each definitions, flushes and checkpoints. Returns once all of it is durable. `sabotage`: calls
/// of this disk fail now and then.
pub async fn play(client: Client, spawner: SimSpawner, seed: u64, operations: usize, sabotage: Option<SimDisk>) {
    let [definitions, flushes, checkpoints] =
        [DEFINITIONS, FLUSHES, client.checkpoints].map(|in_ten| operations * in_ten / 10);
    let writes = operations - definitions - flushes - checkpoints;
    let chance = |task: u64| SimRng::new(seed << 8 | task);
    // The tables are there before anyone writes.
    create_tables(&client).await;
    let mut tasks = vec![
        spawner.spawn(definer(client.clone(), chance(1), definitions)),
        spawner.spawn(flusher(client.clone(), chance(2), flushes, sabotage.is_some())),
        spawner.spawn(checkpointer(client.clone(), chance(4), checkpoints, sabotage.is_some())),
    ];
    for writer in 0..WRITERS {
        let share = writes / WRITERS + usize::from(writer < writes % WRITERS);
        tasks.push(spawner.spawn(self::writer(client.clone(), chance(10 + writer as u64), share)));
    }
    if let Some(disk) = sabotage.clone() {
        tasks.push(spawner.spawn(saboteur(disk, chance(3))));
    }
    join_all(tasks).await.into_iter().for_each(|ended| ended.unwrap());
    if let Some(disk) = sabotage {
        disk.cancel_faults();
    }
}

async fn writer(client: Client, rng: SimRng, operations: usize) {
    let mut last = None;
    for operation in 0..operations {
        let sequenced = {
            let mut ledger = client.ledger.lock();
            let (write, refusal) = draw(&ledger, &rng, operation as i64, client.now_us());
            ledger.operations += 1;
            let places = id_of(&ledger.state, "places");
            let is_of_places = write.tables.iter().any(|table| Some(table.table) == places);
            let sequenced = client.sequence(&mut ledger, write);
            let refused = sequenced.as_ref().err().map(crate::error::Error::state);
            // Until an ALTER is durable, the table takes no rows.
            let altering = is_of_places && refused == Some(SqlState::SERIALIZATION_FAILURE);
            assert!(refused == refusal || altering, "{sequenced:?}");
            sequenced
        };
        let Ok(durable) = sequenced else { continue };
        // Not waiting puts several of a writer's own writes into one commit.
        if rng.one_in(3) {
            last = Some(durable);
        } else {
            client.acknowledge(durable).await;
        }
    }
    if let Some(durable) = last {
        client.acknowledge(durable).await;
    }
}

async fn definer(client: Client, rng: SimRng, operations: usize) {
    for _ in 0..operations {
        linger(&rng, 30).await;
        let sequenced = {
            let mut ledger = client.ledger.lock();
            let write = draw_definition(&ledger.state, &rng, &client.registry);
            ledger.operations += 1;
            client.sequence(&mut ledger, write)
        };
        client.acknowledge(sequenced.unwrap()).await;
        let views: Vec<RelationId> =
            client.ledger.lock().state.catalog.materialized_views().map(|view| view.id).collect();
        for view in views {
            if let Some(live) = client.core.publisher.live_views.take(view) {
                live.await.unwrap().unwrap();
            }
        }
    }
}

async fn flusher(client: Client, rng: SimRng, operations: usize, may_fail: bool) {
    for _ in 0..operations {
        linger(&rng, 30).await;
        client.ledger.lock().operations += 1;
        let name = if rng.one_in(3) { "places" } else { "readings" };
        let table = client.core.tables.durable().catalog.find(name).map(Relation::id);
        let flushed = match table.filter(|_| rng.one_in(3)) {
            Some(table) => client.core.tables.flush(table, &client.core.sequencer).await,
            None => client.core.tables.flush_all(&client.core.sequencer).await,
        };
        assert!(may_fail || flushed.is_ok(), "{flushed:?}");
        if let Some(table) = table {
            let compacted = client.core.tables.compact(table, &client.core.sequencer).await;
            assert!(may_fail || compacted.is_ok(), "{compacted:?}");
            client.ledger.lock().compacted += compacted.map_or(0, |report| report.compacted);
        }
    }
}

async fn checkpointer(client: Client, rng: SimRng, operations: usize, may_fail: bool) {
    for _ in 0..operations {
        linger(&rng, 30).await;
        client.ledger.lock().operations += 1;
        let written = client.core.checkpointer.checkpoint().await;
        assert!(may_fail || written.is_ok(), "{written:?}");
        if rng.one_in(2)
            && let Ok(written) = written
        {
            expire(&client, &rng, written.commit, may_fail).await;
        }
    }
}

/// Orders a failure of the next call of some operation, one after the other. Nobody dies of it.
async fn saboteur(disk: SimDisk, rng: SimRng) {
    for _ in 0..20 {
        linger(&rng, 30).await;
        if disk.awaits_fault() {
            continue;
        }
        let effect = if rng.one_in(2) { FaultEffect::Before } else { FaultEffect::After };
        let operation = FALLIBLE[rng.below(FALLIBLE.len() as u64) as usize];
        disk.fault_next(operation, DiskFault::Fail(effect));
    }
}

/// The simulated clock stands still while anyone can run, so this is how time goes by.
async fn linger(rng: &SimRng, most: u64) {
    for _ in 0..rng.below(most) {
        tokio::task::yield_now().await;
    }
}

impl Client {
    /// Sequences a write and records it, with nothing in between.
    pub fn sequence(&self, ledger: &mut Ledger, write: Write) -> Result<Durable> {
        if let Some(clock) = &self.clock {
            clock.advance(Duration::from_millis(1));
        }
        let ((), durable) = self.core.sequencer.sequence(write, |sequenced| {
            self.core.tables.apply_with_definitions(sequenced)?;
            ledger.record(sequenced);
            Ok(())
        })?;
        Ok(durable)
    }

    pub fn now_us(&self) -> i64 {
        self.clock.as_ref().map_or(0, SimClock::now_us)
    }

    pub async fn acknowledge(&self, durable: Durable) {
        let commit: CommitNumber = durable.await.unwrap();
        let mut ledger = self.ledger.lock();
        ledger.acknowledged = ledger.acknowledged.max(commit);
    }

    /// A write of rows to `readings` and of one to `devices`.
    pub fn draw_rows(&self, rng: &SimRng, operation: i64) -> Write {
        let ledger = self.ledger.lock();
        let state = &ledger.state;
        let writes = [insert(state, "readings", new_rows(rng, operation)), replace_device(state, rng, operation)];
        Write { tables: writes.into_iter().flatten().collect(), ..Write::default() }
    }

    pub async fn write(&self, write: Write) {
        let sequenced = self.sequence(&mut self.ledger.lock(), write);
        self.acknowledge(sequenced.unwrap()).await;
    }
}

/// `readings`, `places` and `pulses` (bags), `devices` (by key) and `events` (append only), where they are missing. `places` is altered
/// again and again, so no view reads it.
pub async fn create_tables(client: &Client) {
    for (name, kind) in [
        ("readings", TableKind::Plain),
        ("places", TableKind::Plain),
        ("devices", TableKind::PrimaryKey { columns: vec![0] }),
        ("events", TableKind::AppendOnly),
        ("pulses", TableKind::Plain),
    ] {
        let created = {
            let mut ledger = client.ledger.lock();
            match ledger.state.catalog.find(name) {
                Some(_) => continue,
                None => {
                    let write = definition(vec![create_table(&ledger.state.catalog, name, kind)]);
                    client.sequence(&mut ledger, write)
                }
            }
        };
        client.acknowledge(created.unwrap()).await;
    }
}

/// (device bigint, value bigint, note text), whatever the kind.
fn create_table(catalog: &Catalog, name: &str, kind: TableKind) -> CatalogChange {
    let column = |name: &str, sql_type, not_null| Column { name: name.to_string(), sql_type, not_null, default: None };
    CatalogChange::CreateTable(Arc::new(Table {
        id: catalog.next_id(),
        name: name.to_string(),
        columns: vec![
            column("device", SqlType::Int8, true),
            column("value", SqlType::Int8, false),
            column("note", SqlType::Text, false),
        ],
        kind,
        schema_version: 1,
        upsert: false,
        source: None,
        stored: Vec::new(),
        dropped: Vec::new(),
        last_field_id: 0,
        watermark: None,
    }))
}

pub(super) fn definition(catalog: Vec<CatalogChange>) -> Write {
    Write { catalog, ..Write::default() }
}

/// A write, and the SQLSTATE that refuses it, if it must be refused.
fn draw(ledger: &Ledger, rng: &SimRng, operation: i64, now_us: i64) -> (Write, Option<SqlState>) {
    let state = &ledger.state;
    let writes = match rng.below(28) {
        0..6 => vec![insert(state, "readings", new_rows(rng, operation))],
        6..9 => vec![insert(state, "events", new_rows(rng, operation))],
        9..11 => vec![replace_device(state, rng, operation)],
        11..13 => vec![update(state, rng, operation)],
        13..15 => vec![delete(state, "readings", rng, 1 + rng.below(2) as usize)],
        15..17 => vec![insert(state, "readings", new_rows(rng, operation)), replace_device(state, rng, operation)],
        17 => vec![delete(state, "devices", rng, 1)],
        18 => return duplicate_key(state, rng, operation),
        19 => return dropped_table(ledger, rng, operation),
        20..23 => vec![insert_place(state, rng, operation)],
        23..27 => vec![change_pulses(state, rng, now_us)],
        _ => match stale_place(state, rng, operation) {
            Some(write) if rng.one_in(2) => return (write, Some(SqlState::SERIALIZATION_FAILURE)),
            _ => vec![delete(state, "places", rng, 1 + rng.below(2) as usize)],
        },
    };
    let mut write = Write { tables: writes.into_iter().flatten().collect(), ..Write::default() };
    if let [only] = write.tables.as_slice()
        && Some(only.table) == id_of(state, "events")
    {
        write.positions = vec![SourcePosition { source: only.table, position: operation.to_le_bytes().to_vec() }];
    }
    (write, None)
}

/// Together with a row that could be inserted: neither must be.
fn duplicate_key(state: &State, rng: &SimRng, operation: i64) -> (Write, Option<SqlState>) {
    let Some((_, row)) = pick(state, "devices", rng, 1).pop() else { return (Write::default(), None) };
    let writes = [insert(state, "readings", new_rows(rng, operation)), insert(state, "devices", vec![row])];
    let write = Write { tables: writes.into_iter().flatten().collect(), ..Write::default() };
    (write, Some(SqlState::UNIQUE_VIOLATION))
}

fn dropped_table(ledger: &Ledger, rng: &SimRng, operation: i64) -> (Write, Option<SqlState>) {
    let known = id_of(&ledger.state, "readings").unwrap();
    let Some(gone) = ledger.dropped.last() else { return (Write::default(), None) };
    let table = |table| TableWrite { table, ..insert_into(known, new_rows(rng, operation)) };
    (Write { tables: vec![table(known), table(*gone)], ..Write::default() }, Some(SqlState::UNDEFINED_TABLE))
}

fn draw_definition(state: &State, rng: &SimRng, registry: &SessionState) -> Write {
    let catalog = &state.catalog;
    if rng.one_in(3)
        && let Some(altered) = alter_places(catalog, rng)
    {
        return definition(vec![altered]);
    }
    let missing = VIEWS.iter().find(|(name, sql)| {
        catalog.find(name).is_none() && (!sql.contains("events") || catalog.find("events").is_some())
    });
    match (missing, rng.below(5)) {
        (Some((name, sql)), 0..4) => {
            let mut changes = vec![CatalogChange::CreateMaterializedView(define(name, sql, catalog, registry))];
            if KEPT.contains(name) {
                changes.push(CatalogChange::KeepChanges { relation: catalog.next_id(), retention_us: HOUR_US });
            }
            definition(changes)
        }
        _ if catalog.find("events").is_none() => {
            definition(vec![create_table(catalog, "events", TableKind::AppendOnly)])
        }
        (_, 0) => definition(drop_cascade(catalog, "events")),
        (_, 1) => match catalog.find("scratch") {
            Some(_) => definition(drop_cascade(catalog, "scratch")),
            // CREATE TABLE AS: definition and rows in one write.
            None => {
                let table = create_table(catalog, "scratch", TableKind::PrimaryKey { columns: vec![0] });
                let rows = (0..3).map(|device| row(device, 1, Some("scratch"))).collect();
                Write { tables: vec![insert_into(catalog.next_id(), rows)], ..definition(vec![table]) }
            }
        },
        (_, at) => definition(drop_cascade(catalog, VIEWS[at as usize - 2].0)),
    }
}

/// What reads the relation goes first.
fn drop_cascade(catalog: &Catalog, name: &str) -> Vec<CatalogChange> {
    let Some(relation) = catalog.find(name) else { return Vec::new() };
    let dependents = catalog.dependents(relation.id()).map(|dependent| dependent.name().to_string());
    let mut drops: Vec<CatalogChange> = dependents.flat_map(|name| drop_cascade(catalog, &name)).collect();
    drops.push(CatalogChange::Drop(relation.id()));
    drops
}

pub(super) fn id_of(state: &State, name: &str) -> Option<RelationId> {
    state.catalog.find(name).map(Relation::id)
}

fn row(device: i64, value: i64, note: Option<&str>) -> Row {
    let note = note.map_or(Value::Null, |note| Value::Text(note.to_string()));
    vec![Value::Integer(device), Value::Integer(value), note]
}

/// Values 0 make a view's division err.
fn new_row(rng: &SimRng, operation: i64) -> Row {
    let note = ["a", "b", "a longer note"].get(rng.below(4) as usize).copied();
    row(rng.below(5) as i64, (operation + rng.below(7) as i64) % 6, note)
}

fn new_rows(rng: &SimRng, operation: i64) -> Vec<Row> {
    (0..1 + rng.below(3)).map(|_| new_row(rng, operation)).collect()
}

/// Up to `most` rows of a table that are there, with their ids.
fn pick(state: &State, table: &str, rng: &SimRng, most: usize) -> Vec<(RowId, Row)> {
    let Some(rows) = id_of(state, table).and_then(|id| state.tables.get(&id)) else { return Vec::new() };
    let skip = rng.below(rows.len() as u64 + 1) as usize;
    rows.iter().skip(skip).take(most).map(|(id, row)| (*id, row.clone())).collect()
}

pub(super) fn insert(state: &State, table: &str, rows: Vec<Row>) -> Option<TableWrite> {
    id_of(state, table).map(|table| insert_into(table, rows))
}

fn insert_into(table: RelationId, rows: Vec<Row>) -> TableWrite {
    let rows: Vec<(RowId, Row)> = rows.into_iter().map(|row| (0, row)).collect();
    let inserts = Some(batch(&rows).project(&[0, 1, 2]).unwrap());
    TableWrite { table, schema_version: 1, inserts, deletes: None }
}

pub(super) fn delete(state: &State, table: &str, rng: &SimRng, most: usize) -> Option<TableWrite> {
    let rows = pick(state, table, rng, most);
    let table = state.catalog.table(id_of(state, table)?)?;
    let deletes = (!rows.is_empty()).then(|| batch_of(table, &rows));
    Some(TableWrite { table: table.id, schema_version: table.schema_version, inserts: None, deletes })
}

/// An update is a delete and an insert.
fn update(state: &State, rng: &SimRng, operation: i64) -> Option<TableWrite> {
    let mut write = delete(state, "readings", rng, 2)?;
    if write.deletes.is_some() {
        write.inserts = insert_into(write.table, vec![new_row(rng, operation)]).inserts;
    }
    Some(write)
}

/// An upsert of one device.
fn replace_device(state: &State, rng: &SimRng, operation: i64) -> Option<TableWrite> {
    let new = new_row(rng, operation);
    let id = id_of(state, "devices")?;
    let has_key = |(_, row): &(&RowId, &Row)| row[0].compare(&new[0]).is_eq();
    let old = state.tables.get(&id)?.iter().find(has_key).map(|(id, row)| (*id, row.clone()));
    let deletes = old.map(|old| batch(&[old]));
    Some(TableWrite { deletes, ..insert_into(id, vec![new]) })
}

/// Rows with their ids behind them.
fn batch(rows: &[(RowId, Row)]) -> RecordBatch {
    let catalog = Catalog::default();
    let CatalogChange::CreateTable(table) = create_table(&catalog, "any", TableKind::Plain) else { unreachable!() };
    batch_of(&table, rows)
}

/// Rows of a table as it is now, with their ids behind them.
pub(super) fn batch_of(table: &Table, rows: &[(RowId, Row)]) -> RecordBatch {
    let schema = table.schema_with_row_id();
    let values = (0..table.columns.len())
        .map(|column| column_of(schema.field(column).data_type(), rows.iter().map(move |(_, row)| &row[column])));
    let ids = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id))) as ArrayRef;
    RecordBatch::try_new(schema.clone(), values.chain([ids]).collect()).unwrap()
}

/// After a recovery: some writes to see that the core goes on, and a flush.
pub async fn go_on(client: &Client, rng: &SimRng) {
    create_tables(client).await;
    for operation in 0..3 {
        client.write(client.draw_rows(rng, operation)).await;
        if operation == 1 {
            client.core.checkpointer.checkpoint().await.unwrap();
            client.core.tables.flush_all(&client.core.sequencer).await.unwrap();
        }
    }
}
