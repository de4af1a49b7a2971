//! Tombstones: which rows are alive at which commit, counts, splitting.

use super::*;

fn alive(tombstones: &Tombstones, row_ids: &[RowId], at: u64) -> Vec<RowId> {
    let column = Int64Array::from(row_ids.to_vec());
    match tombstones.alive(&column, CommitNumber(at)) {
        Some(alive) => {
            row_ids.iter().zip(alive.iter()).filter(|(_, alive)| alive.unwrap()).map(|(id, _)| *id).collect()
        }
        None => row_ids.to_vec(),
    }
}

fn thousand() -> Tombstones {
    let mut tombstones = Tombstones::default();
    // Row 7 i is deleted by commit i.
    (1..=1000).for_each(|i| tombstones.push(Run::new(vec![(7 * i, CommitNumber(i as u64))]).unwrap()));
    tombstones
}

#[test]
fn rows_are_dead_from_their_commit_on() {
    let tombstones = thousand();
    assert!(tombstones.num_runs() <= 12, "{} runs", tombstones.num_runs());
    assert_eq!(tombstones.len(), 1000);
    for at in [0, 1, 2, 500, 1000, 2000] {
        assert_eq!(tombstones.count_at(CommitNumber(at)), 1000.min(at as usize));
        // Few rows against many tombstones, many against few, and in any order.
        assert_eq!(
            alive(&tombstones, &[7000, 1, 7], at),
            [7000, 1, 7].into_iter().filter(|id| *id % 7 != 0 || *id / 7 > at as i64).collect::<Vec<_>>()
        );
        let all: Vec<RowId> = (0..8000).rev().collect();
        let expected: Vec<RowId> =
            all.iter().copied().filter(|id| *id == 0 || id % 7 != 0 || *id > 7000 || id / 7 > at as i64).collect();
        assert_eq!(alive(&tombstones, &all, at), expected);
    }
}

#[test]
fn what_is_out_of_range_costs_nothing() {
    let tombstones = thousand();
    assert!(tombstones.alive(&Int64Array::from(vec![1, 2, 6]), CommitNumber(1000)).is_none());
    assert!(!tombstones.any_in(8, 13, CommitNumber::MAX));
    assert!(tombstones.any_in(8, 14, CommitNumber(2)));
    assert!(!tombstones.any_in(8, 14, CommitNumber(1)));
    assert_eq!(tombstones.commit_of(70), Some(CommitNumber(10)));
    assert_eq!(tombstones.commit_of(71), None);
}

#[test]
fn a_split_keeps_the_rest() {
    let (kept, gone) = thousand().split(|row_id, commit| row_id <= 700 && commit.0 % 2 == 0);
    assert_eq!((kept.len(), gone.len()), (950, 50));
    assert_eq!(kept.commit_of(14), None);
    assert_eq!(kept.commit_of(7), Some(CommitNumber(1)));
}
