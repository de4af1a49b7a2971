//! `pulses`: rows with times around the clock's. The view `fresh` over them follows time: its rows come by commits, or when their time
//! comes, and go by themselves.

use super::history::{delete, insert};
use super::ledger::State;
use crate::commit::TableWrite;
use crate::engine::core::Core;
use crate::testing::SimRng;
use crate::testing::oracle::{Row, Value};
use crate::types::CommitNumber;

/// The view's query.
pub(super) const FRESH: &str = "SELECT device, value FROM pulses \
     WHERE TIMESTAMPTZ '1970-01-01 00:00:00+00' + value * INTERVAL '1 microsecond' > now() - INTERVAL '10 milliseconds'";
const FRESH_US: i64 = 10_000;

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
