use super::*;

#[test]
fn a_file_is_created_once_grows_and_reads_back() {
    let root = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(root.path().join("a/b")).unwrap();
    disk.create_dir("wal").unwrap();
    let mut file = disk.create("wal/1.log").unwrap();
    file.append(b"one").unwrap();
    file.append(b"two").unwrap();
    file.sync().unwrap();
    disk.sync_dir("wal").unwrap();
    disk.sync_file("wal/1.log").unwrap();
    assert_eq!(disk.read("wal/1.log").unwrap(), b"onetwo");
    assert_eq!(disk.create("wal/1.log").err().unwrap().kind(), io::ErrorKind::AlreadyExists);
    disk.rename("wal/1.log", "wal/2.log").unwrap();
    assert_eq!(disk.list("wal").unwrap(), ["2.log"]);
    disk.remove("wal/2.log").unwrap();
    assert!(disk.list("wal").unwrap().is_empty());
    assert!(disk.list("nowhere").unwrap().is_empty());
}

#[test]
fn names_stay_below_the_root() {
    let root = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(root.path()).unwrap();
    for name in ["../x", "/etc/passwd", "a/../../x"] {
        assert_eq!(disk.read(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
    }
}

#[test]
fn a_directory_in_use_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let first = OsDisk::open(root.path()).unwrap();
    let refused = OsDisk::open(root.path()).unwrap_err();
    assert_eq!(refused.state(), SqlState::OBJECT_IN_USE);
    assert!(refused.message().ends_with("is in use"), "{refused}");
    drop(first);
    OsDisk::open(root.path()).unwrap();
}
