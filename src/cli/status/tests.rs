//! The table and the line, from two moments.

use super::*;

fn moments() -> (Snapshot, Snapshot) {
    let moment = |seconds, rows_hot, commits| {
        let table = TableNumbers { rows_hot, rows_cold: 1_234_567, files: 3 };
        let view = ViewNumbers { rows: 40, lag_commits: 2, state_bytes: 1536, errors: 0 };
        Snapshot {
            at: Duration::from_secs(seconds),
            commits,
            tables: BTreeMap::from([("readings".to_owned(), table)]),
            views: BTreeMap::from([("low_fuel".to_owned(), view)]),
        }
    };
    (moment(10, 1000, 100), moment(12, 1800, 120))
}

#[test]
fn the_table_has_a_row_for_each_table_and_view() {
    let (before, now) = moments();
    assert_eq!(
        status_table(&before, &now),
        "table                   rows/s      rows hot     rows cold   files\n\
         readings                   400         1,800     1,234,567       3\n\
         \n\
         view                      rows lag (commits)         state  errors\n\
         low_fuel                    40             2       1.5 KiB       0\n\
         \n\
         120 commits, 10 per second\n",
    );
}

#[test]
fn the_line_sums_up() {
    let (before, now) = moments();
    assert_eq!(
        status_line(&before, &now),
        "400 rows/s, 1,800 rows hot, 1,234,567 rows cold, 10 commits/s, views at most 2 commits behind (low_fuel)",
    );
}

#[test]
fn numbers_are_readable() {
    assert_eq!([0, 999, 1000, 1_000_000].map(grouped), ["0", "999", "1,000", "1,000,000"]);
    assert_eq!([0, 1023, 1024, 5 << 30].map(bytes), ["0 B", "1023 B", "1.0 KiB", "5.0 GiB"]);
}
