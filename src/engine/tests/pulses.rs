//! `pulses`: rows with times around the clock's. The view `fresh` over them follows time: its rows come by commits, or when their time
//! comes, and go by themselves. Of the view `beats` rows expire, and `pace` above it keeps what it learned.

use super::history::{delete, insert};
use super::ledger::State;
use crate::catalog::Catalog;
use crate::commit::TableWrite;
use crate::engine::core::Core;
use crate::testing::SimRng;
use crate::testing::oracle::{self, Call, Row, Value};
use crate::types::CommitNumber;

/// The view's query.
pub(super) const FRESH: &str = "SELECT device, value FROM pulses \
     WHERE TIMESTAMPTZ '1970-01-01 00:00:00+00' + value * INTERVAL '1 microsecond' > now() - INTERVAL '10 milliseconds'";
const FRESH_US: i64 = 10_000;

/// Groups of four milliseconds, and what reads them.
pub(super) const BEATS: &str = "SELECT device, TIMESTAMPTZ '1970-01-01 00:00:00+00' + value / 4000 * INTERVAL '4 milliseconds' AS beat, \
     count(*) AS n FROM pulses GROUP BY 1, 2";
pub(super) const PACE: &str = "SELECT device, sum(n) AS n FROM beats GROUP BY device";
const BEAT_US: i64 = 4_000;

/// New ones, of the last few milliseconds or the next, or a deletion.
pub(super) fn change_pulses(state: &State, rng: &SimRng, now_us: i64) -> Option<TableWrite> {
    if rng.one_in(4) {
        return delete(state, "pulses", rng, 2);
    }
    let pulse = |_| {
        let at_us = now_us - 5_000 + rng.below(15_000) as i64;
        vec![Value::Integer(rng.below(5) as i64), Value::Integer(at_us), Value::Null]
    };
    insert(state, "pulses", (0..1 + rng.below(2)).map(pulse).collect())
}

/// What the view shows at the state's time.
pub(super) fn fresh(state: &State) -> Vec<Row> {
    let is_fresh = |row: &Row| matches!(row[1], Value::Integer(at_us) if at_us > state.now_us - FRESH_US);
    state.rows("pulses").into_iter().filter(is_fresh).map(|row| row[..2].to_vec()).collect()
}

/// What the view shows.
pub(super) fn beats(state: &State) -> Vec<Row> {
    beats_since(state, cutoff_of_beats(&state.catalog))
}

/// The same with another cutoff, microseconds.
pub(super) fn beats_since(state: &State, cutoff_us: i64) -> Vec<Row> {
    let beat = |row: &Row| match row[1] {
        Value::Integer(at_us) => vec![row[0].clone(), Value::Integer(at_us / BEAT_US * BEAT_US)],
        ref other => panic!("a time of {other:?}"),
    };
    let groups = oracle::group(&oracle::project(&state.rows("pulses"), beat), &[0, 1], &[Call::CountAll]);
    oracle::filter(&groups, |row| Some(matches!(row[1], Value::Integer(at_us) if at_us >= cutoff_us)))
}

pub(super) fn cutoff_of_beats(catalog: &Catalog) -> i64 {
    let cutoff = catalog.find("beats").and_then(|view| catalog.cutoff(view.id()));
    cutoff.map_or(i64::MIN, |cutoff| cutoff.before_us)
}

/// What `pace` shows of what it learned.
pub(super) fn pace(state: &State) -> Vec<Row> {
    oracle::group(&state.learned, &[0], &[Call::Sum(2)])
}

/// A reader of a view hears of its change from `before` to `after`.
pub(super) fn learn(learned: &mut Vec<Row>, before: &[Row], after: &[Row]) {
    let is_equal = |left: &Row, right: &Row| left.iter().zip(right).all(|(left, right)| left.compare(right).is_eq());
    let is_in = |row: &Row, rows: &[Row]| rows.iter().any(|other| is_equal(row, other));
    for gone in before.iter().filter(|row| !is_in(row, after)) {
        let place = learned.iter().position(|row| is_equal(row, gone)).expect("a row that was learned goes");
        learned.remove(place);
    }
    learned.extend(after.iter().filter(|row| !is_in(row, before)).cloned());
}

/// The time of a commit that can still be read, under the publish lock: the first moment at which it is the last one.
pub(super) fn time_of(core: &Core, commit: CommitNumber) -> i64 {
    let is_past = |moment_us| core.tables.commit_by(moment_us, "", "").is_ok_and(|last| last >= commit);
    let (mut before_us, mut by_us) = (core.tables.oldest_readable().1 - 1, core.tables.durable().timestamp_us);
    while by_us - before_us > 1 {
        let middle_us = before_us.midpoint(by_us);
        match is_past(middle_us) {
            true => by_us = middle_us,
            false => before_us = middle_us,
        }
    }
    by_us
}
