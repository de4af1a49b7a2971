//! The manifest's form: round trip, every damaged byte noticed, the future refused.

use super::*;
use crate::tier::{Bound, ColumnBounds};

fn manifest() -> Manifest {
    let bounds =
        ColumnBounds { min: Some(Bound::Float("-inf".into())), max: Some(Bound::Int(i64::MAX)), null_count: 3 };
    let file = DataFile {
        path: "data/16384/a.parquet".into(),
        rows: 10,
        bytes: 1000,
        row_id_min: 1,
        row_id_max: 10,
        commit_min: CommitNumber(1),
        commit_max: CommitNumber(u64::MAX),
        columns: vec![bounds, ColumnBounds::default()],
        field_ids: vec![1, 3],
        checksums: Some(Checksums::of(b"rows")),
    };
    let table = TableFiles {
        flushed: CommitNumber(7),
        row_id_end: 11,
        files: vec![file],
        tombstone_files: vec![TombstoneFile {
            path: "data/16384/b.parquet".into(),
            rows: 1,
            bytes: 9,
            checksums: None,
        }],
        readable_from: CommitNumber(3),
    };
    let history = HistoryFile {
        path: "data/history/c.parquet".into(),
        rows: 5,
        bytes: 80,
        commit_max: CommitNumber(7),
        checksums: Checksums::of(b"marks"),
    };
    Manifest {
        number: 42,
        commit: CommitNumber(7),
        next_row_id: 12,
        positions: BTreeMap::from([(RelationId(16385), vec![0, 255])]),
        tables: BTreeMap::from([(RelationId(16384), table)]),
        history: vec![history],
        ..Manifest::default()
    }
}

#[test]
fn it_comes_back() {
    let path = Manifest::path(42);
    assert_eq!(path, "manifest/00000000000000000042.json");
    assert_eq!(Manifest::number_of(&path), Some(42));
    let bytes = manifest().to_bytes().unwrap();
    assert_eq!(Manifest::from_bytes(&path, &bytes).unwrap(), manifest());
    assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
    let paths = ["data/16384/a.parquet", "data/16384/b.parquet", "data/history/c.parquet"];
    assert_eq!(manifest().paths().collect::<Vec<_>>(), paths);
    assert_eq!(manifest().replay_after(), CommitNumber(7));
}

#[test]
fn every_damaged_or_missing_byte_is_noticed() {
    let path = Manifest::path(42);
    let bytes = manifest().to_bytes().unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Manifest::from_bytes(&path, &damaged).is_err(), "byte {at}");
        let error = Manifest::from_bytes(&path, &bytes[..at]).unwrap_err();
        assert_eq!(error.state(), SqlState::DATA_CORRUPTED, "cut at {at}");
    }
    assert!(Manifest::from_bytes(&Manifest::path(41), &bytes).is_err());
}

#[test]
fn the_future_is_refused_by_name() {
    let bytes = manifest().to_bytes().unwrap();
    let later = String::from_utf8(bytes).unwrap().replacen("\"format\":1", "\"format\":2", 1);
    let error = Manifest::from_bytes("manifest/x.json", later.as_bytes()).unwrap_err();
    assert_eq!(error.state(), SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(error.message(), "manifest \"manifest/x.json\" has format 2, and this version reads up to 1");
}
