//! Disks and stores that fail for a while, and two servers over one store: reads go on, writes wait or are told, nothing
//! acknowledged is lost, and everything resumes by itself.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::crash::{Executor, Machine, Published, examine, open, registry, simulate, try_open};
use super::history::{CHECKPOINTS, Client, create_tables};
use super::ledger::Ledger;
use super::views::{VIEWS, define};
use crate::catalog::{CatalogChange, MaterializedView};
use crate::commit::{Durable, Write};
use crate::engine::core::Core;
use crate::error::{Result, SqlState};
use crate::table::EMPTY_COMMITS_MAX;
use crate::testing::{SimDisk, SimRng, SimStore, StoreTrouble};

/// Longer than writers wait for a failing disk.
const LONG: Duration = Duration::from_secs(60);

async fn client_of(machine: &Machine, ledger: &Arc<Mutex<Ledger>>, executor: &Executor) -> Client {
    let (core, _witness) = open(machine, registry(), executor).await;
    let client = Client { core, ledger: ledger.clone(), registry: registry(), clock: None, checkpoints: CHECKPOINTS };
    create_tables(&client).await;
    client
}

/// Sequences a write without waiting for it.
fn begin(client: &Client, rng: &SimRng, operation: i64) -> Result<Durable> {
    let write = client.draw_rows(rng, operation);
    client.sequence(&mut client.ledger.lock(), write)
}

async fn compare(client: &Client) {
    let found = examine(&client.core).await;
    found.check(&client.ledger.lock(), &Published::new());
}

/// The database after a power failure, by the ledger; what was sequenced and not durable may be gone.
fn recovered(machine: &Machine, ledger: &Arc<Mutex<Ledger>>, seed: u64) {
    machine.disk.restart();
    let (machine, ledger) = (machine.clone(), ledger.clone());
    simulate(seed, |executor| async move {
        let (core, _witness) = open(&machine, registry(), &executor).await;
        let found = examine(&core).await;
        found.check(&ledger.lock(), &Published::new());
    });
}

/// A disk that has no room, or whose syncs fail, for a minute.
fn the_disk_fails(seed: u64, operations: &'static [&'static str], kind: ErrorKind, expected: SqlState) {
    let (machine, ledger) = (Machine::new(seed), Arc::<Mutex<Ledger>>::default());
    let (running, book) = (machine.clone(), ledger.clone());
    simulate(seed, |executor| async move {
        let rng = SimRng::new(seed);
        let client = client_of(&running, &book, &executor).await;
        for operation in 0..4 {
            client.write(client.draw_rows(&rng, operation)).await;
        }
        let head = client.core.sequencer.durable_head();
        running.disk.trouble(operations, kind);
        let began = executor.clock.monotonic();
        let error = begin(&client, &rng, 5).unwrap().await.unwrap_err();
        assert_eq!(error.state(), expected, "{error:?}");
        assert!(error.detail().unwrap().contains("may still become durable"), "{error:?}");
        let waited = executor.clock.monotonic() - began;
        assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(8), "waited {waited:?}");
        // Nobody else waits, and nothing is kept of what is refused.
        let refused = client.core.sequencer.sequence(client.draw_rows(&rng, 6), |_| Ok(())).map(|_| ()).unwrap_err();
        assert_eq!(refused.state(), expected, "{refused:?}");
        assert!(refused.detail().unwrap().contains("Nothing of this write was kept"), "{refused:?}");
        // Reads go on, at what is durable.
        let found = examine(&client.core).await;
        assert_eq!(found.head, head);
        found.check(&book.lock(), &Published::new());
        executor.clock.sleep(LONG).await;
        let files = running.disk.contents().len();
        assert!(
            files < 12 || operations.contains(&"remove"),
            "files of attempts pile up: {:?}",
            running.disk.contents().keys()
        );
        // It resumes by itself: first what was under way, then whoever comes.
        running.disk.heal();
        executor.clock.sleep(Duration::from_secs(2)).await;
        assert_eq!(client.core.sequencer.durable_head(), head.next(), "the commit that was under way");
        for operation in 7..12 {
            client.write(client.draw_rows(&rng, operation)).await;
        }
        compare(&client).await;
        client.core.tables.flush_all(&client.core.sequencer).await.unwrap();
        client.write(client.draw_rows(&rng, 13)).await;
        compare(&client).await;
    });
    recovered(&machine, &ledger, seed);
}

#[test]
fn a_full_disk_refuses_writes_with_53100_and_resumes() {
    for seed in 0..4 {
        the_disk_fails(seed, &["append", "create"], ErrorKind::StorageFull, SqlState::DISK_FULL);
        the_disk_fails(seed + 50, &["append"], ErrorKind::StorageFull, SqlState::DISK_FULL);
    }
}

#[test]
fn a_failing_sync_refuses_writes_with_58030_and_resumes() {
    for seed in 10..14 {
        the_disk_fails(seed, &["sync"], ErrorKind::Other, SqlState::IO_ERROR);
        the_disk_fails(seed + 50, &["sync", "sync_dir", "remove"], ErrorKind::Other, SqlState::IO_ERROR);
    }
}

/// The machine dies while its disk fails: what was acknowledged is there, and nothing in part.
#[test]
fn a_power_failure_while_the_disk_fails_loses_nothing_acknowledged() {
    let troubles: [(&[&str], ErrorKind); 3] = [
        (&["append"], ErrorKind::StorageFull),
        (&["sync"], ErrorKind::Other),
        (&["create", "sync_dir"], ErrorKind::Other),
    ];
    for seed in 0..30 {
        let (operations, kind) = troubles[seed as usize % troubles.len()];
        let (machine, ledger) = (Machine::new(seed), Arc::<Mutex<Ledger>>::default());
        let (running, book) = (machine.clone(), ledger.clone());
        simulate(seed, |executor| async move {
            let rng = SimRng::new(seed);
            let client = client_of(&running, &book, &executor).await;
            for operation in 0..6 {
                client.write(client.draw_rows(&rng, operation)).await;
            }
            running.disk.trouble(operations, kind);
            for operation in 6..9 {
                // Some of them join the group that cannot be written.
                drop(begin(&client, &rng, operation));
            }
            executor.clock.sleep(Duration::from_millis(rng.below(9_000))).await;
            running.disk.pull_plug();
        });
        recovered(&machine, &ledger, seed);
    }
}

/// Flushes by age, as the server's thread does.
fn run_flusher(core: &Arc<Core>, executor: &Executor) -> watch::Sender<bool> {
    let (stop, stopped) = watch::channel(false);
    let (tables, sequencer) = (core.tables.clone(), core.sequencer.clone());
    executor.spawner.spawn(async move {
        // Ends with an error where it is fenced.
        tables.run_flusher(sequencer, stopped).await.ok();
    });
    stop
}

fn rows_hot(client: &Client) -> u64 {
    let catalog = client.core.tables.durable().catalog;
    catalog.tables().map(|table| client.core.tables.stats(table.id).unwrap().rows_hot).sum()
}

/// Whatever the store does: writes and reads go on, and flushes succeed by themselves once it works.
fn the_store_fails(seed: u64, trouble: impl Fn(&Executor) -> StoreTrouble + Send + 'static) {
    let (machine, ledger) = (Machine::new(seed), Arc::<Mutex<Ledger>>::default());
    let (running, book) = (machine.clone(), ledger.clone());
    simulate(seed, |executor| async move {
        let rng = SimRng::new(seed);
        let client = client_of(&running, &book, &executor).await;
        let _stop = run_flusher(&client.core, &executor);
        for operation in 0..4 {
            client.write(client.draw_rows(&rng, operation)).await;
        }
        executor.clock.sleep(Duration::from_secs(120)).await;
        assert_eq!(rows_hot(&client), 0, "flushed by age");
        running.store.trouble(Some(trouble(&executor)));
        for operation in 4..10 {
            client.write(client.draw_rows(&rng, operation)).await;
            executor.clock.sleep(Duration::from_secs(20)).await;
        }
        assert!(client.core.sequencer.durable_head().0 > 0);
        running.store.trouble(None);
        compare(&client).await;
        if seed.is_multiple_of(2) {
            running.store.land_late_puts().await;
        }
        executor.clock.sleep(Duration::from_secs(120)).await;
        running.store.land_late_puts().await;
        assert_eq!(rows_hot(&client), 0, "flushed by itself once the store works");
        client.write(client.draw_rows(&rng, 11)).await;
        executor.clock.sleep(Duration::from_secs(120)).await;
        assert_eq!(rows_hot(&client), 0, "and again");
        compare(&client).await;
    });
    recovered(&machine, &ledger, seed);
}

#[test]
fn a_store_that_does_not_answer_holds_up_flushes_alone() {
    for seed in 0..3 {
        the_store_fails(seed, |_| StoreTrouble::Unavailable);
        the_store_fails(seed, |_| StoreTrouble::PartialList);
    }
}

#[test]
fn a_store_that_answers_409_or_412_is_asked_again() {
    for seed in 0..3 {
        the_store_fails(seed, |_| StoreTrouble::Conflict);
        the_store_fails(seed, |_| StoreTrouble::PreconditionFailed);
    }
}

#[test]
fn a_put_with_an_unknown_outcome_is_read_back_and_never_written_over() {
    for seed in 0..6 {
        the_store_fails(seed, |_| StoreTrouble::TimeoutAfterSuccess);
        the_store_fails(seed, |_| StoreTrouble::TimeoutBeforeSuccess);
    }
}

#[test]
fn a_slow_store_delays_flushes_alone() {
    the_store_fails(1, |executor| StoreTrouble::Slow(executor.sim_clock.clone(), Duration::from_secs(3)));
}

/// A second server takes over the store: the first one's next flush finds its manifest, and it writes no more.
#[test]
fn the_older_of_two_servers_over_one_store_is_fenced() {
    for flushes_of_the_newer in [0, 1, 12] {
        let (machine, ledger) = (Machine::new(3), Arc::<Mutex<Ledger>>::default());
        let disk = SimDisk::new(4);
        let other = Machine { store: machine.store.clone(), disk, directory: "another" };
        let (running, newer, book) = (machine.clone(), other.clone(), ledger.clone());
        simulate(3, |executor| async move {
            let rng = SimRng::new(3);
            let client = client_of(&running, &book, &executor).await;
            client.write(client.draw_rows(&rng, 0)).await;
            client.core.tables.flush_all(&client.core.sequencer).await.unwrap();
            let taken = Arc::new(Mutex::new(book.lock().clone()));
            client.write(client.draw_rows(&rng, 1)).await;

            let (core, _witness) = open(&newer, registry(), &executor).await;
            assert!(core.recovered.taken_over);
            let second = Client { core, ledger: taken, registry: registry(), clock: None, checkpoints: CHECKPOINTS };
            compare(&second).await;
            for operation in 0..flushes_of_the_newer {
                second.write(second.draw_rows(&rng, operation)).await;
                second.core.tables.flush_all(&second.core.sequencer).await.unwrap();
            }

            let objects = running.store.contents().await;
            let manifests = |objects: &std::collections::BTreeMap<String, bytes::Bytes>| {
                objects
                    .iter()
                    .filter(|(name, _)| name.starts_with("manifest/"))
                    .map(|(n, b)| (n.clone(), b.clone()))
                    .collect::<Vec<_>>()
            };
            let error = client.core.tables.flush_all(&client.core.sequencer).await.unwrap_err();
            assert_eq!(error.state(), SqlState::OBJECT_IN_USE, "{error:?}");
            let refused = begin(&client, &rng, 2).map(|_| ()).unwrap_err();
            assert_eq!(refused.state(), SqlState::OBJECT_IN_USE, "{refused:?}");
            assert!(refused.message().contains("written by another server"), "{refused:?}");
            // Reads of the older go on; nothing of the newer's is gone or changed.
            compare(&client).await;
            let after = running.store.contents().await;
            assert!(manifests(&objects).iter().all(|(name, bytes)| after.get(name) == Some(bytes)));
            assert!(
                objects.iter().all(|(name, bytes)| after.get(name) == Some(bytes)),
                "an object of the newer changed"
            );
            second.write(second.draw_rows(&rng, 20)).await;
            second.core.tables.flush_all(&second.core.sequencer).await.unwrap();
            compare(&second).await;
        });
        // The older cannot come back over its log, which goes on behind a manifest that is none any more.
        machine.disk.restart();
        let (refused, _) = simulate(5, |executor| async move {
            let (machine, executor) = (machine, executor);
            try_open(&machine, registry(), &executor).await.map(|_| ()).unwrap_err()
        });
        assert_eq!(refused.state(), SqlState::OBJECT_IN_USE, "{refused:?}");
    }
}

/// A server without anything to flush notices too, by looking.
#[test]
fn an_idle_server_notices_that_it_is_fenced() {
    let machine = Machine::new(3);
    simulate(3, |executor| async move {
        let rng = SimRng::new(3);
        let client = client_of(&machine, &Arc::default(), &executor).await;
        let _stop = run_flusher(&client.core, &executor);
        executor.clock.sleep(Duration::from_secs(100)).await;
        client.write(client.draw_rows(&rng, 0)).await;
        executor.clock.sleep(Duration::from_secs(100)).await;
        let newer = Machine { store: machine.store.clone(), disk: SimDisk::new(9), directory: "another" };
        let _newer = open(&newer, registry(), &executor).await;
        executor.clock.sleep(Duration::from_secs(10)).await;
        let refused = begin(&client, &rng, 2).map(|_| ()).unwrap_err();
        assert_eq!(refused.state(), SqlState::OBJECT_IN_USE, "{refused:?}");
        compare(&client).await;
    });
}

/// A put of the former life arrives after the next one has loaded: nothing of either is lost.
#[test]
fn a_late_put_of_a_former_life_does_no_harm() {
    for seed in 0..6 {
        let (machine, ledger) = (Machine::new(seed), Arc::<Mutex<Ledger>>::default());
        let (running, book) = (machine.clone(), ledger.clone());
        simulate(seed, |executor| async move {
            let rng = SimRng::new(seed);
            let client = client_of(&running, &book, &executor).await;
            client.write(client.draw_rows(&rng, 0)).await;
            running.store.trouble(Some(StoreTrouble::TimeoutBeforeSuccess));
            client.core.tables.flush_all(&client.core.sequencer).await.unwrap_err();
            running.store.trouble(None);
            client.write(client.draw_rows(&rng, 1)).await;
        });
        machine.disk.kill_process();
        let (running, book) = (machine.clone(), ledger.clone());
        simulate(seed + 100, |executor| async move {
            let rng = SimRng::new(seed + 100);
            let client = client_of(&running, &book, &executor).await;
            compare(&client).await;
            running.store.land_late_puts().await;
            client.write(client.draw_rows(&rng, 2)).await;
            client.core.tables.flush_all(&client.core.sequencer).await.unwrap();
            compare(&client).await;
        });
        recovered(&machine, &ledger, seed);
    }
}

/// The files of an attempt that timed out arrive after the next attempt, which had more rows, has succeeded.
#[test]
fn a_late_put_of_a_former_attempt_does_no_harm() {
    for seed in 0..6 {
        let (machine, ledger) = (Machine::new(seed), Arc::<Mutex<Ledger>>::default());
        let (running, book) = (machine.clone(), ledger.clone());
        simulate(seed, |executor| async move {
            let rng = SimRng::new(seed);
            let client = client_of(&running, &book, &executor).await;
            client.write(client.draw_rows(&rng, 0)).await;
            running.store.trouble(Some(StoreTrouble::TimeoutBeforeSuccess));
            client.core.tables.flush_all(&client.core.sequencer).await.unwrap_err();
            running.store.trouble(None);
            client.write(client.draw_rows(&rng, 1)).await;
            client.core.tables.flush_all(&client.core.sequencer).await.unwrap();
            running.store.land_late_puts().await;
            compare(&client).await;
        });
        recovered(&machine, &ledger, seed);
    }
}

/// Clones of a store share its troubles, forks do not.
#[test]
fn troubles_belong_to_a_store() {
    let store = SimStore::new(SimDisk::new(1));
    let fork = store.fork(SimDisk::new(2));
    store.trouble(Some(StoreTrouble::Unavailable));
    futures::executor::block_on(async {
        use object_store::ObjectStoreExt;
        let path = object_store::path::Path::from("x");
        assert!(store.clone().put(&path, "y".into()).await.is_err());
        assert!(fork.put(&path, "y".into()).await.is_ok());
    });
}

/// A plan that a later version wrote, or with functions that are not known any more, keeps neither the server from
/// starting nor the other views from going on.
#[test]
fn a_view_that_cannot_be_read_back_is_named_and_others_go_on() {
    let (machine, ledger) = (Machine::new(70), Arc::<Mutex<Ledger>>::default());
    let running = machine.clone();
    simulate(70, |executor| async move {
        let client = client_of(&running, &ledger, &executor).await;
        for name in ["counts", "old"] {
            let catalog = client.ledger.lock().state.catalog.clone();
            let mut view = MaterializedView::clone(&define(name, VIEWS[0].1, &catalog, &client.registry));
            if name == "old" {
                // The version of the plan.
                view.plan[4] = u8::MAX;
            }
            let catalog = vec![CatalogChange::CreateMaterializedView(Arc::new(view))];
            client.write(Write { catalog, ..Write::default() }).await;
        }
        client.write(client.draw_rows(&SimRng::new(70), 0)).await;
    });
    machine.disk.restart();
    simulate(71, |executor| async move {
        let (core, _witness) = open(&machine, registry(), &executor).await;
        let catalog = core.tables.durable().catalog;
        let [counts, old] = ["counts", "old"].map(|name| catalog.find(name).unwrap().id());
        let reads = core.sequencer.at_head(|_| core.dataflows.push_read(&[counts, old]));
        let (_, reads) = reads.await.unwrap();
        assert!(reads[&counts].as_ref().unwrap().batches(None, 7).next().is_some());
        let error = reads[&old].as_ref().err().unwrap();
        assert_eq!(error.state(), SqlState::FEATURE_NOT_SUPPORTED, "{error:?}");
        assert!(error.message().starts_with("materialized view \"old\" cannot be read back"), "{error:?}");
        assert!(error.hint().unwrap().contains("create it again"), "{error:?}");
    });
}

/// The wall clock is set wrong by an operator, a dead battery or a bad time server: an hour and a day both ways, 1970 and 2100.
#[test]
fn a_wall_clock_that_jumps_loses_nothing_and_takes_no_time_back() {
    const HOUR_US: i64 = 3_600_000_000;
    const YEAR_2100_US: i64 = 4_102_444_800_000_000;
    let jumps: [fn(i64) -> i64; 6] =
        [|_| HOUR_US, |_| -HOUR_US, |_| 24 * HOUR_US, |_| -24 * HOUR_US, |now| -now, |now| YEAR_2100_US - now];
    for (number, jump) in jumps.into_iter().enumerate() {
        let seed = 77 + number as u64;
        let (machine, ledger) = (Machine::new(seed), Arc::<Mutex<Ledger>>::default());
        let (running, book) = (machine.clone(), ledger.clone());
        let (last, _) = simulate(seed, |executor| async move {
            let rng = SimRng::new(seed);
            let client = client_of(&running, &book, &executor).await;
            let mut last = client.core.tables.durable().timestamp_us;
            let first = last;
            let jump_us = jump(executor.clock.now_us());
            for operation in 0..12 {
                match operation {
                    4 => executor.sim_clock.jump_wall_us(jump_us),
                    8 => executor.sim_clock.jump_wall_us(-jump_us),
                    _ => {}
                }
                client.write(client.draw_rows(&rng, operation)).await;
                let time = client.core.tables.durable().timestamp_us;
                assert!(time > last, "jump {jump_us}: {last} came before {time}");
                last = time;
            }
            assert!(last - first < HOUR_US / 6, "jump {jump_us}: a jump of more than ten minutes was believed at once");
            compare(&client).await;
            last
        });
        // It is wrong when the machine comes back.
        machine.disk.restart();
        simulate(seed, |executor| async move {
            executor.sim_clock.jump_wall_us(jump(executor.clock.now_us()));
            let rng = SimRng::new(seed);
            let client = client_of(&machine, &ledger, &executor).await;
            for operation in 20..24 {
                client.write(client.draw_rows(&rng, operation)).await;
            }
            assert!(client.core.tables.durable().timestamp_us > last, "time goes on from the last life's");
            compare(&client).await;
        });
    }
}

/// A view that follows time has a commit made every second, also when nobody writes for months.
#[test]
fn commits_without_rows_do_not_pile_up_in_the_log() {
    let replayed_after = |wait: Duration| {
        let (machine, ledger) = (Machine::new(91), Arc::<Mutex<Ledger>>::default());
        let running = machine.clone();
        simulate(91, |executor| async move {
            let client = client_of(&running, &ledger, &executor).await;
            for _ in 0..EMPTY_COMMITS_MAX {
                let ((), durable) = client.core.sequencer.sequence(Write::default(), |_| Ok(())).unwrap();
                durable.await.unwrap();
            }
            let _stop = run_flusher(&client.core, &executor);
            executor.clock.sleep(wait).await;
        });
        machine.disk.restart();
        let recovered = simulate(92, |executor| async move {
            let (core, _witness) = open(&machine, registry(), &executor).await;
            core.recovered.commits_replayed
        });
        recovered.0
    };
    assert!(replayed_after(Duration::ZERO) >= EMPTY_COMMITS_MAX);
    // What the newest segment holds.
    let kept = replayed_after(LONG);
    assert!(kept < EMPTY_COMMITS_MAX / 10, "{kept} commits are still in the log");
}
