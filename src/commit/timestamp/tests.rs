use super::*;
use crate::testing::SimClock;

const MINUTE_US: i64 = 60_000_000;

#[test]
fn timestamps_grow_though_the_clock_stands_still_or_goes_back() {
    let clock = SimClock::new(1_000);
    let mut time = CommitTime::new(&clock, 5_000);
    assert_eq!(time.next(&clock), 5_001);
    clock.jump_wall_us(10_000);
    assert_eq!(time.next(&clock), 11_000);
    assert_eq!(time.next(&clock), 11_001);
    clock.jump_wall_us(-MINUTE_US);
    assert_eq!(time.next(&clock), 11_002);
}

#[test]
fn a_long_jump_is_held_back_until_it_has_lasted() {
    let clock = SimClock::new(0);
    let mut time = CommitTime::new(&clock, 0);
    clock.jump_wall_us(60 * MINUTE_US);
    clock.advance(Duration::from_secs(60));
    assert_eq!(time.next(&clock), MINUTE_US, "time goes on at the monotonic pace");
    clock.advance(Duration::from_secs(540));
    assert_eq!(time.next(&clock), 10 * MINUTE_US);
    clock.advance(Duration::from_secs(60));
    assert_eq!(time.next(&clock), 71 * MINUTE_US, "it lasted, so it is believed");
}

#[test]
fn a_jump_that_is_taken_back_leaves_nothing() {
    let clock = SimClock::new(0);
    let mut time = CommitTime::new(&clock, 0);
    clock.jump_wall_us(60 * MINUTE_US);
    assert_eq!(time.next(&clock), 1);
    clock.jump_wall_us(-60 * MINUTE_US);
    clock.advance(Duration::from_secs(900));
    assert_eq!(time.next(&clock), 15 * MINUTE_US);
    clock.jump_wall_us(5 * MINUTE_US);
    assert_eq!(time.next(&clock), 20 * MINUTE_US, "short jumps are believed at once");
}

/// A machine that comes up with a clock in 2100 and is put right soon after must leave nothing of it.
#[test]
fn a_start_long_after_the_last_commit_is_held_back_until_it_has_lasted() {
    const YEAR_US: i64 = 366 * 24 * 60 * MINUTE_US;
    let clock = SimClock::new(2 * YEAR_US);
    let mut time = CommitTime::new(&clock, YEAR_US);
    assert_eq!(time.next(&clock), 2 * YEAR_US, "a year is believed");
    let mut time = CommitTime::new(&clock, YEAR_US - 1);
    assert_eq!(time.next(&clock), YEAR_US);
    clock.advance(Duration::from_secs(60));
    assert_eq!(time.next(&clock), YEAR_US - 1 + MINUTE_US);
    clock.jump_wall_us(-YEAR_US);
    assert_eq!(time.next(&clock), YEAR_US + MINUTE_US, "it was put right");
    let mut time = CommitTime::new(&clock, 1);
    time.next(&clock);
    clock.advance(Duration::from_secs(600));
    assert_eq!(time.next(&clock), YEAR_US + 11 * MINUTE_US, "it lasted");
}
