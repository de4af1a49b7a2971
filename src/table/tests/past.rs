//! Tables as they were, against a model of every commit: over flushes, compactions and restarts, and until the retention ends.

use std::time::Duration;

use super::*;

const RETENTION_MS: u64 = 60;

/// What each commit left; its time where it is known.
type Past = BTreeMap<CommitNumber, (Option<i64>, Model)>;

/// That the runs came by what they are for.
#[derive(Debug, Default)]
struct Seen {
    reads: usize,
    /// At commits that are cold.
    cold_reads: usize,
    refused: usize,
    folded: u64,
    /// A restart still had commits from before it.
    kept_over_restart: usize,
}

impl Seen {
    async fn check(&mut self, database: &Database, past: &Past, rng: &SimRng) {
        let snapshots = database
            .sequencer
            .at_head(|head| [READINGS, TRUCKS].map(|table| database.tables.snapshot(table, head).unwrap()));
        let (head, head_us) = past.last_key_value().map(|(commit, (at_us, _))| (*commit, at_us.unwrap())).unwrap();
        let stats = [READINGS, TRUCKS].map(|table| database.tables.stats(table).unwrap());
        let created = CommitNumber(2);
        let within = past.iter().find(|(_, (at_us, _))| at_us.is_some_and(|at_us| at_us >= head_us - RETENTION_US));
        let within = (*within.unwrap().0).max(created);
        for (commit, (at_us, model)) in past.iter().filter(|(commit, _)| **commit >= created) {
            let [readings, trucks] = [0, 1].map(|table| database.tables.as_of(&snapshots[table], *commit));
            for (table, stats) in [(&readings, stats[0]), (&trucks, stats[1])] {
                assert_eq!(table.is_ok(), *commit >= stats.readable_from, "commit {commit} at {head}: {stats:?}");
                self.refused += usize::from(table.is_err());
            }
            if *commit >= within {
                assert!(readings.is_ok() && trucks.is_ok(), "commit {commit} is not older than {within} at {head}");
            }
            if !rng.one_in(4) {
                continue;
            }
            if let Ok(readings) = readings {
                assert_eq!(readings_of(&readings).await, model.readings, "readings at {commit}, head {head}");
                self.reads += 1;
                self.cold_reads += usize::from(*commit < stats[0].flushed);
                let by = |at_us: i64| database.tables.commit_by(at_us, "", "").unwrap();
                assert!(at_us.is_none_or(|at_us| by(at_us) == *commit && by(at_us + 1) >= *commit));
            }
            if let Ok(trucks) = trucks {
                assert_eq!(trucks_of(&trucks).await, model.trucks, "trucks at {commit}, head {head}");
            }
        }
    }
}

const RETENTION_US: i64 = RETENTION_MS as i64 * 1000;

/// What the commits since the last call left.
fn note(database: &Database, past: &mut Past, model: &Model) {
    let durable = database.tables.durable();
    let last = past.last_key_value().map_or(0, |(commit, _)| commit.0);
    for commit in last + 1..=durable.commit.0 {
        let at_us = (commit == durable.commit.0).then_some(durable.timestamp_us);
        past.insert(CommitNumber(commit), (at_us, model.clone()));
    }
}

async fn run(simulation: Simulation, seed: u64) -> Seen {
    let rng = SimRng::new(seed);
    let mut database = simulation.open_keeping(RETENTION_MS).await;
    database.create(readings()).await.unwrap();
    database.create(trucks()).await.unwrap();
    let (mut model, mut past, mut seen) = (Model::default(), Past::new(), Seen::default());
    note(&database, &mut past, &model);
    for _ in 0..100 {
        simulation.clock.sleep(Duration::from_millis(rng.below(8))).await;
        match rng.below(13) {
            0..=3 => random_readings(&database, &mut model, &rng).await,
            4..=7 => random_trucks(&database, &mut model, &rng).await,
            8 => drop(database.tables.flush_all(&database.sequencer).await.unwrap()),
            9 => drop(database.tables.flush(READINGS, &database.sequencer).await.unwrap()),
            10..=11 => {
                let table = if rng.one_in(2) { READINGS } else { TRUCKS };
                seen.folded += database.tables.compact(table, &database.sequencer).await.unwrap().tombstones;
            }
            _ => {
                database.sequencer.shutdown().await;
                database = simulation.open_keeping(RETENTION_MS).await;
                let head = database.sequencer.durable_head();
                seen.kept_over_restart += usize::from(database.tables.oldest_readable().0 < head);
            }
        }
        note(&database, &mut past, &model);
        seen.check(&database, &past, &rng).await;
    }
    seen
}

#[test]
fn a_table_can_be_read_as_it_was_at_every_commit_within_the_retention() {
    let mut all = Seen::default();
    for seed in 0..6 {
        let seen = simulate(seed, move |simulation| Box::pin(run(simulation, seed)));
        all.reads += seen.reads;
        all.cold_reads += seen.cold_reads;
        all.refused += seen.refused;
        all.folded += seen.folded;
        all.kept_over_restart += seen.kept_over_restart;
    }
    println!("{all:?}");
    assert!(all.reads > 1000 && all.cold_reads > 200, "{all:?}");
    assert!(all.refused > 1000 && all.folded > 50 && all.kept_over_restart > 10, "{all:?}");
}

/// Nothing but the past is lost with the file that tells of it.
#[test]
fn a_start_without_the_marks_begins_history_anew() {
    simulate(1, |simulation| {
        Box::pin(async move {
            let database = simulation.open_keeping(60_000).await;
            database.create(readings()).await.unwrap();
            let first = database.insert(READINGS, reading_rows(&[1, 2])).await.unwrap();
            database.tables.flush_all(&database.sequencer).await.unwrap();
            assert!(database.tables.as_of(&database.at_head(READINGS), first).is_ok());
            database.sequencer.shutdown().await;
            let marks = database.tables.tier.load().await.unwrap().manifest.history;
            assert_eq!(marks.len(), 1);
            database.tables.tier.remove_file(&marks[0].path).await.unwrap();
            let database = simulation.open_keeping(60_000).await;
            assert!(database.tables.as_of(&database.at_head(READINGS), first).is_err());
            let second = database.insert(READINGS, reading_rows(&[3])).await.unwrap();
            database.insert(READINGS, reading_rows(&[4])).await.unwrap();
            database.tables.flush_all(&database.sequencer).await.unwrap();
            let past = database.tables.as_of(&database.at_head(READINGS), second).unwrap();
            assert_eq!(readings_of(&past).await.into_values().collect::<Vec<_>>(), [1, 2, 3]);
        })
    });
}

/// Row ids from before history was kept are known, though no mark tells of them.
#[test]
fn history_begins_with_the_first_commit_after_it_was_asked_for() {
    simulate(1, |simulation| {
        Box::pin(async move {
            let database = simulation.open().await;
            database.create(readings()).await.unwrap();
            database.insert(READINGS, reading_rows(&[1, 2])).await.unwrap();
            database.tables.flush_all(&database.sequencer).await.unwrap();
            database.insert(READINGS, reading_rows(&[3])).await.unwrap();
            database.sequencer.shutdown().await;
            let database = simulation.open_keeping(60_000).await;
            let empty = database.write(Write::default()).await.unwrap();
            database.insert(READINGS, reading_rows(&[4])).await.unwrap();
            let gone = database.rows_of(READINGS, &BTreeSet::from([1])).await;
            database.change(READINGS, None, Some(gone)).await.unwrap();
            database.tables.flush_all(&database.sequencer).await.unwrap();
            let past = database.tables.as_of(&database.at_head(READINGS), empty).unwrap();
            let temperatures: Vec<i64> = readings_of(&past).await.into_values().collect();
            assert_eq!(temperatures, [1, 2, 3]);
            // The manifest's commit; the log tells of the later ones.
            let before = CommitNumber(2);
            assert_eq!(
                database.tables.as_of(&database.at_head(READINGS), before).unwrap_err().state(),
                SqlState::INVALID_PARAMETER
            );
        })
    });
}
