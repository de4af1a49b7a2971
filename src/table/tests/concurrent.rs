//! Writers, a flusher and a reader at once, and a crash: what a reader sees is what was published, at every commit.

use parking_lot::Mutex;

use super::*;

/// The rows that the published commits leave, by row id.
type Published = Arc<Mutex<BTreeMap<RowId, i64>>>;

/// A publisher that also keeps the rows.
struct Witness {
    tables: Arc<Tables>,
    rows: Published,
}

impl Publish for Witness {
    fn publish(&self, commit: &Arc<Commit>) {
        self.tables.publish(commit).unwrap();
        replay_into(&mut self.rows.lock(), commit);
    }
}

fn replay_into(rows: &mut BTreeMap<RowId, i64>, commit: &Commit) {
    for delta in &commit.tables {
        let batch = delta.delta.rows();
        let row_ids = segment::row_ids(batch).unwrap();
        let temperatures = batch.column(2).as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            match delta.delta.weight(row) {
                1 => assert!(rows.insert(row_ids.value(row), temperatures.value(row) as i64).is_none()),
                _ => assert!(rows.remove(&row_ids.value(row)).is_some()),
            }
        }
    }
}

/// Inserts some rows and deletes some of those it inserted, one write after the other.
async fn writer(database: Database, rng: Arc<SimRng>, writes: usize) {
    let mut own: Vec<RowId> = Vec::new();
    for _ in 0..writes {
        let _lock = database.tables.write_lock(READINGS).await.unwrap();
        let gone: BTreeSet<RowId> = own.iter().copied().filter(|_| rng.one_in(3)).collect();
        own.retain(|row_id| !gone.contains(row_id));
        let deletes = database.rows_of(READINGS, &gone).await;
        assert_eq!(deletes.num_rows(), gone.len());
        let values: Vec<i64> = (0..=rng.below(4)).map(|_| rng.below(100) as i64).collect();
        let inserts = Some(reading_rows(&values));
        let part = TableWrite { table: READINGS, schema_version: 1, inserts, deletes: Some(deletes) };
        let write = Write { tables: vec![part], ..Write::default() };
        let tables = database.tables.clone();
        let sequenced = database.sequencer.sequence(write, |sequenced| {
            tables.apply_write(sequenced)?;
            Ok(sequenced.first_row_ids[0])
        });
        // The disk may have died.
        let Ok((first, durable)) = sequenced else { return };
        own.extend(first..first + values.len() as i64);
        drop(_lock);
        // Not waiting puts several writes, and the deletion of rows just inserted, into one commit.
        if rng.one_in(2) && durable.await.is_err() {
            return;
        }
    }
}

async fn flusher(database: Database, rng: Arc<SimRng>, flushes: usize) {
    for _ in 0..flushes {
        // The simulated clock stands still while anyone can run.
        for _ in 0..rng.below(12) {
            tokio::task::yield_now().await;
        }
        if database.tables.flush_all(&database.sequencer).await.is_err() {
            return;
        }
        if rng.one_in(2) && database.tables.compact(READINGS, &database.sequencer).await.is_err() {
            return;
        }
    }
}

async fn reader(database: Database, rows: Published, reads: usize) {
    for _ in 0..reads {
        let (snapshot, expected) =
            database.sequencer.at_head(|head| (database.tables.snapshot(READINGS, head).unwrap(), rows.lock().clone()));
        tokio::task::yield_now().await;
        assert_eq!(readings_of(&snapshot).await, expected, "at {}", snapshot.at());
        assert_eq!(snapshot.row_count(), expected.len());
    }
}

async fn open(simulation: &Simulation, rows: &Published) -> Database {
    let tier = Tier::new(simulation.media.store.clone());
    let manifest = tier.load().await.unwrap().manifest;
    let tables = Tables::new(tier, TableSettings::default(), simulation.clock.clone());
    tables.restore(&manifest).await.unwrap();
    let disk: Arc<dyn Disk> = Arc::new(simulation.media.disk.clone());
    let after = manifest.replay_after();
    let replayed = replay(&disk, after, after, &mut |commit| tables.apply_commit(&commit)).unwrap();
    let start = replayed.start(SequencerStart {
        next_commit: manifest.commit.next(),
        next_row_id: manifest.next_row_id.max(1),
        last_timestamp_us: manifest.last_timestamp_us,
    });
    let publisher = Arc::new(Witness { tables: tables.clone(), rows: rows.clone() });
    let (clock, settings) = (simulation.clock.clone(), WalSettings::default());
    let (sequencer, writer) = Sequencer::new(settings, clock, start, publisher, disk, replayed.tail);
    (simulation.spawn)(Box::pin(async move {
        // The error is the crash.
        writer.run().await.ok();
    }));
    Database { tables, sequencer, replayed: replayed.records }
}

fn spawn<T: Send + 'static>(
    simulation: &Simulation,
    task: impl Future<Output = T> + Send + 'static,
) -> tokio::sync::oneshot::Receiver<T> {
    let (done, receiver) = tokio::sync::oneshot::channel();
    (simulation.spawn)(Box::pin(async move {
        done.send(task.await).ok();
    }));
    receiver
}

async fn run(simulation: Simulation, seed: u64, crash: bool) {
    let rows = Published::default();
    let database = open(&simulation, &rows).await;
    database.create(readings()).await.unwrap();
    let mut tasks = Vec::new();
    for task in 0..4 {
        let rng = Arc::new(SimRng::new(seed * 10 + task));
        tasks.push(spawn(&simulation, writer(database.clone(), rng, 25)));
    }
    tasks.push(spawn(&simulation, flusher(database.clone(), Arc::new(SimRng::new(seed)), 8)));
    let reading = spawn(&simulation, reader(database.clone(), rows.clone(), 40));
    if crash {
        reading.await.unwrap();
        simulation.media.disk.pull_plug();
    }
    for task in tasks {
        task.await.unwrap();
    }
    if crash {
        simulation.media.disk.restart();
    } else {
        assert!(database.tables.stats(READINGS).unwrap().files > 1);
        database.sequencer.shutdown().await;
    }
    let (head, expected) = (database.sequencer.durable_head(), rows.lock().clone());
    let again = open(&simulation, &Published::default()).await;
    let recovered = readings_of(&again.at_head(READINGS)).await;
    assert!(again.sequencer.durable_head() >= head);
    if again.sequencer.durable_head() == head {
        assert_eq!(recovered, expected);
    }
}

#[test]
fn a_reader_sees_what_was_published_and_a_restart_finds_it() {
    for seed in 0..8 {
        simulate(seed, move |simulation| Box::pin(run(simulation, seed, false)));
    }
}

#[test]
fn a_crash_loses_nothing_published() {
    for seed in 0..8 {
        simulate(seed, move |simulation| Box::pin(run(simulation, seed, true)));
    }
}
