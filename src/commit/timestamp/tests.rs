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
