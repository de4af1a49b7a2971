use super::*;

#[test]
fn a_crash_keeps_what_was_synced_and_some_of_the_rest() {
    let mut lengths = BTreeSet::new();
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let mut file = disk.create("wal/a").unwrap();
        file.append(&[1; 700]).unwrap();
        file.sync().unwrap();
        disk.sync_dir("wal").unwrap();
        file.append(&[2; 700]).unwrap();
        disk.restart();
        let bytes = disk.read("wal/a").unwrap();
        assert_eq!(bytes[..700], [1; 700]);
        assert!(bytes[700..].iter().all(|byte| *byte == 2 || *byte == 0));
        lengths.insert(bytes.len());
        assert!(file.append(b"x").is_err(), "the handle is of a dead process");
    }
    assert!(lengths.len() > 20, "cuts differ: {lengths:?}");
}

#[test]
fn a_name_may_vanish_until_its_directory_is_synced() {
    let mut found = 0;
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        disk.create("wal/a").unwrap().sync().unwrap();
        disk.restart();
        found += disk.list("wal").unwrap().len();
        let disk = SimDisk::new(seed);
        disk.create("wal/a").unwrap();
        disk.sync_dir("wal").unwrap();
        disk.remove("wal/a").unwrap();
        disk.sync_dir("wal").unwrap();
        disk.restart();
        assert!(disk.list("wal").unwrap().is_empty());
    }
    assert!((10..40).contains(&found), "{found} of 50");
}

#[test]
fn what_a_failed_sync_left_no_later_sync_makes_durable() {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let mut file = disk.create("wal/a").unwrap();
        disk.sync_dir("wal").unwrap();
        file.append(&[1; 600]).unwrap();
        disk.fault_at(disk.calls().calls, DiskFault::Fail(FaultEffect::Before));
        file.sync().unwrap_err();
        file.append(&[2; 600]).unwrap();
        file.sync().unwrap();
        disk.restart();
        let bytes = disk.read("wal/a").unwrap();
        assert_eq!(bytes[600..], [2; 600]);
        lost += usize::from(bytes[..600] != [1; 600]);
    }
    assert!(lost > 10, "{lost} of 50");
}

#[test]
fn calls_are_counted_with_the_lines_they_come_from() {
    let disk = SimDisk::new(1);
    disk.trace_sites(true);
    let start = crate::types::CommitNumber(0);
    crate::wal::replay(&disk, start, start, &mut |_| Ok(())).unwrap();
    let calls = disk.calls();
    assert_eq!(calls.calls, 1);
    assert!(calls.sites.iter().all(|site| site.starts_with("list at src/wal/replay.rs:")), "{calls:?}");
}
