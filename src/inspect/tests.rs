//! Damage of every kind to every kind of file of a real data directory: found, named, never served.

use std::collections::BTreeMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::engine::Server;
use crate::error::SqlState;
use crate::io::Disk;
use crate::settings::{Settings, TableSettings};
use crate::testing::{SimDisk, SimRng};
use crate::tier::Tier;
use crate::types::CommitNumber;

/// Printed with every failure; another one samples other damage.
const SEED: u64 = 20_261_126;
/// Damages of each kind to each file.
const SAMPLES: usize = 12;

const HISTORY: &str = "
    CREATE TABLE readings (device text, n bigint, temperature double precision);
    CREATE TABLE devices (name text PRIMARY KEY, load bigint);
    CREATE MATERIALIZED VIEW totals WITH (subscribe_retention = '1 hour') AS SELECT device, sum(n) AS n, count(*) AS rows FROM readings GROUP BY device;
    INSERT INTO readings SELECT 'truck_' || (i % 7), i, i / 3.0 FROM generate_series(1, 500) AS t(i);
    INSERT INTO devices VALUES ('truck_0', 1), ('truck_1', 2), ('truck_2', 3);
    FLUSH;
    DELETE FROM readings WHERE n <= 20;
    UPDATE devices SET load = load + 10;
    FLUSH;
    INSERT INTO readings VALUES ('truck_1', 1001, 1.5);
";

/// After a checkpoint.
const LATER: &str = "
    INSERT INTO readings VALUES ('truck_2', 1002, 2.5);
    DELETE FROM readings WHERE n = 30;
    INSERT INTO readings VALUES ('truck_3', 1003, 3.5), ('truck_4', 1004, 4.5);
";

/// Fails with 22012 where another answer than the right one is given.
const QUESTIONS: [&str; 3] = [
    "SELECT 1 / (CASE WHEN count(*) = 483 AND sum(n) = 129020 AND sum(temperature) BETWEEN 41681.9 AND 41682.1 THEN 1 ELSE 0 END) FROM readings",
    "SELECT 1 / (CASE WHEN count(*) = 3 AND sum(load) = 36 THEN 1 ELSE 0 END) FROM devices",
    "SELECT 1 / (CASE WHEN sum(rows) = 483 AND sum(n) = 129020 THEN 1 ELSE 0 END) FROM totals",
];

fn settings(directory: &FsPath) -> Settings {
    Settings {
        data_dir: directory.to_path_buf(),
        listen_sql: ([127, 0, 0, 1], 0).into(),
        listen_http: ([127, 0, 0, 1], 0).into(),
        listen_flight: ([127, 0, 0, 1], 0).into(),
        trust_loopback: true,
        table: TableSettings { history_retention_ms: 3_600_000, ..TableSettings::default() },
        ..Settings::default()
    }
}

/// A data directory's files, by path below it.
type Files = BTreeMap<String, Vec<u8>>;

/// What a server leaves that was killed after the history.
async fn written() -> Files {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(settings(directory.path())).await.unwrap();
    server.run_sql(HISTORY).await.unwrap();
    server.checkpoint().await.unwrap();
    server.run_sql(LATER).await.unwrap();
    server.checkpoint().await.unwrap();
    ask(&server).await.unwrap();
    server.crash().await;
    let mut files = Files::new();
    read_files(directory.path(), directory.path(), &mut files);
    files.retain(|name, _| !name.starts_with("spill/") && name != "LOCK");
    let kinds = [
        "changes/",
        "wal/",
        "tier/manifest/",
        "tier/data/1",
        "tier/data/history/",
        "-deleted.parquet",
        "identity.json",
        ".pages",
        ".checkpoint",
    ];
    for kind in kinds {
        assert!(files.keys().any(|name| name.contains(kind)), "no {kind} in {:?}", files.keys());
    }
    files
}

async fn ask(server: &Server) -> crate::error::Result<()> {
    for question in QUESTIONS {
        server.run_sql(question).await?;
    }
    Ok(())
}

fn read_files(root: &FsPath, directory: &FsPath, files: &mut Files) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            read_files(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

fn write_files(root: &FsPath, files: &Files) {
    for (name, bytes) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// The files in memory, as offline readers open them.
async fn opened(files: &Files) -> (SimDisk, Arc<Tier>) {
    let (disk, store) = (SimDisk::new(1), Arc::new(InMemory::new()));
    for (name, bytes) in files {
        match name.strip_prefix("tier/") {
            Some(object) => {
                store.put(&Path::from(object), bytes.clone().into()).await.unwrap();
            }
            None => disk.plant(name, bytes.clone()),
        }
    }
    (disk, Tier::new(store as Arc<dyn ObjectStore>))
}

async fn checked(files: &Files) -> CheckReport {
    let (disk, tier) = opened(files).await;
    check(&disk, Some(&tier)).await.unwrap()
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Cut,
    Zeroed,
    Flipped,
}

/// A damaged copy of `bytes`, and from which byte on it differs; `None` where nothing changed.
fn damage(bytes: &[u8], kind: Kind, rng: &SimRng) -> Option<(Vec<u8>, usize)> {
    let at = rng.below(bytes.len() as u64) as usize;
    let mut damaged = bytes.to_vec();
    match kind {
        Kind::Cut => damaged.truncate(at),
        Kind::Zeroed => {
            let end = (at + 1 + rng.below(64) as usize).min(bytes.len());
            damaged[at..end].fill(0);
        }
        Kind::Flipped => damaged[at] ^= 1 << rng.below(8),
    }
    let first = damaged.iter().zip(bytes).position(|(new, old)| new != old).unwrap_or(damaged.len());
    (damaged != bytes).then_some((damaged, first))
}

/// Offset and end of each record of the log's last segment.
fn records(files: &Files) -> (String, Vec<(usize, usize)>) {
    let (disk, _) = futures::executor::block_on(opened(files));
    let (mut path, mut starts) = (String::new(), Vec::new());
    crate::wal::survey(&disk, &mut |record| {
        if record.path != path {
            path = record.path.to_string();
            starts.clear();
        }
        starts.push(record.offset as usize);
        Ok(())
    })
    .unwrap();
    let end = files[&path].len();
    let ends = starts.iter().skip(1).copied().chain([end]);
    (path, starts.iter().copied().zip(ends).collect())
}

/// Every damage to every file but the log's last record, which the tail rule gives up.
fn damages(files: &Files, samples: usize, seed: u64) -> Vec<(String, Kind, usize, Vec<u8>)> {
    let rng = SimRng::new(seed);
    let (last_segment, records) = records(files);
    let last_record = records.last().unwrap().0;
    let mut damages = Vec::new();
    for (name, bytes) in files {
        for kind in [Kind::Cut, Kind::Zeroed, Kind::Flipped] {
            for _ in 0..samples {
                let Some((damaged, first)) = damage(bytes, kind, &rng) else { continue };
                // What a torn write can leave is no damage: the last record alone, or nothing behind a whole one.
                let torn = *name == last_segment && (first >= last_record || matches!(kind, Kind::Cut));
                if !torn {
                    damages.push((name.clone(), kind, first, damaged));
                }
            }
        }
    }
    damages
}

#[tokio::test]
async fn a_sound_directory_is_called_sound_and_shown() {
    let files = written().await;
    let report = checked(&files).await;
    assert!(report.is_sound(), "{report}");
    assert!(report.findings.is_empty(), "{report}");
    assert!(report.segments > 0 && report.commits > 5 && report.files >= 4 && report.relations == 3, "{report}");
    let (disk, tier) = opened(&files).await;
    let mut text = String::new();
    assert!(show_wal(&disk, CommitNumber(0), &mut text).unwrap().is_empty());
    assert!(text.contains("create materialized view totals") && text.contains("+2 -0"), "{text}");
    let mut text = String::new();
    assert!(show_manifest(&tier, &mut text).await.unwrap().is_empty());
    assert!(text.contains("readings: cold up to commit") && text.contains("deleted rows"), "{text}");
    let mut text = String::new();
    assert!(show_checkpoints(&disk, &mut text).unwrap().is_empty());
    assert!(text.contains("1 views at commit") && text.contains("pages in 2 files"), "{text}");
    assert!(report.checkpoints == 2 && report.pages == 2 && report.changes > 3, "{report}");
    let mut text = String::new();
    assert!(show_catalog(&disk, Some(&tier), &mut text).await.unwrap().is_empty());
    assert!(text.contains("table with a primary key devices") && text.contains("name text not null key"), "{text}");
    assert!(plan_repair(&disk, Some(&tier), RepairOptions::default()).await.unwrap().is_needless());
}

#[tokio::test]
async fn every_damage_is_found_and_its_file_named() {
    let files = written().await;
    let damages = damages(&files, SAMPLES, SEED);
    println!("seed {SEED}, {} damages to {} files", damages.len(), files.len());
    for (name, kind, first, damaged) in damages {
        let mut changed = files.clone();
        changed.insert(name.clone(), damaged);
        let report = checked(&changed).await;
        let object = name.strip_prefix("tier/").unwrap_or(&name);
        // The end of what is kept of a view's changes may be of a crash, and is made again from the log.
        let least = if name.starts_with("changes/") { Severity::Note } else { Severity::MadeAgain };
        let named = report.findings.iter().any(|finding| finding.severity >= least && finding.file == object);
        assert!(named, "seed {SEED}: {kind:?} from byte {first} of {name}:\n{report}");
        if name.starts_with("state/") || name.starts_with("changes/") {
            assert!(report.is_sound(), "it heals: {report}");
            continue;
        }
        let (disk, tier) = opened(&changed).await;
        let repair = plan_repair(&disk, Some(&tier), RepairOptions::default()).await.unwrap();
        assert!(!repair.is_needless(), "seed {SEED}: {kind:?} from byte {first} of {name}");
    }
}

#[tokio::test]
async fn a_missing_file_is_found() {
    let files = written().await;
    let newest = files.keys().filter(|name| name.contains("tier/manifest")).max().unwrap().clone();
    for name in files.keys() {
        let mut less = files.clone();
        less.remove(name);
        let report = checked(&less).await;
        // Older manifests are kept for need alone. Nothing else says that there was a log's end: that is a note.
        let is_of_views = name.starts_with("state/") || name.starts_with("changes/");
        let may_go = name.contains("tier/manifest") && *name != newest || name.starts_with("wal/") || is_of_views;
        assert_eq!(report.is_sound(), may_go, "without {name}: {report}");
        assert_eq!(report.to_string().contains("no segment is here"), name.starts_with("wal/"), "{report}");
    }
}

/// A start is refused, or a read is, or the answer is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_damage_is_ever_served() {
    let files = written().await;
    let damages = damages(&files, 1, SEED);
    println!("seed {SEED}, {} damages", damages.len());
    let (mut refused, mut failed, mut right) = (0, 0, 0);
    for (name, kind, first, damaged) in damages {
        let directory = tempfile::tempdir().unwrap();
        let mut changed = files.clone();
        changed.insert(name.clone(), damaged);
        write_files(directory.path(), &changed);
        let context = format!("seed {SEED}: {kind:?} from byte {first} of {name}");
        let expected = |state| matches!(state, SqlState::DATA_CORRUPTED | SqlState::FEATURE_NOT_SUPPORTED);
        match Server::start(settings(directory.path())).await {
            Err(error) => {
                refused += 1;
                assert!(expected(error.state()), "{context}: {error:?}");
            }
            Ok(server) => {
                match ask(&server).await {
                    Ok(()) => right += 1,
                    Err(error) => {
                        failed += 1;
                        assert!(expected(error.state()) || name.contains("data/"), "{context}: {error:?}");
                        assert_ne!(error.state(), SqlState::DIVISION_BY_ZERO, "{context}: a wrong answer");
                    }
                }
                server.crash().await;
            }
        }
    }
    println!("{refused} starts refused, {failed} reads failed, {right} answers right");
    assert!(refused > 0 && failed > 0);
}

#[tokio::test]
async fn the_tail_cut_at_each_byte_of_the_last_three_records_is_a_note_and_is_repaired() {
    let files = written().await;
    let (segment, records) = records(&files);
    let from = records[records.len() - 3].0;
    let whole = files[&segment].len();
    for length in from..whole {
        let mut changed = files.clone();
        changed.get_mut(&segment).unwrap().truncate(length);
        let (disk, tier) = opened(&changed).await;
        let report = check(&disk, Some(&tier)).await.unwrap();
        assert!(report.is_sound(), "cut at {length}: {report}");
        let start = records.iter().map(|record| record.0).rfind(|start| *start <= length).unwrap();
        let offsets: Vec<Option<u64>> = report.findings.iter().map(|finding| finding.offset).collect();
        let expected = if start == length { vec![] } else { vec![Some(start as u64)] };
        assert_eq!(offsets, expected, "cut at {length}: {report}");
        if (length - from) % 16 == 1 {
            let repair = plan_repair(&disk, Some(&tier), RepairOptions::default()).await.unwrap();
            assert!(repair.left.is_empty(), "{repair}");
            repair.carry_out(&disk).unwrap();
            assert!(check(&disk, Some(&tier)).await.unwrap().findings.is_empty(), "cut at {length}");
            let kept: Vec<String> = disk.list("set-aside").unwrap();
            assert_eq!(kept.len(), usize::from(start != length), "what was cut is kept");
        }
    }
}

#[tokio::test]
async fn a_damaged_log_is_cut_only_on_request_and_then_starts() {
    let files = written().await;
    let (segment, records) = records(&files);
    let (bad, _) = records[records.len() - 3];
    let mut changed = files.clone();
    changed.get_mut(&segment).unwrap()[bad + 30] ^= 1;
    let (disk, tier) = opened(&changed).await;
    let untouched = plan_repair(&disk, Some(&tier), RepairOptions::default()).await.unwrap();
    assert_eq!(untouched.left.len(), 1, "{untouched}");
    assert!(untouched.left[0].contains("--cut-log-at-damage"), "{untouched}");
    let options = RepairOptions { cut_log_at_damage: true };
    let repair = plan_repair(&disk, Some(&tier), options).await.unwrap();
    assert!(repair.to_string().contains("are lost"), "{repair}");
    repair.carry_out(&disk).unwrap();
    let report = check(&disk, Some(&tier)).await.unwrap();
    assert!(report.is_sound(), "{report}");

    let directory = tempfile::tempdir().unwrap();
    let mut repaired: Files = changed.into_iter().filter(|(name, _)| name.starts_with("tier/")).collect();
    repaired.extend(disk.contents().into_iter().filter(|(name, _)| !name.starts_with("set-aside/")));
    write_files(directory.path(), &repaired);
    let server = Server::start(settings(directory.path())).await.unwrap();
    server.run_sql("INSERT INTO readings VALUES ('truck_9', 1, 1)").await.unwrap();
    server.shutdown().await.unwrap();
    let (directory_disk, tier) = {
        let opened = Directory::open(directory.path(), "").unwrap();
        assert!(!opened.in_use);
        (opened.disk, opened.tier)
    };
    assert!(check(&*directory_disk, tier.as_deref()).await.unwrap().is_sound());
}

#[tokio::test]
async fn a_directory_in_use_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(settings(directory.path())).await.unwrap();
    let opened = Directory::open(directory.path(), "").unwrap();
    assert!(opened.in_use);
    assert_eq!(opened.require_unused().unwrap_err().state(), SqlState::OBJECT_IN_USE);
    server.shutdown().await.unwrap();
    assert!(!Directory::open(directory.path(), "").unwrap().in_use);
    let missing = Directory::open(&directory.path().join("nothing"), "").err().unwrap();
    assert_eq!(missing.state(), SqlState::IO_ERROR);
}

/// The whole state of a view turns to zeros under a running server, which has none of it in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_with_damaged_state_is_made_again_by_itself() {
    let files = written().await;
    let directory = tempfile::tempdir().unwrap();
    let mut changed = files.clone();
    let pages = changed.iter_mut().filter(|(name, _)| name.ends_with(".pages"));
    // Behind the file's header.
    pages.for_each(|(_, bytes)| bytes[8..].fill(0));
    write_files(directory.path(), &changed);
    let server = Server::start(settings(directory.path())).await.unwrap();
    assert_eq!(server.recovered().views_to_rebuild, 0, "nothing is read of a page before it is touched");
    // A reader meets the damage, and so does a step; then the view has failed until it is made again.
    let mut refused = 0;
    while let Err(error) = ask(&server).await {
        let said = [SqlState::DATA_CORRUPTED, SqlState::OBJECT_NOT_IN_STATE].contains(&error.state());
        assert!(said, "{error:?}");
        refused += 1;
        assert!(refused < 1500, "nobody makes the view again: {error:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(refused > 0);
    server.run_sql("INSERT INTO readings VALUES ('truck_9', 0, 0)").await.unwrap();
    server.run_sql("SELECT 1 / (CASE WHEN sum(rows) = 484 THEN 1 ELSE 0 END) FROM totals").await.unwrap();
    // The next checkpoints have the new state.
    server.checkpoint().await.unwrap();
    server.checkpoint().await.unwrap();
    server.shutdown().await.unwrap();
    let opened = Directory::open(directory.path(), "").unwrap();
    let report = check(&*opened.disk, opened.tier.as_deref()).await.unwrap();
    assert!(report.findings.is_empty(), "{report}");
}
