//! The log on a simulated disk: tails torn at each byte, damage, failed syncs, truncation.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::*;
use crate::error::{Result, SqlState};
use crate::io::Disk;
use crate::testing::{DiskFault, FaultEffect, SimDisk};
use crate::types::CommitNumber;

const FIRST: &str = "wal/00000000000000000001.log";

fn payload(commit: u64) -> Vec<u8> {
    format!("payload of commit {commit}").into_bytes()
}

fn writer_on(disk: &SimDisk, segment_bytes_max: u64, after: u64) -> WalWriter {
    let replayed = replay(disk, CommitNumber(after), CommitNumber(after), &mut |_| Ok(())).unwrap();
    WalWriter::new(Arc::new(disk.clone()), segment_bytes_max, replayed.tail)
}

fn append(writer: &mut WalWriter, commits: std::ops::RangeInclusive<u64>) {
    for commit in commits {
        writer.append(CommitNumber(commit), 1, &payload(commit), 7).unwrap();
    }
}

/// A log of commits 1 to `last` in one segment.
fn log_of(last: u64) -> SimDisk {
    let disk = SimDisk::new(1);
    append(&mut writer_on(&disk, 1 << 20, 0), 1..=last);
    disk
}

/// Up to three commits behind one, read again.
fn next_three(disk: &SimDisk, after: u64) -> Result<Vec<u64>> {
    let mut commits = Vec::new();
    reread(disk, CommitNumber(after), &mut |record| {
        assert_eq!(record.payload, payload(record.commit.0));
        commits.push(record.commit.0);
        Ok(if commits.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(commits)
}

/// The commits that replay hands out; their payloads are checked.
fn commits(disk: &SimDisk, after: u64) -> Result<(Vec<u64>, WalReplayed)> {
    let mut commits = Vec::new();
    let replayed = replay(disk, CommitNumber(after), CommitNumber(after), &mut |record| {
        assert_eq!(record.payload, payload(record.commit.0));
        commits.push(record.commit.0);
        Ok(())
    })?;
    Ok((commits, replayed))
}

fn with_file(name: &str, bytes: Vec<u8>) -> SimDisk {
    let disk = SimDisk::new(1);
    disk.plant(name, bytes);
    disk
}

fn record_bytes(commit: u64) -> usize {
    FRAME_BYTES + payload(commit).len()
}

#[test]
fn an_empty_directory_replays_to_nothing() {
    let (found, replayed) = commits(&SimDisk::new(1), 0).unwrap();
    assert!(found.is_empty() && replayed.last_commit.is_none() && replayed.dropped_tail.is_none());
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_records_is_cut_and_reported() {
    let whole = log_of(5).contents().remove(FIRST).unwrap();
    for length in HEADER_BYTES..whole.len() {
        let disk = with_file(FIRST, whole[..length].to_vec());
        let (found, replayed) = commits(&disk, 0).unwrap();
        let full = (length - HEADER_BYTES) / record_bytes(1);
        let end = HEADER_BYTES + full * record_bytes(1);
        assert_eq!(found, (1..=full as u64).collect::<Vec<_>>(), "cut at {length}");
        let dropped = replayed.dropped_tail.clone();
        match length - end {
            0 => assert_eq!(dropped, None),
            bytes => {
                let dropped = dropped.unwrap();
                assert_eq!((dropped.path.as_str(), dropped.offset, dropped.bytes), (FIRST, end as u64, bytes as u64));
            }
        }
        // The log goes on behind the cut, and reads back as if the torn bytes were not there.
        let mut writer = WalWriter::new(Arc::new(disk.clone()), 1 << 20, replayed.tail);
        append(&mut writer, full as u64 + 1..=7);
        let (found, replayed) = commits(&disk, 0).unwrap();
        assert_eq!(found, (1..=7).collect::<Vec<_>>(), "cut at {length}, written on");
        assert_eq!(replayed.dropped_tail, None, "a tail is reported once");
    }
}

#[test]
fn a_header_torn_at_any_byte_is_a_segment_that_never_was() {
    let whole = log_of(1).contents().remove(FIRST).unwrap();
    for length in 0..HEADER_BYTES {
        let disk = with_file(FIRST, whole[..length].to_vec());
        let (found, replayed) = commits(&disk, 0).unwrap();
        assert!(found.is_empty());
        assert_eq!(replayed.dropped_tail.as_ref().unwrap().offset, 0);
        append(&mut WalWriter::new(Arc::new(disk.clone()), 1 << 20, replayed.tail), 1..=2);
        assert_eq!(commits(&disk, 0).unwrap().0, [1, 2]);
    }
}

#[test]
fn a_zero_filled_tail_is_cut_and_called_so() {
    let whole = log_of(3).contents().remove(FIRST).unwrap();
    for zeros in [1, FRAME_BYTES, 4096] {
        let mut bytes = whole.clone();
        bytes.extend(vec![0; zeros]);
        let (found, replayed) = commits(&with_file(FIRST, bytes), 0).unwrap();
        assert_eq!(found, [1, 2, 3]);
        let dropped = replayed.dropped_tail.unwrap();
        assert!(dropped.zero_filled && dropped.bytes == zeros as u64);
        let said = format!("dropped a zero-filled tail of {zeros} bytes of \"{FIRST}\" at offset {}", whole.len());
        assert_eq!(dropped.to_string(), said);
    }
}

#[test]
fn a_changed_byte_anywhere_but_in_the_last_record_is_refused_by_place() {
    let whole = log_of(4).contents().remove(FIRST).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        let outcome = commits(&with_file(FIRST, bytes), 0);
        let record = at.checked_sub(HEADER_BYTES).map(|at| at / record_bytes(1));
        match record {
            Some(3) => assert_eq!(outcome.unwrap().0, [1, 2, 3], "byte {at}"),
            _ => {
                let error = outcome.unwrap_err();
                let offset = record.map_or(0, |record| HEADER_BYTES + record * record_bytes(1));
                assert_eq!(error.state(), SqlState::DATA_CORRUPTED, "byte {at}");
                let said = format!("write-ahead log \"{FIRST}\" is damaged at offset {offset}");
                assert_eq!(error.message(), said, "byte {at}");
            }
        }
    }
}

#[test]
fn a_zeroed_record_in_the_middle_is_damage_and_not_a_tail() {
    let mut bytes = log_of(4).contents().remove(FIRST).unwrap();
    let from = HEADER_BYTES + record_bytes(1);
    bytes[from..from + record_bytes(2)].fill(0);
    let error = commits(&with_file(FIRST, bytes), 0).unwrap_err();
    assert_eq!(error.state(), SqlState::DATA_CORRUPTED);
}

#[test]
fn a_log_stored_as_data_inside_a_torn_record_is_not_taken_for_damage() {
    let disk = log_of(1);
    let stored = log_of(9).contents().remove(FIRST).unwrap();
    let mut writer = writer_on(&disk, 1 << 20, 0);
    writer.append(CommitNumber(2), 1, &stored, 7).unwrap();
    let second = "wal/00000000000000000002.log";
    let mut bytes = disk.contents().remove(second).unwrap();
    bytes.pop();
    disk.plant(second, bytes);
    let (found, replayed) = commits(&disk, 0).unwrap();
    assert_eq!(found, [1]);
    assert_eq!(replayed.dropped_tail.unwrap().offset, HEADER_BYTES as u64);
}

#[test]
fn a_later_format_is_refused_by_its_number() {
    let mut bytes = log_of(2).contents().remove(FIRST).unwrap();
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
    bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    let error = commits(&with_file(FIRST, bytes), 0).unwrap_err();
    assert_eq!(error.state(), SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(error.message(), format!("\"{FIRST}\" has format 2"));
}

#[test]
fn segments_follow_each_other_and_each_is_checked_to_its_end() {
    let disk = SimDisk::new(1);
    append(&mut writer_on(&disk, 200, 0), 1..=20);
    let files = disk.contents();
    assert!(files.len() > 5, "{:?}", files.keys());
    assert_eq!(commits(&disk, 0).unwrap().0, (1..=20).collect::<Vec<_>>());
    assert_eq!(commits(&disk, 17).unwrap().0, [18, 19, 20]);
    for (name, bytes) in files.iter().take(files.len() - 1) {
        let mut short: BTreeMap<_, _> = files.clone();
        short.insert(name.clone(), bytes[..bytes.len() - 1].to_vec());
        let disk = SimDisk::new(1);
        short.into_iter().for_each(|(name, bytes)| disk.plant(&name, bytes));
        let error = commits(&disk, 0).unwrap_err();
        assert!(error.message().starts_with(&format!("write-ahead log \"{name}\" is damaged")), "{error:?}");
    }
}

#[test]
fn a_missing_segment_is_refused_with_the_commits_that_went() {
    let disk = SimDisk::new(1);
    append(&mut writer_on(&disk, 200, 0), 1..=10);
    disk.remove(FIRST).unwrap();
    let error = commits(&disk, 0).unwrap_err();
    assert_eq!(error.state(), SqlState::DATA_CORRUPTED);
    assert_eq!(error.message(), "commits 1 to 2 are missing from the write-ahead log");
    assert_eq!(commits(&disk, 2).unwrap().0, (3..=10).collect::<Vec<_>>());
}

#[test]
fn truncation_removes_whole_segments_and_what_is_left_replays() {
    let disk = SimDisk::new(1);
    let mut writer = writer_on(&disk, 200, 0);
    append(&mut writer, 1..=10);
    let files = disk.contents().len();
    assert_eq!(writer.truncate(CommitNumber(1)).unwrap(), 0);
    assert_eq!(writer.truncate(CommitNumber(5)).unwrap(), 2);
    assert_eq!(disk.contents().len(), files - 2);
    assert_eq!(commits(&disk, 5).unwrap().0, [6, 7, 8, 9, 10]);
    writer.truncate(CommitNumber(10)).unwrap();
    assert_eq!(disk.contents().len(), 1, "the last one stays");
    append(&mut writer, 11..=12);
    assert_eq!(commits(&disk, 10).unwrap().0, [11, 12]);
}

/// After a failed fsync Linux drops the dirty pages: whatever a later sync says, the bytes may be gone.
#[test]
fn a_failed_call_abandons_the_segment_and_the_retry_stands_in_a_new_one() {
    for effect in [FaultEffect::Before, FaultEffect::After] {
        let calls = {
            let disk = SimDisk::new(1);
            append(&mut writer_on(&disk, 200, 0), 1..=4);
            disk.calls().calls
        };
        for call in 1..calls {
            let disk = SimDisk::new(call);
            disk.fault_at(call, DiskFault::Fail(effect));
            let mut writer = writer_on(&disk, 200, 0);
            let mut failures = 0;
            for commit in 1..=4 {
                while writer.append(CommitNumber(commit), 1, &payload(commit), 7).is_err() {
                    failures += 1;
                    assert!(failures < 3, "one fault, one failure");
                }
            }
            assert_eq!(failures, 1, "call {call}");
            assert_eq!(commits(&disk, 0).unwrap().0, [1, 2, 3, 4], "call {call}");
            disk.restart();
            let (found, replayed) = commits(&disk, 0).unwrap();
            assert_eq!(found, [1, 2, 3, 4], "call {call}, after a power failure");
            let mut writer = WalWriter::new(Arc::new(disk.clone()), 200, replayed.tail);
            append(&mut writer, 5..=9);
            writer.truncate(CommitNumber(8)).unwrap();
            assert_eq!(disk.contents().len(), 1, "nothing stale is left: {:?}", disk.contents().keys());
            assert_eq!(commits(&disk, 8).unwrap().0, [9]);
        }
    }
}

/// Two attempts fail, and their files cannot be removed either: what counts stands behind them, and they go later.
#[test]
fn failed_attempts_that_stay_hide_nothing() {
    for failing in ["append", "sync", "sync_dir"] {
        let disk = SimDisk::new(1);
        let mut writer = writer_on(&disk, 100, 0);
        append(&mut writer, 1..=2);
        disk.trouble(&[failing, "remove"], std::io::ErrorKind::Other);
        let mut attempts = BTreeSet::new();
        for _ in 0..3 {
            writer.append(CommitNumber(3), 1, &payload(3), 7).unwrap_err();
            attempts.extend(disk.contents().into_keys());
        }
        disk.heal();
        let stayed = attempts.len();
        // It stands in the last segment: nothing behind it says which file counts.
        append(&mut writer, 3..=3);
        assert_eq!(disk.contents().keys().filter(|name| attempts.contains(*name)).count(), stayed, "{failing}");
        assert!(stayed >= 3, "{failing}: {attempts:?}");
        disk.kill_process();
        let (found, replayed) = commits(&disk, 0).unwrap();
        assert_eq!(found, [1, 2, 3], "{failing}");
        append(&mut WalWriter::new(Arc::new(disk.clone()), 100, replayed.tail), 4..=6);
        disk.restart();
        let (found, replayed) = commits(&disk, 0).unwrap();
        assert_eq!(found, [1, 2, 3, 4, 5, 6], "{failing}, after a power failure");
        WalWriter::new(Arc::new(disk.clone()), 100, replayed.tail).truncate(CommitNumber(6)).unwrap();
        assert!(disk.contents().len() <= 2, "{failing}: {:?}", disk.contents().keys());
    }
}

/// Segments of a few records, the last one with a torn tail.
#[test]
fn the_log_is_read_again_piece_by_piece_from_any_commit() {
    let disk = SimDisk::new(1);
    append(&mut writer_on(&disk, 200, 0), 1..=11);
    let (last, mut bytes) = disk.contents().pop_last().unwrap();
    bytes.extend([7; 9]);
    disk.plant(&last, bytes);
    assert!(disk.contents().len() > 3, "segments: {:?}", disk.contents().keys());
    for after in 0..=11 {
        let expected: Vec<u64> = (after + 1..=11).take(3).collect();
        assert_eq!(next_three(&disk, after).unwrap(), expected, "after {after}");
    }
    // What is not read of it may be damaged, and what is may not.
    let (first, mut bytes) = disk.contents().pop_first().unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    disk.plant(&first, bytes);
    assert_eq!(next_three(&disk, 0).unwrap_err().state(), SqlState::DATA_CORRUPTED);
    assert_eq!(next_three(&disk, 8).unwrap(), [9, 10, 11]);
}

#[test]
fn names_of_segments_sort_as_their_commits_do() {
    use super::name::SegmentName;
    let names = ["00000000000000000009.log", "00000000000000000010.log", "00000000000000000010-0001.log"];
    let parsed: Vec<SegmentName> = names.iter().map(|name| SegmentName::parse(name).unwrap()).collect();
    assert!(parsed.is_sorted());
    assert_eq!(parsed.iter().map(SegmentName::to_string).collect::<Vec<_>>(), names);
    for other in ["9.log", "LOCK", "00000000000000000009.tmp", "+0000000000000000009.log"] {
        assert_eq!(SegmentName::parse(other), None, "{other}");
    }
}

/// A survey and a replay of the same bytes say the same: damage where it refuses, the tail that it cuts.
#[test]
fn a_survey_finds_damage_exactly_where_a_replay_refuses() {
    let disk = SimDisk::new(1);
    append(&mut writer_on(&disk, 200, 0), 1..=6);
    let files = disk.contents();
    for (name, bytes) in &files {
        let flips = (0..bytes.len()).map(|at| {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            flipped
        });
        let cuts = (0..bytes.len()).map(|length| bytes[..length].to_vec());
        let zeroes = (0..bytes.len()).step_by(7).map(|at| {
            let mut zeroed = bytes.clone();
            zeroed[at..(at + 20).min(bytes.len())].fill(0);
            zeroed
        });
        for (case, damaged) in flips.chain(cuts).chain(zeroes).enumerate() {
            let disk = SimDisk::new(1);
            files.iter().for_each(|(other, bytes)| disk.plant(other, bytes.clone()));
            disk.plant(name, damaged);
            let replayed = commits(&disk, 0);
            let mut seen = 0;
            let survey = survey(&disk, &mut |_| {
                seen += 1;
                Ok(())
            })
            .unwrap();
            assert_eq!(replayed.is_err(), !survey.damage.is_empty(), "{name}, case {case}: {replayed:?} {survey:?}");
            if let Ok((found, replayed)) = replayed {
                assert_eq!(replayed.dropped_tail, survey.dropped_tail, "{name}, case {case}");
                assert_eq!(found.len(), seen);
            }
        }
    }
}
