//! Segments: prefixes by commit, geometric merging, what stays after a flush.

use super::*;
use crate::table::tests::truck_rows;
use crate::table::tests::trucks;

fn segment(commit: u64, rows: std::ops::Range<i64>) -> Segment {
    let mut columns = truck_rows(&rows.clone().map(|row| (row, row)).collect::<Vec<_>>()).columns().to_vec();
    columns.push(Arc::new(Int64Array::from_iter_values(rows)));
    Segment::new(RecordBatch::try_new(trucks().schema_with_row_id(), columns).unwrap(), CommitNumber(commit))
}

fn ids_at(memtable: &Memtable, at: u64) -> Vec<RowId> {
    let parts = memtable.parts_at(CommitNumber(at)).map(|part| part.unwrap().0);
    parts.flat_map(|rows| row_ids(&rows).unwrap().values().to_vec()).collect()
}

#[test]
fn ten_thousand_commits_of_one_row_are_a_dozen_segments() {
    let mut memtable = Memtable::default();
    (0..10_000).for_each(|row| memtable.push(segment(row as u64 + 1, row..row + 1)));
    assert!(memtable.num_segments() <= 14, "{} segments", memtable.num_segments());
    for at in [0, 1, 2, 4999, 5000, 10_000, 20_000] {
        assert_eq!(ids_at(&memtable, at), (0..10_000.min(at as i64)).collect::<Vec<_>>());
        assert_eq!(memtable.rows_at(CommitNumber(at)), 10_000.min(at as usize));
    }
}

#[test]
fn a_large_batch_is_not_copied() {
    let mut memtable = Memtable::default();
    let large = segment(1, 0..100_000);
    let pointer = large.rows().unwrap().column(0).to_data().buffers()[0].as_ptr();
    memtable.push(large);
    memtable.push(segment(2, 100_000..200_000));
    assert_eq!(memtable.num_segments(), 2);
    let first = memtable.parts_at(CommitNumber(1)).next().unwrap().unwrap().0;
    assert_eq!(first.column(0).to_data().buffers()[0].as_ptr(), pointer);
}

#[test]
fn after_a_flush_the_later_rows_stay() {
    let mut memtable = Memtable::default();
    for commit in 1..=9 {
        memtable.push(segment(commit, commit as i64 * 2..commit as i64 * 2 + 2));
    }
    assert_eq!(memtable.last_row_id_at(CommitNumber(5)), Some(11));
    let rest = memtable.after(CommitNumber(5));
    assert_eq!(ids_at(&rest, 5), Vec::<RowId>::new());
    assert_eq!(ids_at(&rest, 7), (12..16).collect::<Vec<_>>());
    assert_eq!(ids_at(&rest, 9), (12..20).collect::<Vec<_>>());
    assert_eq!(rest.num_rows(), 8);
    assert_eq!(memtable.after(CommitNumber(9)).num_rows(), 0);
    assert_eq!(memtable.after(CommitNumber(9)).bytes(), 0);
}
